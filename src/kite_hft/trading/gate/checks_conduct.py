"""Layer 2, orders process, hot: checks of the state of engine and strategy, and of how they behave."""

from __future__ import annotations

from typing import Final

from kite_hft.layout import IntentFlag, OrderStatus, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate.checks import (
    AT_MARKET,
    CUT_QUIET_NS,
    PLACE,
    TRIGGERED,
    Context,
    RiskLimits,
    more,
    resulting,
    type_of,
)
from kite_hft.trading.gate.facts import Traffic
from kite_hft.trading.intents import Intent
from kite_hft.trading.order import Order
from kite_hft.trading.unproven import Terms

_EXIT: Final = int(IntentFlag.EXIT)


def token_dead(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return f"the broker refuses our token: {context.token_dead}" if context.token_dead else None


def active(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.active else "orders are not active: starting, or not reconciled"


def killed(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return f"killed: {context.killed}" if context.killed else None


def halted(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return f"halted: {context.halted}" if context.halted else None


def reducing_only(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return context.reducing_only or None


def frozen(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Nothing opens beside an ambiguous order, nor where the broker's books contradict one another. What
    reduces passes, but beside an ambiguous *exit* only once two whole reads of his positions agree.
    """
    side = context.target.side if context.target else intent.side
    if context.reducing:
        other = context.book.frozen_exit(intent.slot, side)
        why = "an exit whose fate is unknown: the positions are being read"
    elif text := context.book.apart.get(intent.slot):
        return text
    else:
        other, why = context.book.frozen(intent.slot, side), "ambiguous"
    return f"order {other.order_no} on the same instrument and side is {why}" if other else None


def exit_left(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """What was meant to close a position must not open one: what it closes may be closed already."""
    if intent.flags & _EXIT:
        terms = intent if context.target is None else context.target
        held = context.book.standing(intent.strategy, intent.slot, terms.product)
        return f"an exit of {intent.qty}: {held.quantity} held, {held.open_buy + held.open_sell} under way"
    if 0 <= context.cut_age_ns < CUT_QUIET_NS:
        return f"the broker closed a part of the position {context.cut_age_ns / 1e6:.0f} ms ago"
    return None


def outgrown(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """An exit grows only as far as there is something to be closed, also when the call has waited: then what
    it asks for counts already. At another price, too, it is no exit any more when nothing is left to close.
    """
    target = context.target
    if target is None or target.opening or not context.reducing:
        return None
    position = context.book.position(target)
    if intent.qty > target.quantity:
        grown = not position.reduces(*more(intent, target))
        return f"an exit would grow to {intent.qty}: {position.quantity} held" if grown else None
    return None if only_less(intent, target) else closed(context.book, target)


def only_less(intent: Intent, target: Order) -> bool:
    """A smaller quantity, and nothing else."""
    return (
        0 < intent.qty < target.quantity
        and intent.px in (0, target.px)
        and intent.trigger_px in (0, target.trigger_px)
        and intent.order_type in (0, target.order_type)
    )


def closable(book: Book, order: Order) -> int:
    """So much is held for an order to close: 0 or less, it would open."""
    held = book.standing(order.strategy, order.slot, order.product).quantity
    return held if order.side == Side.SELL else -held


def closed(book: Book, order: Order) -> str | None:
    """Why an exit that waited is none any more: something else has closed what it was to close."""
    held = closable(book, order)
    return f"nothing is left for this exit to close: {abs(held)} held on its side" if held <= 0 else None


def outrun(book: Book, order: Order) -> str | None:
    """Why an exit that waited would open something by now: others, which have left since, close the same. A
    trigger at the broker has placed its order, or one lives that was thought absent. What such an order would
    grow to counts from when that call has left: it came later, and is judged again.
    """
    held, here = closable(book, order), (order.strategy, order.slot, order.product, order.side)
    ahead = sum(
        max(0, other.open_quantity - other.growth)
        for other in book.live_orders.values()
        if (other.strategy, other.slot, other.product, other.side) == here
        and not other.opening
        and _goes_before(other, order)
    )
    if ahead + order.open_quantity <= held:
        return None
    return f"an exit of {order.open_quantity}: {held} held, {ahead} under way before it"


def _goes_before(other: Order, order: Order) -> bool:
    if other is order or other.status is OrderStatus.NEW:
        return False
    return bool(other.order_id) or other.order_no < order.order_no


# Losses


def drawdown(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return (context.guards.drawdown or None) if context.guards else None


def stop_guard(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    left_ns = context.guards.paused_ns(context.now_ns) if context.guards else 0
    if not left_ns:
        return None
    return f"{limits.stop_losses_max} positions closed at a loss: nothing is opened for {left_ns / 1e9:.0f} s"


def cooldown(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if context.guards is None:
        return None
    left_ns = context.guards.cooling_ns(intent.strategy, intent.slot, context.now_ns)
    if not left_ns:
        return None
    return f"strategy {intent.strategy} lost in slot {intent.slot}: it waits {left_ns / 1e9:.1f} s more"


# Repetition and noise


def repeated(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """The stage holds a strategy that this refuses, until a person lets it go on."""
    if context.tally is None or intent.kind != PLACE:
        return None
    same = context.tally.same(intent.strategy, intent.slot, intent.side, intent.qty, context.now_ns)
    if same < limits.repeats_max:
        return None
    side = Side(intent.side).name
    return (
        f"strategy {intent.strategy} sent {side} {intent.qty} in slot {intent.slot} {same} times within"
        f" {limits.repeats_s:g} s >= repeats_max {limits.repeats_max}"
    )


def traffic(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Messages to trades, and modifications, of the contract and of the strategy (NSE: persistent noise)."""
    facts = context.facts
    if facts.traffic is None:
        return None
    contract, strategy = facts.traffic(intent.strategy, intent.slot)
    if text := noise(contract, facts.per_contract):
        return f"slot {intent.slot}: {text}"
    if text := noise(strategy, facts.per_strategy):
        return f"strategy {intent.strategy}: {text}"
    return None


def noise(seen: Traffic, conduct: Conduct) -> str | None:
    """Which of the stop levels is reached; a level of 0 is none."""
    ratio, most = conduct.ratio_stop, conduct.modifications_stop
    if ratio and seen.messages >= conduct.messages_min and seen.messages >= ratio * max(1, seen.trades):
        reached = seen.messages / max(1, seen.trades)
        return f"{seen.messages} messages, {seen.trades} trades: {reached:.1f} to one >= {ratio:g}"
    if most and seen.modifications >= most:
        return f"{seen.modifications} modifications >= {most}"
    return None


def self_trade(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Against every live order of the account on the other side that rests, or will, in the market."""
    target, book = context.target, context.book
    side = intent.side if target is None else target.side
    sums = book.in_play().get(intent.slot)
    if sums is None or not (sums[2] if side == Side.BUY else sums[1]):
        return None
    kind = type_of(intent, target)
    px = None if kind in AT_MARKET else resulting(intent, target)[1]
    for order in book.live_orders.values():
        if order.slot == intent.slot and order.side != side and meets(px, side, order):
            whose = f"order {order.order_no} of strategy {order.strategy}"
            at = "the market" if px is None else str(px)
            changed = " (a change of it is under way)" if in_doubt(order) is not None else ""
            return f"{Side(side).name} at {at} would meet {whose} at {order.px or 'the market'}{changed}"
    return None


def in_doubt(order: Order) -> Terms | None:
    """What the order may be by now, or become: a change of it waits, is unanswered, or is not proved."""
    return order.asked if order.asked is not None or order.unproven is None else order.unproven.terms


def meets(px: int | None, side: int, order: Order) -> bool:
    """Whether a price (None: at any) could trade with a live order, as it stands or as it is to be. A stop
    that has not triggered rests outside the market.
    """
    untriggered = order.status is not OrderStatus.OPEN
    if not (order.order_type in TRIGGERED and untriggered) and _reaches(px, side, order.px):
        return True
    changed = in_doubt(order)
    if changed is None:
        return False
    _quantity, at_px, _trigger_px, kind = changed
    rearmed = kind in TRIGGERED and (untriggered or order.order_type not in TRIGGERED)
    return not rearmed and _reaches(px, side, at_px)


def _reaches(px: int | None, side: int, at_px: int) -> bool:
    """at_px 0: at the market."""
    if px is None or not at_px:
        return True
    return px >= at_px if side == Side.BUY else px <= at_px
