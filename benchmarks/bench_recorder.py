"""Recording: compact rows into a growing file, beside a raw copy of the same rows into a mapped file.

    python benchmarks/bench_recorder.py [--rows 4000000] [--rounds 5] [--folder DIR]

All write the same 64-byte rows in batches of 4,096; CPU time of this thread, the kernel's page
faults included. "raw copy" knows the size beforehand and copies rows that are compact already into
one mapping of a file that the disk has promised: fresh, and once more over the warm mapping.
"compact" takes TICKs and makes its file as it goes. "from the ring" is the recorder stage behind
a tick ring: drain, validation, compaction, commits, counters. Frames: 5.6 kB each, CRC included.
"""

from __future__ import annotations

import argparse
import mmap
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kite_hft import _ring
from kite_hft.layout import COUNTERS, TICK, SegmentKind
from kite_hft.memory.recording import Kind, Origin
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.stages.recorder import Recorder, Track

BATCH = 4096
ROW = 64
RING = 1 << 16
FRAME_BYTES = 2 + 30 * 186


class Counters:
    """Takes what the stage counts."""

    def __init__(self) -> None:
        self.values = [0] * len(COUNTERS["recorder"])

    def add(self, index: int, n: int = 1) -> None:
        self.values[index] += n

    def record(self, histogram: int, ns: int, n: int = 1) -> None:
        pass


def ticks() -> np.ndarray:
    """One batch of TICKs, all bytes in use."""
    words = np.random.default_rng(1).integers(1, 2**31, BATCH * TICK.itemsize // 8).astype(np.uint64)
    made = np.frombuffer(mmap.mmap(-1, words.nbytes), TICK)  # on a cache line, as in a ring
    made.view(np.uint64)[:] = words
    return made


def open_writer(folder: Path, kind: Kind) -> RecordingWriter:
    path = folder / "bench.rec"
    return RecordingWriter(path, Origin(kind, 0, "bench", 0, 0), b"bench")


def raw_copy(folder: Path, rows: int, batch: np.ndarray) -> tuple[float, float]:
    """Rows per CPU second: into a fresh mapped file, and over it once more."""
    path = folder / "raw"
    path.unlink(missing_ok=True)
    compact = np.ascontiguousarray(batch.view(np.uint8).reshape(BATCH, -1)[:, :ROW])
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    start = time.thread_time()
    os.posix_fallocate(fd, 0, rows * ROW)
    mapped = np.frombuffer(mmap.mmap(fd, rows * ROW), np.uint8).reshape(-1, BATCH, ROW)
    speeds = []
    for _ in range(2):
        for place in mapped:
            np.copyto(place, compact)
        now = time.thread_time()
        speeds.append(rows / (now - start))
        start = now
    os.close(fd)
    return speeds[0], speeds[1]


def compact_rows(folder: Path, rows: int, batch: np.ndarray) -> float:
    """Rows per CPU second through RecordingWriter."""
    start = time.thread_time()
    writer = open_writer(folder, Kind.ROWS)
    for n in range(0, rows, BATCH):
        writer.write_rows(batch, BATCH, n + BATCH)
    speed = rows / (time.thread_time() - start)
    writer.close()
    return speed


def from_ring(folder: Path, rows: int, batch: np.ndarray) -> float:
    """Rows per CPU second of the recorder stage alone; publishing is not counted."""
    shm = make_directory(Path("/dev/shm"), f"bench-recorder-{os.getpid()}")
    try:
        path = create(shm, "ticks-0", SegmentKind.TICK_RING, RING, now_mono_ns=0, now_real_ns=0)
        with attach(path, SegmentKind.TICK_RING, writable=True) as segment:
            ring = _ring.RingWriter(segment.view)
            track = Track(_ring.RingReader(segment.view), open_writer(folder, Kind.ROWS))
            counters = Counters()
            stage = Recorder([track], counters, lambda: 0, lambda: 0, print)
            spent = 0.0
            for _ in range(0, rows, 8 * BATCH):
                for _ in range(8):
                    ring.publish(batch)
                start = time.thread_time()
                stage.step(0)
                spent += time.thread_time() - start
            stage.close()
            assert counters.values[0] >= rows
            return counters.values[0] / spent
    finally:
        shutil.rmtree(shm)


def frames(folder: Path, rows: int, batch: np.ndarray) -> float:
    """Bytes per CPU second of raw frames, through RecordingWriter."""
    data, n = batch.tobytes()[:FRAME_BYTES], rows * ROW // FRAME_BYTES
    start = time.thread_time()
    writer = open_writer(folder, Kind.FRAMES)
    for number in range(1, n + 1):
        writer.write_frame(0, number, data, number)
    speed = n * FRAME_BYTES / (time.thread_time() - start)
    writer.close()
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    rows, batch = max(1, options.rows // (8 * BATCH)) * 8 * BATCH, ticks()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        contenders: dict[str, Callable[[], float]] = {
            "compact": lambda: compact_rows(folder, rows, batch),
            "from the ring": lambda: from_ring(folder, rows, batch),
            "frames": lambda: frames(folder, rows, batch) / ROW,
        }
        for _ in range(options.rounds):
            fresh, warm = raw_copy(folder, rows, batch)
            found.setdefault("raw copy, fresh file", []).append(fresh)
            found.setdefault("raw copy, warm", []).append(warm)
            for name, run in contenders.items():
                found.setdefault(name, []).append(run())
                (folder / "bench.rec").unlink()  # every file is a fresh one
    print(f"{rows:,} rows of {ROW} bytes in {options.folder}; frames in units of {ROW} bytes")
    base = found["raw copy, fresh file"]
    for name, speeds in found.items():
        ratios = sorted(a / b for a, b in zip(speeds, base, strict=True))
        print(
            f"{name:22}{statistics.median(speeds) / 1e6:9.1f} M rows/s"
            f"{statistics.median(ratios):9.2f} of the fresh raw copy ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
