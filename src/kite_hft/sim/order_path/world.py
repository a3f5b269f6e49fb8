"""Layer 4, campaigns and tests, cold: a short trading day of the order path, made from one seed.

The real order stage and the real journal writer, on a virtual clock, disk and network, against the
simulated broker, whose books are the truth. The process dies and comes again, the machine loses
its power, strategies and hands act, prices move; then the faults end, everything must come to rest,
and the engine stops. A Checker looks at each step (checkers.py). Same seed, same trace.
"""

from __future__ import annotations

import hashlib
import random
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import JournalError, Record, scan
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import Api, BrokerSide
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Order
from kite_hft.sim.order_path import process
from kite_hft.sim.order_path.acts import Acts
from kite_hft.sim.order_path.checkers import Checker
from kite_hft.sim.order_path.day import CASH_PAISE, START_REAL_NS, Day
from kite_hft.sim.order_path.disk import VirtualDisk, VirtualFile
from kite_hft.sim.order_path.faults import WRITE_FAULTS, Faults
from kite_hft.sim.order_path.flow import Flow
from kite_hft.sim.order_path.judged_again import given_up
from kite_hft.sim.order_path.machine import Files, WorldClock
from kite_hft.sim.order_path.market import SLOTS, TABLE, Market
from kite_hft.sim.order_path.network import TRIGGER, Link, Network
from kite_hft.sim.order_path.queues import Counted, EventQueue, IntentQueue, Prices
from kite_hft.sim.order_path.settled import at_rest, stopped, unheard
from kite_hft.sim.order_path.update_way import UpdateWay
from kite_hft.stages.orders import Orders
from kite_hft.trading.broker import HttpRequest, HttpResponse, Limits
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.sending.evidence import Left
from kite_hft.units import NS_PER_S

BEAT_NS: Final = NS_PER_S
QUIET_BEAT_NS: Final = 5 * NS_PER_S
QUIET_LATE_NS: Final = NS_PER_S
"""Once the faults have ended the process wakes up this late by itself: what it keeps for long looks at
prices all the time, and they hardly move any more."""
STEPS_MAX: Final = 200
"""So often may the stage find something to do at one instant."""


class Crash(BaseException):
    """The process is gone, here and now."""


