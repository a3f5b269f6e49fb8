"""A worker alone under more ticks than it can work on: it lives, and ends when it is asked to."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from property.test_worker_recovery import SLOTS, market
from worker_world import WorkerWorld

from kite_hft.clock import SystemClock
from kite_hft.engine.market import workers
from kite_hft.engine.market.workers import BEAT_NS, _run_waiting
from kite_hft.layout import SegmentKind

S = 10**9
LAST_S = 0.3
WRITTEN = """
import time
from kite_hft.strategies.base import BaseStrategy

class Slow(BaseStrategy):
    name = "slow"

    def on_tick(self, tick):
        time.sleep(0.0005)


class Hangs(BaseStrategy):
    name = "hangs"
    at = 0.0

    def on_tick(self, tick):
        self.at = self.at or time.monotonic() + 0.5
        if time.monotonic() > self.at:
            self.at += 3600
            time.sleep(1.0)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    before = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        Path(made).chmod(0o700)
        (Path(made) / "written.py").write_text(WRITTEN)
        yield Path(made)
    signal.signal(signal.SIGTERM, before)


class Overload(threading.Thread):
    """Publishes without end, notes each sign of life, and asks for the end after `asks_s`."""

    def __init__(self, world: WorkerWorld, asks_s: float) -> None:
        super().__init__(daemon=True)
        self.world, self.asks_s = world, asks_s
        self.beats_ns: list[int] = []
        self.asked_ns, self.over = 0, threading.Event()
        self.looks = world.ends.read("counters-compute-0", SegmentKind.COUNTERS)

    def run(self) -> None:
        ticks, begun_ns = market(1, 200), time.monotonic_ns()
        ends_ns = begun_ns + 4 * S  # a worker that does not end by itself ends now
        while not self.over.is_set() and time.monotonic_ns() < ends_ns:
            for feed in self.world.feeds:
                feed.publish(ticks)
            beat_ns = int(self.looks.control()["heartbeat_ns"])
            if not self.beats_ns or self.beats_ns[-1] != beat_ns:
                self.beats_ns.append(beat_ns)
            if not self.asked_ns and time.monotonic_ns() - begun_ns > self.asks_s * S:
                self.asked_ns = time.monotonic_ns()
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)


def overloaded(folder: Path, strategy: str, asks_s: float, feeds: int) -> tuple[Overload, float]:
    """The process body under an overload; returns it and the seconds from the question to the end."""
    sections: list[dict[str, Any]] = [{"name": f"{folder}/written.py:{strategy}"}]
    world = WorkerWorld(
        folder, batch=20, strategies=sections, slots=SLOTS, ring=1 << 10, feeds=feeds, snapshot_s=60.0
    )
    world.worker.clock = SystemClock()
    stage: Any = world.worker.compute
    for name in ("_counters", "_inputs", "_intents", "_events"):
        setattr(stage, name, getattr(stage, name)._target)
    world.said.placed = lambda *words: None  # type: ignore[attr-defined]
    config = {"name": "compute-0", "place": {"wait": "park"}}
    overload = Overload(world, asks_s)
    overload.start()
    try:
        assert _run_waiting(config, world.segments, SystemClock(), world.said, world.worker) == 0  # type: ignore[arg-type]
        took_s = (time.monotonic_ns() - overload.asked_ns) / S
    finally:
        overload.over.set()
        overload.join()
    world.end()
    return overload, took_s


@pytest.mark.parametrize("feeds", [1, 2])  # the compiled step, and that of the stage
def test_it_gives_signs_of_life_and_ends_when_it_is_asked(
    folder: Path, feeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LAST_NS", round(LAST_S * S))
    overload, took_s = overloaded(folder, "Slow", 1.2, feeds)
    gaps_ns = np.diff(overload.beats_ns[1:])  # the first stood there before
    assert len(gaps_ns) >= 3 and gaps_ns.max() < 8 * BEAT_NS
    assert took_s < LAST_S + 1.0


def test_a_strategy_that_does_not_return_takes_the_sign_of_life_with_it(folder: Path) -> None:
    overload, _ = overloaded(folder, "Hangs", 2.0, 1)
    gaps_ns = np.diff(overload.beats_ns[1:])
    assert gaps_ns.max() > 0.9 * S and np.median(gaps_ns) < 4 * BEAT_NS
