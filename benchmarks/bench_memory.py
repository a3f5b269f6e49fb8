"""Memory of the engine at 9,000 instruments on three connections, beside what design 004 publishes.

    python benchmarks/bench_memory.py [--seconds 20] [--rounds 1] [--quick]

Simulator and engine run as a user starts them (config/pool.yaml: mode full, 18,000 ticks/s, three
readers), once without a strategy and once with a numba strategy beside each connection. At the end
of the run every process of the engine is taken apart by /proc/<pid>/smaps: PSS, which counts a page
that n processes share as 1/n in each. The tick rings are apart, since their size is a setting; all
other shared memory (latest prices, counters, queues, journals' pages) counts as the engine's. The
simulator is not the engine and is left out. The picture is taken when nothing has grown for SETTLED_S:
spares import for a while after the start. Strangers who have the same libraries mapped (another
engine on the machine) make PSS smaller than it is: their number is told, and a figure counts only
where it is 0. "not shared with strangers" holds for any number: code counts as if nobody else had it,
the simulator neither. Spares, the processes held in reserve for a fast restart, are part of the sum;
without them is shown as well.

Rings are sized by the plan; each row of `rings` tells slots, bytes, and for how long the rated load,
and five million ticks a second, fill it. Design 004 publishes 133 MB, and means by it rings of 20
bytes a tick; it cannot be run, so it stands beside ours as a published figure.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kit
import psutil

from kite_hft.layout import PAGE, TICK
from kite_hft.settings import load_settings
from kite_hft.verify.prices import pool
from kite_hft.verify.prices.chain import run_pair

RATE = 2.0  # ticks per second and instrument
CALM_MB, NUMBA_MB = 250.0, 90.0
PUBLISHED = "design 004, published"
PUBLISHED_MB = 133.0
FLOOD = 5e6
SETTLED_S, SETTLED_SHARE = 3.0, 0.005
LONGEST_S = 25.0
"""After the wanted time, until nothing grows any more."""
HELD_S = 0.05
"""For so long a ring must take what comes."""


def mappings(pid: int) -> Iterator[tuple[str, int]]:
    """(file or "", PSS in bytes) of each mapping of a process."""
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else ""
        elif words[0] == "Pss:":
            yield name, int(words[1]) * 1024


def held(pid: int) -> dict[str, int]:
    """PSS of a process in bytes, by what holds it."""
    found = {"heap": 0, "code": 0, "shared": 0, "rings": 0}
    for name, size in mappings(pid):
        if not name.startswith("/"):
            found["heap"] += size
        elif not name.startswith("/dev/shm/"):
            found["code"] += size
        else:
            found["rings" if Path(name).name.startswith(("ticks-", "frames-")) else "shared"] += size
    return found


def role(process: psutil.Process) -> str:
    """Name of an engine's process: its own, or spare."""
    words = process.cmdline()
    if "kite_hft.engine.processes.child" in words:
        return words[words.index("kite_hft.engine.processes.child") + 1]
    return process.name()


def engine(pid: int) -> dict[str, dict[str, int]]:
    """All processes of the engine, by name."""
    found = {"supervisor": held(pid)}
    for child in psutil.Process(pid).children(recursive=True):
        found[role(child)] = held(child.pid)
    return found


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}


def strangers(*programs: int) -> int:
    """Processes besides these programs and this one that have our Python's library or binary mapped."""
    own = {os.getpid()}.union(*map(family, programs))
    mine = {path for path in Path("/proc/self/maps").read_text().split() if "python" in Path(path).name}
    found = 0
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if process.pid not in own:
                found += bool(mine & set(Path(f"/proc/{process.pid}/maps").read_text().split()))
    return found


def code_of(pid: int) -> int:
    """Bytes of files that the engine has in memory, each page of a file once at most: nobody shares them."""
    largest: dict[str, int] = {}
    private = 0
    for one in family(pid):
        own: dict[str, int] = {}
        name = ""
        for line in Path(f"/proc/{one}/smaps").read_text().splitlines():
            words = line.split()
            if not words[0].endswith(":"):
                name = words[5] if len(words) > 5 else ""
            elif name.startswith("/") and not name.startswith("/dev/shm/"):
                if words[0] == "Anonymous:":  # changed pages are a process's own
                    private += int(words[1]) * 1024
                    own[name] = own.get(name, 0) - int(words[1]) * 1024
                elif words[0] == "Rss:":
                    own[name] = own.get(name, 0) + int(words[1]) * 1024
        for name, size in own.items():
            largest[name] = max(size, largest.get(name, 0))
    return private + sum(largest.values())