class OrdersWorld:
    """One seed. `run()` lives through the day; `checker.breaks` says what did not hold."""

    def __init__(self, seed: int, limits: Limits, *, trace: int = 0, side: BrokerSide = KITE_SIDE) -> None:
        """`side`: the broker; `limits`: of its rules. `trace`: so many of the last happenings are kept in
        `tail`."""
        self.seed = seed
        self.rng = random.Random(seed)
        self.day = Day.drawn(self.rng)
        self.limits = self.day.of_day(limits)
        self.faults = Faults.drawn(self.rng)
        self.now_ns = 0
        self.clock = WorldClock()
        self.faults.without(side.without)
        self.side, table = side, side.table(TABLE)
        self.exchange = Exchange(table, CASH_PAISE, self.rng.randrange(1 << 30), side.params())
        self.api: Api = side.make_api(self.exchange, False)
        day = self.day
        link = Link(day.delay_ns, round(day.lag_s * NS_PER_S), day.moment_ns, day.connections)
        self.network = Network(side, self.api, self.rng, self.faults, link, lambda: self.now_ns)
        self.network.start_real_ns, self.network.skew_ns = START_REAL_NS, day.skew_ns
        self.network.lines.mono_ns = self.clock.mono_ns
        self.disk = VirtualDisk(self.rng)
        self.intents, self.events = IntentQueue(), EventQueue()
        self.prices, self.market, self.files = Prices(), Market(), Files()
        self.counted = Counted()
        self.flow = Flow(self.rng, table, self.market, self.intents, self.events, self.clock.mono_ns)
        self.flow.limit_apart = self.network.broker.trigger_limit_apart
        self.flow.patience_ns = round(self.day.entry_wait_s * NS_PER_S)
        self.checker = Checker(self)
        self.acts, self.way = Acts(self), UpdateWay(self)
        self.stage: Orders | None = None
        self.writer: JournalWriter | None = None
        self.journals: list[VirtualFile] = []  # one for each run
        self.failure = ""  # the note that a journal which failed leaves beside itself
        self.latch: tuple[str, bool] | None = None  # the kill latch: why, and whether to flatten
        self.holds: dict[int, Hold] = {}
        self.calls: list[Left] = []  # the evidence file of the day
        self.run_number = 1
        self.fuse = 0  # port calls until the process dies; 0: it lives
        self.down_until_ns = -1
        self.still_until_ns = -1
        self.dead = ""  # why the process is down
        self.stale: set[int] = set()  # slots without a tick since their connection was made
        self.tail: list[str] = []
        self.totals: dict[str, int] = {}  # counters as the last process left them
        self._synced_ns = self._wake_ns = 0
        self._trace = trace
        self._digest = hashlib.sha256()
        self._wire()

    def _wire(self) -> None:
        network, checker = self.network, self.checker
        network.on_submit, network.on_done = self._leaves, self._done
        network.on_gone, network.on_answer = checker.gone, self._answered
        network.on_given_up = partial(given_up, checker)
        network.states, network.hears = self.states_of, self.way.hears
        network.on_unseen = lambda order: checker.stranger(order.slot, int(order.request.product))
        network.tick = self.disk.tick = self.intents.tick = self.events.tick = self.tick
        self.disk.write_fault, self.disk.sync_fault = self._write_fault, self._sync_fault
        self.exchange.desk.on_trade.append(checker.traded)
        self.flow.wished, self.flow.held = checker.wished, checker.free_to_close

    # Traces

    def note(self, text: str) -> None:
        """One happening, for the hash and for people."""
        line = f"{self.now_ns / 1e9:.6f} {text}"
        self._digest.update(line.encode())
        if self._trace:
            self.tail.append(line)
            del self.tail[: -self._trace]

    def trace_hash(self) -> str:
        """SHA-256 over all that was sent, answered, journalled and traded."""
        digest = self._digest.copy()
        for file in self.disk.files:
            digest.update(file.data)
        for trade in self.exchange.account.trades:
            digest.update(f"{trade.order_id} {trade.quantity} {trade.px} {trade.at_ns}".encode())
        return digest.hexdigest()

    def _leaves(self, request: HttpRequest) -> None:
        self.note(f"> {request.method} {request.path} {request.body.decode()}")
        self.checker.leaves(request)
        self.way.leaves(request)

    def _answered(self, request: HttpRequest, status: int) -> None:
        self.checker.answered(request, status)
        self.way.answered(request, status)

    def _done(self, request: HttpRequest, response: HttpResponse) -> None:
        if request.method != "GET":
            self.note(f"  broker: {request.method} {request.path} {response.status} {response.body[:90]!r}")
        self.checker.done(request, response)

    # Ports that fail

    def tick(self) -> None:
        """A port was called: the process may die here."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Crash

    def _write_fault(self) -> str:
        kind = self.faults.strikes(WRITE_FAULTS) if self.stage is not None else ""
        if kind:
            self.note(f"! {kind}")
            self.faults.struck(kind, self.states_of("", ""))
        return kind

    def _sync_fault(self) -> bool:
        if self.stage is None or not self.faults.strikes(("sync_error",)):
            return False
        self.note("! sync_error")
        self.faults.struck("sync_error", self.states_of("", ""))
        return True

    def trigger_of(self, order: Order) -> int | str:
        """Which trigger has placed an order; 0 or "": none has."""
        return self.side.trigger_of(self.api, order)

    def states_of(self, order_id: str, tag: str) -> list[str]:
        """In which states the engine has an order; of all live ones without a name."""
        if self.stage is None:
            return []
        book = self.stage.book
        keeper = self.stage.keeper
        if order_id == TRIGGER:
            return [TRIGGER]
        if order_id or tag:
            found = book.by_id(order_id) or (book.by_tags((tag,)) if tag else None)
            orders = [found] if found else []
        else:
            orders = list(book.live_orders.values())
        states = []
        if not (order_id or tag):
            lasting = (("PLAN", keeper.plans.plans), ("GROUP", keeper.groups.alive),
                       (TRIGGER, keeper.triggers.standing))  # fmt: skip
            states = [name for name, alive in lasting if alive]
        for order in orders:
            states.append(order.status.name)
            if order.filled and order.status not in TERMINAL:
                states.append("PARTIAL")
            if order.order_no in self.stage.desk.cancelling:
                states.append("CANCELLING")
            if order.quantity_max:
                states.append("MODIFYING")
        return states

    # The process

    @property
    def machine_down(self) -> bool:
        return self.stage is None and self.dead == "power_cut"

    # What the process is handed

    def journal_failed(self, text: str) -> None:
        """The note that a failed journal leaves beside itself."""
        self.failure = text
        self.checker.journal_failed += 1

    def keep_holds(self, holds: Mapping[int, Hold]) -> None:
        self.holds = dict(holds)

    def set_latch(self, reason: str, *, flatten: bool) -> None:
        """The kill latch of the account; it outlives every process."""
        self.note(f"! killed: {reason}")
        if self.latch is None:
            self.latch = (reason, flatten)

    def end_kill(self, by: str) -> None:
        """The latch is taken away."""
        self.latch = None

    def records(self, file: VirtualFile) -> tuple[Record, ...]:
        return scan(bytes(file.data)).records

    def write_row(self, rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
        self.tick()
        rows.append(row)
        self.tick()

    def alert(self, fields: dict[str, Any]) -> None:
        self.note(f"  alert {fields['code']} {fields['text']}")
        self.checker.alerted(fields)

    def use_token(self, access_token: str) -> None:
        self.network.token = access_token

    def begin(self, *, restarted: bool) -> None:
        """A process starts."""
        process.begin(self, restarted=restarted)

    def kill(self, why: str) -> None:
        """The process, or ("power_cut") the machine, is gone."""
        process.die(self, why)

    # Time

    def run(self) -> None:
        """The whole day; ends early at the first break."""
        try:
            self._live()
        except Exception as error:  # whatever it is, the seed names it
            self.checker.break_(f"the stage raised {type(error).__name__}: {error}")
            if self._trace:
                self.tail += traceback.format_exc().splitlines()

    def _live(self) -> None:
        self.tick_market()
        self.begin(restarted=False)
        trading_ns = round(self.day.trading_s * NS_PER_S)
        self.acts.plan(trading_ns)
        self.until(lambda: self.now_ns >= trading_ns)
        self.acts.heal()
        limit_ns = self.now_ns + round((2 * self.day.horizon_s + 120) * NS_PER_S)
        self.until(lambda: self.now_ns >= limit_ns or self._at_rest() or self._in_doubt())
        if self._in_doubt():
            self.acts.resolve()
            # What is placed now may be unsure again, and is absent once another horizon has passed.
            limit_ns = self.now_ns + round((self.day.horizon_s + 120) * NS_PER_S)
            self.until(lambda: self.now_ns >= limit_ns or self._at_rest())
        if not self.checker.breaks:
            at_rest(self.checker, settled=self._at_rest() or self._cannot_flatten())
        if not self.checker.breaks and self.stage is not None:
            self._stop()

    def _stop(self) -> None:
        assert self.stage is not None
        stage, until_ns = self.stage, self.now_ns + 120 * NS_PER_S
        self.note(f"! stop {self.day.stop}")
        stage.begin_stop(self.clock.mono)
        self.until(lambda: stage.idle or self.now_ns >= until_ns)
        idle = stage.idle or self._cannot_flatten() or self._group_stuck()
        stage.close()
        stopped(self.checker, idle=idle)

    def _in_doubt(self) -> bool:
        """Only orders are open that a person has to say something of."""
        horizon_ns = self.acts.quiet_from_ns + round(self.day.horizon_s * NS_PER_S) + 15 * NS_PER_S
        return self.stage is not None and self.now_ns >= horizon_ns and bool(self.acts.doubts())

    def _cannot_flatten(self) -> bool:
        """A kill asked for flat, and the market lets nothing through; or the day's cap does not, and what
        closes at the broker stays there.
        """
        stage = self.stage
        if stage is None or not stage.flattening or len(stage.desk.throttle) or stage.desk.cancelling:
            return False
        return not stage.book.live_orders or (self.capped and not any(o.opening for o in stage.book.live()))

    @property
    def capped(self) -> bool:
        """The day's cap lets no order through any more. What was lost on its way counts, too, and after a
        death each that has a record: who starts cannot know that it stayed.
        """
        ledger = self.checker.ledger
        lost = sum(order.order is None and not order.unsent for order in ledger.placed.values())
        return max(len(self.exchange.orders) + lost, len(ledger.told.by_no)) >= self.limits.orders_per_day

    def _group_stuck(self) -> bool:
        """Nothing but a broken group is under way, and it cannot be closed now."""
        stage = self.stage
        waits = stage is None or len(stage.desk.throttle) or stage.desk.cancelling
        return not waits and self.checker.lasting.groups.stuck()

    def _at_rest(self) -> bool:
        """Nothing is under way anywhere."""
        stage = self.stage
        if stage is None or not stage.active or self.intents.waiting() or self.network.busy():
            return False
        unproven = {OrderStatus.SENT, OrderStatus.AMBIGUOUS, OrderStatus.NEW}
        return (
            (stage.idle or self._group_stuck())
            and not any(order.status in unproven for order in stage.book.live_orders.values())
            and not stage.reader.polls.check_wanted
            and stage.reader.polls.checking is None
            and not stage.book.apart
            and self.now_ns >= self.acts.quiet_from_ns
            and not unheard(self.checker)
            and not self.checker.lasting.uncovered()
        )

    def until(self, over: Callable[[], bool]) -> None:
        """Let time pass."""
        while not over() and not self.checker.breaks:
            self._advance()
            try:
                if self.network.run() or self.now_ns >= self._wake_ns:
                    self._step()
            except Crash:
                self.kill("crash")
            self.checker.look()

    def _advance(self) -> None:
        network = self.network.next_ns()
        due = self._wake_ns if network is None else min(network, self._wake_ns)
        step_ns = max(1, due - self.now_ns)
        self.now_ns += step_ns
        self.clock.mono += step_ns
        self.clock.real += step_ns

    def _step(self) -> None:
        if self.stage is None:
            self._wake_ns = self.down_until_ns
            if self.now_ns < self.down_until_ns:
                return
            self.begin(restarted=self.dead != "power_cut")
        if self.now_ns < self.still_until_ns:
            self._wake_ns = self.still_until_ns
            return
        assert self.stage is not None
        for _ in range(STEPS_MAX):
            if not self.stage.step(self.clock.mono):
                break
        else:
            self.checker.break_(f"the stage found work {STEPS_MAX} times at one instant")
        self._sync()
        deadline = self.stage.next_deadline_ns(self.clock.mono)
        self._wake_ns = self.now_ns + (BEAT_NS if self.acts.trading else QUIET_BEAT_NS)
        if deadline is not None:
            late_ns = self.day.late_ns if self.acts.trading else QUIET_LATE_NS
            self._wake_ns = min(self._wake_ns, self.now_ns + max(late_ns, deadline - self.clock.mono))
        if self.writer is not None and self.writer.behind:
            self._wake_ns = min(self._wake_ns, self._synced_ns + self.day.sync_every_ns)

    def _sync(self) -> None:
        """What the thread beside does."""
        writer = self.writer
        if writer is None or self.now_ns - self._synced_ns < self.day.sync_every_ns:
            return
        self._synced_ns = self.now_ns
        if writer.behind:
            try:
                writer.sync()
                writer.top_up()
            except JournalError:
                return
            self.files.synced = len(self.files.orders), len(self.files.trades)

    # The market

    def tick_market(self, jump: int = 0) -> None:
        ticks = self.market.ticks(self.rng, jump)
        self.side.take(self.api, ticks, self.network.server_ns())
        if self.now_ns < self.acts.gap_until_ns:
            return
        for slot in SLOTS:
            if slot != self.acts.frozen_slot:
                self.prices.put(slot, self.market.px[slot], self.market.volume, self.clock.mono)
                self.stale.discard(slot)
