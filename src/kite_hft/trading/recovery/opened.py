"""Layer 2, orders process, cold: what the gate's sums of a period and of the day let pass, by the journal.

An order counts as it was sent, whatever became of it and of its terms; so does what a change has added to it,
and a trigger at the broker (GTT). Each counts at its own price or the last one of then, whichever is higher.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order

OPENING: Final = "opening"


class Opened(NamedTuple):
    """time_ns: CLOCK_REALTIME, as journalled. px: in the instrument's unit. placed: an order, or a trigger,
    that its strategy has asked for; False: a change, or the engine's own.
    """

    time_ns: int
    strategy: int
    slot: int
    side: int
    quantity: int
    px: int
    placed: bool


def by_order(data: dict[str, Any]) -> Opened | None:
    """By an INTENT record; None: it did not open."""
    if not data[OPENING]:
        return None
    words = (data["time_ns"], data["strategy"], data["slot"], data["side"], data["qty"])
    return Opened(*words, max(data["px"], data["ref_px"]), data["seq"] < ENGINE_SEQ)


def by_change(data: dict[str, Any], order: Order) -> Opened | None:
    """By the CALL record of a modification of an order, as it stood before that."""
    if not data.get(OPENING):
        return None
    quantity, px, _, _ = data["terms"]
    more = max(0, quantity - max(order.quantity, order.quantity_max))
    words = (data["time_ns"], order.strategy, order.slot, order.side, more)
    return Opened(*words, max(px, data["ref_px"]), False)


def by_trigger(data: dict[str, Any]) -> Opened | None:
    """By a GTT record: that of its placing tells."""
    if data.get("do") != "place" or not data.get(OPENING):
        return None
    ((side, quantity, px, _),) = data["legs"]
    words = (data["time_ns"], data["strategy"], data["slot"], side, quantity)
    return Opened(*words, max(px, data["ref_px"]), data["seq"] < ENGINE_SEQ)
