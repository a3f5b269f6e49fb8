"""Layer 3, orders process, hot: the only way from an intent to the broker.

    INTENT queues -> risk -> throttle -> egress gate -> journal -> transport
    answers, order updates, book reads -> book -> ORDER_EVENT queues, counters, rows for people

One thread, a pure `step(now_ns)`: sockets, clock, disk and shared memory are handed in (Ports).
`start` replays the journal; the steps after it read the broker's books, and only when they agree is
the stage ACTIVE. A halt is latched: cancels and reductions pass, nothing opens. `begin_stop`
cancels what still opens positions, `close` says what stays open.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kite_hft.layout import INTENT, NO_SLOT, TEXT, TICK, IntentKind, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.calls import Calls
from kite_hft.trading.checks import Context
from kite_hft.trading.desk import Desk, Work
from kite_hft.trading.intents import Intent, intents_of
from kite_hft.trading.outbox import Outbox
from kite_hft.trading.polls import Read
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.reader import BookReader
from kite_hft.trading.reconcile import Reconciler
from kite_hft.trading.recovery import replay
from kite_hft.trading.risk import gather, judge
from kite_hft.trading.summary import report, what_stays_open
from kite_hft.units import NS_PER_S

INTENTS_PER_STEP: Final = 64
TEXTS_PER_STEP: Final = 16
GAUGE_PERIOD_NS: Final = 100_000_000


class Orders:
    """The order stage. Single-threaded; nothing in it blocks."""

    name = "orders"

    def __init__(self, ports: Ports, config: OrdersConfig) -> None:
        self._ports, self._config = ports, config
        self.book = Book(ports.instruments)
        self.outbox = Outbox(ports, self.book)
        self._calls: Calls[Work | tuple[Read, int]] = Calls(ports.transport, self.outbox)
        self.desk = Desk(
            ports, config, self.book, self.outbox, self._calls.submit, self._regather, self._look_up
        )
        horizon_ns = round(config.absence_horizon_s * NS_PER_S)
        self._reconciler = Reconciler(ports, self.book, self.outbox, horizon_ns, self.desk)
        self.reader = BookReader(ports, config, self.book, self.outbox, self._reconciler, self._calls.submit)
        self._last_seq: dict[int, int] = {}
        self._intent_rows = np.zeros(INTENTS_PER_STEP, INTENT)
        self._text_rows = np.zeros(TEXTS_PER_STEP, TEXT)
        self._tick = np.zeros(1, TICK)
        self._gauges_ns = -GAUGE_PERIOD_NS
        self._fills_seen = 0
        self.active = self.stopping = False

    # Life

    def start(self) -> None:
        """Replay the journal. The broker's books are read by the steps that follow.

        Raises:
            RecoveryError: the journal does not fit; the engine must not trade.
        """
        now_ns = self._ports.clock.mono_ns()
        found = replay(self._ports.history, self.book, self._ports.instruments, now_ns)
        self._last_seq, self.desk.last_order_no = found.last_seq, found.last_order_no
        self.desk.throttle.placed_today = found.placed
        self.outbox.journal(
            Kind.START,
            {"orders_replayed": found.placed, "absence_horizon_s": self._config.absence_horizon_s},
        )
        if found.halted:
            self.outbox.halt(found.halted)

    def step(self, now_ns: int) -> int:
        """One round; returns how many answers, updates, intents and calls it handled."""
        work = self._take_answers(now_ns) + self._take_texts(now_ns) + self._take_intents(now_ns)
        work += self.desk.send(now_ns) + self.reader.send(now_ns)
        fills = self.outbox.totals["filled"] + self.outbox.totals["partial_fills"]
        if fills != self._fills_seen:
            self._fills_seen = fills
            self.reader.polls.trades_wanted = True
        if now_ns - self._gauges_ns >= GAUGE_PERIOD_NS:
            self._gauges_ns = now_ns
            self._set_gauges()
        return work

    def next_deadline_ns(self, now_ns: int) -> int | None:
        """When `step` must run next although nothing arrives; None: not by itself."""
        live = self.book.live_count() > 0
        times = (self.desk.throttle.next_ns(now_ns), self.reader.polls.next_ns(now_ns, live))
        return min((t for t in times if t is not None), default=None)

    def begin_stop(self, now_ns: int, *, cancel_entries: bool = True) -> None:
        """Take no more openings; drop waiting ones; cancel live orders that open (exits stay)."""
        if self.stopping:
            return
        self.stopping = True
        self.outbox.journal(Kind.STATE, {"stopping": True, "halted": self.outbox.halted})
        self.desk.drop_entries(Reason.HALTED, "stopping", now_ns)
        for order in self.book.live():
            if cancel_entries and order.opening:
                self.desk.cancel(order, None, now_ns)

    @property
    def idle(self) -> bool:
        """Nothing under way: no order call waits or is unanswered, no cancel is left to see through."""
        under_way = any(isinstance(item, Work) for item in self._calls.items())
        return not (under_way or len(self.desk.throttle) or self.desk.cancelling)

    def close(self) -> dict[str, Any]:
        """Orderly end; returns what stays open (it goes to the journal and to orders.csv too)."""
        summary = what_stays_open(self.book, self._ports.instruments)
        for order in self.book.live():
            self.outbox.write_order(order)
        self.active = False
        self._set_gauges()
        self.outbox.journal(Kind.END, summary)
        return summary

    def halt(self, reason: str, now_ns: int) -> None:
        """Latch a halt from outside (kill switch, supervisor)."""
        self.outbox.halt(reason)
        self.desk.drop_entries(Reason.HALTED, reason, now_ns)

    def report(self) -> dict[str, Any]:
        """The orders, pnl_paise, positions, open and absence_horizon_s parts of report.json."""
        part = report(self.outbox, self.book, self._ports.instruments, self._mark)
        return part | {
            "open": what_stays_open(self.book, self._ports.instruments),
            "absence_horizon_s": self._config.absence_horizon_s,
        }

    # Intents

    def _take_intents(self, now_ns: int) -> int:
        taken = 0
        for source in self._ports.intents:
            n = source.drain(self._intent_rows)
            taken += n
            for intent in intents_of(self._intent_rows[:n]):
                self._take_intent(intent, now_ns)
        return taken

    def _take_intent(self, intent: Intent, now_ns: int) -> None:
        self.outbox.count("intents")
        last_seq = self._last_seq.get(intent.strategy, 0)
        context = self._context(intent, last_seq, now_ns)
        verdict = judge(intent, context, self._config.risk)
        self._last_seq[intent.strategy] = max(last_seq, intent.strategy_seq)
        if verdict is not None:
            self.outbox.refuse(intent, verdict.reason, verdict.text, now_ns)
        elif intent.kind == IntentKind.PLACE:
            self.desk.place(intent, context, now_ns)
        elif intent.kind == IntentKind.MODIFY:
            self.desk.modify(intent, context, now_ns)
        elif context.target is not None:
            self.desk.cancel(context.target, intent, now_ns)

    def _regather(self, intent: Intent, now_ns: int) -> Context:
        return self._context(intent, intent.strategy_seq - 1, now_ns)

    def _context(self, intent: Intent, last_seq: int, now_ns: int) -> Context:
        halted = self.outbox.halted or ("stopping" if self.stopping else "")
        if not halted and intent.strategy in self.outbox.hung:
            halted = "the strategy takes no events"
        tick = (0, 0, -1)
        if intent.slot < len(self._ports.instruments) and self._ports.latest.get(intent.slot, self._tick):
            row = self._tick[0]
            tick = (int(row["last_px"]), int(row["seq"]), max(0, now_ns - int(row["recv_ns"])))
        return gather(
            intent,
            self._ports.instruments,
            self.book,
            active=self.active,
            halted=halted,
            tick=tick,
            mark=self._mark,
            modifications_max=self._config.limits.modifications_per_order,
            last_seq=last_seq,
        )

    # The broker's words

    def _look_up(self) -> None:
        self.reader.polls.orders_wanted = True

    def _take_answers(self, now_ns: int) -> int:
        answers = self._calls.poll()
        for item, result in answers:
            if isinstance(item, Work):
                self.desk.answer(item, result, now_ns)
                continue
            was = self.reader.reconciled
            self.reader.answer(item, result, now_ns)
            if self.reader.reconciled and not was:
                self._activate()
        return len(answers)

    def _activate(self) -> None:
        throttle = self.desk.throttle
        throttle.placed_today = max(throttle.placed_today, self.reader.orders_today)
        self.active = True
        self.outbox.journal(Kind.STATE, {"active": True, "halted": self.outbox.halted})
        self._set_gauges()

    def _take_texts(self, now_ns: int) -> int:
        taken = 0
        for source in self._ports.texts:
            n = source.drain(self._text_rows)
            taken += n
            for row in self._text_rows[:n]:
                self._take_text(bytes(row["data"])[: int(row["length"])], now_ns)
        return taken

    def _take_text(self, text: bytes, now_ns: int) -> None:
        try:
            update = self._ports.broker.parse_update(text)
        except ValueError as error:
            self.outbox.count("texts_unparsed")
            self._ports.alert(f"order update cannot be read: {error}")
            self._look_up()
            return
        if update is None:
            return
        self.outbox.count("updates")
        self._reconciler.update(update, now_ns)

    # For people

    def _mark(self, slot: int) -> int:
        if slot != NO_SLOT and self._ports.latest.get(slot, self._tick):
            return int(self._tick[0]["last_px"])
        return 0

    def _set_gauges(self) -> None:
        gross, realised = self.book.gross_paise(self._mark)
        gauge = self.outbox.gauge
        gauge("gross_pnl_paise", gross)
        gauge("realised_pnl_paise", realised)
        gauge("working", self.book.working_count())
        gauge("positions", sum(1 for p in self.book.positions.values() if p.quantity))
        gauge("state_active", int(self.active and not self.outbox.halted and not self.stopping))
