"""One end of the product's tick ring, in a process of its own, for bench_ring.

    python ring_ends.py writer|reader SEGMENT POSITION_FILE RECORDS BATCH LEAD CPU

writer: a compiled loop around ring_publish (peers/ring_writer.pyx), as the feed's sink calls it.
reader: RingReader.drain into one array of BATCH records, as a worker calls it, from Python.
POSITION_FILE: 8 bytes in memory where the reader says how far it is. LEAD: how many records the writer
may be ahead of that (0: it does not look). Each prints one JSON line.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from cython_peers import extension

from kite_hft._ring import RingReader
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory import segment

READY = 1 << 63
"""What the position says before the reader is attached."""


def position_word(path: Path) -> np.ndarray:
    """The shared 8 bytes as an array of one."""
    with path.open("r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 8), np.uint64)


def write(ring: segment.Segment, position: np.ndarray, records: int, batch: int, lead: int) -> dict[str, int]:
    loop = extension("ring_writer").write
    prepared = np.zeros(batch, TICK)
    prepared["last_px"] = np.arange(batch)
    while position[0] == READY:
        time.sleep(0.001)
    start_ns, end_ns = loop(ring.view, prepared, position, records, lead)
    return {"start_ns": start_ns, "end_ns": end_ns}


def read(ring: segment.Segment, position: np.ndarray, records: int, batch: int) -> dict[str, int]:
    reader = RingReader(ring.view)
    out = np.zeros(batch, TICK)
    drain, drains, got, at = reader.drain, 0, 0, 0
    position[0] = 0
    while at < records:
        if n := drain(out):
            got += n
            drains += 1
            at = reader.position
            position[0] = at
    end_ns = time.monotonic_ns()
    right = bool(n) and int(out["seq"][n - 1]) == records - 1
    return {"got": got, "lost": reader.lost, "drains": drains, "end_ns": end_ns, "right": right}


def main() -> None:
    role, path, position_path, records, batch, lead, cpu = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    position = position_word(Path(position_path))
    with segment.attach(Path(path), SegmentKind.TICK_RING, writable=role == "writer") as ring:
        if role == "writer":
            found = write(ring, position, int(records), int(batch), int(lead))
        else:
            found = read(ring, position, int(records), int(batch))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
