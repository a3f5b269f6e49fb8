"""Layer 6, by hand and CI, cold: one kill in virtual time, for `verify kill`.

The real order stage trades with the simulated broker: a random flow of entries, exits, modifications
and cancels. At a random instant the kill latch is set in one of four ways, under any of several bad
conditions. Judged is what the broker's books and a record of every request say (record.py), never
what the stage says of itself.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.latch import LatchWatch, clear_latch, set_latch
from kite_hft.engine.orders.latches import disk, kill_by_signal, latch_ports
from kite_hft.engine.orders.unwritten import Kills
from kite_hft.layout import COUNTERS, INTENT, IntentKind, OrderType, Product, Side, Validity
from kite_hft.memory.journal import Record
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.in_process import UpdateTexts, make_broker
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.stages.orders import Orders
from kite_hft.trading.broker import Limits
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.verify.desk.bench import MemoryJournal
from kite_hft.verify.kill.record import Recorder

S: Final = 1_000_000_000
START_MONO_NS: Final = 10**12
START_REAL_NS: Final = 1_795_150_800 * S  # 2026-11-20 10:30 IST
STEP_NS: Final = 20_000_000
INSTRUMENTS: Final = 12
QUEUE: Final = 4096
LOSS_LIMIT_PAISE: Final = 5_000
WAYS: Final = ("command", "file", "signal", "limit")
CONDITIONS: Final = (
    "full_queue", "hung_strategy", "dead_feed", "unanswered", "mid_call", "flatten", "restart",
)  # fmt: skip
AFTER_S: Final = 8.0
LOOKED_UP_S: Final = 22.0
"""After answers that never came: their time-out, and the look-up of the orders."""


@dataclass(slots=True)
class Queue:
    """Both ends of a queue in memory; `room` limits what a push takes."""

    rows: list[npt.NDArray[np.void]] = field(default_factory=list)
    room: int = 10**9

    def push(self, records: npt.NDArray[np.void]) -> int:
        n = min(len(records), self.room)
        self.rows += [records[i : i + 1].copy() for i in range(n)]
        return n

    def recall(self, out: npt.NDArray[np.void]) -> int:
        return 0

    def peek(self, out: npt.NDArray[np.void]) -> int:
        n = min(len(out), len(self.rows))
        for i in range(n):
            out[i] = self.rows[i][0]
        return n

    def commit(self, n: int) -> int:
        del self.rows[:n]
        return n

    def waiting(self) -> int:
        return len(self.rows)


@dataclass(slots=True)
class MemoryCounters:
    """Counters by index; times are not kept."""

    values: list[int] = field(default_factory=lambda: [0] * len(COUNTERS["orders"]))

    def add(self, index: int, n: int = 1) -> None:
        self.values[index] += n

    def set(self, index: int, value: int) -> None:
        self.values[index] = value

    def record(self, histogram: int, ns: int, n: int = 1) -> None:
        pass

    def get(self, name: str) -> int:
        return self.values[COUNTERS["orders"].index(name)]


@dataclass(slots=True)
class Prices:
    """The table of latest ticks: slot -> (price, sequence, received)."""

    rows: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def last_px(self, slot: int) -> int:
        return self.rows[slot][0] if slot in self.rows else 0

    def look(self, slot: int) -> tuple[int, int, int] | None:
        return self.rows.get(slot)


class Trial:
    """One seed: its market, broker, flow, way and conditions. `folder` gets the account's latch."""

    def __init__(self, seed: int, limits: Limits, folder: Path, side: BrokerSide = KITE_SIDE) -> None:
        self.chance = random.Random(seed)
        self.way = self.chance.choice(WAYS)
        self.conditions = {name for name in CONDITIONS if self.chance.random() < 0.35}
        self.limits, self.account = limits, folder
        self.clock = ManualClock(START_MONO_NS, START_REAL_NS)
        whole, base_px = default_instruments(INSTRUMENTS, seed)
        self.instruments, self.side = side.table(whole), side
        equities = (row for row in self.instruments if row.exchange == "NSE" and row.kind == "EQ")
        shares = (row for row in equities if not row.is_index)
        self.shares = [row.slot for row in shares][:4]  # two for each strategy
        self.market = SyntheticMarket(self.instruments, base_px, 5.0, seed, START_REAL_NS)
        broker = make_broker(self.instruments, 10**11, seed, self.clock, (500_000, 40_000_000), side)
        side.take(broker.api, self.market.opening(), START_REAL_NS)
        self.recorder = Recorder(broker, self.clock, self.chance)
        self.journal, self.counters, self.prices = MemoryJournal(), MemoryCounters(), Prices()
        self.intents, self.events = Queue(), Queue()
        self.texts = UpdateTexts(self.clock)
        self.seqs = {1: 0, 2: 0}
        self.feed = True
        self.next_wish_ns = 0
        self.watch = LatchWatch(folder)
        self.stage = self.make_stage([])

    def make_stage(self, history: list[Record]) -> Orders:
        """A process of its own on the account: it knows the journal and the latch, nothing else."""
        names = {number: f"strategy {number}" for number in self.seqs}
        latches: Mapping[str, Any] = latch_ports(
            Kills(self.account, self.watch, self.clock, disk), "the simulator", names, lambda *words: None
        )
        limit = LOSS_LIMIT_PAISE if self.way == "limit" else None
        ports = Ports(
            instruments=self.instruments, broker=self.recorder.broker.adapter, transport=self.recorder,
            clock=self.clock, journal=self.journal, counters=self.counters, latest=self.prices,
            intents=[self.intents], texts=[self.texts],
            events=dict.fromkeys(self.seqs, self.events), tags=Tags("kil", 1),
            history=history, restarted=bool(history), **latches,
        )  # fmt: skip
        config = OrdersConfig(
            self.limits, loopback=True, absence_horizon_s=5.0, max_daily_loss_paise=limit,
            on_daily_loss="kill",
        )  # fmt: skip
        stage = Orders(ports, config)
        stage.start()
        return stage

    # Time

    def run(self, seconds: float, *, wishing: bool = True) -> None:
        """Let virtual time pass."""
        end_ns = self.clock.mono_ns() + round(seconds * S)
        while self.clock.mono_ns() < end_ns:
            self.tick(wishing)

    def tick(self, wishing: bool) -> None:
        """One step of everybody."""
        self.clock.advance(STEP_NS)
        now_ns = self.clock.mono_ns()
        exchange = self.recorder.broker.exchange
        _times, ticks = self.market.take(now_ns - START_MONO_NS, 1 << 16)
        if len(ticks):
            self.side.take(self.recorder.broker.api, ticks, self.clock.real_ns())
            if self.feed:
                for tick in ticks:
                    self.prices.rows[int(tick["slot"])] = (int(tick["last_px"]), now_ns, now_ns)
        exchange.step(self.clock.real_ns())
        updates = self.recorder.broker.update_frames()
        if self.feed:
            self.recorder.heard(updates)
            self.texts.add(updates)
        if wishing and now_ns >= self.next_wish_ns:
            self.next_wish_ns = now_ns + self.chance.randint(10, 250) * 1_000_000
            self.wish(now_ns)
        for _ in range(64):
            if not self.stage.step(now_ns):
                break

    # The flow

    def wish(self, now_ns: int) -> None:
        """One random intent."""
        strategy = self.chance.choice((1, 2))
        slot = self.shares[2 * (strategy - 1) + self.chance.randint(0, 1)]
        held = self.stage.book.standing(strategy, slot, Product.MIS).quantity
        draw = self.chance.random()
        if draw < 0.15 and self.seqs[strategy]:
            target = self.chance.randint(1, self.seqs[strategy])
            self.push(strategy, slot, kind=IntentKind.CANCEL, target=target)
        elif draw < 0.25 and self.seqs[strategy]:
            target = self.chance.randint(1, self.seqs[strategy])
            order = self.stage.book.by_strategy(strategy, target)
            if order is not None:
                px = order.px - self.instruments[order.slot].tick_px * self.chance.randint(1, 9)
                self.push(strategy, order.slot, kind=IntentKind.MODIFY, target=target, px=px, qty=0)
        elif draw < 0.45 and held:
            self.push(strategy, slot, side=Side.SELL if held > 0 else Side.BUY, qty=abs(held), away=-2)
        else:
            self.push(strategy, slot, side=self.chance.choice((Side.BUY, Side.SELL)),
                      qty=self.chance.randint(1, 5), away=self.chance.choice((-3, 20, 40, 60)))  # fmt: skip

    def push(
        self, strategy: int, slot: int, *, kind: IntentKind = IntentKind.PLACE, side: Side = Side.BUY,
        qty: int = 1, away: int = 0, target: int = 0, px: int = 0,
    ) -> None:  # fmt: skip
        """One INTENT. away: ticks behind the last price, negative: beyond it, so that it fills."""
        tick_px = self.instruments[slot].tick_px
        last_px = self.prices.last_px(slot) // tick_px * tick_px
        self.seqs[strategy] += 1
        row: Any = np.zeros(1, INTENT)
        sign = -1 if side == Side.BUY else 1
        row["created_ns"], row["strategy"], row["slot"] = self.clock.mono_ns(), strategy, slot
        row["strategy_seq"], row["target_seq"], row["kind"] = self.seqs[strategy], target, kind
        row["qty"] = qty
        if kind is IntentKind.PLACE:
            row["side"], row["order_type"], row["product"] = side, OrderType.LIMIT, Product.MIS
            row["validity"], row["px"] = Validity.DAY, max(tick_px, last_px + sign * away * tick_px)
        elif kind is IntentKind.MODIFY:
            row["px"] = max(tick_px, px)
        self.intents.push(row)

    # The kill

    def prepare(self) -> None:
        """The bad conditions, some time before the kill."""
        if "hung_strategy" in self.conditions:
            self.events.room = 0
        if "unanswered" in self.conditions:
            self.recorder.swallow = 0.6
        self.run(self.chance.uniform(0.2, 1.5))
        if "dead_feed" in self.conditions:
            self.feed = False
        if "full_queue" in self.conditions:
            while self.intents.waiting() < QUEUE:
                self.push(1, self.shares[self.chance.randint(0, 1)], qty=1, away=30)

    def kill(self) -> None:
        """Set the latch; from the instant on the recorder marks what leaves."""
        flatten = "flatten" in self.conditions
        if "mid_call" in self.conditions and self.way != "limit":
            self.recorder.at_call(self.chance.randint(1, 4), lambda: self.latch(flatten))
            self.run(2.0)
            self.recorder.at_call(0, lambda: None)
        if self.way == "limit":
            self.lose()
        if not self.watch.killed():
            self.latch(flatten)
        self.recorder.killed()

    def latch(self, flatten: bool) -> None:
        """By the drawn way; the limit acts by itself, and where it has nothing to lose the command does."""
        if self.way == "file":
            (self.account / "KILL").touch()
            self.conditions.discard("flatten")
        elif self.way == "signal" and threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGUSR1)
            kill_by_signal(self.account, self.clock, "the campaign")
            os.kill(os.getpid(), signal.SIGUSR1)
            signal.signal(signal.SIGUSR1, before)
            self.conditions.discard("flatten")
        else:
            set_latch(self.account, "verify kill", "the campaign", self.clock.real_ns(), flatten=flatten)
        self.recorder.killed()

    def lose(self) -> None:
        """Prices go against what is held until the limit acts: marks alone, unknown to the exchange."""
        self.conditions -= {"flatten", "mid_call"}
        feed, self.feed = self.feed, False
        for _ in range(100):
            if self.watch.killed():
                break
            for slot in self.shares:
                positions = self.stage.book.positions.values()
                held = sum(p.quantity for p in positions if p.slot == slot)
                px, seq, at_ns = self.prices.rows.get(slot, (0, 0, 0))
                self.prices.rows[slot] = (px - px // 50 * (held > 0) + px // 50 * (held < 0), seq, at_ns)
            self.tick(wishing=False)
        self.feed = feed

    def again(self) -> None:
        """The process dies and another one takes over; what the old one had asked is answered to nobody."""
        self.recorder.forget()
        self.stage = self.make_stage(list(self.journal.records))

    def close(self) -> None:
        """Let go of the latch's descriptor and file."""
        self.watch.close()
        disk.settle()
        clear_latch(self.account, "the campaign", self.clock.real_ns())


def run_trial(seed: int, limits: Limits, folder: Path, side: BrokerSide = KITE_SIDE) -> dict[str, Any]:
    """The whole trial; what was counted, and in `wrong` what must not be."""
    trial = Trial(seed, limits, folder, side)
    try:
        trial.run(3.0, wishing=False)
        if not trial.stage.active:
            return {"way": trial.way, "conditions": [], "wrong": ["the stage did not become ACTIVE"]}
        trial.run(trial.chance.uniform(1.0, 5.0))
        trial.prepare()
        trial.kill()
        trial.recorder.swallow = 0.0
        if "restart" in trial.conditions:
            trial.run(trial.chance.uniform(0.01, 1.0))
            trial.again()
        trial.events.room = 10**9
        trial.run(LOOKED_UP_S if "unanswered" in trial.conditions else AFTER_S)
        found = trial.recorder.judge(flat="flatten" in trial.conditions)
        if not trial.counters.get("state_killed"):
            found["wrong"].append("the stage does not show that it is killed")
        found["wrong"] += _again_and_resumed(trial)
        return {"way": trial.way, "conditions": sorted(trial.conditions)} | found
    finally:
        trial.close()


def _again_and_resumed(trial: Trial) -> list[str]:
    """Latched over a restart of the stage; after a resume orders leave again."""
    wrong = []
    trial.feed = True
    trial.run(1.0, wishing=False)
    trial.again()
    trial.run(3.0)
    if trial.recorder.opened_since_kill():
        wrong.append("an order that opens left after a restart of the stage")
    if not trial.stage.active:
        return [*wrong, "the restarted stage did not become ACTIVE"]
    trial.stage.control({"do": "resume", "by": "the campaign"}, trial.clock.mono_ns())
    if trial.watch.killed():
        return [*wrong, "resume did not end the latch"]
    posts = trial.recorder.posts()
    for _ in range(400):
        trial.tick(wishing=True)
        if trial.recorder.posts() > posts:
            return wrong
    return [*wrong, "no order left in 4 s after the resume"]
