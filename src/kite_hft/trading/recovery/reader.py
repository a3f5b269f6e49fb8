"""Layer 2, orders process, cold: reads the broker's books, and squares everything at start.

At start, and again with every check of the positions: orders, trades, positions, triggers, then
orders once more, then funds (a check that somebody's trade has asked for leaves out triggers and
funds). Had anything filled since the positions were asked for, they may hold it or not: they are
read again. Only a whole round in which nothing moved is compared, and makes the stage reconciled.

A list of triggers, or funds, that cannot be read hold up a start alone: a check goes on without them, so
that positions can be compared, and closed, whatever else the broker fails to show. The longer he took to
fail, the longer checks leave it out.

At start every Difference (explain.py) stands in the way of that. The round is repeated; after
ROUNDS_TOLD of them a person is told what differs and how to end it, and the rounds go on, apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from kite_hft.trading.book import Book
from kite_hft.trading.broker import (
    Funds,
    HttpRequest,
    HttpResponse,
    OrderReport,
    PositionReport,
    Refused,
    TransportError,
    TriggerReport,
)
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.explain import differences
from kite_hft.trading.recovery.pace import Pace
from kite_hft.trading.recovery.polls import Polls, Read
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.trading.sending.egress import Egress
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

_FAILURES_TOLD: Final = 3
_BESIDE: Final = (Read.TRIGGERS, Read.MARGINS)
"""What a check of the positions can do without."""
ROUNDS_TOLD: Final = 3
"""So many rounds of a start may differ before a person is told."""
ROUND_GAP_NS: Final = 2 * NS_PER_S
"""Between two rounds once a person was told, and while the broker's books are apart."""
DIFFERENCES_TOLD: Final = 5


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
        egress: Egress,
    ) -> None:
        self._egress = egress
        self._ports, self._book, self._outbox, self._reconciler = ports, book, outbox, reconciler
        self._submit = submit
        broker = ports.broker
        self._requests = {
            Read.ORDERS: broker.order_book,
            Read.TRADES: broker.trade_book,
            Read.POSITIONS: broker.positions,
            Read.TRIGGERS: broker.triggers,
            Read.MARGINS: broker.margins,
        }
        self._slow_ns = round(config.limits.cooldown_urgent_gap_s * NS_PER_S)
        self.polls = Polls(
            round(config.poll_period_s * NS_PER_S),
            round(config.poll_gap_s * NS_PER_S),
            round(config.positions_s * NS_PER_S),
            egress.budget,
            Pace(config.limits.other_windows),
        )
        self.on_triggers: Callable[[Sequence[TriggerReport], int, int], None] = lambda rows, asked, now: None
        self.triggers: Sequence[TriggerReport] = ()
        self.funds: Funds | None = None
        self.rounds = 0  # of the start, in which something differed
        self.unexplained = ""  # why the stage is not reconciled; told after ROUNDS_TOLD rounds
        self._horizon_ns = round(config.absence_horizon_s * NS_PER_S)
        self._apart_ns = round(config.positions_s * NS_PER_S)
        self._whole_ns = -self._apart_ns  # when triggers and funds were last read
        self._rows: Sequence[OrderReport] = ()
        self.orders_today = 0
        self.checks = 0  # comparisons of the positions that were whole
        self._held: list[PositionReport] | None = None
        self._filled_before = 0
        self._failures = dict.fromkeys(Read, 0)  # in a row
        self._left_out_ns = dict.fromkeys(_BESIDE, -(2**62))  # until then checks go without it
        self._outdated = False  # the read under way left before the start that is on

    @property
    def rows(self) -> Sequence[OrderReport]:
        """The order book as last read."""
        return self._rows

    @property
    def failing(self) -> bool:
        """Orders, trades or positions could not be read when they were asked for last."""
        return any(n for read, n in self._failures.items() if read not in _BESIDE)

    @property
    def reconciled(self) -> bool:
        return self.polls.starting is None

    def start_anew(self) -> None:
        """The whole round of a start once more. A read that is under way is no part of it."""
        self.polls.starting, self.polls.checking, self._held = Read.ORDERS, None, None
        self._outdated = self.polls.in_flight is not None
        self.rounds = 0

    def want_triggers(self) -> None:
        """The list of triggers is to be read at once, with everything that it has to agree with."""
        self._whole_ns = -(2**62)
        self.polls.check_wanted = True

    def send(self, now_ns: int) -> int:
        """Send the read that is due, if one is."""
        doubts = self._reconciler.doubts
        if doubts.waiting:
            doubts.give_up(now_ns)
            self.polls.orders_wanted = True
        if doubts.wants_positions(now_ns) and self.polls.checking is None:
            self.polls.check_wanted = True
        if self._reconciler.externals.check_wanted and self.polls.checking is None:
            self._reconciler.externals.check_wanted = False
            self.polls.check_wanted = True
        read = self.polls.due(now_ns, self._book.live_count() > 0)
        if read is None or self._egress.read_refused(now_ns):
            return 0
        self.polls.sent(read, now_ns)
        self._outbox.count("polls")
        if read is Read.POSITIONS:
            self._filled_before = self._filled()
        self._submit((read, now_ns), self._requests[read]())
        self._egress.read_left(read.name)
        return 1

    def answer(self, call: tuple[Read, int], result: HttpResponse | TransportError, now_ns: int) -> None:
        """The one answer to a read; one that cannot be read whole teaches nothing and is asked again."""
        read, asked_ns = call
        outdated, self._outdated = self._outdated, False
        text = ""
        if isinstance(result, TransportError):
            text = result.reason
        elif result.status != 200:
            told = self._ports.broker.parse_outcome(result)
            text = f"HTTP {result.status}" + (f": {told.message}" if isinstance(told, Refused) else "")
        else:
            try:
                self._take(read, result.body, asked_ns, now_ns)
                self._ports.on_book(read.value, result.body, asked_ns)
            except ValueError as error:
                text = str(error)
        limited = isinstance(result, HttpResponse) and result.status == 429
        self.polls.done(not text, now_ns, self._slow_ns if limited else 0)
        self._count_failure(read, text)
        if read is Read.ORDERS and self._failures[read] >= _FAILURES_TOLD:
            self._reconciler.unread(asked_ns, now_ns)
        if text and (read not in _BESIDE or not self.reconciled):
            return
        if text:
            self._left_out_ns[read] = now_ns + 2 * (now_ns - asked_ns)
        if outdated:
            self._held = None
        elif not self.reconciled:
            self.polls.starting = self._following(read, now_ns)
        elif self.polls.checking is read:
            self.polls.checking = self._following(read, now_ns)

    def _count_failure(self, read: Read, text: str) -> None:
        """How often in a row a book could not be read; `text`: why not, "" for a good read."""
        failures = self._failures[read] = self._failures[read] + 1 if text else 0
        if failures == _FAILURES_TOLD:
            words = f"reading {read.value} failed {failures} times in a row: {text}"
            self._outbox.alert("BROKER_UNREACHABLE", words, read.value)
        elif not failures:
            self._outbox.clear("BROKER_UNREACHABLE", read.value)

    def _take(self, read: Read, body: bytes, asked_ns: int, now_ns: int) -> None:
        broker = self._ports.broker
        if read is Read.ORDERS:
            rows = broker.parse_orders(body)
            self._rows = rows
            self.orders_today = max(self.orders_today, len(rows))
            self._reconciler.orders(rows, asked_ns, now_ns)
        elif read is Read.TRADES:
            self._reconciler.trades(broker.parse_trades(body), now_ns)
        elif read is Read.POSITIONS:
            self._held = broker.parse_positions(body)
            self._reconciler.doubts.positions(self._reconciler.externals.net(self._held), asked_ns)
        elif read is Read.TRIGGERS:
            self.triggers = broker.parse_triggers(body)
            self._outbox.gauge("gtts", sum(row.active for row in self.triggers))
            self.on_triggers(self.triggers, asked_ns, now_ns)
        else:
            self.funds = broker.parse_funds(body)
            self._whole_ns = now_ns
            self._outbox.gauge("funds_paise", self.funds.net_paise)

    def _filled(self) -> int:
        ours = sum(order.filled for order in self._book.orders.values())
        return ours + self._reconciler.externals.filled

    def _following(self, read: Read, now_ns: int) -> Read | None:
        """The next read of a start or a check, after a good one."""
        if read is Read.TRADES:
            return Read.POSITIONS
        whole = not self.reconciled or now_ns - self._whole_ns >= self._apart_ns
        beside = {part for part in _BESIDE if not self.reconciled or now_ns >= self._left_out_ns[part]}
        if read is Read.POSITIONS:
            return Read.TRIGGERS if whole and Read.TRIGGERS in beside else Read.ORDERS
        if read is Read.TRIGGERS:
            return Read.ORDERS
        if read is Read.MARGINS:
            return None
        if self._held is None:
            return Read.TRADES
        held, self._held = self._held, None
        if self._filled() != self._filled_before:
            return Read.TRADES
        if not self.reconciled and not self._explained(held, now_ns):
            return Read.ORDERS
        externals = self._reconciler.externals
        agreed = externals.square(held, now_ns, self._rows)
        if agreed or not externals.apart.patient:
            self.polls.checked(now_ns, again=not agreed)
        else:
            self.polls.checked(now_ns, again=False, within_ns=ROUND_GAP_NS)
        self._reconciler.externals.check_wanted = False
        self.checks += self.reconciled
        return Read.MARGINS if whole and Read.MARGINS in beside else None

    def _explained(self, held: Sequence[PositionReport], now_ns: int) -> bool:
        """Nothing differs that has no explanation; else it is noted, and told after some rounds."""
        doubts, real_ns = self._reconciler.doubts, self._ports.clock.real_ns()
        young = {
            order.order_no
            for order in self._book.orders.values()
            if real_ns - order.sent_real_ns < self._horizon_ns
        }
        found = differences(self._book, self._ports.instruments, self._rows, held, young, doubts.accepted)
        doubts.open = {difference.name: difference for difference in found}
        if not found:
            self.unexplained = ""
            self._outbox.clear("NOT_RECONCILED")
            return True
        self.rounds += 1
        if self.rounds >= ROUNDS_TOLD:
            more = len(found) - DIFFERENCES_TOLD
            told = [*map(str, found[:DIFFERENCES_TOLD]), *([f"and {more} more"] if more > 0 else [])]
            self.unexplained = "; ".join(told)
            self._outbox.alert("NOT_RECONCILED", self.unexplained)
            self.polls.rest_until(now_ns + ROUND_GAP_NS)
        return False

    def report(self) -> dict[str, Any]:
        """Rounds, triggers and funds as read, for the recovery part of report.json."""
        return {
            "rounds_that_differed": self.rounds,
            "unexplained": self.unexplained,
            "triggers": sum(row.active for row in self.triggers),
            "funds_paise": self.funds._asdict() if self.funds else None,
        }
