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

from kite_hft.layout import OrderStatus, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpResponse, Refused, TransportError
from kite_hft.trading.exits.keeping import Keeper
from kite_hft.trading.gate.checks import Context
from kite_hft.trading.gate.judging import Gate
from kite_hft.trading.gate.losses import DailyLoss
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import Intent
from kite_hft.trading.pnl import CostBook
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.adopting import closes_others
from kite_hft.trading.recovery.interruptions import Interruptions
from kite_hft.trading.recovery.market_reads import market_reads
from kite_hft.trading.recovery.polls import Read
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.recovery.replay import replay
from kite_hft.trading.recovery.resuming import begin, held_strategies, recovery_report, take_up
from kite_hft.trading.recovery.texts import Texts
from kite_hft.trading.sending.address import AddressCheck
from kite_hft.trading.sending.answers import Answers
from kite_hft.trading.sending.asides import Aside
from kite_hft.trading.sending.calls import Calls
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.express import express_of
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.killing import Killing
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.telling import Teller
from kite_hft.trading.sending.watch import Watch
from kite_hft.trading.sending.work import Work
from kite_hft.trading.summary import report, show_pnl, show_states, what_stays_open
from kite_hft.units import NS_PER_S

GAUGE_PERIOD_NS: Final = 100_000_000
UNPRICED_NS: Final = 10 * NS_PER_S
"""So long do limits on losses wait for the prices of fills."""
UNTOLD: Final = frozenset({OrderStatus.SENT, OrderStatus.PENDING, OrderStatus.AMBIGUOUS})
STOP_POLICIES: Final = ("keep", "cancel", "flatten")


