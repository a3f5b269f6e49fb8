"""Layer 5, market process, hot: feed and compute, together or each alone.

With a feed in it the process runs an event loop (uvloop) whose reads end in the compiled sink;
a compute stage beside it is stepped at the end of each read, without any hop. A compute stage
alone waits on its ring (spin, yield, park or adaptive) and is woken by the feed's publish.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop

from kite_hft import _counters, _feed, _kite_decode, _queue, _ring, _wait
from kite_hft._kernels import Kernels
from kite_hft.brokers.kite.wire import mode_message, subscribe_message
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.children import Answers
from kite_hft.engine.console import classic_greeting, classic_voice
from kite_hft.engine.days import session_arrays
from kite_hft.engine.segments import Segments
from kite_hft.engine.strategies import make_strategy
from kite_hft.layout import SegmentKind
from kite_hft.net.ws import FeedRefused, run_feed
from kite_hft.settings import Settings, StrategySection
from kite_hft.stages.compute import Compute
from kite_hft.stages.feed import Feed
from kite_hft.strategies.compiled import CompiledStrategy
from kite_hft.strategies.hosts import Batch, CompiledHost, Host, PythonHost, new_batch
from kite_hft.strategies.intents import Records
from kite_hft.trading.instruments import InstrumentTable, read_csv

TIMER_S: Final = 0.1
WAIT_NS: Final = 50_000_000
EXIT_FEED_REFUSED: Final = 5


def run_market(config: dict[str, Any], answers: Answers) -> int:
    """The process body; returns its exit code."""
    settings = Settings.model_validate(config["settings"])
    instruments = read_csv(Path(config["instruments"]))
    segments = Segments(config["segments"])
    clock = SystemClock()
    worker = None
    bars = BarFile(Path(config["folder"]) / "bars.bin") if settings.datafeed.store_bars else None
    try:
        if "compute" in config["stages"]:
            worker = make_worker(settings, instruments, segments, clock, config, answers, bars)
        if "feed" in config["stages"]:
            return uvloop.run(_run_loop(settings, instruments, segments, clock, config, answers, worker))
        assert worker is not None
        return _run_waiting(settings, segments, clock, answers, worker)
    finally:
        if worker is not None:
            worker.compute.close()
            answers.send(part={"start": worker.told()})
        if bars is not None:
            bars.close()
        segments.close()


class BarFile:
    """Closed bars as they come, one BAR record after another."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=1 << 20)

    def write(self, closed: Records) -> None:
        self._file.write(closed.tobytes())

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Worker:
    """A compute stage with what wakes it, and how its start went."""

    compute: Compute
    ring: _ring.RingReader
    events: _queue.QueueConsumer
    wake_on: list[memoryview]  # the segments of both
    clock: Clock
    spawned_ns: int
    compiled: int = 0
    from_cache: int = 0
    first_ns: int = 0

    def step(self) -> int:
        """All work that waits; returns how much it was."""
        total = 0
        while work := self.compute.step(self.clock.mono_ns()):
            total += work
        if total and not self.first_ns:
            self.first_ns = self.clock.mono_ns()
        return total

    def told(self) -> dict[str, Any]:
        """first_tick_s: from the start of the process to its first computed tick, or None."""
        first_s = (self.first_ns - self.spawned_ns) / 1e9 if self.first_ns else None
        return {
            "first_tick_s": first_s,
            "kernel_compilations": self.compiled,
            "kernels_from_cache": self.from_cache,
        }


# ---- compute ----------------------------------------------------------------------------------


def make_worker(
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
    config: dict[str, Any],
    answers: Answers,
    bars: BarFile | None,
) -> Worker:
    """The compute stage of this process, started. `bars`: where closed BAR records are written."""
    batch = new_batch(settings.performance.batch_size, instruments.tokens(), instruments.scales())
    cache = Path(config["state"]) / "numba"
    voice = classic_voice(settings, clock, answers.log)
    hosts = [
        make_host(settings, section, number, batch, instruments, cache, voice)
        for number, section in enumerate(settings.strategies, 1)
    ]
    ring = segments.share("ticks-0", SegmentKind.TICK_RING)
    events = segments.share("events-0", SegmentKind.EVENT_QUEUE)
    intents = segments.own("intents-0", SegmentKind.INTENT_QUEUE)
    reader, consumer = _ring.RingReader(ring.view), _queue.QueueConsumer(events.view)
    compute = Compute(
        readers=[reader],
        kernels=make_kernels(settings, instruments, clock),
        batch=batch,
        hosts=hosts,
        intents=_queue.QueueProducer(intents.view, wake_fd=config["wake_fds"]["orders"]),
        events=consumer,
        counters=_counters.CounterWriter(segments.own("counters-compute", SegmentKind.COUNTERS).view),
        clock=clock.mono_ns,
        on_halt=lambda name, error: answers.log(
            f"strategy {name} is halted: {type(error).__name__}: {error}"
        ),
        bars_sink=bars.write if bars is not None else None,
        intent_deadline_ns=round(settings.trading.intent_deadline_s * 1e9),
    )
    compute.start()
    loops = [host.loop for host in hosts if isinstance(host, CompiledHost)]
    return Worker(
        compute,
        reader,
        consumer,
        [ring.view, events.view],
        clock,
        config["spawned_ns"],
        compiled=sum(loop.compilations for loop in loops),
        from_cache=sum(loop.cache_hits for loop in loops),
    )


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
    instruments: InstrumentTable,
    cache: Path,
    say: Callable[[str], None],
) -> Host:
    """One configured strategy.

    Raises:
        StrategyError: it cannot be made. InstrumentError: an instrument that is not in the list.
    """
    strategy = make_strategy(settings, section, say)
    slots = None
    if section.instruments != "all":
        slots = [instruments.resolve(name).slot for name in section.instruments]
    if isinstance(strategy, CompiledStrategy):
        return CompiledHost(strategy, number, batch, slots, cache_dir=cache)
    return PythonHost(strategy, number, batch, slots)


