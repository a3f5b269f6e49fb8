"""Layer 2, orders process, hot: checks of how much: of an order, a position, all of them, a period, a day.

Live orders count from the moment they pass: the book holds those that wait or are on their way, too. So no
later order takes the room of one that waits. What may all the same: the price, a stranger's order, an order
that is found again, exits that have come since. An order that has waited is asked once more, against all but
itself; what the period and the day have let pass stands.
"""

from __future__ import annotations

from kite_hft._tally import Window
from kite_hft.trading.gate.checks import (
    PAISE_SCALE,
    PLACE,
    Context,
    RiskLimits,
    added_value,
    more,
    resulting,
    uncounted,
    value_of,
)
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.lifecycle import LIVE, TERMINAL
from kite_hft.trading.slices import orders_of
from kite_hft.units import rupees_text


def order_value(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    quantity, px = resulting(intent, context.target)
    if context.counted is not None:  # in slices it was judged as one
        quantity = sum(order.quantity for order in context.book.family(context.counted))
    elif context.target is not None and not intent.qty and intent.strategy_seq < ENGINE_SEQ:
        family = context.book.family(context.target)  # and to its strategy it is one: all get the price
        quantity = sum(order.quantity for order in family if order.status not in TERMINAL)
    value = value_of(max(px, context.ref_px), quantity, context.instrument)
    if value <= limits.max_order_value * 100:
        return None
    return f"order value {rupees_text(value)} > max_order_value {limits.max_order_value:.2f}"


def _worst(intent: Intent, context: Context) -> int:
    product = intent.product if context.target is None else context.target.product
    return context.book.worst_case(intent.slot, *uncounted(intent, context), product)


def position_size(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    worst = _worst(intent, context)
    value = value_of(max(resulting(intent, context.target)[1], context.ref_px), worst, context.instrument)
    if value <= limits.max_position_size * 100:
        return None
    return (
        f"worst case {worst} of {context.instrument.key} = {rupees_text(value)}"
        f" > max_position_size {limits.max_position_size:.2f}"
    )


def exposure(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    worst = _worst(intent, context)
    total = value_of(max(resulting(intent, context.target)[1], context.ref_px), worst, context.instrument)
    rows, mark = context.instruments.rows, context.mark
    for slot, (_held, _buys, _sells, other) in context.book.in_play().items():
        if slot == intent.slot:
            continue
        px = mark(slot)
        if px <= 0:
            return f"no price for {rows[slot].key}, where a position or an order stands"
        row = rows[slot]
        if row.scale == PAISE_SCALE:
            total += px * other * (row.multiplier or 1)  # value_of, without a call for each slot
        else:
            total += value_of(px, other, row)
    if total <= limits.max_exposure * 100:
        return None
    return f"worst case of all instruments {rupees_text(total)} > max_exposure {limits.max_exposure:.2f}"


def positions(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    slots = context.book.in_play()
    others = len(slots)
    if context.counted is not None:
        held, buys, sells, _worst = slots.get(intent.slot, (0, 0, 0, 0))
        if held or buys + sells > sum(order.open_quantity for order in context.book.family(context.counted)):
            return None
        others -= intent.slot in slots
    elif intent.slot in slots:
        return None
    if others < limits.max_positions:
        return None
    return f"{others} instruments in play >= max_positions {limits.max_positions}"


def working(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Each slice above the freeze quantity is an order. The legs of a group come one by one: those before it
    stand in the book.
    """
    row = context.instrument
    assert row is not None
    live, most = context.book.live_count() + context.book.promised, limits.max_working_orders
    if context.counted is None:
        parts = orders_of(intent.qty, row.freeze_quantity, row.lot_size)
    else:
        parts = sum(order.status in LIVE for order in context.book.family(context.counted))
        live -= parts
    if live + parts <= most:
        return None
    if parts == 1:
        return f"{live} live orders >= max_working_orders {most}"
    return f"{live} live orders + {parts} slices > max_working_orders {most}"


def period(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Orders, quantity and value within the period, of the strategy and in the instrument."""
    tally = context.tally
    if tally is None:
        return None
    orders, quantity = int(intent.kind == PLACE), more(intent, context.target)[1]
    value, now_ns = added_value(intent, context), context.now_ns
    seen, whose = tally.of_strategy(intent.strategy, now_ns), "strategy"
    if not _over(seen, orders, quantity, value, limits):
        seen, whose = tally.of_slot(intent.slot, now_ns), "slot"
        if not _over(seen, orders, quantity, value, limits):
            return None
    number = intent.strategy if whose == "strategy" else intent.slot
    return f"{whose} {number} within {limits.period_s:g} s: {_which(seen, orders, quantity, value, limits)}"


def _over(seen: Window, orders: int, quantity: int, value: int, limits: RiskLimits) -> bool:
    return (
        seen.orders + orders > limits.period_orders
        or seen.quantity + quantity > limits.period_quantity
        or seen.value_paise + value > limits.period_value * 100
    )


def _which(seen: Window, orders: int, quantity: int, value: int, limits: RiskLimits) -> str:
    if seen.orders + orders > limits.period_orders:
        return f"{seen.orders} + {orders} orders > period_orders {limits.period_orders}"
    if seen.quantity + quantity > limits.period_quantity:
        return f"quantity {seen.quantity} + {quantity} > period_quantity {limits.period_quantity}"
    done, now = rupees_text(seen.value_paise), rupees_text(value)
    return f"value {done} + {now} > period_value {limits.period_value:.2f}"


def gross(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Everything that was opened today, never less for having been closed again."""
    if context.tally is None:
        return None
    total = context.tally.gross_paise + added_value(intent, context)
    if total <= limits.max_gross_notional * 100:
        return None
    return f"opened today {rupees_text(total)} > max_gross_notional {limits.max_gross_notional:.2f}"


def funds(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Free funds as the broker last said; before it has, nothing is known and the start is not over."""
    if context.funds_paise is None or context.funds_paise >= limits.min_funds * 100:
        return None
    return f"free funds {rupees_text(context.funds_paise)} < min_funds {limits.min_funds:.2f}"
