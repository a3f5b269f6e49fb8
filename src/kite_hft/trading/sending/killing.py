"""Layer 2, orders process, hot where nothing is killed: what follows when the kill latch is set, when the
engine stops and cancels what opens, or when a person has that cancelled and nothing stopped.

At once: entries that wait are dropped, and every live order that opens is cancelled. As long as the latch
stands: orders that turn up later (an ambiguous one that is found, one of an earlier run) are cancelled as
well; their cancels go before the exits that wait (cancelling.py). Exits stay, as long as there is something
that they close, or stops, that an entry under way may come to need. Where the latch asks for it, all
positions are closed (exits/flatten.py). A strategy's own stop that is larger than what is left of its
position is made smaller (exits/own_stops.py), as long as the books are known to be right. The desk asks
for the latch itself before each call that leaves.

A person who only wants what opens gone (`cancel_all`) latches nothing: it concerns the orders that there were
at that moment, until none of them lives that opens. A strategy's own stops are its own then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from kite_hft.layout import Reason
from kite_hft.trading.book import Book
from kite_hft.trading.gate.states import States
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery.adopting import opens
from kite_hft.trading.sending.desk import Desk
from kite_hft.units import NS_PER_S

SWEEP_NS: Final = NS_PER_S // 10


class Stops(Protocol):
    """Who makes stops fit that strategies placed themselves."""

    def fit_stops(self, now_ns: int) -> None: ...

    @property
    def stops_fitted(self) -> bool: ...


class Killing:
    """One per order stage; `look` is called in each step. drop_triggers(now_ns): those that lie at the broker
    and would open something."""

    def __init__(
        self, ports: Ports, book: Book, states: States, desk: Desk, drop_triggers: Callable[[int], None],
        stops: Stops,
    ) -> None:  # fmt: skip
        self._ports, self._book, self._states, self._desk = ports, book, states, desk
        self._drop_triggers, self._stops = drop_triggers, stops
        self._active = False
        self._sweep_ns = 0
        self._flattening = False
        self.stopping = False  # the engine ends, and cancels what opens
        self._clear_to = 0  # a person wants gone what opens, of the orders up to this number; 0: nothing

    def look(self, now_ns: int, *, active: bool) -> bool:
        """Act on the latch; True: closing all positions must begin now (once for each kill)."""
        reason, self._active = self._ports.killed(), active
        if not reason:
            if self._states.killed:
                self._states.unkill()
                self._desk.cancels_first.forget()
                self._flattening = False
            if (self.stopping or self._clear_to) and now_ns >= self._sweep_ns:
                self._sweep_ns = now_ns + SWEEP_NS
                if self.stopping:
                    self.cancel_openings(now_ns)
                if active:  # else what is held is not known: an exit may look like one of nothing
                    self._clear(now_ns)
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
        return self._sweep_ns if self._states.killed or self.stopping or self._clear_to else None

    @property
    def done(self) -> bool:
        """A stop that cancels what opens has asked for all of it."""
        if not self.stopping:
            return True
        opening = any(opens(self._book, order) for order in self._book.live())
        return not opening and (self._stops.stops_fitted or not self._active)

    def cancel_openings(self, now_ns: int) -> None:
        """Every live order that opens; exits among them whose position has gone, or a part of it."""
        for order in self._book.live():
            if opens(self._book, order) and order.order_no not in self._desk.cancelling:
                self._desk.cancel(order, None, now_ns)
        if self._active:
            self._stops.fit_stops(now_ns)

    def cancel_all(self, last_no: int, now_ns: int) -> list[int]:
        """Have what opens cancelled, of the orders up to `last_no`; the numbers of those that do so now. What
        an earlier run left is judged when it is known what the account holds.
        """
        self._clear_to = last_no
        self._drop_triggers(now_ns)
        return self._clear(now_ns)

    @property
    def clears_to(self) -> int:
        """That is under way, of the orders up to this number; 0: it is done."""
        return self._clear_to

    def restore(self, clear_to: int) -> None:
        """A person wanted that of an earlier process: of the orders up to this number."""
        self._clear_to = clear_to

    def _clear(self, now_ns: int) -> list[int]:
        sure = (o for o in self._book.live() if o.strategy != EXTERNAL or self._book.account_known)
        meant = [order for order in sure if order.order_no <= self._clear_to and opens(self._book, order)]
        for order in meant:
            if order.order_no not in self._desk.cancelling:
                self._desk.cancel(order, None, now_ns)
        if not meant and self._active:
            self._clear_to = 0
        return [order.order_no for order in meant]

    def _sweep(self, now_ns: int) -> None:
        self._drop_triggers(now_ns)
        for order in self._book.live():
            if opens(self._book, order):
                self._desk.cancels_first.give_turn(order.order_no)
        self.cancel_openings(now_ns)
