"""Layer 4, tests and campaigns, cold: the whole engine in one process under a made-up clock.

Feed, compute, orders and the simulated broker are the real ones; only clock, transport and journal
are handed in. Everything random comes from the seed, so the same seed gives the same trace:
`trace_hash` covers every intent, every journal record and every trade.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _counters, _feed, _kite_decode, _queue, _ring, _table
from kite_hft._kernels import Kernels
from kite_hft.brokers.table import broker_of
from kite_hft.clock import ManualClock
from kite_hft.layout import COUNTERS, HISTOGRAMS, INTENT, SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.journal import Kind
from kite_hft.memory.segment import Segment, attach, create, make_directory
from kite_hft.sim.in_process import InProcessBroker, make_broker
from kite_hft.sim.kite.frames import FULL, encode_frames
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.stages.compute import Compute
from kite_hft.stages.orders import Orders
from kite_hft.strategies.hosts import Batch, Host, new_batch
from kite_hft.trading.broker import Limits
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import OrdersConfig, Ports

START_REAL_NS: Final = 1_795_150_800 * 10**9  # 2026-11-20 10:30 IST
START_MONO_NS: Final = 10**12
PACKETS_PER_FRAME: Final = 20
RING_SLOTS: Final = 4096
QUEUE_SLOTS: Final = 256

MakeHosts = Callable[[Batch, InstrumentTable], Sequence[Host]]


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """What a world is made of."""

    seed: int
    limits: Limits
    instruments: int = 8
    rate: float = 10.0
    cash_paise: int = 100_000_000
    batch: int = 1000
    delay_ns: tuple[int, int] = (500_000, 3_000_000)
    risk: RiskLimits = field(default_factory=RiskLimits)
    absence_horizon_s: float = 180.0


@dataclass(slots=True)
class MemoryJournal:
    """A journal that keeps its records."""

    records: list[tuple[int, int, bytes]] = field(default_factory=list)

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        self.records.append((int(kind), time_ns, payload))
        return len(self.records)


@dataclass(slots=True)
class IntentTap:
    """The producer's end of the intent queue, keeping a copy of all that passes."""

    queue: _queue.QueueProducer
    passed: list[bytes] = field(default_factory=list)

    def push(self, records: Any, n: int = -1) -> int:
        taken = self.queue.push(records, n)
        self.passed.append(records[:taken].tobytes())
        return taken

    def free(self) -> int:
        return self.queue.free()