def _run_waiting(
    settings: Settings, segments: Segments, clock: Clock, answers: Answers, worker: Worker
) -> int:
    """Compute alone: wait on ring and event queue, step, until SIGTERM."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    waiter = _wait.Waiter(worker.wake_on, settings.performance.wait)
    beat_ns = 0
    answers.send(ready={})
    while not stopping.is_set():
        worker.step()
        waiter.wait_any([worker.ring.position, worker.events.next_seq], WAIT_NS)
        now_ns = clock.mono_ns()
        if now_ns >= beat_ns:
            beat_ns = now_ns + int(TIMER_S * 1e9)
            segments.heartbeat(now_ns)
    worker.step()
    return 0


# ---- feed -------------------------------------------------------------------------------------


def make_sink(
    settings: Settings, instruments: InstrumentTable, segments: Segments, wake_fd: int
) -> _feed.FeedSink:
    """The compiled sink of connection 0."""
    tokens = instruments.tokens()
    return _feed.FeedSink(
        _kite_decode.KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32)),
        tokens,
        segments.own("ticks-0", SegmentKind.TICK_RING).view,
        segments.own("latest", SegmentKind.LATEST_TABLE).view,
        segments.own("counters-feed", SegmentKind.COUNTERS).view,
        segments.own("texts-0", SegmentKind.TEXT_QUEUE).view,
        wake_fd=wake_fd,
    )


def subscription(settings: Settings, instruments: InstrumentTable) -> list[bytes]:
    """What brings every instrument in the configured mode; quote is the server's default mode."""
    tokens = instruments.tokens().tolist()
    messages = [subscribe_message(tokens)]
    if settings.datafeed.mode != "quote":
        messages.append(mode_message(settings.datafeed.mode, tokens))
    return messages


async def _run_loop(
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
    config: dict[str, Any],
    answers: Answers,
    worker: Worker | None,
) -> int:
    """The event loop around a feed, and compute where it shares the process."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    sink = make_sink(settings, instruments, segments, config["wake_fds"]["orders"])
    silence_ns = round(settings.datafeed.silence_s * 1e9)
    feed = Feed(sink, subscription(settings, instruments), segments.heartbeat, silence_ns)
    if settings.console.classic:
        feed.on_connected = classic_greeting(
            settings, instruments, classic_voice(settings, clock, answers.log)
        )
    failures: list[Exception] = []
    if worker is not None:
        step = _guarded(worker, failures, stopping)
        sink.after_read = step
        _step_on_events(loop, worker.events, step, config["wake_fds"]["events"])
    timers = loop.create_task(_timers(feed, clock))
    answers.send(ready={})
    try:
        await run_feed(feed, sink, config["feed_url"], clock, stopping, answers.log)
    except FeedRefused as error:
        answers.log(str(error))
        return EXIT_FEED_REFUSED
    finally:
        timers.cancel()
        feed.close()
    if failures:
        raise failures[0]
    return 0


def _guarded(worker: Worker, failures: list[Exception], stopping: asyncio.Event) -> Callable[[], None]:
    """worker.step for callbacks: a failure ends the process by name, not the connection."""

    def step() -> None:
        if failures:
            return
        try:
            worker.step()
        except Exception as error:
            failures.append(error)
            stopping.set()

    return step


def _step_on_events(
    loop: asyncio.AbstractEventLoop, events: _queue.QueueConsumer, step: Callable[[], None], fd: int
) -> None:
    """Order events wake this process by an eventfd: its producer sees us parked for good."""

    def woken() -> None:
        os.eventfd_read(fd)
        step()

    loop.add_reader(fd, woken)
    while not events.park():
        step()


async def _timers(feed: Feed, clock: Clock) -> None:
    while True:
        feed.step(clock.mono_ns())
        await asyncio.sleep(TIMER_S)
