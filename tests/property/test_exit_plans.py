"""Exits of a position against the simulated exchange: random prices, fills, wishes, restarts.

Whatever happens: exits never fill twice, a position is never reversed by them, and while a plan with a
stop stands and a position is held an order that covers it is alive, within a bounded time. After the
order process is started anew from its journal the same holds. The account at the exchange is the truth.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orders_world import LatestTable, MemoryCounters, MemoryJournal, Queue, instrument, intent_row, limits
from sim_tools import book_of

from kite_hft.brokers.kite.rest import KITE
from kite_hft.clock import ManualClock
from kite_hft.layout import IntentKind, OrderType, Product, Side
from kite_hft.memory.journal import Record
from kite_hft.sim.in_process import UpdateTexts, make_broker
from kite_hft.stages.orders import Orders
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import OrdersConfig, Ports

S = 1_000_000_000
START_REAL = 1_795_150_800 * S
TICK_PX = 5
COVERED_S = 3.0
WIDE = RiskLimits(
    max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, price_collar_percent=50.0,
    repeats_max=10**6, period_orders=10**6,
)  # fmt: skip


@dataclass
class Bench:
    """One share, one strategy that only buys and sells what it holds, and a real exchange."""

    seed: int
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000 * S, START_REAL))
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    latest: LatestTable = field(default_factory=LatestTable)
    px: int = 10_000
    volume: int = 1_000
    seq: int = 0
    uncovered_ns: int = 0

    def __post_init__(self) -> None:
        self.table = InstrumentTable((instrument(0),))
        self.broker = make_broker(self.table, 10**12, self.seed, self.clock, (500_000, 3_000_000))
        self.random = random.Random(self.seed)
        self.intents, self.texts = Queue(), UpdateTexts(self.clock)
        self.tick(0)
        self.stage = self.make(())
        self.stage.start()
        self.run(3.0)
        assert self.stage.active

    def make(self, history: tuple[Record, ...]) -> Orders:
        self.events = Queue()
        ports = Ports(
            self.table, KITE, self.broker, self.clock, self.journal, MemoryCounters(), self.latest,
            (self.intents,), (self.texts,), {1: self.events}, Tags("abc", 7), history,
            restarted=bool(history),
        )  # fmt: skip
        return Orders(ports, OrdersConfig(limits(), WIDE, loopback=True, absence_horizon_s=5.0))

    def restart(self) -> None:
        """The order process dies where it stands; its calls that are under way go on."""
        plans = self.stage.keeper.plans.plans
        before = [(plan.key, plan.seq, plan.mode, plan.level_px) for plan in plans.values()]
        self.stage = self.make(tuple(self.journal.records))
        self.stage.start()
        plans = self.stage.keeper.plans.plans
        assert [(plan.key, plan.seq, plan.mode, plan.level_px) for plan in plans.values()] == before
        self.uncovered_ns = self.clock.mono
        self.run(2.5)

    def tick(self, move: int, depth: int = 50) -> None:
        self.px = max(2_000, self.px + move * TICK_PX)
        self.volume += 500
        row = book_of(0, self.px - TICK_PX, self.px + TICK_PX, depth, last=self.px, volume=self.volume)
        self.broker.exchange.on_ticks(row, self.clock.real_ns())
        self.latest.put(0, self.px, self.clock.mono)

    def step(self) -> None:
        self.clock.advance(10_000_000)
        self.broker.exchange.step(self.clock.real_ns())
        self.texts.add(self.broker.update_frames())
        self.latest.put(0, self.px, self.clock.mono)
        for _ in range(3):
            self.stage.step(self.clock.mono)
        self.events.rows.clear()
        self.check()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.step()

    def held(self) -> int:
        """At the exchange."""
        return self.broker.exchange.account.net(0, Product.MIS)

    def wish(self, **more: int) -> None:
        self.seq += 1
        self.intents.push(intent_row(self.seq, created_ns=self.clock.mono, **more))

    def check(self) -> None:
        held = self.held()
        assert held >= 0, f"sold {-held} that were not there"
        selling = sum(
            order.remaining
            for order in self.broker.exchange.orders.values()
            if order.request.side == Side.SELL and not order.done
        )
        assert selling <= held, f"{selling} for sale, {held} held: they could fill twice"
        plan = next(iter(self.stage.keeper.plans.plans.values()), None)
        stop = plan is not None and bool(plan.stop_px or plan.trail_px)
        if not stop or selling >= held or not self.stage.active:
            self.uncovered_ns = self.clock.mono
        waited = (self.clock.mono - self.uncovered_ns) / S
        assert waited <= COVERED_S, f"{held} held, {selling} covered for {waited:.1f} s: {plan}"

    def settle(self) -> None:
        """Everything comes to rest; the book is what the exchange says."""
        self.run(4.0)
        position = self.stage.book.standing(1, 0, Product.MIS)
        assert position.quantity == self.held()
        assert not self.stage.outbox.halted


def steps(bench: Bench, what: tuple[str, int]) -> None:
    name, value = what
    if name == "price":
        bench.tick(value)
        bench.run(0.1)
    elif name == "thin":
        bench.tick(value, depth=3)
        bench.run(0.05)
    elif name == "wait":
        bench.run(value / 10)
    elif name == "buy":
        bench.wish(side=Side.BUY, qty=10 * value, px=bench.px + 20, order_type=OrderType.LIMIT)
        bench.run(0.05)
    elif name == "sell":
        left = bench.stage.book.standing(1, 0, Product.MIS)
        quantity = min(5 * value, left.quantity - left.open_sell)
        own = min(5 * value, left.quantity)
        px = bench.px + (40 if value % 2 else -40)
        bench.wish(side=Side.SELL, qty=max(1, own if value > 1 else quantity), px=px, flags=1)
        bench.run(0.05)
    elif name == "exits":
        blank = {"kind": int(IntentKind.EXITS), "side": 0, "order_type": 0, "qty": 0, "validity": 0, "px": 0}
        stop = bench.px - value * 5 * TICK_PX
        kinds = (
            {"trigger_px": stop, "px": bench.px + value * 5 * TICK_PX},
            {"trail_px": value * 20, "step_px": TICK_PX * 2},
            {"trigger_px": stop, "deadline_ns": bench.clock.mono + 2 * S},
            {"trigger_px": stop, "order_type": int(OrderType.SL)},
            {},
        )
        bench.wish(**(blank | kinds[value % len(kinds)]))
        bench.run(0.05)
    elif name == "restart":
        bench.restart()


ACTIONS = st.one_of(
    st.tuples(st.just("price"), st.integers(-12, 12)),
    st.tuples(st.just("price"), st.integers(-12, 12)),
    st.tuples(st.just("thin"), st.integers(-30, 30)),
    st.tuples(st.just("wait"), st.integers(1, 10)),
    st.tuples(st.just("buy"), st.integers(1, 3)),
    st.tuples(st.just("sell"), st.integers(1, 4)),
    st.tuples(st.just("exits"), st.integers(1, 12)),
    st.tuples(st.just("restart"), st.just(0)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**16), st.lists(ACTIONS, min_size=5, max_size=25))
def test_exits_never_fill_twice_and_cover_what_is_held(seed: int, actions: list[tuple[str, int]]) -> None:
    bench = Bench(seed)
    for what in (("buy", 2), ("exits", 6), *actions):
        steps(bench, what)
    bench.settle()