class World:
    """One simulated run. `directory` holds its segments while it lives; close() lets go of them."""

    def __init__(self, config: WorldConfig, make_hosts: MakeHosts, directory: Path) -> None:
        self.config = config
        self.clock = ManualClock(START_MONO_NS, START_REAL_NS)
        self.instruments, base_px = default_instruments(config.instruments, config.seed)
        self.market = SyntheticMarket(self.instruments, base_px, config.rate, config.seed, START_REAL_NS)
        self.broker: InProcessBroker = make_broker(
            self.instruments, config.cash_paise, config.seed, self.clock, config.delay_ns
        )
        self.broker.exchange.on_ticks(self.market.opening(), START_REAL_NS)
        self.journal = MemoryJournal()
        self.trades: list[dict[str, Any]] = []
        self.orders_written: list[dict[str, Any]] = []
        self._folder = make_directory(directory, f"world-{config.seed}")
        self._segments: list[Segment] = []
        self._views = {name: self._segment(name, kind, n) for name, kind, n in _plan(len(self.instruments))}
        self._readers = {
            stage: _counters.CounterReader(self._views[f"counters-{stage}"]) for stage in COUNTERS
        }
        self.sink = self._make_sink()
        self.compute, self.tap = self._make_compute(make_hosts)
        self.orders = self._make_orders()
        self.compute.start()
        self.orders.start()

    def _segment(self, name: str, kind: SegmentKind, capacity: int) -> memoryview:
        stage = name.removeprefix("counters-")
        extra = (
            {"counters": capacity, "histograms": len(HISTOGRAMS[stage])}
            if kind is SegmentKind.COUNTERS
            else {}
        )
        path = create(
            self._folder, name, kind, capacity,
            now_mono_ns=self.clock.mono_ns(), now_real_ns=self.clock.real_ns(), **extra,
        )  # fmt: skip
        self._segments.append(attach(path, kind, writable=True, claim=True))
        return self._segments[-1].view

    def _make_sink(self) -> _feed.FeedSink:
        tokens, views = self.instruments.tokens(), self._views
        decoder = _kite_decode.KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32))
        return _feed.FeedSink(
            decoder, tokens, views["ticks"], views["latest"], views["counters-feed"], views["texts"],
            timed=False,
        )  # fmt: skip

    def _make_compute(self, make_hosts: MakeHosts) -> tuple[Compute, IntentTap]:
        tokens, scales, views = self.instruments.tokens(), self.instruments.scales(), self._views
        batch = new_batch(self.config.batch, tokens, scales)
        tap = IntentTap(_queue.QueueProducer(views["intents"]))
        compute = Compute(
            readers=[_ring.RingReader(views["ticks"])],
            kernels=Kernels(
                len(tokens), scale=scales, token=tokens, epoch_offset_ns=START_REAL_NS - START_MONO_NS
            ),
            batch=batch,
            hosts=make_hosts(batch, self.instruments),
            intents=tap,
            events=_queue.QueueConsumer(views["events"]),
            counters=_counters.CounterWriter(views["counters-compute"]),
            clock=self.clock.mono_ns,
        )
        return compute, tap

    def _make_orders(self) -> Orders:
        views, config = self._views, self.config
        ports = Ports(
            instruments=self.instruments,
            broker=broker_of("kite", self.instruments),  # what the exchange of this process speaks
            transport=self.broker,
            clock=self.clock,
            journal=self.journal,
            counters=_counters.CounterWriter(views["counters-orders"]),
            latest=_table.TableReader(views["latest"]),
            intents=[_queue.QueueConsumer(views["intents"])],
            texts=[_queue.QueueConsumer(views["texts"])],
            events=dict.fromkeys(range(1, 10), _queue.QueueProducer(views["events"])),
            tags=Tags("sim", config.seed % 36**4),
            on_order=self.orders_written.append,
            on_trade=self.trades.append,
        )
        return Orders(
            ports,
            OrdersConfig(
                config.limits, config.risk, loopback=True, absence_horizon_s=config.absence_horizon_s
            ),
        )

    def step(self) -> None:
        """Move the clock to the next thing that is due, and let everybody act."""
        now_ns = self.clock.mono_ns()
        offset = self.clock.real_ns() - now_ns
        due = [self.broker.next_due_ns(), self.orders.next_deadline_ns(now_ns)]
        market, exchange = self.market.next_ns(), self.broker.exchange.next_due_ns()
        due += [START_MONO_NS + market if market is not None else None]
        due += [exchange - offset if exchange is not None else None]
        self.clock.advance(max(1, min(d for d in due if d is not None) - now_ns))
        now_ns = self.clock.mono_ns()
        _times, ticks = self.market.take(now_ns - START_MONO_NS, 1 << 16)
        if len(ticks):
            self.broker.exchange.on_ticks(ticks, self.clock.real_ns())
            modes = np.full(len(self.instruments), FULL, np.uint8)
            frames = encode_frames(ticks, self.instruments.tokens(), modes, PACKETS_PER_FRAME)
            for i, frame in enumerate(frames):
                self.sink.feed_bytes(frame, now_ns, i == len(frames) - 1)
        self.broker.exchange.step(self.clock.real_ns())
        for text in self.broker.update_frames():
            self.sink.feed_text(text, now_ns)
        while self.compute.step(now_ns):
            pass
        while self.orders.step(now_ns):
            pass

    def run(self, seconds: float) -> None:
        """Step until so much simulated time has passed."""
        end_ns = self.clock.mono_ns() + round(seconds * 1e9)
        while self.clock.mono_ns() < end_ns:
            self.step()

    def counts(self, stage: str) -> dict[str, int]:
        """Counters of one stage."""
        return named(stage, self._readers[stage].values())

    def intents(self) -> np.ndarray[Any, np.dtype[np.void]]:
        """All intents so far, INTENT[n]."""
        return np.frombuffer(b"".join(self.tap.passed), INTENT)

    def trace_hash(self) -> str:
        """SHA-256 over intents, journal and the broker's trades."""
        digest = hashlib.sha256(b"".join(self.tap.passed))
        for kind, time_ns, payload in self.journal.records:
            digest.update(f"{kind} {time_ns} ".encode() + payload)
        for trade in self.broker.exchange.account.trades:
            digest.update(repr(tuple(trade)).encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of the memory; the world cannot be stepped any more."""
        del self.sink, self.compute, self.orders, self.tap
        self._readers.clear()
        self._views.clear()
        for segment in self._segments:
            segment.close()


def _plan(instruments: int) -> list[tuple[str, SegmentKind, int]]:
    return [
        ("ticks", SegmentKind.TICK_RING, RING_SLOTS),
        ("latest", SegmentKind.LATEST_TABLE, instruments),
        ("intents", SegmentKind.INTENT_QUEUE, QUEUE_SLOTS),
        ("events", SegmentKind.EVENT_QUEUE, QUEUE_SLOTS),
        ("texts", SegmentKind.TEXT_QUEUE, QUEUE_SLOTS),
        *((f"counters-{stage}", SegmentKind.COUNTERS, len(names)) for stage, names in COUNTERS.items()),
    ]
