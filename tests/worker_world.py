"""A compute worker on real segments under a made-up clock, that can die anywhere and start again."""

from __future__ import annotations

import gc
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from kite_hft import _queue, _ring
from kite_hft.engine.market.workers import Worker, make_worker
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import BAR, COUNTERS, HISTOGRAMS, INTENT, ORDER_EVENT, SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.generations import current, next_generation, point
from kite_hft.memory.segment import create, make_directory
from kite_hft.settings import Settings
from kite_hft.sim.market.universe import default_instruments


class Killed(BaseException):
    """The process is gone; nothing in it may catch this."""


class Ticking:
    """A clock that goes on by a microsecond whenever somebody looks."""

    def __init__(self, now_ns: int = 10**12) -> None:
        self.now_ns = now_ns

    def mono_ns(self) -> int:
        self.now_ns += 1_000
        return self.now_ns

    def real_ns(self) -> int:
        return self.mono_ns() + 1_700_000_000 * 10**9


class Fate:
    """Kills after so many touches of what outlives the process; -1: never."""

    def __init__(self, left: int = -1) -> None:
        self.left = left

    def touch(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise Killed


class Mortal:
    """Stands before a ring, queue, log or file; death may come before and after each call."""

    def __init__(self, target: Any, fate: Fate) -> None:
        self._target, self._fate = target, fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            self._fate.touch()
            answer = found(*arguments)
            self._fate.touch()
            return answer

        return call


class Said:
    """The worker's way to its supervisor."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def alert(self, *fields: Any) -> None:
        self.lines.append(str(fields))

    def send(self, **message: Any) -> None:
        pass


class WorkerWorld:
    """One worker, the ends of its rings and queues that others hold, and deaths.

    strategies: sections of the settings. ring, inputs, queue: capacities. state: holds compiled loops.
    compiled: the worker's steps are the compiled ones, under the machine's clock; what they touch kills
    only where it is called from there: at the file of bars. feeds: connections, each with a ring of its own
    and all instruments.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch: int,
        strategies: list[dict[str, Any]],
        slots: int = 6,
        ring: int = 1 << 13,
        inputs: int = 1 << 13,
        queue: int = 1 << 10,
        snapshot_s: float = 2e-5,
        state: Path | None = None,
        compiled: bool = False,
        feeds: int = 1,
    ) -> None:
        gc.collect()
        gc.freeze()  # a death looks through what this world holds, not through numba each time
        self.rings = [f"ticks-{number}" for number in range(feeds)]
        self.state = state or folder
        self.folder, self.said, self.compiled = folder, Said(), compiled
        self.clock = Ticking(time.monotonic_ns()) if compiled else Ticking()
        self.shm = make_directory(folder, "shm")
        self.instruments, _ = default_instruments(slots, 1)
        self.settings = Settings.model_validate(
            {
                "strategies": strategies,
                "datafeed": {"store_bars": True},
                "kernels": {"x0": "first_tick"},
                "trading": {"date": "2025-12-15", "market_start": "09:15:00", "market_end": "15:30:00"},
                "performance": {"batch_size": batch},
                "supervision": {"snapshot_s": snapshot_s},
            }
        )
        made = {
            **{name: (SegmentKind.TICK_RING, ring) for name in self.rings},
            "inputs-0": (SegmentKind.INPUT_RING, inputs),
            "events-0": (SegmentKind.EVENT_QUEUE, queue),
            "intents-0": (SegmentKind.INTENT_QUEUE, queue),
            "counters-compute-0": (SegmentKind.COUNTERS, 1),
        }
        words = {"counters": len(COUNTERS["compute"]), "histograms": len(HISTOGRAMS["compute"])}
        self.paths = {}
        for name, (kind, capacity) in made.items():
            extra = words if kind is SegmentKind.COUNTERS else {}
            self.paths[name] = create(self.shm, name, kind, capacity, **extra, **self.times())
            if kind in (SegmentKind.TICK_RING, SegmentKind.INPUT_RING):
                point(self.paths[name])
        self.fate, self.restarts = Fate(), 0
        self._open_ends()
        self.intents: list[np.ndarray] = []
        self.segments, self.worker = self._segments(), None
        self.born()

    def _open_ends(self) -> None:
        self.ends = self._segments()
        self.feeds = [_ring.RingWriter(self.ends.own(n, SegmentKind.TICK_RING).view) for n in self.rings]
        self.feed = self.feeds[0]
        self.orders = _queue.QueueProducer(self.ends.own("events-0", SegmentKind.EVENT_QUEUE).view)
        self.taker = _queue.QueueConsumer(self.ends.share("intents-0", SegmentKind.INTENT_QUEUE).view)

    def times(self) -> dict[str, int]:
        return {"now_mono_ns": self.clock.mono_ns(), "now_real_ns": self.clock.real_ns()}

    def _segments(self) -> Segments:
        return Segments({name: str(path) for name, path in self.paths.items()})

    def born(self) -> None:
        """A worker, new or started again, on the segments as they are."""
        config = {
            "worker": {"number": 0, "connections": list(range(len(self.rings))),
                       "strategies": [(n + 1, n, None) for n in range(len(self.settings.strategies))]},
            "connections": [{"number": n, "slots": list(range(len(self.instruments)))}
                            for n in range(len(self.rings))],
            "shm": str(self.shm), "folder": str(self.folder), "state": str(self.state),
            "restarted": self.restarts > 0, "spawned_ns": 0, "wake_fds": {"orders": -1},
        }  # fmt: skip
        self.segments = self._segments()
        self.worker = make_worker(
            self.settings, self.instruments, self.segments, self.clock, config, self.said
        )
        stage = self.worker.compute
        stage._bars_sink = self._sink(stage._bars_sink)
        self.step = self.worker.quick(self.worker.step, None) if self.compiled else self.worker.step
        for name in ("_counters", "_inputs", "_intents", "_events"):
            setattr(stage, name, Mortal(getattr(stage, name), self.fate))

    def _sink(self, write: Any) -> Any:
        def mortal(closed: np.ndarray) -> None:
            self.fate.touch()
            write(closed)
            self.fate.touch()

        return mortal

    def die(self) -> None:
        """As the kernel would: claims go, what stood in the process's own memory is gone."""
        worker, self.worker, self.step = self.worker, None, None
        if worker is not None:
            for ring in worker.rings.values():
                ring.close()
            worker.snapshots.close()
            path = self.folder / "bars-0.bin"
            length = path.stat().st_size
            worker.bars.close()
            with path.open("r+b") as file:
                file.truncate(length)  # what was buffered is lost
        del worker
        self.segments.close()
        gc.collect()
        self.restarts += 1
        newest = current(self.shm, "inputs-0")
        self.paths["inputs-0"] = next_generation(newest, SegmentKind.INPUT_RING, **self.times())

    def run(self, left: int = -1) -> bool:
        """Let the worker work until it is idle, or dies after `left` touches; whether it died."""
        self.fate.left = left
        try:
            while self.step():
                pass
        except Killed:
            self.fate.left = -1
            self.die()
            self.born()
            while self.step():
                pass
            return True
        self.fate.left = -1
        return False

    def take(self) -> np.ndarray:
        """What ORDERS would take: new intents, without those of a number it knows."""
        out = np.zeros(1024, INTENT)
        fresh = out[: self.taker.drain(out)]
        known = self.known()
        fresh = fresh[[(int(i["strategy"]), int(i["strategy_seq"])) not in known for i in fresh]]
        self.intents.append(fresh.copy())
        return self.intents[-1]

    def known(self) -> set[tuple[int, int]]:
        return {(int(i["strategy"]), int(i["strategy_seq"])) for part in self.intents for i in part}

    def tell(self, events: np.ndarray) -> None:
        assert self.orders.push(events.astype(ORDER_EVENT)) == len(events)

    def next_ring(self) -> None:
        """The feeds die and come back: their rings get a new generation."""
        self.ends.close()
        del self.feed, self.feeds, self.orders, self.taker
        gc.collect()
        for name in self.rings:
            self.paths[name] = next_generation(self.paths[name], SegmentKind.TICK_RING, **self.times())
        self._open_ends()

    def end(self) -> dict[str, Any]:
        """Close in order: everything that must not depend on deaths."""
        worker: Worker = self.worker
        counted = named("compute", worker.counters.values())
        positions = [host.positions.tobytes() for host in worker.compute._hosts]
        worker.close(self.said)
        self.take()
        self.segments.close()
        self.ends.close()
        intents = np.concatenate([np.zeros(0, INTENT), *self.intents])
        for name in ("seq", "created_ns", "deadline_ns"):
            intents[name] = 0
        bars = np.fromfile(self.folder / "bars-0.bin", BAR)
        bars["closed_recv_ns"][bars["flags"] != 0] = 0  # those that the end of the run closed
        return {"intents": intents, "bars": bars, "counters": counted, "positions": positions}


def random_deaths(seed: int, steps: int, touches: int) -> list[int]:
    """For each step after how many touches the worker dies; -1: it does not."""
    chosen = random.Random(seed)
    return [chosen.randrange(touches) if chosen.random() < 0.4 else -1 for _ in range(steps)]
