"""Layer 2, orders process, cold: reads the broker's books, and squares everything at start.

At start, and again with every check of the positions: orders, trades, positions, then orders once
more. Had anything filled since the positions were asked for, they may hold it or not: they are read
again. Only a whole round in which nothing moved is compared, and makes the stage reconciled.
"""

from __future__ import annotations

from collections.abc import Callable

from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest, HttpResponse, PositionReport, TransportError
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.polls import Polls, Read
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.throttle import Window
from kite_hft.units import NS_PER_S

_FAILURES_TOLD = 3


class BookReader:
    """Sends reads one at a time and hands their rows to the Reconciler."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        reconciler: Reconciler,
        submit: Callable[[tuple[Read, int], HttpRequest], None],
    ) -> None:
        self._ports, self._book, self._outbox, self._reconciler = ports, book, outbox, reconciler
        self._submit = submit
        broker = ports.broker
        self._requests = {
            Read.ORDERS: broker.order_book,
            Read.TRADES: broker.trade_book,
            Read.POSITIONS: broker.positions,
            Read.MARGINS: broker.margins,
        }
        self._slow_ns = round(config.limits.cooldown_urgent_gap_s * NS_PER_S)
        self.polls = Polls(
            round(config.poll_period_s * NS_PER_S),
            round(config.poll_gap_s * NS_PER_S),
            round(config.positions_s * NS_PER_S),
            tuple(Window(limit) for limit in config.limits.other_windows),
        )
        self.cash_paise = 0
        self.orders_today = 0
        self.checks = 0  # comparisons of the positions that were whole
        self._held: list[PositionReport] | None = None
        self._filled_before = 0
        self._failures = 0

    @property
    def reconciled(self) -> bool:
        return self.polls.starting is None

    def start_anew(self) -> None:
        """The whole round of a start once more."""
        self.polls.starting, self.polls.checking, self._held = Read.ORDERS, None, None

    def send(self, now_ns: int) -> int:
        """Send the read that is due, if one is."""
        if self._reconciler.externals.check_wanted and self.polls.checking is None:
            self._reconciler.externals.check_wanted = False
            self.polls.check_wanted = True
        read = self.polls.due(now_ns, self._book.live_count() > 0)
        if read is None:
            return 0
        self.polls.sent(read, now_ns)
        self._outbox.count("polls")
        if read is Read.POSITIONS:
            self._filled_before = self._filled()
        self._submit((read, now_ns), self._requests[read]())
        return 1

    def answer(self, call: tuple[Read, int], result: HttpResponse | TransportError, now_ns: int) -> None:
        """The one answer to a read; one that cannot be read whole teaches nothing and is asked again."""
        read, asked_ns = call
        text = ""
        if isinstance(result, TransportError):
            text = result.reason
        elif result.status != 200:
            text = f"HTTP {result.status}"
        else:
            try:
                self._take(read, result.body, asked_ns, now_ns)
            except ValueError as error:
                text = str(error)
        limited = isinstance(result, HttpResponse) and result.status == 429
        self.polls.done(not text, now_ns, self._slow_ns if limited else 0)
        self._failures = self._failures + 1 if text else 0
        if self._failures == _FAILURES_TOLD:
            self._outbox.alert(
                "BROKER_UNREACHABLE", f"reading {read.value} failed {self._failures} times in a row: {text}"
            )
        if not text:
            self._outbox.clear("BROKER_UNREACHABLE")
            if not self.reconciled:
                self.polls.starting = self._following(read, now_ns)
            elif self.polls.checking is read:
                self.polls.checking = self._following(read, now_ns)

    def _take(self, read: Read, body: bytes, asked_ns: int, now_ns: int) -> None:
        broker = self._ports.broker
        if read is Read.ORDERS:
            rows = broker.parse_orders(body)
            self.orders_today = max(self.orders_today, len(rows))
            self._reconciler.orders(rows, asked_ns, now_ns)
        elif read is Read.TRADES:
            self._reconciler.trades(broker.parse_trades(body), now_ns)
        elif read is Read.POSITIONS:
            self._held = broker.parse_positions(body)
        else:
            self.cash_paise = broker.parse_cash_paise(body)

    def _filled(self) -> int:
        ours = sum(order.filled for order in self._book.orders.values())
        return ours + self._reconciler.externals.filled

    def _following(self, read: Read, now_ns: int) -> Read | None:
        """The next read of a start or a check, after a good one."""
        if read is Read.TRADES:
            return Read.POSITIONS
        if read is Read.POSITIONS:
            return Read.ORDERS
        if read is Read.MARGINS:
            return None
        if self._held is None:
            return Read.TRADES
        held, self._held = self._held, None
        if self._filled() != self._filled_before:
            return Read.TRADES
        agreed = self._reconciler.externals.square(held, now_ns)
        self.polls.checked(now_ns, again=not agreed)
        self._reconciler.externals.check_wanted = False
        if not self.reconciled:
            return Read.MARGINS
        self.checks += 1
        return None
