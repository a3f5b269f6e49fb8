"""What bench_wakeup.py and bench_round_trip.py share: the two ends of a hop, started and pinned."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import kit

from kite_hft.layout import SegmentKind
from kite_hft.memory import segment

SLOTS = 1024


def cores() -> tuple[int, int]:
    """The first and the last core: where the two ends run."""
    found = sorted(os.sched_getaffinity(0))
    return found[0], found[-1]


def bare(mode: str, count: int, idle_ns: int = 0) -> float:
    """The C twin of peers/c/hops.c; ns."""
    first, last = cores()
    words = [kit.compiled("hops.c"), mode, idle_ns, count, first, last]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["median_ns"])


def ends(script: str, commands: Sequence[Sequence[object]]) -> list[float]:
    """Run peers/<script> once for each command, as processes that begin together; their figures in ns."""
    environment = os.environ | {"PYTHONPATH": str(kit.ROOT / "src")}
    with contextlib.ExitStack() as held:
        running = []
        for words in commands:
            process = subprocess.Popen(
                [sys.executable, str(kit.PEERS / script), *map(str, words)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )  # fmt: skip
            running.append(held.enter_context(process))
            held.callback(process.kill)
        for process in running:
            assert process.stdout is not None and process.stdin is not None
            if process.stdout.readline() != "up\n":
                raise RuntimeError(f"{script} did not start")
        for process in reversed(running):  # the writer is the first of them: it starts last
            process.stdin.write("go\n")
            process.stdin.flush()
            time.sleep(0.05)
        return [float(json.loads(process.communicate()[0])["median_ns"]) for process in running]


def ours(roles: tuple[str, str], wait: str, count: int, idle_ns: int = 0) -> list[float]:
    """Two ends of peers/hop_ends.py on fresh rings; the figures of both, ns."""
    now = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    with tempfile.TemporaryDirectory(prefix="khft-bench-", dir="/dev/shm") as parent:
        folder = segment.make_directory(Path(parent), "ring")
        names = ("there", "back")
        files = [segment.create(folder, n, SegmentKind.TICK_RING, SLOTS, **now) for n in names]
        return ends(
            "hop_ends.py",
            [(role, core, wait, count, idle_ns, *files) for role, core in zip(roles, cores(), strict=True)],
        )