class Look:
    """Takes the picture once, when the market has run for `seconds`; peaks of the rings' sizes with it."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started = seconds, 0.0
        self.processes: dict[str, dict[str, int]] = {}
        self.rings: dict[str, int] = {}
        self.strangers, self.code = 0, 0
        self.before, self.before_s = 0, 0.0

    def __call__(self, stats: dict[str, Any], engine_pid: int, simulator_pid: int) -> None:
        if not stats.get("started"):
            return
        self.started = self.started or time.monotonic()
        if self.processes or time.monotonic() - self.started < self.seconds:
            return
        now = engine(engine_pid)
        total = sum(sum(parts.values()) for parts in now.values())
        if abs(total - self.before) > SETTLED_SHARE * total or not self.before_s:
            self.before, self.before_s = total, time.monotonic()
            return
        if time.monotonic() - self.before_s < SETTLED_S:
            return
        self.processes = now
        self.strangers, self.code = strangers(engine_pid, simulator_pid), code_of(engine_pid)
        children = [engine_pid, *(c.pid for c in psutil.Process(engine_pid).children(recursive=True))]
        for pid in children:
            for name, _ in mappings(pid):
                if name.startswith("/dev/shm/") and Path(name).name.startswith("ticks-"):
                    self.rings[Path(name).name] = Path(name).stat().st_size


def run(seconds: float, strategies: bool) -> Look:
    """One run of simulator and engine."""
    settings = load_settings(kit.ROOT / "config" / "pool.yaml")
    words = pool.parser().parse_args(["--duration", str(seconds + LONGEST_S), "--rate", str(RATE)])

    def configure(told: dict[str, str]) -> dict[str, Any]:
        made = pool.configuration(settings, words, told)
        return made if strategies else made | {"strategies": []}

    look = Look(seconds)
    folder = Path(tempfile.mkdtemp(prefix="kite_hft-memory-"))
    try:
        done = run_pair(pool.simulator_command(words), configure, folder, look)
        if not done.started or not look.processes or done.report.get("ticks", {}).get("lost") != 0:
            raise SystemExit(f"bench: the engine did not run as it should: {json.dumps(done.report)[:2000]}")
    finally:
        shutil.rmtree(folder)
    return look


def figures(look: Look, row: kit.Row) -> None:
    """One round into the row."""

    def add(name: str, size: float) -> None:
        row.figures.setdefault(name, []).append(size / 1e6)

    own = {name: sum(parts.values()) - parts["rings"] for name, parts in look.processes.items()}
    add(kit.OURS, sum(own.values()))
    add("without spares", sum(size for name, size in own.items() if not name.startswith("spare")))
    for name, size in sorted(own.items()):
        add(name, size)
        parts = look.processes[name]
        row.notes[name] = ", ".join(f"{what} {part / 1e6:.1f}" for what, part in parts.items() if part)
    code = sum(parts["code"] for parts in look.processes.values())
    add("not shared with strangers", sum(own.values()) - code + look.code)
    row.notes[kit.OURS] = f"{look.strangers} strangers with the same libraries"
    add("rings", sum(look.rings.values()))
    per_ring = pool.INSTRUMENTS * RATE / max(1, len(look.rings))
    # A file is its ring, a power of two of slots, behind two pages.
    slots = {name: (size - 2 * PAGE) // TICK.itemsize for name, size in look.rings.items()}
    least = min(slots.values())
    row.notes["rings"] = (
        f"{len(slots)} of {least:,} slots of {TICK.itemsize} bytes: {least / per_ring:.1f} s of this load, "
        f"{least * len(slots) / FLOOD * 1000:.0f} ms of 5 M ticks/s; {HELD_S * 1000:.0f} ms are asked for"
    )
    add(PUBLISHED, PUBLISHED_MB * 1e6)


def main() -> None:
    parser = kit.options(__doc__, rounds=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="of market before the picture")
    options = parser.parse_args()
    seconds = 5.0 if options.quick else options.seconds
    rows = []
    for strategies in (False, True):
        workers = pool.CONNECTIONS * strategies
        limit = CALM_MB + NUMBA_MB * workers
        what = f"and {workers} numba workers" if strategies else "no strategy"
        row = kit.Row(
            f"memory, {pool.INSTRUMENTS:,} instruments, {pool.CONNECTIONS} readers, {what}",
            "MB of PSS without rings", "less", [kit.Target(None, at_most=limit)],
        )  # fmt: skip
        row.notes[PUBLISHED] = "133 MB with its rings, at 20 bytes a tick; it cannot be run"
        for _ in range(options.rounds):
            figures(run(seconds, strategies), row)
        rows.append(row)
    print(f"cores: {len(os.sched_getaffinity(0))}")
    kit.write("memory", rows, options.json)


if __name__ == "__main__":
    main()
