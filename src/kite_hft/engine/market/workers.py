"""Layer 5, compute half of a market process, hot: a worker, made from its part of the plan.

Beside a feed the worker is stepped at the end of each read (engine/market/feeds.py). Alone it waits on
its rings and its event queue (spin, yield, park or adaptive) and is woken by their producers.
It keeps a copy of its state in shared memory (memory/snapshots.py), taken between two steps, and
a worker that was started again goes on from there (engine/market/recovery.py).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _counters, _inputs, _queue, _twins, _wait
from kite_hft._kernels import Kernels
from kite_hft._step import TickStep
from kite_hft.clock import Clock, SystemClock
from kite_hft.configuring.models.market import StrategySection
from kite_hft.engine.market.bar_file import BarFile
from kite_hft.engine.market.console import classic_voice
from kite_hft.engine.market.hours import slot_facts, wants_facts
from kite_hft.engine.market.past import past_of
from kite_hft.engine.market.recovery import Recovery, look_back, snapshot_name
from kite_hft.engine.market.strategies import make_strategy
from kite_hft.engine.plan.days import session_arrays
from kite_hft.engine.processes.children import Answers
from kite_hft.engine.processes.segments import Segments
from kite_hft.engine.processes.warm import instruments_of
from kite_hft.layout import SegmentKind, Severity
from kite_hft.memory.counters import named
from kite_hft.memory.follow import FollowingReader
from kite_hft.memory.segment import Segment
from kite_hft.memory.snapshots import SnapshotWriter
from kite_hft.settings import Settings
from kite_hft.stages.compute import COUNTER, Compute
from kite_hft.strategies.classic import Voice
from kite_hft.strategies.compiled import CompiledStrategy
from kite_hft.strategies.history import History
from kite_hft.strategies.hosts import Batch, CompiledHost, Host, PythonHost, Slots, new_batch
from kite_hft.strategies.slots import SlotFacts
from kite_hft.trading.instruments import InstrumentTable

BEAT_NS: Final = 100_000_000
WAIT_NS: Final = 50_000_000
FOREVER_NS: Final = 2**62
LAST_NS: Final = 5_000_000_000
"""For what still waits at the end: of more than it can do a worker would find no end."""


def run_compute(config: dict[str, Any], answers: Answers) -> int:
    """The body of a process with compute alone; returns its exit code."""
    settings = Settings.model_validate(config["settings"])
    instruments = instruments_of(config["instruments"])
    segments = Segments(config["segments"])
    clock = SystemClock()
    worker = None
    try:
        worker = make_worker(settings, instruments, segments, clock, config, answers)
        return _run_waiting(config, segments, clock, answers, worker)
    finally:
        if worker is not None:
            worker.close(answers)
        segments.close()


@dataclass(slots=True)
class Worker:
    """A compute stage with what wakes it, its snapshots, and how its start went.

    slots: all instruments of its connections. counters: reads what the stage counts. span_ns: after so long
    a step ends although more waits; 0: it does not.
    """

    number: int
    compute: Compute
    rings: dict[int, FollowingReader]  # by connection
    events: _queue.QueueConsumer
    event_segment: Segment
    inputs: _inputs.InputLog
    slots: Slots
    counts: _counters.CounterWriter
    counters: _counters.CounterReader
    snapshots: SnapshotWriter
    every_ns: int
    clock: Clock
    spawned_ns: int
    say: Callable[[str], None]
    bars: BarFile | None = None
    compiled: int = 0
    from_cache: int = 0
    first_ns: int = 0
    next_snapshot_ns: int = 0
    span_ns: int = 0
    kept: int = -1  # how many inputs the last snapshot knows of
    compiled_step: TickStep | None = None
    failed: bool = False

    def step(self) -> int:
        """All work that waits, or `span_ns` of it; returns how much. A snapshot is taken when it is due."""
        total = 0
        now_ns = self.clock.mono_ns()
        until_ns = now_ns + (self.span_ns or FOREVER_NS)
        while work := self.compute.step(now_ns):
            total += work
            now_ns = self.clock.mono_ns()
            if now_ns > self.next_snapshot_ns + self.every_ns:  # never idle: then in between
                self.keep(now_ns)
            if now_ns >= until_ns:
                break
        if total and not self.first_ns:
            self.first_ns = self.clock.mono_ns()
        if now_ns >= self.next_snapshot_ns:
            self.keep(now_ns)
        if self.compiled_step is not None:
            self._lead(self.compiled_step)
        return total

    def quick(
        self, slow: Callable[[], object], failed: Callable[[Exception], None] | None
    ) -> Callable[[], object]:
        """`step` with the shortest way for what happens most, or `slow`, which calls `step`.

        failed: told of an error, after which nothing more is done; None: it is raised.
        """
        if len(self.rings) != 1:
            return slow
        self.compiled_step = self.compute.compiled(slow, failed)
        self.compiled_step.span_ns = self.span_ns
        self._lead(self.compiled_step)
        return self.compiled_step

    def _lead(self, step: TickStep) -> None:
        """After whatever may have changed the ring, the strategies, or when a snapshot is due."""
        (ring,) = self.rings.values()
        due_ns = self.next_snapshot_ns if self.first_ns else 0  # the first tick is told of
        step.follow(ring.reader, ring.generation, self.compute.hosts, due_ns)

    def keep(self, now_ns: int) -> None:
        """Write a snapshot, between two steps. A failure is said once; the one before still stands."""
        self.next_snapshot_ns = now_ns + self.every_ns
        inputs = self.inputs.next_seq
        if self.kept == inputs:  # nothing was computed since the last snapshot
            return
        state = self.compute.save(self.slots) | {
            "slots": self.slots,
            "rings": {str(number): ring.position for number, ring in self.rings.items()},
            "inputs": inputs,
            "events": self.events.next_seq,
            "bars": self.bars.length() if self.bars is not None else 0,
            "counters": named("compute", self.counters.values()),
        }
        try:
            self.snapshots.write(state)
        except OSError as error:
            if not self.failed:
                self.failed = True
                self.say(f"no snapshot of worker {self.number} is kept: {error.strerror}")
            return
        self.kept, self.failed = inputs, False
        self.counts.add(COUNTER["snapshots"])
        self.counts.set(COUNTER["snapshot_ns"], now_ns)

    def wake_on(self) -> list[memoryview]:
        """The segments of rings and events. Others after a change of `generations`."""
        return [*(ring.view for ring in self.rings.values()), self.event_segment.view]

    def generations(self) -> list[int]:
        """Which generation of each ring is read."""
        return [ring.generation for ring in self.rings.values()]

    def positions(self) -> list[int]:
        """What the worker has seen of each ring and of its events: new work is beyond these."""
        return [*(ring.position for ring in self.rings.values()), self.events.next_seq]

    def close(self, answers: Answers) -> None:
        """Close the open bars and tell how the start went."""
        self.compute.close()
        answers.send(part={"start": self.told()})
        if self.bars is not None:
            self.bars.close()
        self.snapshots.close()
        for ring in self.rings.values():
            ring.close()

    def told(self) -> dict[str, Any]:
        """first_tick_s: from the start of the process to its first computed tick, or None."""
        first_s = (self.first_ns - self.spawned_ns) / 1e9 if self.first_ns else None
        return {
            "first_tick_s": first_s,
            "kernel_compilations": self.compiled,
            "kernels_from_cache": self.from_cache,
        }


def make_worker(
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
    config: dict[str, Any],
    answers: Answers,
) -> Worker:
    """The compute stage of this process, started; after a restart where the one before it was.

    `bars-<worker>.bin` of the run folder: where closed BAR records are written, if wanted.
    """
    plan, me, shm = config["worker"], config["worker"]["number"], Path(config["shm"])
    slots = slots_of(config)
    earlier = look_back(shm, me, slots) if config["restarted"] else None
    positions = earlier.positions if earlier is not None else {}
    rings = {
        number: FollowingReader(
            shm, f"ticks-{number}", SegmentKind.TICK_RING, start=positions.get(number, "oldest"), parks=True
        )
        for number in plan["connections"]
    }
    length = earlier.bars_length if earlier is not None else None
    path = Path(config["folder"]) / f"bars-{me}.bin"
    bars = BarFile(path, partial(_not_written, answers), length) if settings.datafeed.store_bars else None
    events = segments.share(f"events-{me}", SegmentKind.EVENT_QUEUE)
    intents = segments.own(f"intents-{me}", SegmentKind.INTENT_QUEUE)
    inputs = _inputs.InputLog(segments.own(f"inputs-{me}", SegmentKind.INPUT_RING).view)
    counted = segments.own(f"counters-compute-{me}", SegmentKind.COUNTERS).view
    consumer, counts = _queue.QueueConsumer(events.view), _counters.CounterWriter(counted)
    batch = new_batch(settings.performance.batch_size, instruments.tokens(), instruments.scales())
    voice = classic_voice(settings, clock, answers.log, Path(config["folder"]))
    facts = cache(partial(slot_facts, settings, instruments, clock.real_ns()))
    hosts = make_hosts(settings, config, batch, voice, facts, partial(past_of, settings, instruments, clock))
    compute = Compute(
        readers=list(rings.values()),
        kernels=make_kernels(settings, instruments, clock),
        batch=batch,
        hosts=hosts,
        intents=_queue.QueueProducer(intents.view, wake_fd=config["wake_fds"]["orders"]),
        events=consumer,
        counters=counts,
        clock=clock.mono_ns,
        on_halt=partial(_halted, answers),
        bars_sink=bars.write if bars is not None else None,
        intent_deadline_ns=round(settings.trading.intent_deadline_s * 1e9),
        send_stamp=settings.performance.send_stamp,
        inputs=inputs,
        sources=list(rings),
        queue=me,
        twins=twins_of(settings, config, len(instruments)),
    )
    compute.start()
    loops = [host.loop for host in hosts if isinstance(host, CompiledHost)]
    worker = Worker(
        me, compute, rings, consumer, events, inputs, slots, counts, _counters.CounterReader(counted),
        SnapshotWriter(shm, snapshot_name(me)), round(settings.supervision.snapshot_s * 1e9), clock,
        config["spawned_ns"], answers.log, bars,
        compiled=sum(loop.compilations for loop in loops),
        from_cache=sum(loop.cache_hits for loop in loops),
    )  # fmt: skip
    if earlier is not None:
        say, standing = partial(_prefixed, answers.log, f"worker {me}"), worker.counters.values()
        recovery = Recovery(shm, earlier, compute, slots, events, intents, named("compute", standing), say)
        with voice.silent():
            recovery.run(settings.performance.batch_size)
        recovery.late_events(consumer.next_seq, clock.mono_ns())
        counts.add(COUNTER["restarts"])
    worker.keep(clock.mono_ns())
    return worker


def _not_written(answers: Answers, name: str, why: str) -> None:
    answers.alert("FILE_FAILED", name, f"{name} is not written any more: {why}", Severity.WARNING)


def slots_of(config: dict[str, Any]) -> Slots:
    """All instruments of the worker's connections, ascending."""
    mine = set(config["worker"]["connections"])
    found = [slot for c in config["connections"] if c["number"] in mine for slot in c["slots"]]
    return np.array(sorted(set(found)), np.uint32)


