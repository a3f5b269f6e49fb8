#!/usr/bin/env python3
"""What the input log and the snapshots of a worker cost, in ns a tick.

    PYTHONPATH=src python benchmarks/bench_recovery.py [--instruments 3000] [--batch 30]

Computes the same ticks (default kernels, a form A strategy that asks for nothing) with and without
the input log, times snapshots of a whole worker, and prints one JSON line. A snapshot is taken
twice a second whatever the rate: its share is of time, not of ticks.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from kite_hft import _inputs, _queue
from kite_hft._kernels import Kernels
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.memory.snapshots import SnapshotWriter
from kite_hft.stages.compute import Compute
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.hosts import PythonHost, new_batch

ROUNDS = 15


class Silent:
    """Counts nothing."""

    def add(self, *_: int) -> None: ...
    def set(self, *_: int) -> None: ...
    def record(self, *_: int) -> None: ...


class Again:
    """A ring that always holds one more batch of the same ticks."""

    lost = lost_last = first_seq = 0
    generation = 1

    def __init__(self, ticks: np.ndarray) -> None:
        self.ticks, self.left = ticks, 0

    def drain(self, out: np.ndarray) -> int:
        if not self.left:
            return 0
        self.left -= 1
        out[: len(self.ticks)] = self.ticks
        return len(self.ticks)


def segment(folder: Path, name: str, kind: SegmentKind, capacity: int) -> Any:
    times = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    return attach(create(folder, name, kind, capacity, **times), kind, writable=True, claim=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=30)
    options = parser.parse_args()
    n, size = options.instruments, options.batch
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        folder = make_directory(Path(scratch), "bench")
        tokens, scales = np.arange(n, dtype=np.uint32), np.full(n, 100.0)
        ticks = np.zeros(size, TICK)
        ticks["slot"], ticks["last_px"] = np.arange(size) % n, 10_000
        log = _inputs.InputLog(segment(folder, "inputs", SegmentKind.INPUT_RING, 1 << 14).view)
        intents = _queue.QueueProducer(segment(folder, "intents", SegmentKind.INTENT_QUEUE, 64).view)
        events = _queue.QueueConsumer(segment(folder, "events", SegmentKind.EVENT_QUEUE, 64).view)
        stages, found = {}, {"off": [], "on": []}
        for name, inputs in (("off", None), ("on", log)):
            batch, reader = new_batch(size, tokens, scales), Again(ticks)
            stage = Compute(
                readers=[reader], kernels=Kernels(n, token=tokens), batch=batch,
                hosts=[PythonHost(BaseStrategy(), 1, batch)], intents=intents, events=events,
                counters=Silent(), clock=time.monotonic_ns, inputs=inputs, sources=[0],
            )  # fmt: skip
            stages[name] = stage, reader
        rounds = max(200, 200_000 // size)
        for _ in range(ROUNDS):
            for name, (stage, reader) in stages.items():
                reader.left = rounds
                begun = time.perf_counter_ns()
                while stage.step(1):
                    pass
                found[name].append((time.perf_counter_ns() - begun) / rounds / size)
        writer, slots = SnapshotWriter(folder, "snapshot"), np.arange(n, dtype=np.uint32)
        taken = []
        for _ in range(50):
            begun = time.perf_counter_ns()
            length = writer.write(stages["on"][0].save(slots) | {"slots": slots})
            taken.append((time.perf_counter_ns() - begun) / 1e3)
        off, on = (min(found[name]) for name in ("off", "on"))
        print(
            json.dumps(
                {
                    "batch": size,
                    "ns_per_tick_without_log": round(off, 1),
                    "ns_per_tick_with_log": round(on, 1),
                    "log_ns_per_drain": round((on - off) * size),
                    "snapshot_us": {"p50": round(statistics.median(taken)), "max": round(max(taken))},
                    "snapshot_bytes": length,
                    "snapshots_share_of_time": round(2 * statistics.median(taken) / 1e6, 5),
                }
            )
        )


if __name__ == "__main__":
    main()
