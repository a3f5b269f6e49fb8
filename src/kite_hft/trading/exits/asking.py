"""Layer 2, orders process, cold: why exits that a strategy asks for are none. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kite_hft.layout import IntentFlag, OrderType, Reason, Side
from kite_hft.trading.exits.at_broker import OVERNIGHT
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Intent

Refusal = tuple[Reason, str]
TYPO: Final = 5
"""Percent: what lies so far on the wrong side of the price is a mistake, not a fast market."""
_TRIGGERED: Final = frozenset({0, int(OrderType.SL), int(OrderType.SLM)})


def form_refusal(intent: Intent, instruments: InstrumentTable, now_ns: int) -> Refusal | None:
    """Of an EXITS intent for itself."""
    rows = instruments.rows
    if intent.slot >= len(rows) or rows[intent.slot].is_index:
        return Reason.UNKNOWN_INSTRUMENT, f"slot {intent.slot} cannot be held"
    row, prices = rows[intent.slot], (intent.px, intent.trigger_px, intent.trail_px, intent.step_px)
    if min(prices) < 0 or intent.order_type not in _TRIGGERED:
        return Reason.BAD_INTENT, f"exits with prices {prices}, order type {intent.order_type}"
    if row.tick_px <= 0 or any(px % row.tick_px for px in prices):
        return Reason.TICK_SIZE, f"a price of the exits {prices} is no multiple of tick {row.tick_px}"
    if intent.deadline_ns and intent.deadline_ns <= now_ns:
        return Reason.BAD_INTENT, "the time of the exits has passed"
    if intent.flags & IntentFlag.GTT and intent.product not in OVERNIGHT:
        return Reason.PRODUCT_NOT_ALLOWED, "a GTT is for positions held overnight: CNC, NRML, MTF"
    return None


def side_refusal(intent: Intent, side: int, last_px: Callable[[int], int]) -> Refusal | None:
    """Stop and target on the wrong sides of one another, or of the price. side: of the orders that would
    close the position; 0: not known.
    """
    sign = 1 if side == Side.SELL else -1
    stop, target, last = intent.trigger_px, intent.px, last_px(intent.slot)
    if side and stop and target and (target - stop) * sign <= 0:
        return Reason.BAD_INTENT, f"target {target} and stop {stop} are on the wrong sides of one another"
    if side and stop and last and (stop - last) * sign * 100 > TYPO * last:
        return Reason.BAD_INTENT, f"stop {stop} is on the wrong side of the price {last}"
    if side and target and last and (last - target) * sign * 100 > TYPO * last:
        return Reason.BAD_INTENT, f"target {target} is on the wrong side of the price {last}"
    return None