def twins_of(settings: Settings, config: dict[str, Any], n_slots: int) -> _twins.Twins | None:
    """Which ticks are passed over where two connections of the worker carry one instrument; None: none do."""
    mine = set(config["worker"]["connections"])
    carried = [slot for c in config["connections"] if c["number"] in mine for slot in c["slots"]]
    if len(set(carried)) == len(carried):
        return None
    return _twins.Twins(n_slots, round(settings.datafeed.twin_hold_s * 1e9))


def _prefixed(log: Callable[[str], None], name: str, text: str) -> None:
    log(f"{name}: {text}")


def _halted(answers: Answers, name: str, error: Exception) -> None:
    text = f"strategy {name} is halted: {type(error).__name__}: {error}"
    answers.log(text)
    answers.alert("STRATEGY_HALTED", name, text, Severity.WARNING)


def make_hosts(
    settings: Settings,
    config: dict[str, Any],
    batch: Batch,
    voice: Voice,
    facts: Callable[[], SlotFacts],
    past: Callable[[Path, StrategySection], History | None],
) -> list[Host]:
    """The worker's strategies, by its part of the plan. facts: asked where a strategy wants them; past: the
    days before, from the run folder, of one that names a file."""
    before = partial(past, Path(config["folder"]))
    folder = Path(config["state"]) / "numba"
    return [
        make_host(
            settings, settings.strategies[index], number, batch, slots, folder, voice, facts, before,
            next_seq=config.get("next_seq", {}).get(str(number), 1),
        )
        for number, index, slots in config["worker"]["strategies"]
    ]  # fmt: skip


