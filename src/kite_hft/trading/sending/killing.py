"""Layer 2, orders process, hot where nothing is killed: what follows when the kill latch is set.

At once: entries that wait are dropped, and every live order that opens is cancelled. As long as the latch
stands: orders that turn up later (an ambiguous one that is found, one of an earlier run) are cancelled as
well. Exits stay, as long as there is something that they close. Where the latch asks for it, all
positions are closed (exits/flatten.py). The desk asks for the latch itself before each call that leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kite_hft.layout import Reason, Side
from kite_hft.trading.book import EXTERNAL, Book, Order
from kite_hft.trading.gate.states import States
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery.adopting import opens
from kite_hft.trading.sending.desk import Desk
from kite_hft.units import NS_PER_S

SWEEP_NS: Final = NS_PER_S // 10


class Killing:
    """One per order stage; `look` is called in each step. drop_triggers(now_ns): those that lie at the broker
    and would open something."""

    def __init__(
        self, ports: Ports, book: Book, states: States, desk: Desk, drop_triggers: Callable[[int], None]
    ) -> None:
        self._ports, self._book, self._states, self._desk = ports, book, states, desk
        self._drop_triggers = drop_triggers
        self._sweep_ns = 0
        self._flattening = False

    def look(self, now_ns: int, *, active: bool) -> bool:
        """Act on the latch; True: closing all positions must begin now (once for each kill)."""
        reason = self._ports.killed()
        if not reason:
            if self._states.killed:
                self._states.unkill()
                self._flattening = False
            return False
        if not self._states.killed:
            self._states.kill(reason, self._ports.killed_by(), flatten=self._ports.kill_flat())
            self._desk.drop_entries(Reason.KILLED, f"killed: {reason}", now_ns)
            self._sweep_ns = now_ns
        if now_ns >= self._sweep_ns:
            self._sweep_ns = now_ns + SWEEP_NS
            self._sweep(now_ns)
        if active and not self._flattening and self._ports.kill_flat():
            self._flattening = True
            return True
        return False

    def next_ns(self) -> int | None:
        """When `look` must run next although nothing arrives; None: nothing is killed."""
        return self._sweep_ns if self._states.killed else None

    def _sweep(self, now_ns: int) -> None:
        self._drop_triggers(now_ns)
        for order in self._book.live():
            if order.order_no not in self._desk.cancelling and self._opens(order):
                self._desk.cancel(order, None, now_ns)

    def _opens(self, order: Order) -> bool:
        """It was judged to open, or what it was to close is gone. While an entry still lives, its exits stay:
        it may fill before its cancel arrives."""
        if order.strategy == EXTERNAL or order.opening:
            return opens(self._book, order)
        position = self._book.standing(order.strategy, order.slot, order.product)
        if order.side == Side.SELL:
            return position.quantity <= 0 and not position.open_buy
        return position.quantity >= 0 and not position.open_sell
