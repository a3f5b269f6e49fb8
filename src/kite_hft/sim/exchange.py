"""Layer 4, simulator, cold: broker and exchange in one: orders against the moving book.

Pure and seeded: no clock, no I/O; every call is told `now_ns` (ns since the epoch). Orders walk
Kite's status chain with a seeded delay per stage. An order that arrives takes the displayed
levels it reaches; the rest waits and fills only when the market trades through its price, when
the far touch crosses it, or when more was traded at its price than stood in front of it. The
price path never depends on orders.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from kite_hft.layout import TICK, OrderType, Product, Side, Validity
from kite_hft.sim import orders as o
from kite_hft.sim.account import Account
from kite_hft.sim.book import Book, reaches
from kite_hft.sim.orders import Change, NewOrder, Order, OrderState, Refusal, Trade
from kite_hft.sim.rows import date_digits, order_row
from kite_hft.sim.rules import (
    MARKETS,
    OPTIONS,
    STOPS,
    ExchangeParams,
    auto_protection,
    check_change,
    check_request,
    check_terms,
    order_value_paise,
    protected_px,
    risk_rejection,
)
from kite_hft.sim.source import Ticks
from kite_hft.trading.instruments import InstrumentTable

BUSY: Final = "Order cannot be {} as it is being processed. Try later."
NOT_FOUND: Final = "Couldn't find that `order_id`."


class Exchange:
    """One client's account at the simulated broker."""

    def __init__(
        self,
        instruments: InstrumentTable,
        cash_paise: int,
        seed: int = 0,
        params: ExchangeParams | None = None,
    ) -> None:
        self.instruments = instruments
        self.params = params or ExchangeParams()
        self.account = Account(cash_paise)
        self.orders: dict[str, Order] = {}
        self.latest: Ticks = np.zeros(len(instruments), TICK)
        self.latest["slot"] = np.arange(len(instruments))
        self.seen = np.zeros(len(instruments), bool)
        self._rng = random.Random(seed)
        self._agenda: list[tuple[int, int, str, Callable[[Order, int], None]]] = []
        self._agenda_no = 0
        self._order_no = self._rng.randrange(100_000, 900_000)
        self._exchange_no = self._rng.randrange(1_000_000, 9_000_000)
        self._trade_no = 10_000_000
        self._working: dict[int, list[Order]] = {}
        self._watched = np.zeros(len(instruments), bool)
        self._snapshots = np.zeros(len(instruments), np.int64)
        self._volume_high = np.zeros(len(instruments), np.int64)
        self._books: dict[int, Book] = {}
        self._updates: list[dict[str, Any]] = []

    # -- market data

    def on_ticks(self, ticks: Ticks, now_ns: int) -> None:
        """The market moves: TICK rows in order; resting orders of these instruments may fill."""
        self.step(now_ns)
        slots = ticks["slot"]
        for i in np.flatnonzero(self._watched[slots]).tolist():
            self._snapshot(int(slots[i]), ticks[i], now_ns)
        self.latest[slots] = ticks
        self._snapshots[slots] += 1
        np.maximum.at(self._volume_high, slots, ticks["volume"])
        self.seen[slots] = True

    def _snapshot(self, slot: int, row: np.void, now_ns: int) -> None:
        book = self._books[slot]
        # The recorded feed's day volume goes back at times: only a new high is a trade.
        volume, high = int(row["volume"]), int(self._volume_high[slot])
        book.renew(row, max(0, volume - high) if self.seen[slot] else 0)
        self._volume_high[slot] = max(volume, high)
        book.snapshot = int(self._snapshots[slot]) + 1
        self.latest[slot] = row
        waiting = self._working.get(slot, [])
        stops = [order for order in waiting if not order.triggered]
        for order in sorted(waiting, key=Order.priority):
            if order.triggered:
                self._match_resting(order, book, now_ns)
        for order in stops:  # after those that stood in the book already
            self._trigger(order, book, now_ns)
        self._tidy(slot)

    def _book(self, slot: int) -> Book:
        """The book of a slot as of its latest snapshot."""
        book = self._books.setdefault(slot, Book())
        snapshot = int(self._snapshots[slot])
        if self.seen[slot] and book.snapshot != snapshot:
            book.renew(self.latest[slot], 0)  # its trades came before this order
            book.snapshot = snapshot
        return book

    # -- requests

    def place(self, request: NewOrder, now_ns: int) -> str:
        """Take an order in; returns its id. It will be REJECTED later if the risk system says so.

        Raises:
            Refusal: the request is wrong in itself; no order exists.
        """
        check_request(request)
        self._order_no += 1
        order_id = f"{date_digits(now_ns)}{self._order_no:09d}"
        state = OrderState(
            o.RECEIVED, now_ns, 0, None, request.order_type, request.validity, request.quantity,
            request.px, request.trigger_px, 0, 0, 0, False, None, None,
        )  # fmt: skip
        order = Order(order_id, request, now_ns, [state], triggered=request.order_type not in STOPS)
        if request.tag is not None and self.params.keep_tags:
            order.tags.append(request.tag)
        self.orders[order_id] = order
        self._later(order, now_ns, self._validate)
        return order_id

    def modify(self, order_id: str, change: Change, now_ns: int) -> str:
        """Ask for a change; it takes effect some stages later unless the order is done by then.

        Raises:
            Refusal: unknown, done or busy order, too many modifications, or wrong terms.
        """
        order = self._changeable(order_id, "modified")
        if order.modifications >= self.params.modifications_max:
            raise Refusal("OrderException", "Maximum allowed order modifications exceeded.")
        now, row = order.now, order.request.instrument
        check_change(row, change)
        merged = now.merged(change)
        if merged.order_type not in MARKETS:
            check_terms(row, merged.order_type, merged.quantity, merged.px, merged.trigger_px)
        order.modifications += 1
        self._move(order, o.MODIFY_VALIDATION_PENDING, now_ns)

        def pending(_: Order, at_ns: int) -> None:
            if not order.done:
                self._move(order, o.MODIFY_PENDING, at_ns)
                self._later(order, at_ns, lambda _, t: self._apply_change(order, change, t))

        self._later(order, now_ns, pending)
        return order_id

    def cancel(self, order_id: str, now_ns: int) -> str:
        """Ask for cancellation.

        Raises:
            Refusal: unknown, done or busy order.
        """
        order = self._changeable(order_id, "cancelled")
        self._move(order, o.CANCEL_PENDING, now_ns)
        self._later(order, now_ns, self._cancelled)
        return order_id

    def _changeable(self, order_id: str, verb: str) -> Order:
        order = self.orders.get(order_id)
        if order is None:
            raise Refusal("OrderException", NOT_FOUND, 404)
        if order.done:
            status = order.now.status.lower()
            raise Refusal("OrderException", f"Order cannot be {verb} as it is already {status}.")
        if order.now.status not in (o.OPEN, o.TRIGGER_PENDING):
            raise Refusal("OrderException", BUSY.format(verb))
        return order

    # -- time

    def step(self, now_ns: int) -> int:
        """Do all stages due by `now_ns`; returns how many."""
        done = 0
        while self._agenda and self._agenda[0][0] <= now_ns:
            due, _, order_id, action = heapq.heappop(self._agenda)
            action(self.orders[order_id], due)
            done += 1
        return done

    def next_due_ns(self) -> int | None:
        """When the next stage is due, or None."""
        return self._agenda[0][0] if self._agenda else None

    def drain_updates(self) -> list[dict[str, Any]]:
        """Order updates since the last call, oldest first: order rows, some with status UPDATE."""
        updates, self._updates = self._updates, []
        return updates

    def stats(self) -> dict[str, int]:
        """Totals for the simulator's report."""
        statuses = [order.now.status for order in self.orders.values()]
        return {
            "orders": len(statuses),
            "complete": statuses.count(o.COMPLETE),
            "rejected": statuses.count(o.REJECTED),
            "cancelled": statuses.count(o.CANCELLED),
            "trades": len(self.account.trades),
            "cash_paise": self.account.cash_paise,
        }

    def _later(self, order: Order, now_ns: int, action: Callable[[Order, int], None]) -> None:
        self._agenda_no += 1
        delay = self._rng.randint(*self.params.latency_ns)
        heapq.heappush(self._agenda, (now_ns + delay, self._agenda_no, order.order_id, action))

    # -- the status chain

    def _validate(self, order: Order, now_ns: int) -> None:
        self._move(order, o.VALIDATION_PENDING, now_ns)
        rejection = self._protect(order, order.now, order.request.protection_percent, now_ns)
        rejection = rejection or self._risk(order, order.now)
        if rejection is not None:
            self._reject(order, rejection, now_ns)
            return
        self._reserve(order)
        self._later(order, now_ns, self._open_pending)

    def _open_pending(self, order: Order, now_ns: int) -> None:
        self._move(order, o.OPEN_PENDING, now_ns)
        self._later(order, now_ns, self._arrive)

    def _arrive(self, order: Order, now_ns: int) -> None:
        """The exchange has the order: it trades with the book, then waits."""
        self._exchange_no += 1
        number = f"1{self._rng.randrange(100, 400)}000{self._exchange_no:09d}"
        status = o.OPEN if order.triggered else o.TRIGGER_PENDING
        self._move(order, status, now_ns, exchange_order_id=number, exchange_ns=now_ns)
        order.working = True
        book = self._book(order.slot)
        self._working.setdefault(order.slot, []).append(order)
        if order.triggered:
            self._match_arriving(order, book, now_ns)
        else:
            self._trigger(order, book, now_ns)
        self._tidy(order.slot)

    def _apply_change(self, order: Order, change: Change, now_ns: int) -> None:
        if order.done:
            return
        was_open = o.OPEN if order.triggered else o.TRIGGER_PENDING
        merged = order.now.merged(change)
        if merged.quantity <= merged.filled:
            self._move(order, was_open, now_ns, message="Quantity is already filled.")
            return
        before = len(order.states)
        order.states.append(merged)
        rejection = self._protect(order, merged, change.protection_percent, now_ns)
        rejection = rejection or self._risk(order, order.now)
        if rejection is not None:
            del order.states[before:]
            self._move(order, was_open, now_ns, message=rejection[0], message_raw=rejection[1])
            return
        order.states[-1] = order.now._replace(status=o.MODIFIED, at_ns=now_ns, exchange_ns=now_ns)
        order.triggered = order.triggered or order.now.order_type not in STOPS
        order.queue_ahead = None
        self._reserve(order)
        self._move(order, o.OPEN if order.triggered else o.TRIGGER_PENDING, now_ns, exchange_ns=now_ns)
        self._announce(order, o.UPDATE)
        book = self._book(order.slot)
        if order.triggered:
            self._match_arriving(order, book, now_ns)
        else:
            self._trigger(order, book, now_ns)
        self._tidy(order.slot)

    def _cancelled(self, order: Order, now_ns: int) -> None:
        if not order.done:
            self._finish(order, o.CANCELLED, now_ns)
            self._tidy(order.slot)

    def _trigger(self, order: Order, book: Book, now_ns: int) -> None:
        """A stop order whose trigger is reached becomes a LIMIT at the exchange."""
        buy, trigger = order.request.side == Side.BUY, order.now.trigger_px
        if not book.last_px or (book.last_px < trigger if buy else book.last_px > trigger):
            return
        order.triggered = True
        if order.now.order_type == OrderType.SLM:
            self._protect(order, order.now, order.request.protection_percent, now_ns)
            self._reserve(order)
        self._move(order, o.OPEN, now_ns, exchange_ns=now_ns)
        self._announce(order, o.UPDATE)
        self._match_arriving(order, book, now_ns)

    def _protect(
        self, order: Order, state: OrderState, percent: float, now_ns: int
    ) -> tuple[str, str] | None:
        """Turn a MARKET order into a LIMIT at its protection price; a rejection when it cannot."""
        if state.order_type not in MARKETS:
            return None
        row, last = order.request.instrument, self.latest[order.slot]
        if not self.seen[order.slot] or (row.kind in OPTIONS and not last["volume"]):
            return (
                "Market orders are blocked for instruments without a trade today.",
                "RMS:Rule: Market order not allowed, no last traded price",
            )
        if state.order_type == OrderType.SLM and not order.triggered:
            return None
        last_px = int(last["last_px"])
        percent = auto_protection(row, last_px) if percent in (0.0, -1.0) else percent
        px = protected_px(row, order.request.side, last_px, percent)
        order.states[-1] = state._replace(order_type=OrderType.LIMIT, px=px)
        if "mktp" not in order.tags:
            order.tags += ["mktp", f"mktp:{percent:.2f}"]
        return None

    def _risk(self, order: Order, state: OrderState) -> tuple[str, str] | None:
        row, account = order.request.instrument, self.account
        others = sum(
            other.remaining
            for other in self.orders.values()
            if other is not order and other.slot == row.slot and other.request.side == Side.SELL
            and other.request.product == Product.CNC and other.now.status != o.RECEIVED
        ) if order.request.product == Product.CNC else 0  # fmt: skip
        band = self.band(row.slot)
        px = state.px or state.trigger_px
        account.reserved_paise -= order.reserved_paise
        verdict = risk_rejection(
            order.request, px, state.quantity - state.filled, band, account, others, self.params.user_id
        )
        account.reserved_paise += order.reserved_paise
        return verdict

    def band(self, slot: int) -> tuple[int, int]:
        """Circuit limits of a slot, in its unit; (0, 0) while no close is known."""
        return self.params.circuit.band(self.instruments[slot], int(self.latest[slot]["close_px"]))

    # -- fills

    def _match_arriving(self, order: Order, book: Book, now_ns: int) -> None:
        """Take the displayed levels that the limit reaches; then wait, or end if IOC."""
        side, px = order.request.side, order.now.px
        for level_px, quantity in book.take(side, px, order.remaining):
            self._fill(order, quantity, level_px, now_ns)
        if order.done:
            return
        if order.now.validity == Validity.IOC:
            self._finish(order, o.CANCELLED, now_ns)
        else:
            order.queue_ahead = book.queue_at(side, px)

    def _match_resting(self, order: Order, book: Book, now_ns: int) -> None:
        """A new snapshot against a waiting order; every fill is at the order's own price."""
        side, px = order.request.side, order.now.px
        if order.queue_ahead is None:
            # First seen among the levels now: all that stands there stands in front.
            order.queue_ahead = book.queue_at(side, px)
        elif book.last_px == px:
            free = max(0, book.traded_total - order.queue_ahead)
            order.queue_ahead = max(0, order.queue_ahead - book.traded_total)
            if taken := book.take_traded(min(free, order.remaining)):
                self._fill(order, taken, px, now_ns)
        through = book.last_px != px and reaches(side, px, book.last_px)
        if through and not order.done and (taken := book.take_traded(order.remaining)):
            self._fill(order, taken, px, now_ns)
        for _, quantity in [] if order.done else book.take(side, px, order.remaining):
            self._fill(order, quantity, px, now_ns)

    def _fill(self, order: Order, quantity: int, px: int, now_ns: int) -> None:
        row, state = order.request.instrument, order.now
        self._trade_no += 1
        trade = Trade(
            str(self._trade_no), order.order_id, state.exchange_order_id or "", row, order.request.side,
            order.request.product, quantity, px, order_value_paise(row, px, quantity), now_ns,
        )  # fmt: skip
        self.account.book(trade)
        order.trade_ids.append(trade.trade_id)
        filled = state.filled + quantity
        changed = {"filled": filled, "filled_units": state.filled_units + px * quantity}
        if filled == state.quantity:
            self._finish(order, o.COMPLETE, now_ns, **changed)
        else:
            self._move(order, state.status, now_ns, exchange_ns=now_ns, **changed)
            self._reserve(order)
            self._announce(order, o.UPDATE)

    def _finish(self, order: Order, status: str, now_ns: int, **changed: Any) -> None:
        left = 0 if status == o.COMPLETE else order.now.quantity - order.now.filled
        self._move(order, status, now_ns, exchange_ns=now_ns, cancelled=left, **changed)
        order.working = False
        self._reserve(order)
        self._announce(order, status)

    def _reject(self, order: Order, why: tuple[str, str], now_ns: int) -> None:
        self._move(order, o.REJECTED, now_ns, message=why[0], message_raw=why[1])
        self._announce(order, o.REJECTED)

    def _reserve(self, order: Order) -> None:
        """Keep the account's reserve equal to the value of what this buy may still cost."""
        if order.request.side == Side.BUY:
            px = order.now.px or order.now.trigger_px
            value = order_value_paise(order.request.instrument, px, order.remaining)
            self.account.reserved_paise += value - order.reserved_paise
            order.reserved_paise = value

    def _move(self, order: Order, status: str, now_ns: int, **changed: Any) -> None:
        order.states.append(order.now._replace(status=status, at_ns=now_ns, **changed))

    def _announce(self, order: Order, label: str) -> None:
        self._updates.append(order_row(order, order.now, self.params.user_id) | {"status": label})

    def _tidy(self, slot: int) -> None:
        working = [order for order in self._working.get(slot, []) if order.working]
        self._working[slot] = working
        self._watched[slot] = bool(working)
