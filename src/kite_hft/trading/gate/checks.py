"""Layer 2, orders process, hot: the single checks that risk.py's table is made of.

Each is a pure function (intent, context, limits) -> None to pass, or a text with the numbers that
refuse it. Checks about the instrument or the target order run behind those that prove that there
is one. Prices in the instrument's unit, values in paise, limits in rupees and seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kite_hft.layout import (
    IntentFlag,
    IntentKind,
    OrderType,
    Product,
    Side,
    Validity,
)
from kite_hft.trading.book import Book, Order
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.positions import CASH_EXCHANGES, multiplier_of
from kite_hft.units import price_text, rupees_text, value_paise

PAISE_SCALE: Final = 100
"""Units per rupee of a price in paise: its value needs no rounding."""
CUT_QUIET_NS: Final = 1_000_000_000
"""So long may a strategy not know yet that the broker has closed a part of its position."""
_KINDS: Final = frozenset({int(IntentKind.PLACE), int(IntentKind.MODIFY), int(IntentKind.CANCEL)})
_PLACE: Final = int(IntentKind.PLACE)
_SIDES: Final = frozenset(int(s) for s in Side)
_ORDER_TYPES: Final = frozenset(int(t) for t in OrderType)
_PRODUCTS: Final = frozenset(int(p) for p in Product)
_VALIDITIES: Final = frozenset(int(v) for v in Validity)
_EXIT: Final = int(IntentFlag.EXIT)
_FLAGS: Final = int(IntentFlag.EXIT)  # of a PLACE
_PRICED: Final = frozenset({int(OrderType.LIMIT), int(OrderType.SL)})
_TRIGGERED: Final = frozenset({int(OrderType.SL), int(OrderType.SLM)})


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What the user allows. Rupees, units of quantity, seconds; 0 switches nothing off: it refuses."""

    max_position_size: float = 100_000.0  # rupees, worst case of one instrument over all strategies
    max_exposure: float = 1_000_000.0  # rupees, the same summed over all instruments
    max_positions: int = 20  # instruments with a position or a live order
    max_order_quantity: int = 10_000
    max_order_value: float = 200_000.0  # rupees
    max_working_orders: int = 40  # N / 8 s to cancel them all: the floor of a kill
    price_collar_percent: float = 5.0  # of the last price
    stale_tick_s: float = 2.0  # of the instrument's own price
    order_types: tuple[OrderType, ...] = (OrderType.MARKET, OrderType.LIMIT)
    validities: tuple[Validity, ...] = (Validity.DAY, Validity.IOC)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"risk limit {name} = {value!r} is not a number >= 0")


@dataclass(slots=True)
class Context:
    """What an intent is judged by: gathered once, journalled with the intent."""

    instrument: Instrument | None
    instruments: InstrumentTable
    book: Book
    active: bool
    halted: str  # why opening orders are refused; empty: they are not
    ref_px: int  # last price from the latest table, 0: none
    tick_seq: int
    age_ns: int  # of that price; -1: none
    mark: Callable[[int], int]  # last price of a slot, 0: none
    target: Order | None  # MODIFY, CANCEL
    modifications_max: int
    last_seq: int  # the strategy's highest strategy_seq so far: its numbers only grow
    reducing: bool = False
    token_dead: str = ""  # nothing can be sent
    reducing_only: str = ""  # why only reductions pass
    market_halted: bool = False
    fresh: bool = True  # a tick has come since the instrument's connection was made
    cut_age_ns: int = -1  # since the broker closed a part of this very position; -1: it did not


def resulting(intent: Intent, target: Order | None) -> tuple[int, int]:
    """(quantity, price) that the order would have: a modification's zeros mean unchanged."""
    if target is None:
        return intent.qty, intent.px
    return intent.qty or target.quantity, intent.px or target.px