def make_kernels(settings: Settings, instruments: InstrumentTable, clock: Clock) -> Kernels:
    """The default kernels over all instruments, in the day's session."""
    chosen = settings.kernels
    x0 = 0.0 if chosen.x0 == "zero" else float("nan")
    opens, closes = session_arrays(settings, instruments, clock.real_ns())
    without = set(settings.datafeed.without_volume)
    return Kernels(
        len(instruments),
        scale=instruments.scales(),
        token=instruments.tokens(),
        q=chosen.q, r=chosen.r, p0=chosen.p0, x0=x0,
        q2=chosen.q, r2=chosen.r, p02=chosen.p0, x02=x0,
        dt_seconds=chosen.dt == "seconds",
        open_ns=opens,
        close_ns=closes,
        has_volume=np.array([not (i.is_index or i.key in without) for i in instruments]),
        epoch_offset_ns=clock.real_ns() - clock.mono_ns(),
    )  # fmt: skip


def make_host(
    settings: Settings,
    section: StrategySection,
    number: int,
    batch: Batch,
    slots: list[int] | None,
    cache_dir: Path,
    voice: Voice,
    facts: Callable[[], SlotFacts],
    past: Callable[[StrategySection], History | None] = lambda section: None,
    next_seq: int = 1,
) -> Host:
    """One configured strategy. next_seq: number of its first intent; an earlier run used those before.

    Raises:
        StrategyError: it cannot be made.
    """
    strategy = make_strategy(settings, section, voice)
    strategy.history = past(section)
    if wants_facts(strategy):
        strategy.prepare(replace(facts(), history=strategy.history))
    if isinstance(strategy, CompiledStrategy):
        return CompiledHost(strategy, number, batch, slots, cache_dir=cache_dir, next_seq=next_seq)
    return PythonHost(strategy, number, batch, slots, next_seq=next_seq)


def _run_waiting(
    config: dict[str, Any], segments: Segments, clock: Clock, answers: Answers, worker: Worker
) -> int:
    """Compute alone: wait on ring and event queue, step, until SIGTERM.

    The wait is bounded: a ring whose writer died is left for its next generation within WAIT_NS. So is a
    step: a worker that its ticks overtake is slow, it does not hang, as a strategy does that does not return.
    """
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    wait = config["place"]["wait"]
    waiter, generations = _wait.Waiter(worker.wake_on(), wait), worker.generations()
    beat_ns = 0
    answers.placed(config["name"], config["place"])
    answers.send(ready={})
    worker.span_ns = BEAT_NS
    step = worker.quick(worker.step, None)
    while not stopping.is_set():
        step()
        if worker.generations() != generations:
            waiter, generations = _wait.Waiter(worker.wake_on(), wait), worker.generations()
        waiter.wait_any(worker.positions(), WAIT_NS)
        now_ns = clock.mono_ns()
        if now_ns >= beat_ns:
            beat_ns = now_ns + BEAT_NS
            segments.heartbeat(now_ns)
    until_ns = clock.mono_ns() + LAST_NS
    while worker.step() and clock.mono_ns() < until_ns:
        pass
    return 0
