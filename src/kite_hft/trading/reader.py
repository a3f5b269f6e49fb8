"""Layer 2, orders process, cold: reads the broker's books, and squares everything at start.

At start: orders, trades, positions, then orders once more. Had something filled between the two
reads of orders, the positions may hold it or not: they are read again. Only a whole round in which
nothing moved makes the stage reconciled.
"""

from __future__ import annotations

from collections.abc import Callable

from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest, HttpResponse, PositionReport, TransportError
from kite_hft.trading.outbox import Outbox
from kite_hft.trading.polls import Polls, Read
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.reconcile import Reconciler
from kite_hft.units import NS_PER_S


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
        self.polls = Polls(round(config.poll_period_s * NS_PER_S), round(config.poll_gap_s * NS_PER_S))
        self.cash_paise = 0
        self.orders_today = 0
        self._held: list[PositionReport] | None = None
        self._filled_before = 0
        self._failures = 0

    @property
    def reconciled(self) -> bool:
        return self.polls.starting is None

    def send(self, now_ns: int) -> int:
        """Send the read that is due, if one is."""
        read = self.polls.due(now_ns, self._book.live_count() > 0)
        if read is None:
            return 0
        self.polls.sent(read, now_ns)
        self._outbox.count("polls")
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
        self.polls.done(not text)
        self._failures = self._failures + 1 if text else 0
        if text and self._failures in (1, 10, 100, 1000):
            self._ports.alert(f"reading {read.value} failed ({self._failures} in a row): {text}")
        if not text and not self.reconciled:
            self._advance(read)

    def _take(self, read: Read, body: bytes, asked_ns: int, now_ns: int) -> None:
        broker = self._ports.broker
        if read is Read.ORDERS:
            rows = broker.parse_orders(body)
            self.orders_today = max(self.orders_today, len(rows))
            self._reconciler.orders(rows, asked_ns, now_ns)
        elif read is Read.TRADES:
            self._reconciler.trades(broker.parse_trades(body), now_ns)
        elif read is Read.POSITIONS:
            self._held, self._filled_before = broker.parse_positions(body), self._filled()
        else:
            self.cash_paise = broker.parse_cash_paise(body)

    def _filled(self) -> int:
        return sum(order.filled for order in self._book.orders.values())

    def _advance(self, read: Read) -> None:
        """The next read of the start, after a good one."""
        following = {
            Read.ORDERS: Read.TRADES,
            Read.TRADES: Read.POSITIONS,
            Read.POSITIONS: Read.ORDERS,
            Read.MARGINS: None,
        }[read]
        if read is Read.ORDERS and self._held is not None:
            if self._filled() == self._filled_before:
                self._reconciler.positions(self._held)
                following = Read.MARGINS
            else:
                self._held, following = None, Read.TRADES
        self.polls.starting = following