class Orders:
    """The order stage. Single-threaded; nothing in it blocks."""

    name = "orders"

    def __init__(self, ports: Ports, config: OrdersConfig) -> None:
        self._market, ports = market_reads(ports, config)
        self._ports, self._config = ports, config
        self.book = Book(ports.instruments)
        self.costs = CostBook(self.book, ports.instruments, config.charges)
        self.outbox = Outbox(ports, self.book, self.costs)
        self.states = States(self.outbox, config.reject_storm)
        self._calls: Calls[Work | Aside | tuple[Read, int]] = Calls(
            ports.transport, self.outbox, ports.broker.parse_outcome
        )
        self.desk = Desk(
            ports, config, self.book, self.outbox, self.states,
            self._calls.submit, self._regather, self._look_up,
        )  # fmt: skip
        self.address = AddressCheck(ports, config, self.desk, self.outbox, self.states, self._calls.submit)
        self._answers = Answers(ports, self.outbox, self.states, self.desk, self.address.doubted)
        self._losses = DailyLoss(ports, config, self.outbox, self.states)
        horizon_ns = round(config.absence_horizon_s * NS_PER_S)
        self._reconciler = Reconciler(ports, self.book, self.outbox, self.states, horizon_ns, self.desk)
        self.reader = BookReader(
            ports, config, self.book, self.outbox, self._reconciler, self._calls.submit, self.desk.egress
        )
        self._market.beside(self.book, self.reader.polls.pace)
        self._texts = Texts(ports, self.outbox, self._reconciler, self._look_up)
        self._interruptions = Interruptions(ports, self.outbox, self._look_up)
        self._teller = Teller(ports, self.book, self.outbox)
        self._watch = Watch(ports, config, self.book, self.outbox, self._age_ns, self.desk.egress.holds)
        self.gate = Gate(ports, config, self.book, self.outbox, self.states, self)
        self.intake = Intake(ports, config, self.outbox, self.desk, self.gate.judge)
        self.keeper = Keeper(
            ports, config, self.book, self.outbox, self.desk, self.intake, self.reader, self._reconciler,
            self._calls.submit, self.gate,
        )  # fmt: skip
        self._texts.on_trigger = self.keeper.triggers.told
        self.intake.express = self.express = express_of(self, ports, config, self._calls)
        drop_entries = self.keeper.triggers.drop_entries
        self._killing = Killing(ports, self.book, self.states, self.desk, drop_entries, self.keeper)
        self._found = Recovered()
        self._resumed: list[Intent] = []
        self._gauges_ns = self._judged_ns = -GAUGE_PERIOD_NS
        self._fills_seen, self.stop_policy = 0, "cancel"
        self.active = self.stopping = self._stop_begun = self._alone = self._known = False

    @property
    def flattening(self) -> bool:
        """All positions are being closed."""
        return self.keeper.flatten.alive

    @flattening.setter
    def flattening(self, on: bool) -> None:
        if on:
            self.keeper.flatten.begin()
        else:
            self.keeper.flatten.end()

    # Life

    def start(self) -> None:
        """Replay the journal. The broker's books are read by the steps that follow.

        Raises:
            RecoveryError: the journal does not fit; the engine must not trade.
        """
        ports, now_ns = self._ports, self._ports.clock.mono_ns()
        found = self._found = replay(ports.history, self.book, ports.instruments, now_ns)
        self.costs.begin()
        self._reconciler.restore(found)
        # A number that was told to people is not used again, were its record not to be written.
        self.desk.last_order_no = max(found.last_order_no, *ports.written.orders, 0)
        self.desk.throttle.placed_today = found.placed
        begin(found, ports, self._config, self.outbox)
        self.states.restore(found.halted, found.reducing, held_strategies(found, ports), found.address)
        self._losses.restore(found.passed_paise(killed=bool(ports.killed())))
        self.gate.restore(found, now_ns)
        if ports.restarted:
            self._reconciler.externals.restore(found.external_orders, found.external_fills)
            self.states.halt_market(found.market_halted)
        self._resumed = take_up(found, ports, self._config, self.book, self.outbox, self.desk, now_ns)
        self.intake.start(found)
        self.keeper.restore(found, now_ns)
        self._killing.restore(found.clear_to)

    def step(self, now_ns: int) -> int:
        """One round; returns how many answers, updates, intents and calls it handled."""
        express = self.express.send(now_ns) if self.express is not None else 0
        self.desk.heed_journal(now_ns)
        killed = self.states.killed
        if self._killing.look(now_ns, active=self.active):
            self.flattening = not self.states.token_dead
        elif killed and not self.states.killed and not self.stopping:
            self.flattening = False  # a person has ended the kill, and what it closes with it
        work = express + self._take_answers(now_ns) + self._texts.take(now_ns)
        # After a restart they wait: a second of reading books is no reason to refuse them.
        waits = self._ports.restarted and not (self.active or self.states.token_dead or self.stopping)
        taken = [] if waits else self.intake.take(now_ns)
        work += self.keeper.act(now_ns, active=self.active)
        if self.stopping and self._untold():
            self._look_up()
        work += self.keeper.send(now_ns, active=self.active)
        work += self.address.look(now_ns, stopping=self.stopping)
        self.intake.commit(taken)
        work += sum(taken) + self.reader.send(now_ns)
        work += self._market.send(now_ns, self.desk.egress, self._calls.submit, self.states.token_dead)
        fills = self.outbox.totals["filled"] + self.outbox.totals["partial_fills"]
        if fills != self._fills_seen:
            self._fills_seen = fills
            self._gauges_ns = now_ns - GAUGE_PERIOD_NS  # each fill is judged by the day's loss limit
            self.reader.polls.trades_wanted = True
        if now_ns - self._gauges_ns >= GAUGE_PERIOD_NS:
            self._gauges_ns = now_ns
            self._set_gauges()
            self.gate.look_at_feeds(now_ns)
            self._interruptions.look(now_ns)
            self._watch.look(self._calls.items(), now_ns)
            if self.outbox.hung:
                self._teller.revive(now_ns)
        if not work:
            self.book.in_play()  # counted while nobody waits for it
        return work

    def next_deadline_ns(self, now_ns: int) -> int | None:
        """When `step` must run next although nothing arrives; None: not by itself."""
        live = self.book.live_count() > 0
        times = [self.reader.polls.next_ns(now_ns, live), self._killing.next_ns()]
        if not self.states.token_dead:
            times += [self.desk.next_ns(now_ns), self._market.next_ns(now_ns, self.desk.egress)]
        times += [self._watch.next_ns(self._calls.items(), now_ns), self.address.next_ns()]
        times += self.keeper.next_ns(now_ns, active=self.active)
        return min((t for t in times if t is not None), default=None)

    def begin_stop(self, now_ns: int, policy: str = "") -> None:
        """Take no more openings and drop waiting ones; then, by policy (default: the one that was told):

        keep: all working orders stay. cancel: live orders that open are cancelled, exits stay.
        flatten: all are cancelled and our positions closed (flatten.py).
        """
        if self._stop_begun:
            return
        policy = policy or self.stop_policy
        self.stopping = self._stop_begun = True
        self.outbox.journal(Kind.STATE, {"stopping": True, "policy": policy, "halted": self.outbox.halted})
        self.desk.drop_entries(Reason.HALTED, "stopping", now_ns)
        self.flattening = (policy == "flatten" or self.flattening) and not self.states.token_dead
        if policy != "keep":
            self.keeper.triggers.drop_entries(now_ns)
        if self.active and policy != "flatten":
            self.keeper.leave(now_ns)
        if policy == "cancel":
            self._killing.stopping = True
            self._killing.cancel_openings(now_ns)
        for order in self.book.live() if policy == "flatten" else ():
            if not closes_others(self.book, order) and (order.opening or self.keeper.may_place):
                self.desk.cancel(order, None, now_ns)

    @property
    def idle(self) -> bool:
        """No order call waits or is unanswered, no cancel is left to see through, no order's state untold."""
        under_way = any(isinstance(item, Work) for item in self._calls.items())
        if self.states.token_dead:
            return not under_way
        waits = len(self.desk.throttle) or self.desk.staging or self.desk.cancelling
        waits = waits or self.reader.polls.trades_due or not self._killing.done
        return not (under_way or waits or self._untold() or self.keeper.busy)

    def _untold(self) -> bool:
        return any(order.status in UNTOLD for order in self.book.live())

    def close(self) -> dict[str, Any]:
        """Orderly end; returns what stays open (it goes to the journal and to orders.csv too)."""
        summary = what_stays_open(self.book, self._ports.instruments)
        if self.flattening and (left := self.keeper.flatten.report()):
            self.outbox.alert("NOT_FLAT", f"could not be closed: {', '.join(left)}")
        for order in self.book.live():
            self.outbox.write_order(order)
        self.active = False
        self._set_gauges()
        self.outbox.refusals.flush(self._ports.clock.mono_ns(), last=True)
        ended = summary | ({"alone": True} if self._alone else {})
        self.outbox.journal(Kind.END, ended | self.gate.day_so_far())
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
        elif do == "kill":
            self._ports.kill(str(message["reason"]), bool(message["flatten"]))
        elif do == "resume":
            self._resume(message)
        elif do == "alone":
            self._alone = True
            text = "the supervisor is gone: no opening any more, entries are cancelled, exits stay"
            self.outbox.alert("SUPERVISOR_GONE", text)
            self.begin_stop(now_ns, "cancel")
        elif do == "market_halt":
            self.states.halt_market(bool(message["on"]))
        elif do == "worker_restarted":
            self._teller.whole(self._ports.workers.get(int(message["worker"]), ()), now_ns)
        elif do == "cancel_all":
            meant = self._killing.cancel_all(self.desk.last_order_no, now_ns)
            standing = self.keeper.triggers.standing.values()
            unwanted = [t.name for t in standing if t.wanted is None and not t.for_exits]
            words = {"orders": meant, "up_to": self._killing.clears_to, "triggers": unwanted}
            self.outbox.journal(Kind.COMMAND, {**message, **words})
        elif do == "resolve":
            self._reconciler.doubts.say(message, now_ns)
        elif do == "alert":
            self.outbox.forwarded(message)
        elif do == "command":  # what a person told the engine, for the journal
            self.outbox.journal(Kind.COMMAND, dict(message["command"]))
        elif do == "watchdog":
            self.outbox.gauge("naked_paise", int(message["naked_paise"]))
            self.reader.polls.check_wanted |= bool(message.get("read"))
        elif do == "token":
            self._take_token(str(message["access_token"]), now_ns)
        elif do == "stop_policy" and message["policy"] in STOP_POLICIES:
            self.stop_policy = str(message["policy"])
        elif do == "open_no_more":  # the feeds end next: what waits would be refused for an old price
            self.stopping = True
        else:
            self.outbox.journal(Kind.STATE, {"halted": self.outbox.halted, "not_understood": str(do)})

    def _resume(self, message: dict[str, Any]) -> None:
        """A person lets a strategy go on, or everything: the kill latch, too."""
        number = None if message.get("strategy") is None else int(message["strategy"])
        if self.states.resume(number, by := str(message.get("by", ""))):
            self.gate.let_go(self._ports.clock.mono_ns(), number)
            if number is None and self.states.killed:
                self._ports.unkill(by)

    def _stand_still(self, now_ns: int) -> None:
        """The token is dead: no call leaves until there is another."""
        self.active, self.reader.polls.paused = False, True
        self.desk.drop_all(Reason.TOKEN_DEAD, self.states.token_dead, now_ns)

    def _take_token(self, access_token: str, now_ns: int) -> None:
        """Go on with a new token: the next reads are its trial; after a dead one, a whole reconciliation."""
        self.states.token_ns = now_ns
        self._ports.use_token(access_token)
        self.reader.polls.orders_wanted = self.reader.polls.trades_wanted = True
        if self.states.token_dead:
            self.reader.polls.paused = False
            self.reader.start_anew()
        self.address.again(now_ns)

    def report(self) -> dict[str, Any]:
        """The orders, pnl_paise, positions, open and absence_horizon_s parts of report.json."""
        mark = self._ports.latest.last_px
        part = report(self.outbox, self.book, self._ports.instruments, self.costs, mark)
        part["orders"] |= self.states.words()
        return part | {
            "open": what_stays_open(self.book, self._ports.instruments),
            "absence_horizon_s": self._config.absence_horizon_s,
            "recovery": self.recovery(),
            "address_proof": self.address.report(),
        }

    def recovery(self) -> dict[str, Any]:
        """What the start of this process took up and found, for the log, report.json and status."""
        return recovery_report(self._found, self._ports, self._reconciler, self.reader)

    @property
    def unexplained(self) -> str:
        """What the broker's books and the journal differ in, and how to end it; "": nothing was told."""
        return self.reader.unexplained

    # Intents

    def _regather(self, intent: Intent, now_ns: int) -> Context:
        return self.gate.context(intent, intent.strategy_seq - 1, now_ns)

    # The broker's words

    def _look_up(self) -> None:
        self.reader.polls.orders_wanted = True

    def _take_answers(self, now_ns: int) -> int:
        answers = self._calls.poll()
        for item, result in answers:
            if isinstance(item, Work):
                self._answers.take(item, result, now_ns)
            elif isinstance(item, Aside):
                item.answered(result, now_ns)
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
        self.desk.throttle.seen_today(self.reader.orders_today)
        if isinstance(result, HttpResponse) and result.status in (401, 403):
            outcome = self._ports.broker.parse_outcome(result)
            about_this = call[1] >= self.states.token_ns  # else another token has come since
            if about_this and isinstance(outcome, Refused) and outcome.error_type == "TokenException":
                self.states.lose_token(outcome.message, len(self.keeper.flatten.open_positions()), call[1])
                self._stand_still(now_ns)
        elif self.reader.reconciled and not was:
            first = self.address.asked == 0 and not self._ports.restarted
            self.address.begin(self._activate, now_ns, hold=first)

    def _activate(self, now_ns: int) -> None:
        self.desk.throttle.seen_today(self.reader.orders_today)
        self.active = True
        self.states.regain_token()
        told = {"active": True, "halted": self.outbox.halted, "recovery": self.recovery()}
        self.outbox.journal(Kind.STATE, told)
        if self._ports.restarted:
            self._teller.differing(self._found, now_ns)
        elif self._ports.continues:
            self._teller.whole(self._ports.events, now_ns)
        self.keeper.begin(now_ns)
        resumed, self._resumed = self._resumed, []
        for intent in resumed:
            self.intake.consider(intent, now_ns, left_over=True)
        self._set_gauges()

    # For people

    def _age_ns(self, slot: int, now_ns: int) -> int:
        found = self._ports.latest.look(slot)
        return max(0, now_ns - found[2]) if found else -1

    def _set_gauges(self) -> None:
        self._ports.flush()
        self.outbox.pay()
        self.outbox.refusals.flush(self._ports.clock.mono_ns())
        mark = self._ports.latest.last_px
        pnl = show_pnl(self.outbox, self.book, self._ports.instruments, self.costs, mark)
        now_ns = self._ports.clock.mono_ns()
        waits = any(now_ns - ns < UNPRICED_NS for ns in self.book.unpriced.values())
        # Before the books were read what is held is not known; that they differ hides no loss.
        self._known |= self.reader.reconciled or bool(self.reader.unexplained)
        # Of many fills one may always lack its price: then they are judged with what is known.
        if self._known and (not waits or now_ns - self._judged_ns >= UNPRICED_NS):
            self._judged_ns = now_ns
            self._losses.look(pnl.net)
            self.gate.look(pnl.net, now_ns)
        show_states(self.outbox, self.states, active=self.active and not self.stopping)
