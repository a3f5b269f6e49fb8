"""The tick ring between two processes, beside every queue that one could use instead.

    python benchmarks/bench_ring.py [--rounds 7] [--quick]

A writer and a reader, processes of their own, pinned to the first and the last core. TICK records
of 192 bytes, batches of 100, 2^16 slots. Wall time (CLOCK_MONOTONIC) from before the first record is
written until after the last one is in the reader's own memory; both ends spin.

First row, nothing may be lost: the writer watches the reader's position and stays at most half the
ring ahead of it. (At a full ring's lead it writes the very lines that the reader read last and still
holds, and a third of the speed is gone.) Delivered records a second; a run that lost one fails.

kite_hft          ring_publish in a compiled loop, as the feed's sink calls it; the reader is Python:
                  RingReader.drain into one array of 1,000 TICKs, as a worker does
rigtorp SPSC      a C queue after Erik Rigtorp's published idea, written anew, -O3 -march=native;
                  one record at a time, as its interface has it; the reader copies each one out. Its
                  size is its lead: with 2^16 slots, and with 2^15, which leads as ours does
validated C ring  C on both sides: batch copied in, up to 1,000 copied out, checked after the copy
copy only         no queue at all: what one core can fetch of what the other wrote, half a ring at a
                  time, the writing not counted. No queue that copies records out can be much faster
multiprocessing.Queue, faster-fifo    with one tick in a put and with 100

Second row, nothing waits: the writer runs free and laps the reader as often as it likes. What the
reader got and what the ring says it lost must add up to what was written, in every run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import kit
from cython_peers import extension

from kite_hft.layout import SegmentKind
from kite_hft.memory import segment

SLOTS: Final = 1 << 16
LEAD: Final = SLOTS // 2
BATCH: Final = 100
READ_MAX: Final = 1000
RECORDS: Final = 20_000_000
READER_NOT_UP: Final = 1 << 63
QUEUES: Final = {  # name -> (kind, ticks in a put, ticks)
    "multiprocessing.Queue, 1 a put": ("multiprocessing", 1, 40_000),
    "multiprocessing.Queue, 100 a put": ("multiprocessing", 100, 2_000_000),
    "faster-fifo, 1 a put": ("faster-fifo", 1, 100_000),
    "faster-fifo, 100 a put": ("faster-fifo", 100, 2_000_000),
}


@contextlib.contextmanager
def shared_files() -> Iterator[tuple[Path, Path]]:
    """A fresh ring and the reader's position, in memory."""
    now = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    with tempfile.TemporaryDirectory(prefix="khft-bench-", dir="/dev/shm") as parent:
        folder = segment.make_directory(Path(parent), "ring")
        position = folder / "position"
        position.write_bytes(READER_NOT_UP.to_bytes(8, "little"))
        yield segment.create(folder, "ticks", SegmentKind.TICK_RING, SLOTS, **now), position


def ours(records: int, lead: int, cpus: list[int]) -> dict[str, Any]:
    """One run of our ring: what both ends say, and records got a second."""
    with shared_files() as files, contextlib.ExitStack() as stack:
        ends = []
        for role, batch, cpu in (("writer", BATCH, cpus[0]), ("reader", READ_MAX, cpus[-1])):
            script = kit.PEERS / "ring_ends.py"
            command = [sys.executable, script, role, *files, records, batch, lead, cpu]
            environment = os.environ | {"PYTHONPATH": str(kit.ROOT / "src")}
            process = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment
            )
            ends.append(stack.enter_context(process))
            stack.callback(process.kill)
        wrote, read = (json.loads(end.communicate()[0]) for end in ends)
    if not read["right"]:
        raise SystemExit("the last record read is not the last one written")
    seconds = (read["end_ns"] - wrote["start_ns"]) / 1e9
    written_s = (wrote["end_ns"] - wrote["start_ns"]) / 1e9
    return read | {"per_second": read["got"] / seconds, "written_per_second": records / written_s}


def paced(records: int, cpus: list[int]) -> float:
    """Delivered a second with nothing lost."""
    found = ours(records, LEAD, cpus)
    if found["lost"] or found["got"] != records:
        raise SystemExit(f"paced, yet {found['lost']} lost and {found['got']} of {records} got")
    return float(found["per_second"])


def c_ring(kind: str, slots: int, records: int, cpus: list[int]) -> float:
    """Delivered a second by a C ring of peers/c/spsc_rings.c."""
    words = [kit.compiled("spsc_rings.c"), kind, slots, LEAD, records, BATCH, READ_MAX, cpus[0], cpus[-1]]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["per_second"])


def python_queue(kind: str, per_put: int, ticks: int, cpus: list[int]) -> float:
    """Delivered a second by a queue of the rivals' environment."""
    found = kit.peer("fifo", "queue_ends.py", kind, ticks, per_put, cpus[0], cpus[-1])
    if found is None or not found["right"]:
        raise SystemExit(f"{kind}: did not deliver everything in order")
    return float(found["per_second"])


def accounted(records: int, cpus: list[int], row: kit.Row) -> float:
    """(got + lost) / written of a run in which the writer never waits."""
    found = ours(records, 0, cpus)
    row.notes[kit.OURS] = (
        f"last run: written {found['written_per_second'] / 1e6:.1f} M/s, got {found['got']}, "
        f"lost {found['lost']}, sum {found['got'] + found['lost']} of {records}"
    )
    return float((found["got"] + found["lost"]) / records)


def main() -> None:
    options = kit.options(__doc__).parse_args()
    rounds = 1 if options.quick else options.rounds
    records = RECORDS // (10 if options.quick else 1)
    cpus = sorted(os.sched_getaffinity(0))
    extension("ring_writer")
    kit.compiled("spsc_rings.c")
    targets = [kit.Target(None, at_least=30e6), kit.Target("rigtorp SPSC", at_least=1.4)]
    row = kit.Row("tick ring, two processes, nothing lost", "records delivered/s", "more", targets)
    contenders: dict[str, Callable[[], float]] = {
        kit.OURS: functools.partial(paced, records, cpus),
        "rigtorp SPSC": functools.partial(c_ring, "rigtorp", SLOTS, records, cpus),
        "rigtorp SPSC, 2^15 slots": functools.partial(c_ring, "rigtorp", SLOTS // 2, records, cpus),
        "validated C ring": functools.partial(c_ring, "validated", SLOTS, records, cpus),
        "copy only": functools.partial(c_ring, "copy", SLOTS, records, cpus),
    }
    if kit.environment("fifo") is None:
        row.notes["multiprocessing.Queue, faster-fifo"] = "the package cannot be installed here"
    else:
        for name, (kind, per_put, ticks) in QUEUES.items():
            ticks //= 10 if options.quick else 1
            contenders[name] = functools.partial(python_queue, kind, per_put, ticks, cpus)
    kit.measure(row, contenders, rounds)
    exact = [kit.Target(None, at_least=1.0), kit.Target(None, at_most=1.0)]
    free = kit.Row("tick ring, writer never waits", "(got + lost) / written", "more", exact)
    kit.measure(free, {kit.OURS: functools.partial(accounted, records, cpus, free)}, rounds)
    kit.write("ring", [row, free], options.json)


if __name__ == "__main__":
    main()
