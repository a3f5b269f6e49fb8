"""Cold: what a run shows from outside: counters and histograms, CPU, memory, descriptors.

Counters and latency histograms are read from the engine's shared memory (read-only); two looks
subtracted give the steady window, without start and warm-up. Memory comes from /proc/<pid>/smaps,
told apart by what is mapped: what lies in /dev/shm is the run's shared memory, counted once; `own`
is the rest. PSS shares a library's pages among those who map it.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from kite_hft.engine.runs.look import segment_files
from kite_hft.engine.runs.report import Readings
from kite_hft.engine.runs.runs import RunNote
from kite_hft.layout import HISTOGRAMS
from load import lag
from load.pace import SENT_TICKS
from load.rig import Rig

MAPPING: Final = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU of one process so far."""

    seconds: float
    system_s: float
    voluntary: int
    involuntary: int


@dataclass(frozen=True, slots=True)
class Look:
    """One look. counts: of feed and compute, by `stage.name`. usage: by process name."""

    at_ns: int
    sent: int
    counts: dict[str, int]
    histograms: dict[str, lag.Buckets]
    usage: dict[str, Usage]

    @property
    def computed(self) -> int:
        return self.counts["compute.computed"]

    @property
    def lost(self) -> int:
        return self.counts["compute.lost"]


@dataclass(slots=True)
class Looker:
    """Looks at one run until it is closed."""

    rig: Rig
    readings: Readings
    board: memoryview
    note: RunNote
    watched: dict[str, psutil.Process] = field(default_factory=dict)

    @classmethod
    def open(cls, rig: Rig, board: memoryview) -> Looker:
        assert rig.note is not None
        looker = cls(rig, Readings.open(segment_files(Path(rig.note.shm))), board, rig.note)
        looker.watched = looker.processes()
        return looker

    def processes(self) -> dict[str, psutil.Process]:
        """The engine's processes by name, and ours. Reserve processes are spare-1, spare-2, ..."""
        assert self.rig.generator is not None and self.rig.simulator is not None
        supervisor = psutil.Process(self.note.pid)
        found = {"supervisor": supervisor}
        spares = 0
        for child in supervisor.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                name = child.name()
                if name.startswith("python"):
                    spares += 1
                    name = f"spare-{spares}"
                found[name] = child
        found["generator"] = psutil.Process(self.rig.generator.process.pid)
        found["simulator"] = psutil.Process(self.rig.simulator.process.pid)
        return found

    def look(self, *, usage: bool = True) -> Look:
        """Counters first, what was sent after them: the backlog is never too small."""
        counts = {
            f"{stage}.{name}": value
            for stage in ("feed", "compute", "orders")
            for name, value in self.readings.values(stage).items()
        }
        at_ns, sent = time.monotonic_ns(), self.board[SENT_TICKS]
        if not usage:
            return Look(at_ns, sent, counts, {}, {})
        histograms = {}
        for stage, names in HISTOGRAMS.items():
            readers = [self.readings.readers[segment] for segment in self.readings.of_stage(stage)]
            for index, name in enumerate(names):
                if readers:
                    histograms[name] = np.sum([r.histogram(index) for r in readers], axis=0)
        used = {name: used_by(process) for name, process in self.watched.items()}
        return Look(at_ns, sent, counts, histograms, {n: u for n, u in used.items() if u is not None})

    def memory(self) -> dict[str, dict[str, int]]:
        """By process: rss, pss, own (PSS outside the run's shared memory), shm (PSS of that), fds."""
        found = {}
        for name, process in self.processes().items():
            with contextlib.suppress(psutil.Error, OSError):
                found[name] = memory_of(process, self.note.shm)
        return found

    def segments(self) -> int:
        """Files in the run's shared-memory folder."""
        return len(list(Path(self.note.shm).iterdir()))

    def close(self) -> None:
        self.readings.close()


