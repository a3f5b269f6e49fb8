"""Layer 4, simulator, cold: the exchange's side: books, resting orders, triggers, auctions.

An order that arrives takes the displayed levels it reaches; the rest waits and fills only when
the market trades through its price, or when more was traded at its price than stood in front of
it (rules.FillRule). In an auction orders gather and uncross at the last price. The price path
never depends on orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from kite_hft.layout import OrderType, Side, Validity
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.book import Book, reaches
from kite_hft.sim.exchange.desk import Desk
from kite_hft.sim.exchange.orders import Order
from kite_hft.sim.exchange.rules import FillRule
from kite_hft.sim.market.source import Ticks

Lock = Literal["upper", "lower"]
CONTINUOUS: Final = "continuous"
AUCTION: Final = "auction"


class Matching:
    """Latest snapshots and books by slot, and the orders that wait in them.

    `mode(slot)` says how orders meet there now; `protect(order, now_ns)` turns a triggered stop
    at market into a limit.
    """

    def __init__(
        self,
        latest: Ticks,
        desk: Desk,
        rule: FillRule,
        mode: Callable[[int], str],
        protect: Callable[[Order, int], None],
    ) -> None:
        n = len(latest)
        self.latest = latest
        self.seen: npt.NDArray[np.bool_] = np.zeros(n, bool)
        self.watched: npt.NDArray[np.bool_] = np.zeros(n, bool)
        self.working: dict[int, list[Order]] = {}
        self.locks: dict[int, Lock] = {}
        self._desk, self._rule, self._mode, self._protect = desk, rule, mode, protect
        self._snapshots = np.zeros(n, np.int64)
        self._volume_high = np.zeros(n, np.int64)
        self._books: dict[int, Book] = {}

    # -- market data

    def snapshot(self, slot: int, row: np.void, now_ns: int, *, trading: bool) -> None:
        """A new snapshot of a slot where orders wait. Not `trading`: nothing meets."""
        book = self._books.setdefault(slot, Book())
        # The recorded feed's day volume goes back at times: only a new high is a trade.
        volume, high = int(row["volume"]), int(self._volume_high[slot])
        traded = max(0, volume - high) if self.seen[slot] else 0
        book.renew(row, int(traded * self._rule.volume_share), self.locks.get(slot))
        self._volume_high[slot] = max(volume, high)
        book.snapshot = int(self._snapshots[slot]) + 1
        self.latest[slot] = row
        if not trading or self._mode(slot) != CONTINUOUS:
            return
        waiting = self.working.get(slot, [])
        stops = [order for order in waiting if not order.triggered]
        for order in sorted(waiting, key=Order.priority):
            if order.triggered and order.working:
                self._match_resting(order, book, now_ns)
        for order in stops:  # after those that stood in the book already
            if order.working:
                self.trigger(order, now_ns)
        self.tidy(slot)

    def take_over(self, ticks: Ticks) -> None:
        """The newest snapshots, after those with waiting orders were played one by one."""
        slots = ticks["slot"]
        self.latest[slots] = ticks
        self._snapshots[slots] += 1
        np.maximum.at(self._volume_high, slots, ticks["volume"])
        self.seen[slots] = True

    def book(self, slot: int) -> Book:
        """The book of a slot as of its latest snapshot."""
        book = self._books.setdefault(slot, Book())
        snapshot = int(self._snapshots[slot])
        # Within `snapshot` the book is ahead by one; renewed then, it would give what it gave again.
        if self.seen[slot] and book.snapshot < snapshot:
            book.renew(self.latest[slot], 0, self.locks.get(slot))  # its trades came before this order
            book.snapshot = snapshot
        return book

    def lock(self, slot: int, side: Lock | None) -> None:
        """Lock a slot at its upper or lower circuit (one side only trades), or free it."""
        if side is None:
            self.locks.pop(slot, None)  # the other side is back with the next snapshot
            return
        self.locks[slot] = side
        self.book(slot).blank(Side.SELL if side == "upper" else Side.BUY)

    # -- orders

    def enter(self, order: Order, now_ns: int) -> None:
        """An order takes its place, trades at once with what it reaches, or waits for its trigger."""
        order.working = True
        self.working.setdefault(order.slot, []).append(order)
        self.again(order, now_ns)

    def again(self, order: Order, now_ns: int) -> None:
        """A new or changed order meets the book as it stands."""
        order.queue_ahead = None
        if self._mode(order.slot) == CONTINUOUS:
            if order.triggered:
                self._match_arriving(order, now_ns)
            else:
                self.trigger(order, now_ns)
        self.tidy(order.slot)

    def trigger(self, order: Order, now_ns: int, *, at_once: bool = False) -> None:
        """A stop order whose trigger is reached (or that is told to) becomes a LIMIT."""
        buy, trigger = order.request.side == Side.BUY, order.now.trigger_px
        last_px = self.book(order.slot).last_px
        if not at_once and (not last_px or (last_px < trigger if buy else last_px > trigger)):
            return
        order.triggered = True
        if order.now.order_type == OrderType.SLM:
            self._protect(order, now_ns)
        self._desk.reserve(order)
        self._desk.move(order, o.OPEN, now_ns, exchange_ns=now_ns)
        self._desk.announce(order, o.UPDATE)
        if self._mode(order.slot) == CONTINUOUS:
            self._match_arriving(order, now_ns)

    def waiting(self, slots: Iterable[int] | None = None) -> list[Order]:
        """Orders at the exchange, of some slots or of all, oldest first."""
        chosen = self.working if slots is None else [slot for slot in slots if slot in self.working]
        return sorted(
            (order for slot in chosen for order in self.working[slot] if order.working),
            key=lambda order: (order.placed_ns, order.order_id),
        )

    def tidy(self, slot: int) -> None:
        """Forget the orders of a slot that do not wait any more."""
        working = [order for order in self.working.get(slot, []) if order.working]
        self.working[slot] = working
        self.watched[slot] = bool(working)

    def uncross(self, slot: int, now_ns: int) -> None:
        """The end of an auction: limits beyond the last price trade at it, whole; those at it do
        not (nobody knows their turn). Market orders were made limits before."""
        px = int(self.latest[slot]["last_px"]) if self.seen[slot] else 0
        for order in sorted(self.working.get(slot, []), key=Order.priority):
            if px and order.working and order.triggered and self._may_trade(order):
                better = order.now.px != px and reaches(order.request.side, order.now.px, px)
                if better:
                    self._desk.fill(order, order.remaining, px, now_ns)
        self.tidy(slot)

    # -- fills

    def _may_trade(self, order: Order) -> bool:
        """At the upper circuit nobody sells, at the lower nobody buys."""
        lock = self.locks.get(order.slot)
        return lock is None or (lock == "upper") == (order.request.side == Side.SELL)

    def _match_arriving(self, order: Order, now_ns: int) -> None:
        """Take the displayed levels that the limit reaches; then wait, or end if IOC."""
        side, px = order.request.side, order.now.px
        book = self.book(order.slot)
        if self._may_trade(order):
            for level_px, quantity in book.take(side, px, order.remaining):
                self._desk.fill(order, quantity, level_px, now_ns)
        if order.done:
            return
        if order.now.validity == Validity.IOC:
            self._desk.finish(order, o.CANCELLED, now_ns)
        else:
            self._queue(order, book)

    def _queue(self, order: Order, book: Book) -> None:
        """Stand behind what is displayed at the order's price."""
        ahead = book.queue_at(order.request.side, order.now.px)
        order.queue_ahead = None if ahead is None else math.ceil(ahead * self._rule.queue_share)

    def _match_resting(self, order: Order, book: Book, now_ns: int) -> None:
        """A new snapshot against a waiting order; every fill is at the order's own price."""
        if not self._may_trade(order):
            return
        side, px = order.request.side, order.now.px
        if order.queue_ahead is None:
            # First seen among the levels now: all that stands there stands in front.
            self._queue(order, book)
        elif book.last_px == px:
            free = max(0, book.traded_total - order.queue_ahead)
            order.queue_ahead = max(0, order.queue_ahead - book.traded_total)
            if taken := book.take_traded(min(free, _shown(order))):
                self._desk.fill(order, taken, px, now_ns)
                if not order.done and order.now.disclosed and order.now.filled % order.now.disclosed == 0:
                    self._queue(order, book)  # the next part that it shows goes behind the others
        through = book.last_px != px and reaches(side, px, book.last_px)
        if through and not order.done:
            # A feed without day volume proves a trade through the price, but not how much.
            taken = book.take_traded(order.remaining) if book.has_volume else order.remaining
            if taken:
                self._desk.fill(order, taken, px, now_ns)
        if self._rule.touch and not order.done:
            for _, quantity in book.take(side, px, order.remaining):
                self._desk.fill(order, quantity, px, now_ns)


def _shown(order: Order) -> int:
    """How much of a waiting order the others can see: all, or the rest of its disclosed part."""
    disclosed = order.now.disclosed
    return min(order.remaining, disclosed - order.now.filled % disclosed) if disclosed else order.remaining
