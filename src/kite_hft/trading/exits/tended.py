"""Layer 2, orders process, cold: the word of ORDERS of the exits that it tends, for the watchdog.

An order that stands at the target of an exit stops no loss by itself: it becomes a stop again when the price
leaves the target, and that is the engine's doing. By the broker's books alone the watchdog cannot tell it
from a limit that somebody forgot. While such orders stand, ORDERS names them every second, with the stop
that each of them is to become; when it falls silent the word is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from kite_hft.layout import OrderType
from kite_hft.trading.exits.plan import Mode, Plan
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import Order
from kite_hft.trading.records import encode_json
from kite_hft.units import NS_PER_S

AGAIN_NS: Final = NS_PER_S
BOOK: Final = "exits"
"""Its name among the books that are put where the watchdog finds them."""


class Tended:
    """put(name, body, now_ns): hands it to the watchdog (Ports.on_book)."""

    def __init__(self, instruments: InstrumentTable, put: Callable[[str, bytes, int], None]) -> None:
        self._instruments, self._put = instruments, put
        self._said: tuple[tuple[str, float], ...] = ()
        self._said_ns = -AGAIN_NS

    def say(self, exits: Iterable[tuple[Plan, Iterable[Order]]], now_ns: int) -> None:
        """Name the orders of plans that stand at their target; to be called while the engine sends orders."""
        found = tuple(
            (order.order_id, plan.level_px / self._instruments[plan.slot].scale)
            for plan, orders in exits
            if plan.mode is Mode.TARGET and plan.level_px
            for order in orders
            if order.order_type == OrderType.LIMIT and order.order_id
        )
        if found == self._said and not (found and now_ns - self._said_ns >= AGAIN_NS):
            return
        self._said, self._said_ns = found, now_ns
        rows = [{"order_id": order_id, "stop": stop} for order_id, stop in found]
        self._put(BOOK, encode_json(rows), now_ns)