def used_by(process: psutil.Process) -> Usage | None:
    try:
        times, switches = process.cpu_times(), process.num_ctx_switches()
    except psutil.Error:
        return None
    return Usage(times.user + times.system, times.system, switches.voluntary, switches.involuntary)


def memory_of(process: psutil.Process, shm: str) -> dict[str, int]:
    """Bytes of one process, from its smaps, and its open descriptors."""
    sums = {"rss": 0, "pss": 0, "shm": 0}
    inside = False
    for line in Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
        word, _, rest = line.partition(":")
        if word == "Rss":
            sums["rss"] += 1024 * int(rest.split()[0])
        elif word == "Pss":
            size = 1024 * int(rest.split()[0])
            sums["pss"] += size
            sums["shm"] += size if inside else 0
        elif match := MAPPING.match(line):
            inside = match[1].startswith(shm)
    return {**sums, "own": sums["pss"] - sums["shm"], "fds": process.num_fds()}


@dataclass(frozen=True, slots=True)
class Window:
    """The time between two looks."""

    first: Look
    last: Look

    @property
    def seconds(self) -> float:
        return (self.last.at_ns - self.first.at_ns) / 1e9

    def told(self) -> dict[str, Any]:
        """What happened in it: ticks, rates, latency by stage, CPU by process."""
        seconds = max(1e-9, self.seconds)
        ticks = {
            name: self.last.counts[key] - self.first.counts[key]
            for name, key in (
                ("received", "feed.received"), ("published", "feed.published"),
                ("computed", "compute.computed"), ("lost", "compute.lost"), ("frames", "feed.frames"),
                ("bytes", "feed.bytes"), ("batches", "compute.batches"), ("intents", "compute.intents"),
                ("probes", "orders.probes"),
            )
        }  # fmt: skip
        sent = self.last.sent - self.first.sent
        return {
            "seconds": self.seconds,
            "ticks": {"sent": sent, **ticks},
            "ticks_per_s": ticks["computed"] / seconds,
            "latency_us": {
                name: lag.told(buckets - self.first.histograms[name])
                for name, buckets in self.last.histograms.items()
            },
            "cpu": self.cpu(seconds),
        }

    def cpu(self, seconds: float) -> dict[str, Any]:
        """By process: seconds, share of a core, context switches; `engine`: the engine's together."""
        found: dict[str, Any] = {}
        for name, now in self.last.usage.items():
            then = self.first.usage.get(name)
            if then is None:
                continue
            found[name] = {
                "s": round(now.seconds - then.seconds, 3),
                "system_s": round(now.system_s - then.system_s, 3),
                "of_a_core": (now.seconds - then.seconds) / seconds,
                "voluntary_switches": now.voluntary - then.voluntary,
                "involuntary_switches": now.involuntary - then.involuntary,
            }
        found["engine"] = summed([row for name, row in found.items() if name not in STRANGERS])
        return found


STRANGERS: Final = frozenset({"generator", "simulator"})
"""Processes that are watched and are not the engine's."""


def summed(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Field by field."""
    return {name: sum(row[name] for row in rows) for name in rows[0]} if rows else {}


def growth(samples: list[dict[str, Any]], of: str, skip_s: float) -> dict[str, float] | None:
    """Least squares over time of one figure of the engine: bytes an hour, and its level.

    samples: {"at_s", "memory": by process}; those before skip_s are left out. None: fewer than four.
    """
    rows = [
        (s["at_s"], sum(m[of] for name, m in s["memory"].items() if name not in STRANGERS))
        for s in samples
        if s["at_s"] >= skip_s
    ]
    if len(rows) < 4:
        return None
    at, level = np.array(rows, np.float64).T
    slope, _ = np.polyfit(at - at[0], level, 1)
    scatter = float(np.std(level - np.polyval(np.polyfit(at - at[0], level, 1), at - at[0])))
    return {
        "per_hour": float(slope * 3600), "first": float(level[0]), "last": float(level[-1]),
        "scatter": scatter, "n": len(rows),
    }  # fmt: skip