def active(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.active else "orders are not active: starting, or not reconciled"


def duplicate(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if intent.strategy_seq > context.last_seq:
        return None
    return f"strategy {intent.strategy} has sent its intents up to {context.last_seq} already"


def halted(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return f"halted: {context.halted}" if context.halted else None


def token_dead(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return f"the broker refuses our token: {context.token_dead}" if context.token_dead else None


def reducing_only(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return context.reducing_only or None


def market_halted(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return "the whole market is silent" if context.market_halted else None


def fresh(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.fresh else "no tick since its connection was made"


def exit_left(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """What was meant to close a position must not open one: what it closes may be closed already."""
    if intent.flags & _EXIT:
        held = context.book.standing(intent.strategy, intent.slot, intent.product)
        return f"an exit of {intent.qty}: {held.quantity} held, {held.open_buy + held.open_sell} under way"
    if 0 <= context.cut_age_ns < CUT_QUIET_NS:
        return f"the broker closed a part of the position {context.cut_age_ns / 1e6:.0f} ms ago"
    return None


def known(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.instrument else f"slot {intent.slot} is no instrument of this run"


def kind(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if intent.kind not in _KINDS:
        return f"kind {intent.kind} does not exist"
    if intent.strategy_seq <= 0:
        return "strategy_seq is 0: numbering starts at 1"
    return None


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
    if math.isnan(intent.signal):
        return "signal is not a number"
    if intent.kind == _PLACE:
        if intent.qty <= 0:
            return "quantity is 0"
        if intent.order_type in _PRICED and intent.px == 0:
            return "a limit price is missing"
        if intent.order_type in _TRIGGERED and intent.trigger_px == 0:
            return "a trigger price is missing"
    return None


def tradable(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None  # known stands before
    return untradable(context.instrument)


def untradable(instrument: Instrument) -> str | None:
    """Why no order may name it, or None."""
    if instrument.is_index:
        return f"{instrument.key} is an index"
    if instrument.lot_size <= 0 or instrument.tick_px <= 0:
        return f"{instrument.key}: lot size {instrument.lot_size}, tick {instrument.tick_px}"
    if multiplier_of(instrument) is None:
        return f"{instrument.key}: multiplier unknown"
    if instrument.freeze_quantity is None and instrument.exchange not in CASH_EXCHANGES:
        return f"{instrument.key}: freeze quantity unknown"
    return None


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
        return f"quantity {intent.qty} > freeze quantity {freeze}"
    if not context.reducing and intent.qty > limits.max_order_quantity:
        return f"quantity {intent.qty} > max_order_quantity {limits.max_order_quantity}"
    return None


def reference(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.ref_px > 0 else "no price has been seen"


def stale(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if 0 <= context.age_ns <= limits.stale_tick_s * 1e9:
        return None
    return f"last tick is {context.age_ns / 1e9:.3f} s old > {limits.stale_tick_s} s"


def collar(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    fresh = 0 <= context.age_ns <= limits.stale_tick_s * 1e9
    if context.ref_px <= 0 or not fresh:
        return None  # a reduction without a usable price; openings were refused before
    for px in (intent.px, intent.trigger_px):
        off = abs(px - context.ref_px)
        if px and off * 100 > limits.price_collar_percent * context.ref_px:
            percent = 100 * off / context.ref_px
            return f"price {px} is {percent:.2f} % off {context.ref_px} > {limits.price_collar_percent} %"
    return None


def _value(px: int, quantity: int, instrument: Instrument) -> int:
    multiplier = instrument.multiplier or 1  # unknown: a share's, see multiplier_of; others are refused
    if instrument.scale == PAISE_SCALE:
        return px * quantity * multiplier
    return value_paise(px, quantity, multiplier, instrument.scale)


def order_value(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    quantity, px = resulting(intent, context.target)
    value = _value(max(px, context.ref_px), quantity, context.instrument)
    if value <= limits.max_order_value * 100:
        return None
    return f"order value {rupees_text(value)} > max_order_value {limits.max_order_value:.2f}"


def _more(intent: Intent, context: Context) -> tuple[int, int]:
    """(side, quantity) that the intent adds to what is live."""
    target = context.target
    if target is None:
        return intent.side, intent.qty
    standing = max(target.quantity, target.quantity_max)
    return target.side, max(0, resulting(intent, target)[0] - standing)


def position_size(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    worst = context.book.worst_case(intent.slot, *_more(intent, context))
    value = _value(max(intent.px, context.ref_px), worst, context.instrument)
    if value <= limits.max_position_size * 100:
        return None
    return (
        f"worst case {worst} of {context.instrument.key} = {rupees_text(value)}"
        f" > max_position_size {limits.max_position_size:.2f}"
    )


def exposure(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    worst = context.book.worst_case(intent.slot, *_more(intent, context))
    total = _value(max(intent.px, context.ref_px), worst, context.instrument)
    rows, mark = context.instruments.rows, context.mark
    for slot, (_held, _buys, _sells, other) in context.book.in_play().items():
        if slot == intent.slot:
            continue
        px = mark(slot)
        if px <= 0:
            return f"no price for {rows[slot].key}, where a position or an order stands"
        row = rows[slot]
        if row.scale == PAISE_SCALE:
            total += px * other * (row.multiplier or 1)  # _value, without a call for each slot
        else:
            total += _value(px, other, row)
    if total <= limits.max_exposure * 100:
        return None
    return f"worst case of all instruments {rupees_text(total)} > max_exposure {limits.max_exposure:.2f}"


def positions(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    slots = context.book.in_play()
    if intent.slot in slots or len(slots) < limits.max_positions:
        return None
    return f"{len(slots)} instruments in play >= max_positions {limits.max_positions}"


def working(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    live = context.book.live_count()
    if live < limits.max_working_orders:
        return None
    return f"{live} live orders >= max_working_orders {limits.max_working_orders}"


def frozen(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    side = context.target.side if context.target else intent.side
    other = context.book.frozen(intent.slot, side)
    return f"order {other.order_no} on the same instrument and side is ambiguous" if other else None


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
    if (quantity, px, intent.trigger_px or target.trigger_px) == (
        target.quantity,
        target.px,
        target.trigger_px,
    ):
        return "nothing would change"
    return None


def modify_filled(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.target is not None
    if not intent.qty or intent.qty > context.target.filled:
        return None
    return f"quantity {intent.qty} <= filled {context.target.filled}"


def modifications(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.target is not None
    done = context.target.modifications
    if done < context.modifications_max:
        return None
    return f"{done} modifications >= {context.modifications_max}: cancel and place anew"
