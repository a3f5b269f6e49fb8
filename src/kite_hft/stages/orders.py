"""Layer 3, orders process, hot: the only way from an intent to the broker.

    INTENT queues -> risk -> throttle -> egress gate -> journal -> transport
    answers, order updates, book reads -> book -> ORDER_EVENT queues, counters, rows for people

One thread, a pure `step(now_ns)`: sockets, clock, disk and shared memory are handed in (Ports).
`start` replays the journal; the steps after it read the broker's books, and only when they agree is
the stage ACTIVE. An intent leaves its queue only after it has a record in the journal, so that a
process that dies at any point loses none and doubles none. A halt is latched: cancels and reductions
pass, nothing opens. `begin_stop` does what the stop policy says, `close` says what stays open.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kite_hft.layout import INTENT, TEXT, IntentKind, OrderStatus, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpResponse, Refused, TransportError
from kite_hft.trading.exits.flatten import Flatten
from kite_hft.trading.gate.checks import Context
from kite_hft.trading.gate.risk import gather, judge, plain_of
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import Intent, intents_of
from kite_hft.trading.pnl import CostBook, account
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.polls import Read
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.trading.recovery.replay import Recovered, replay
from kite_hft.trading.recovery.resuming import begin, take_up
from kite_hft.trading.sending.calls import Calls
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.telling import Teller
from kite_hft.trading.sending.watch import Watch
from kite_hft.trading.sending.work import Work
from kite_hft.trading.summary import report, what_stays_open
from kite_hft.units import NS_PER_S

INTENTS_PER_STEP: Final = 64
TEXTS_PER_STEP: Final = 16
GAUGE_PERIOD_NS: Final = 100_000_000
UNTOLD: Final = frozenset({OrderStatus.SENT, OrderStatus.PENDING, OrderStatus.AMBIGUOUS})
STOP_POLICIES: Final = ("keep", "cancel", "flatten")


class Orders:
    """The order stage. Single-threaded; nothing in it blocks."""

    name = "orders"

    def __init__(self, ports: Ports, config: OrdersConfig) -> None:
        self._ports, self._config = ports, config
        self.book = Book(ports.instruments)
        self.costs = CostBook(self.book, ports.instruments, config.charges)
        self.outbox = Outbox(ports, self.book, self.costs)
        self.states = States(self.outbox, config.reject_storm)
        self._calls: Calls[Work | tuple[Read, int]] = Calls(
            ports.transport, self.outbox, ports.broker.parse_outcome
        )
        self.desk = Desk(
            ports, config, self.book, self.outbox, self.states,
            self._calls.submit, self._regather, self._look_up,
        )  # fmt: skip
        horizon_ns = round(config.absence_horizon_s * NS_PER_S)
        self._reconciler = Reconciler(ports, self.book, self.outbox, self.states, horizon_ns, self.desk)
        self.reader = BookReader(ports, config, self.book, self.outbox, self._reconciler, self._calls.submit)
        self._teller = Teller(ports, self.book, self.outbox)
        self._watch = Watch(ports, config, self.book, self.outbox, self._age_ns)
        self._flatten = Flatten(ports, config, self.book, self.outbox, self.reader)
        self._plain = plain_of(ports.instruments, config.risk)
        self._found = Recovered()
        self._resumed: list[Intent] = []
        self._heads: list[int] = []  # intents up to here were pushed before this process came
        self._last_seq: dict[int, int] = {}
        self._taken: list[tuple[Intent, bool]] = []
        self._intent_rows = np.zeros(INTENTS_PER_STEP, INTENT)
        self._intent_bytes = self._intent_rows.view(np.uint8).data
        self._text_rows = np.zeros(TEXTS_PER_STEP, TEXT)
        self._gauges_ns = -GAUGE_PERIOD_NS
        self._fills_seen = 0
        self.stop_policy = "cancel"
        self.active = self.stopping = self.flattening = False

    # Life

    def start(self) -> None:
        """Replay the journal. The broker's books are read by the steps that follow.

        Raises:
            RecoveryError: the journal does not fit; the engine must not trade.
        """
        ports, now_ns = self._ports, self._ports.clock.mono_ns()
        found = self._found = replay(ports.history, self.book, ports.instruments, now_ns)
        self.costs.begin()
        self._last_seq, self.desk.last_order_no = found.last_seq, found.last_order_no
        self.desk.throttle.placed_today = found.placed
        begin(found, ports, self._config, self.outbox)
        self.states.restore(found.halted, found.reducing)
        if ports.restarted:
            self._reconciler.externals.restore(found.external_orders, found.external_fills)
            self.states.halt_market(found.market_halted)
        self._resumed = take_up(found, ports, self._config, self.book, self.outbox, self.desk, now_ns)
        self._heads = [source.waiting() for source in ports.intents]

    def step(self, now_ns: int) -> int:
        """One round; returns how many answers, updates, intents and calls it handled."""
        work = self._take_answers(now_ns) + self._take_texts(now_ns)
        taken = self._take_intents(now_ns)
        if self.flattening:
            self._flatten_on(now_ns)
        if self.stopping and self._untold():
            self._look_up()
        work += self.desk.send(now_ns)
        self._commit(taken)
        work += sum(taken) + self.reader.send(now_ns)
        fills = self.outbox.totals["filled"] + self.outbox.totals["partial_fills"]
        if fills != self._fills_seen:
            self._fills_seen = fills
            self.reader.polls.trades_wanted = True
        if now_ns - self._gauges_ns >= GAUGE_PERIOD_NS:
            self._gauges_ns = now_ns
            self._set_gauges()
            self._watch.look(self._calls.items(), now_ns)
            if self.outbox.hung:
                self._teller.revive(now_ns)
        return work

    def next_deadline_ns(self, now_ns: int) -> int | None:
        """When `step` must run next although nothing arrives; None: not by itself."""
        live = self.book.live_count() > 0
        sends = None if self.states.token_dead else self.desk.throttle.next_ns(now_ns)
        times = [sends, self.reader.polls.next_ns(now_ns, live)]
        if self.flattening:
            times.append(now_ns + GAUGE_PERIOD_NS)
        return min((t for t in times if t is not None), default=None)

    def begin_stop(self, now_ns: int, policy: str = "") -> None:
        """Take no more openings and drop waiting ones; then, by policy (default: the one that was told):

        keep: all working orders stay. cancel: live orders that open are cancelled, exits stay.
        flatten: all are cancelled and our positions closed (flatten.py).
        """
        if self.stopping:
            return
        policy = policy or self.stop_policy
        self.stopping = True
        self.outbox.journal(Kind.STATE, {"stopping": True, "policy": policy, "halted": self.outbox.halted})
        self.desk.drop_entries(Reason.HALTED, "stopping", now_ns)
        self.flattening = policy == "flatten" and not self.states.token_dead
        for order in self.book.live():
            if policy == "flatten" or (policy == "cancel" and order.opening):
                self.desk.cancel(order, None, now_ns)

    @property
    def idle(self) -> bool:
        """Nothing under way: no order call waits or is unanswered, no cancel is left to see through, no
        order's state is still to be told by the broker.
        """
        under_way = any(isinstance(item, Work) for item in self._calls.items())
        if self.states.token_dead:
            return not under_way
        waits = len(self.desk.throttle) or self.desk.cancelling or self.reader.polls.trades_wanted
        return not (under_way or waits or self._untold() or self.flattening)

    def _untold(self) -> bool:
        return any(order.status in UNTOLD for order in self.book.live())

    def close(self) -> dict[str, Any]:
        """Orderly end; returns what stays open (it goes to the journal and to orders.csv too)."""
        summary = what_stays_open(self.book, self._ports.instruments)
        if self.flattening and (left := self._flatten.report()):
            self.outbox.alert("NOT_FLAT", f"could not be closed: {', '.join(left)}")
        for order in self.book.live():
            self.outbox.write_order(order)
        self.active = False
        self._set_gauges()
        self.outbox.journal(Kind.END, summary)
        return summary

    # Steering from outside

    def halt(self, reason: str, now_ns: int) -> None:
        """Latch a halt from outside (kill switch, supervisor)."""
        self.outbox.halt(reason)
        self.desk.drop_entries(Reason.HALTED, reason, now_ns)

    def control(self, message: dict[str, Any], now_ns: int) -> None:
        """One message of the supervisor: its key `do` says what; an unknown one is told and left.

        Raises:
            KeyError: a part of it is missing.
        """
        do = message["do"]
        if do == "halt":
            self.halt(str(message["reason"]), now_ns)
        elif do == "resume":
            self.states.resume()
        elif do == "market_halt":
            self.states.halt_market(bool(message["on"]))
        elif do == "worker_restarted":
            self._teller.whole(self._ports.workers.get(int(message["worker"]), ()), now_ns)
        elif do == "alert":
            self.outbox.forwarded(message)
        elif do == "token":
            self._take_token(str(message["access_token"]))
        elif do == "stop_policy" and message["policy"] in STOP_POLICIES:
            self.stop_policy = str(message["policy"])
        else:
            self.outbox.journal(Kind.STATE, {"halted": self.outbox.halted, "not_understood": str(do)})

    def _stand_still(self, now_ns: int) -> None:
        """The token is dead: no call leaves until there is another."""
        self.active, self.reader.polls.paused = False, True
        self.desk.drop_all(Reason.TOKEN_DEAD, self.states.token_dead, now_ns)

    def _take_token(self, access_token: str) -> None:
        """Go on with a new token: the next reads are its trial; after a dead one, a whole reconciliation."""
        self._ports.use_token(access_token)
        self.reader.polls.orders_wanted = self.reader.polls.trades_wanted = True
        if self.states.token_dead:
            self.reader.polls.paused = False
            self.reader.start_anew()

    def report(self) -> dict[str, Any]:
        """The orders, pnl_paise, positions, open and absence_horizon_s parts of report.json."""
        mark = self._ports.latest.last_px
        part = report(self.outbox, self.book, self._ports.instruments, self.costs, mark)
        return part | {
            "open": what_stays_open(self.book, self._ports.instruments),
            "absence_horizon_s": self._config.absence_horizon_s,
        }

    # Intents

    def _take_intents(self, now_ns: int) -> list[int]:
        """How many were taken from each queue; they stay in it until `_commit`."""
        if self._ports.restarted and not (self.active or self.states.token_dead or self.stopping):
            return []  # they wait: a second of reading books is no reason to refuse them
        taken, clock, outbox = [], self._ports.clock, self.outbox
        for at, source in enumerate(self._ports.intents):
            n = source.peek(self._intent_rows)
            taken.append(n)
            taken_ns = n and clock.mono_ns()
            for intent in intents_of(self._intent_bytes, n) if n else ():
                old = self._heads[at] > 0
                self._heads[at] -= 1
                if not old:  # else it waited for this process
                    outbox.record("intent_to_taken", taken_ns - intent.created_ns)
                if intent.kind == IntentKind.PROBE:
                    outbox.count("probes")
                elif not (old and (intent.strategy, intent.strategy_seq) in self._found.seen):
                    outbox.count("intents")
                    self._take_intent(intent, now_ns, left_over=old)
                    outbox.record("taken_to_judged", clock.mono_ns() - taken_ns)
        return taken

    def _commit(self, taken: list[int]) -> None:
        """What was taken in has a record, or gets one now; then it leaves its queue."""
        if self._taken:
            self.desk.journal_waiting(self._taken)
            self._taken.clear()
        self.outbox.journalled.clear()
        for source, n in zip(self._ports.intents, taken, strict=False):
            if n:
                source.commit(n)

    def _take_intent(self, intent: Intent, now_ns: int, *, left_over: bool = False) -> None:
        """Judge one intent and let it go its way. `left_over`: an earlier process may have had it."""
        last_seq = self._last_seq.get(intent.strategy, 0)
        context = self._context(intent, intent.strategy_seq - 1 if left_over else last_seq, now_ns)
        verdict = judge(intent, context, self._config.risk, plain=self._plain)
        self._last_seq[intent.strategy] = max(last_seq, intent.strategy_seq)
        self._taken.append((intent, context.reducing))
        if verdict is not None:
            self.outbox.refuse(intent, verdict.reason, verdict.text, now_ns)
        elif intent.kind == IntentKind.PLACE:
            self.desk.place(intent, context, now_ns)
        elif intent.kind == IntentKind.MODIFY:
            self.desk.modify(intent, context, now_ns)
        elif context.target is not None:
            self.desk.cancel(context.target, intent, now_ns)

    def _flatten_on(self, now_ns: int) -> None:
        """The next steps of closing everything."""
        for order in self._flatten.cancels(now_ns):
            if order.order_no not in self.desk.cancelling:
                self.desk.cancel(order, None, now_ns)
        for intent in self._flatten.wishes(self._last_seq, now_ns):
            self._take_intent(intent, now_ns, left_over=True)
            self._flatten.placed(intent, now_ns)
        if self._flatten.done(now_ns):
            self.flattening = bool(self._flatten.report())

    def _regather(self, intent: Intent, now_ns: int) -> Context:
        return self._context(intent, intent.strategy_seq - 1, now_ns)

    def _context(self, intent: Intent, last_seq: int, now_ns: int) -> Context:
        halted = self.outbox.halted or ("stopping" if self.stopping else "")
        if not halted and intent.strategy in self.outbox.hung:
            halted = "the strategy takes no events"
        known = intent.slot < len(self._ports.instruments)
        tick = (0, 0, -1)
        if known and (found := self._ports.latest.look(intent.slot)):
            tick = (found[0], found[1], max(0, now_ns - found[2]))
        return gather(
            intent,
            self._ports.instruments,
            self.book,
            active=self.active,
            halted=halted,
            tick=tick,
            mark=self._ports.latest.last_px,
            modifications_max=self._config.limits.modifications_per_order,
            last_seq=last_seq,
            token_dead=self.states.token_dead,
            reducing_only=self.states.reducing,
            market_halted=self.states.market_halted,
            fresh=not known or self._ports.fresh(intent.slot),
            now_ns=now_ns,
        )

    # The broker's words

    def _look_up(self) -> None:
        self.reader.polls.orders_wanted = True

    def _take_answers(self, now_ns: int) -> int:
        answers = self._calls.poll()
        for item, result in answers:
            if isinstance(item, Work):
                self.desk.answer(item, result, now_ns)
            else:
                self._read_answered(item, result, now_ns)
        if self.states.token_dead and self.active:
            self._stand_still(now_ns)
        return len(answers)

    def _read_answered(
        self, call: tuple[Read, int], result: HttpResponse | TransportError, now_ns: int
    ) -> None:
        was = self.reader.reconciled
        self.reader.answer(call, result, now_ns)
        if isinstance(result, HttpResponse) and result.status == 403:
            outcome = self._ports.broker.parse_outcome(result)
            if isinstance(outcome, Refused) and outcome.error_type == "TokenException":
                self.states.lose_token(outcome.message, len(self._flatten.open_positions()))
                self._stand_still(now_ns)
        elif self.reader.reconciled and not was:
            self._activate(now_ns)

    def _activate(self, now_ns: int) -> None:
        throttle = self.desk.throttle
        throttle.placed_today = max(throttle.placed_today, self.reader.orders_today)
        self.active = True
        self.states.regain_token()
        self.outbox.journal(Kind.STATE, {"active": True, "halted": self.outbox.halted})
        if self._ports.restarted:
            self._teller.differing(self._found, now_ns)
        elif self._ports.continues:
            self._teller.whole(self._ports.events, now_ns)
        resumed, self._resumed = self._resumed, []
        for intent in resumed:
            self._take_intent(intent, now_ns, left_over=True)
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
            self.outbox.alert("UPDATE_UNREADABLE", f"an order update cannot be read: {error}")
            self._look_up()
            return
        if update is None:
            return
        self.outbox.count("updates")
        if not self._reconciler.update(update, text, now_ns):
            self._look_up()

    # For people

    def _age_ns(self, slot: int, now_ns: int) -> int:
        found = self._ports.latest.look(slot)
        return max(0, now_ns - found[2]) if found else -1

    def _set_gauges(self) -> None:
        pnl = account(self.book, self._ports.instruments, self.costs, self._ports.latest.last_px)
        gauge, states = self.outbox.gauge, self.states
        gauge("gross_pnl_paise", pnl.gross)
        gauge("realised_pnl_paise", pnl.realised)
        gauge("unrealised_pnl_paise", pnl.unrealised)
        gauge("charges_paise", pnl.charges)
        gauge("net_pnl_paise", pnl.net)
        gauge("working", self.book.working_count())
        gauge("positions", sum(1 for p in self.book.positions.values() if p.quantity))
        halted, reducing = bool(self.outbox.halted), bool(states.reducing)
        gauge("state_active", int(self.active and not halted and not reducing and not self.stopping))
        gauge("state_halted", int(halted))
        gauge("state_reducing", int(reducing and not halted))
        gauge("market_halted", int(states.market_halted))
        gauge("token_dead", int(bool(states.token_dead)))
