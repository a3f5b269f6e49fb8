"""Layer 2, orders process, hot: checks of the intent for itself, and of the order that it names."""

from __future__ import annotations

import math
from typing import Final

from kite_hft.layout import IntentFlag, IntentKind, OrderType, Product, Side, Validity
from kite_hft.trading.gate.checks import PLACE, PRICED, TRIGGERED, Context, RiskLimits, resulting, type_of
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.positions import CASH_EXCHANGES, multiplier_of
from kite_hft.units import price_text

KINDS: Final = frozenset({int(IntentKind.PLACE), int(IntentKind.MODIFY), int(IntentKind.CANCEL)})
_SIDES: Final = frozenset(int(s) for s in Side)
_ORDER_TYPES: Final = frozenset(int(t) for t in OrderType)
_PRODUCTS: Final = frozenset(int(p) for p in Product)
_VALIDITIES: Final = frozenset(int(v) for v in Validity)
_FLAGS: Final = int(IntentFlag.EXIT)  # of a PLACE


def kind(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if intent.kind not in KINDS:
        return f"kind {intent.kind} does not exist"
    if intent.strategy_seq <= 0:
        return "strategy_seq is 0: numbering starts at 1"
    return None


def duplicate(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if intent.strategy_seq > context.last_seq:
        return None
    return f"strategy {intent.strategy} has sent its intents up to {context.last_seq} already"


def known(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.instrument else f"slot {intent.slot} is no instrument of this run"


def fields(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if not (
        intent.side in _SIDES
        and intent.order_type in _ORDER_TYPES
        and intent.product in _PRODUCTS
        and intent.validity in _VALIDITIES
    ):
        return _strange_word(intent)
    if intent.flags & ~_FLAGS:
        return f"flags {intent.flags:#x} hold unknown bits"
    if intent.order_type not in limits.order_types:
        return f"order type {OrderType(intent.order_type).name} is not enabled"
    if intent.validity not in limits.validities:
        return f"validity {Validity(intent.validity).name} is not enabled"
    return None


def _strange_word(intent: Intent) -> str:
    for name, value, known in (
        ("side", intent.side, _SIDES),
        ("order type", intent.order_type, _ORDER_TYPES),
        ("product", intent.product, _PRODUCTS),
        ("validity", intent.validity, _VALIDITIES),
    ):
        if value not in known:
            return f"{name} {value} does not exist" if value else f"{name} is missing"
    raise ValueError("every word of the intent exists")


def numbers(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if intent.px < 0 or intent.trigger_px < 0:
        return f"negative price: px {intent.px}, trigger_px {intent.trigger_px}"
    if not math.isfinite(intent.signal):
        return f"signal is {intent.signal}, not a number"
    if intent.kind == PLACE:
        if intent.qty <= 0:
            return "quantity is 0"
        if intent.order_type in PRICED and intent.px == 0:
            return "a limit price is missing"
        if intent.order_type in TRIGGERED and intent.trigger_px == 0:
            return "a trigger price is missing"
    elif context.target is not None and intent.order_type:  # it becomes another type
        kind, target = intent.order_type, context.target
        if kind not in _ORDER_TYPES:
            return f"order type {kind} does not exist"
        if kind not in limits.order_types and not context.reducing:
            return f"order type {OrderType(kind).name} is not enabled"
        if kind in PRICED and resulting(intent, target)[1] == 0:
            return f"{OrderType(kind).name} needs a limit price"
        if kind in TRIGGERED and not (intent.trigger_px or target.trigger_px):
            return f"{OrderType(kind).name} needs a trigger price"
    return None


def stop_price(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """The limit of a stop must lie beyond its trigger, or it could not fill when triggered."""
    target = context.target
    if type_of(intent, target) != OrderType.SL:
        return None
    side = intent.side if target is None else target.side
    px = resulting(intent, target)[1]
    trigger_px = intent.trigger_px or (target.trigger_px if target else 0)
    if px < trigger_px if side == Side.BUY else px > trigger_px:
        return f"stop {Side(side).name}: limit {px} does not reach beyond its trigger {trigger_px}"
    return None


def tradable(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None  # known stands before
    return untradable(context.instrument)


def untradable(instrument: Instrument) -> str | None:
    """Why no order may name it, or None."""
    if instrument.barred and instrument.lot_size <= 0:
        return f"{instrument.key}: {instrument.barred}"
    if instrument.is_index:
        return f"{instrument.key} is an index"
    if instrument.lot_size <= 0 or instrument.tick_px <= 0:
        return f"{instrument.key}: lot size {instrument.lot_size}, tick {instrument.tick_px}"
    multiplier = multiplier_of(instrument)
    if multiplier is None or multiplier <= 0:
        return f"{instrument.key}: multiplier {'unknown' if multiplier is None else multiplier}"
    if instrument.freeze_quantity is None and instrument.exchange not in CASH_EXCHANGES:
        return f"{instrument.key}: freeze quantity unknown"
    return None


def barred(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Why nothing is opened in it, whatever the day; what is held may go."""
    instrument = context.instrument
    assert instrument is not None
    return f"{instrument.key}: {instrument.barred}" if instrument.barred else None


def lot(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    lot = context.instrument.lot_size
    return f"quantity {intent.qty} is no multiple of lot {lot}" if intent.qty % lot else None


def tick_ok(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    instrument = context.instrument
    assert instrument is not None
    for px in (intent.px, intent.trigger_px):
        if px % instrument.tick_px:
            scale = instrument.scale
            return f"{price_text(px, scale)} is no multiple of tick {price_text(instrument.tick_px, scale)}"
    return None


def quantity(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    freeze = context.instrument.freeze_quantity
    if freeze is not None and intent.qty > freeze:
        lot, slices = context.instrument.lot_size, context.slices_max if intent.kind == PLACE else 1
        if intent.qty > slices * (freeze // lot * lot):
            return f"quantity {intent.qty} > freeze quantity {freeze} in at most {slices} orders"
    if not context.reducing and intent.qty > limits.max_order_quantity:
        return f"quantity {intent.qty} > max_order_quantity {limits.max_order_quantity}"
    return None


def target(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if context.target is not None:
        return None
    return f"strategy {intent.strategy} has no order {intent.target_seq}"


def target_slot(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.target is not None
    if context.target.slot == intent.slot:
        return None
    return f"order {intent.target_seq} is on slot {context.target.slot}, the intent on {intent.slot}"


def target_open(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    target = context.target
    assert target is not None
    if target.status in TERMINAL:
        return f"order {intent.target_seq} is {target.status.name}"
    if intent.kind == IntentKind.MODIFY and target.status not in WORKING:
        return f"order {intent.target_seq} is {target.status.name}: not yet at the broker"
    return None


def target_settled(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.target is not None
    if context.target.quantity_max:
        return f"order {intent.target_seq} has an unanswered modification"
    return None


def modify(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    target = context.target
    assert target is not None
    quantity, px = resulting(intent, target)
    stood = (target.quantity, target.px, target.trigger_px, target.order_type)
    if (quantity, px, intent.trigger_px or target.trigger_px, type_of(intent, target)) == stood:
        return "nothing would change"
    return None


def modify_filled(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.target is not None
    if not intent.qty or intent.qty > context.target.filled:
        return None
    return f"quantity {intent.qty} <= filled {context.target.filled}"


def modifications(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    target = context.target
    assert target is not None
    done = target.modifications
    if intent.strategy_seq < ENGINE_SEQ:  # it changes all slices of an order
        done = max(order.modifications for order in context.book.family(target))
    if done < context.modifications_max:
        return None
    return f"{done} modifications >= {context.modifications_max}: cancel and place anew"
