"""What it costs to time everything: the same path timed and untimed, and one record alone.

    python benchmarks/bench_trace.py [--rounds 7] [--quick] [--json FILE]

Path: full-mode Kite frames of 1, 30 or 100 packets over 9,000 instruments, one frame a read, handed to
FeedSink (decode, tick ring, latest table), then Compute.step (ring, default kernels, bars, the compiled
strategy `probe` with a PROBE on every 100th tick, intent queue), all in this thread over real segments
of shared memory; no socket. Figures are CPU nanoseconds of this thread (CLOCK_THREAD_CPUTIME_ID) per
read, the timer's own cost included in all contenders alike. "untimed": FeedSink(timed=False), and
counters whose record_* functions do nothing; what stays in it are four calls of such a function and
the clock that intents are stamped by. "with send stamps" adds the two histograms of load tests.

Record: one duration into a histogram, called from Python 100,000 times, against a list that grows.
Order: the five clock readings and five records by which one order is told apart into its parts.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import kit
import numpy as np
from bench_decode import make_frames

from kite_hft import _counters, _feed, _kite_decode, _queue, _ring
from kite_hft._kernels import Kernels
from kite_hft.clock import SystemClock
from kite_hft.layout import COUNTERS, HISTOGRAMS, INTENT, SegmentKind
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.stages.compute import Compute
from kite_hft.strategies.hosts import CompiledHost, new_batch
from kite_hft.strategies.probe import ProbeCompiled
from kite_hft.trading.sending.outbox import Outbox

INSTRUMENTS: Final = 9000
EVERY: Final = 100
RECORDS: Final = 100_000
SHARE_MAX: Final = 1.1


class Untimed(_counters.CounterWriter):  # type: ignore[misc]
    """Counters without histograms."""

    def record_reads(self, *arguments: Any) -> None:
        pass

    def record_intents(self, *arguments: Any) -> None:
        pass


class Engine:
    """One feed and one worker over segments in `folder`, as in a process that holds both."""

    def __init__(self, folder: Path, tokens: np.ndarray, *, timed: bool, send_stamp: bool = False) -> None:
        self.folder = make_directory(folder, f"timed-{timed:d}-{send_stamp:d}")
        n = len(tokens)
        ring = self.segment("ticks", SegmentKind.TICK_RING, 1 << 16)
        latest, stats = (
            self.segment(name, kind, n)
            for name, kind in (("latest", SegmentKind.LATEST_TABLE), ("slots", SegmentKind.SLOT_STATS))
        )
        intents = self.segment("intents", SegmentKind.INTENT_QUEUE, 1 << 16)
        self.counted = self.segment("compute", SegmentKind.COUNTERS, 1, "compute")
        self.sink = _feed.FeedSink(
            _kite_decode.KiteDecoder(tokens, np.arange(n, dtype=np.uint32)), tokens, ring, latest,
            self.segment("feed", SegmentKind.COUNTERS, 1, "feed"), None, stats=stats, timed=timed,
        )  # fmt: skip
        self.taker, self.room = _queue.QueueConsumer(intents), np.zeros(4096, INTENT)
        scales = np.full(n, 100.0)
        batch = new_batch(1000, tokens, scales)
        host = CompiledHost(ProbeCompiled(every=EVERY), 1, batch, cache_dir=folder / "numba")
        self.compute = Compute(
            readers=[_ring.RingReader(ring)], kernels=Kernels(n, scale=scales, token=tokens), batch=batch,
            hosts=[host], intents=_queue.QueueProducer(intents),
            events=_queue.QueueConsumer(self.segment("events", SegmentKind.EVENT_QUEUE, 256)),
            counters=(_counters.CounterWriter if timed else Untimed)(self.counted),
            clock=time.monotonic_ns, send_stamp=send_stamp,
        )  # fmt: skip
        self.compute.start()

    def segment(self, name: str, kind: SegmentKind, capacity: int, stage: str = "") -> memoryview:
        sizes = {"counters": len(COUNTERS[stage]), "histograms": len(HISTOGRAMS[stage])} if stage else {}
        path = create(self.folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **sizes)
        return attach(path, kind, writable=True, claim=False).view

    def read(self, frames: list[bytes], reads: int) -> float:
        """CPU ns a read, over `reads` of them in turn."""
        feed, step, clock = self.sink.feed_bytes, self.compute.step, time.monotonic_ns
        chosen = [frames[i % len(frames)] for i in range(reads)]
        while self.taker.drain(self.room):
            pass
        gc.disable()
        began = time.thread_time_ns()
        for frame in chosen:
            now_ns = clock()
            feed(frame, now_ns)
            step(now_ns)
        spent = time.thread_time_ns() - began
        gc.enable()
        return spent / reads


def calls(work: Callable[[int], object]) -> float:
    """CPU ns of one of RECORDS calls."""
    began = time.thread_time_ns()
    for number in range(RECORDS):
        work(number)
    return (time.thread_time_ns() - began) / RECORDS


def path_rows(folder: Path, rounds: int, ticks: int) -> list[kit.Row]:
    """One row for each size of a frame."""
    rows = []
    tokens, _ = make_frames(INSTRUMENTS)
    engines = {
        kit.OURS: Engine(folder, tokens, timed=True),
        "untimed": Engine(folder, tokens, timed=False),
        "with send stamps": Engine(folder, tokens, timed=True, send_stamp=True),
    }
    for packets in (1, 30, 100):
        frames = cut(make_frames(INSTRUMENTS)[1], packets)
        row = kit.Row(
            f"one read of {packets} packets, from the bytes to the intent", "ns a read", "less",
            [kit.Target("untimed", at_most=SHARE_MAX)],
        )  # fmt: skip
        reads = max(200, ticks // packets)
        contenders = {name: partial(engine.read, frames, reads) for name, engine in engines.items()}
        rows.append(kit.measure(row, contenders, rounds))
    return rows


def cut(frames: list[bytes], packets: int) -> list[bytes]:
    """The same packets in frames of `packets` each."""
    parts = []
    for frame in frames:
        at = 2
        while at < len(frame):
            end = at + 2 + int.from_bytes(frame[at : at + 2], "big")
            parts.append(frame[at:end])
            at = end
    groups = [parts[i : i + packets] for i in range(0, len(parts), packets)]
    return [len(group).to_bytes(2, "big") + b"".join(group) for group in groups]


def record_rows(folder: Path, rounds: int) -> list[kit.Row]:
    """A record alone, and what an order costs."""
    sizes = {"counters": len(COUNTERS["orders"]), "histograms": len(HISTOGRAMS["orders"])}
    alone = make_directory(folder, "alone")
    path = create(alone, "orders", SegmentKind.COUNTERS, 1, now_mono_ns=1, now_real_ns=1, **sizes)
    writer = _counters.CounterWriter(attach(path, SegmentKind.COUNTERS, writable=True, claim=False).view)
    grown: list[int] = []
    record = kit.Row("one duration into a histogram, from Python", "ns a call", "less")
    contenders: dict[str, Callable[[], float]] = {
        kit.OURS: lambda: calls(lambda ns: writer.record(0, ns)),
        "append to a list": lambda: calls(grown.append),
        "the call alone": lambda: calls(lambda ns: None),
    }
    kit.measure(record, contenders, rounds)
    outbox = Outbox(SimpleNamespace(counters=writer, counted={}), None, None)  # type: ignore[arg-type]
    names = ("intent_to_taken", "taken_to_judged", "throttle_wait", "journalled", "written")
    clock = SystemClock()

    def order(number: int) -> None:
        for name in names:
            clock.mono_ns()
            outbox.record(name, number)

    part = kit.Row("what one order is timed by", "ns an order", "less", [kit.Target(None, at_most=2000)])
    kit.measure(part, {kit.OURS: lambda: calls(order)}, rounds)
    return [record, part]


def main() -> None:
    options = kit.options(__doc__).parse_args()
    rounds = 2 if options.quick else options.rounds
    folder = Path(tempfile.mkdtemp(prefix="khft-trace-", dir="/dev/shm"))
    try:
        rows = path_rows(folder, rounds, 60_000 if options.quick else 600_000) + record_rows(folder, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kit.write("bench_trace", rows, options.json)


if __name__ == "__main__":
    main()
