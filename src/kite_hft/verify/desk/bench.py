"""Layer 6, campaigns, cold: the real order stage before a simulated broker, under a made-up clock.

`Bench` is what outlives processes: exchange, line (line.py), clock and prices. `Desk` is one
process of the order stage: journal and queues are in memory. What is true is read from the exchange.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.clock import ManualClock
from kite_hft.layout import INTENT, TICK, IntentKind, OrderType, Product, Side, Validity
from kite_hft.memory.journal import Kind, Record
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Order as SimOrder
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.market.universe import default_instruments
from kite_hft.stages.orders import Orders
from kite_hft.trading.broker import Limits, OrderRequest
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.units import NS_PER_S
from kite_hft.verify.desk.line import Line

START_REAL_NS: Final = 1_795_150_800 * NS_PER_S  # 2026-11-20 10:30 IST
START_MONO_NS: Final = 10**12
INSTRUMENTS: Final = 40
INSTALL: Final = "vfy"
CASH_PAISE: Final = 10**13
SPREAD_TICKS: Final = 2
STEPS_MAX: Final = 1000
Rows = npt.NDArray[np.void]

LIMITS: Final = RiskLimits(
    max_position_size=1e9, max_exposure=1e10, max_positions=1000, max_order_quantity=10**6,
    max_order_value=1e9, max_working_orders=1000, price_collar_percent=50.0, period_orders=10**6,
    period_quantity=10**9, period_value=1e12, repeats_max=10**6, max_gross_notional=1e13,
)  # fmt: skip
"""Wide: these campaigns are about what comes behind the gate."""


@dataclass(slots=True)
class MemoryJournal:
    """A journal that keeps its records, and may lose the newest ones."""

    records: list[Record] = field(default_factory=list)

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        self.records.append(Record(len(self.records) + 1, kind, time_ns, payload))
        return len(self.records)


@dataclass(slots=True)
class IntentRows:
    """Both ends of an intent queue."""

    rows: list[Rows] = field(default_factory=list)

    def peek(self, out: Rows) -> int:
        n = min(len(out), len(self.rows))
        for i in range(n):
            out[i] = self.rows[i][0]
        return n

    def commit(self, n: int) -> int:
        del self.rows[:n]
        return n

    def waiting(self) -> int:
        return len(self.rows)


class Deaf:
    """Takes what strategies, counters and histograms are told."""

    def push(self, records: Rows) -> int:
        return len(records)

    def recall(self, out: Rows) -> int:
        return 0

    def add(self, index: int, n: int = 1) -> None: ...

    def set(self, index: int, value: int) -> None: ...

    def record(self, histogram: int, ns: int, n: int = 1) -> None: ...


@dataclass(slots=True)
class Prices:
    """A latest table that is always fresh."""

    clock: ManualClock
    last: list[int]

    def last_px(self, slot: int) -> int:
        return self.last[slot]

    def look(self, slot: int) -> tuple[int, int, int] | None:
        return self.last[slot], 1, self.clock.mono


@dataclass(slots=True)
class Bench:
    """Exchange, line and clock of one case; they outlive the processes."""

    limits: Limits
    seed: int
    keep_tags: bool = True
    unlimited: bool = False  # the API counts nothing
    broker: BrokerSide = KITE_SIDE
    clock: ManualClock = field(default_factory=lambda: ManualClock(START_MONO_NS, START_REAL_NS))

    instruments: InstrumentTable = field(init=False)
    prices: Prices = field(init=False)
    exchange: Exchange = field(init=False)
    line: Line = field(init=False)
    tradable: list[int] = field(init=False)

    def __post_init__(self) -> None:
        whole, base_px = _universe()
        self.instruments = self.broker.table(whole)
        self.prices = Prices(self.clock, [int(px) for px in base_px])
        params = self.broker.params(ExchangeParams(keep_tags=self.keep_tags, orders_per_day=0))
        self.exchange = Exchange(self.instruments, CASH_PAISE, self.seed, params)
        api = self.broker.make_api(self.exchange, self.unlimited)
        self.line = Line(self.broker, api, self.clock, self.seed)
        self.tradable = [row.slot for row in self.instruments if row.kind == "EQ" and not row.is_index]
        self.tick(range(len(self.instruments)))

    def tick(self, slots: Iterable[int]) -> None:
        """The market shows itself: a deep book around the last price."""
        chosen = list(slots)
        ticks = np.zeros(len(chosen), TICK)
        for tick, slot in zip(ticks, chosen, strict=True):
            step, px = max(self.instruments[slot].tick_px, 1), self.prices.last[slot]
            tick["slot"], tick["last_px"], tick["last_qty"], tick["close_px"] = slot, px, 10**6, px
            tick["bid_px"], tick["ask_px"] = px - SPREAD_TICKS * step, px + SPREAD_TICKS * step
            tick["bid_qty"] = tick["ask_qty"] = 10**6
            tick["bid_orders"] = tick["ask_orders"] = 100
            tick["volume"] = (self.clock.mono - START_MONO_NS) // 10**6 + 10**6
        self.broker.take(self.line.api, ticks, self.clock.real)

    def by_hand(
        self, slot: int, side: Side, quantity: int, px: int, *, tag: str = "", product: Product = Product.MIS
    ) -> str:
        """An order that somebody else places on the account; its id. Raises KeyError: it was refused."""
        words = (self.instruments[slot], side, OrderType.LIMIT, product, Validity.DAY, quantity, px)
        answer = self.line.ask(self.line.broker.place(OrderRequest(*words, tag=tag)))
        return self.broker.placed_id(json.loads(answer.body))

    def order_of(self, order_id: str) -> SimOrder:
        return self.exchange.orders[order_id]


_UNIVERSE: list[tuple[InstrumentTable, Any]] = []


def _universe() -> tuple[InstrumentTable, Any]:
    if not _UNIVERSE:
        _UNIVERSE.append(default_instruments(INSTRUMENTS, 1))
    return _UNIVERSE[0]


class Desk:
    """One process of the order stage on a bench."""

    def __init__(
        self,
        bench: Bench,
        *,
        run: int = 1,
        history: Sequence[Record] = (),
        journal: MemoryJournal | None = None,
        restarted: bool = False,
        continues: Sequence[str] = (),
        config: OrdersConfig | None = None,
        ports: Mapping[str, Any] | None = None,
    ) -> None:
        """`ports`: fields of Ports that are to be other ones."""
        self.bench, self.clock, self.line = bench, bench.clock, bench.line
        self.journal = journal if journal is not None else MemoryJournal()
        self.intents = IntentRows()
        self.alerts: list[dict[str, Any]] = []
        words: dict[str, Any] = {
            "instruments": bench.instruments,
            "broker": bench.line.broker,
            "transport": self.line,
            "clock": self.clock,
            "journal": self.journal,
            "counters": Deaf(),
            "latest": bench.prices,
            "intents": [self.intents],
            "texts": [self.line.texts],
            "events": {number: Deaf() for number in range(1, 5)},
            "tags": Tags(INSTALL, run),
            "history": history,
            "restarted": restarted,
            "continues": continues,
            "alert": self.alerts.append,
        }
        self.stage = Orders(
            Ports(**words | dict(ports or {})),
            config or OrdersConfig(bench.limits, LIMITS, reject_storm=10**6),
        )
        self._seq = 0

    def wish(self, slot: int, side: Side, quantity: int, px: int = 0, **more: int) -> int:
        """An intent of a strategy; px 0: a MARKET order. Returns its strategy_seq."""
        self._seq += 1
        row = np.zeros(1, INTENT)
        words = {
            "strategy_seq": self._seq, "strategy": 1, "slot": slot, "kind": IntentKind.PLACE, "side": side,
            "order_type": OrderType.LIMIT if px else OrderType.MARKET, "product": Product.MIS,
            "validity": Validity.DAY, "qty": quantity, "px": px, "created_ns": self.clock.mono,
        } | more  # fmt: skip
        for name, value in words.items():
            row[name] = value
        self.intents.rows.append(row)
        return self._seq

    def step(self, until_ns: int) -> None:
        """To the next thing that is due, at most to `until_ns`, and everybody acts."""
        self.act()
        now_ns = self.clock.mono
        due = [self.line.next_ns(), self.stage.next_deadline_ns(now_ns), until_ns]
        self.clock.advance(max(1, min(d for d in due if d is not None) - now_ns))
        self.line.run()
        self.act()

    def act(self) -> None:
        """All that the stage finds to do at this moment."""
        for _ in range(STEPS_MAX):
            if not self.stage.step(self.clock.mono):
                return
        raise RuntimeError(f"the order stage finds something to do {STEPS_MAX} times at one moment")

    def run(self, seconds: float, look: Callable[[], None] = lambda: None) -> None:
        """Let time pass; `look` is called after every step."""
        end_ns = self.clock.mono + round(seconds * NS_PER_S)
        while self.clock.mono < end_ns:
            self.step(end_ns)
            look()

    def start(self, seconds: float = 10.0) -> None:
        """Replay and read the books, until ACTIVE, unexplained, or the time is over."""
        self.stage.start()
        end_ns = self.clock.mono + round(seconds * NS_PER_S)
        while not (self.stage.active or self.stage.unexplained) and self.clock.mono < end_ns:
            self.step(end_ns)
