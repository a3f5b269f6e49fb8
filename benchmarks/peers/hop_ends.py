"""One end of a hop between two processes, of ours: `hop_ends.py ROLE CPU WAIT COUNT IDLE_NS FILE [FILE]`.

Roles: wake and wait (compiled), wait-python, begin and echo (compiled round trips), begin-python and
echo-python. The last line of the output is JSON: {"median_ns": ..}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cython_peers import extension

from kite_hft import _ring, _wait
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory.segment import attach

WARM = 200
TEN_SECONDS_NS = 10_000_000_000


def wait_in_python(view: memoryview, back: memoryview, strategy: str, count: int) -> float:
    """What a worker does: Waiter.wait, then drain."""
    answer = _ring.RingWriter(back).publish
    reader, waiter = _ring.RingReader(view), _wait.Waiter(view, strategy)
    out, found = np.zeros(1, TICK), np.zeros(count + WARM, np.int64)
    now_ns, wait, drain = time.monotonic_ns, waiter.wait, reader.drain
    for i in range(count + WARM):
        wait(i, TEN_SECONDS_NS)
        woken_ns = now_ns()
        drain(out)
        found[i] = woken_ns - out["recv_ns"][0]
        answer(out)
    return float(np.median(found[WARM:]))


def rounds_in_python(sends: memoryview, gets: memoryview, count: int, begins: bool) -> float:
    """RingWriter.publish and RingReader.drain until something came, from Python."""
    publish, drain = _ring.RingWriter(sends).publish, _ring.RingReader(gets).drain
    tick, out = np.zeros(1, TICK), np.zeros(1, TICK)
    started_ns = 0
    for i in range(count + WARM):
        if i == WARM:
            started_ns = time.monotonic_ns()
        if begins:
            publish(tick)
        while not drain(out):
            pass
        if not begins:
            publish(tick)
    return (time.monotonic_ns() - started_ns) / count


def run(role: str, strategy: str, count: int, idle_ns: int, views: list[memoryview]) -> float:
    """The end's part; returns its figure in ns."""
    hops: Any = extension("hops")
    begins = role.startswith("begin")
    print("up", flush=True)
    sys.stdin.readline()  # until both are up
    if role == "wake":
        hops.wake(*views, idle_ns, count)
        return 0.0
    if role == "wait":
        found = np.zeros(count, np.int64)
        hops.wait(*views, _wait.STRATEGIES[strategy], found)
        return float(np.median(found))
    if role == "wait-python":
        return wait_in_python(*views, strategy, count)
    if role in ("begin", "echo"):
        return float(hops.round_trips(*views, count, begins))
    sends, gets = views if begins else views[::-1]
    return rounds_in_python(sends, gets, count, begins)


def main(role: str, cpu: str, strategy: str, count: str, idle_ns: str, *files: str) -> None:
    os.sched_setaffinity(0, {int(cpu)})
    segments = [attach(Path(f), SegmentKind.TICK_RING, writable=True, claim=False) for f in files]
    figure = run(role, strategy, int(count), int(idle_ns), [segment.view for segment in segments])
    print(json.dumps({"median_ns": figure}))


if __name__ == "__main__":
    main(*sys.argv[1:])
