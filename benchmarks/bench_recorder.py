"""Recording market data: compact rows and raw frames, beside a raw copy of the same bytes and databases.

    python benchmarks/bench_recorder.py [--rows 4000000] [--rounds 7] [--folder DIR] [--quick]

CPU time of the writing thread (CLOCK_THREAD_CPUTIME_ID), the kernel's work and page faults included,
nothing pinned; closing and deleting are not counted, and every file is a fresh one. All take the same
rows of 64 bytes in batches of 4,096; the batch that is written again and again stays in the cache, for
all alike. ArcticDB compresses, so it gets distinct rows.

compact: kite_hft takes TICKs of 192 bytes, makes its file as it goes and commits every batch. "raw copy,
fresh file" knows the size beforehand and copies rows that are compact already into one mapping of
a file that the disk has promised; "warm" copies over it once more, so that no page is made: no recorder
can have that. "kite_hft, from the ring" is the whole recorder stage behind a tick ring: drain,
validation, compaction, commits, counters; publishing is not counted. sqlite: this interpreter's, WAL,
no fsync, executemany of tuples that are ready, a transaction a batch. ArcticDB (peers/arctic_rows.py)
is shown with batches as the others have them, and with larger ones, which suit it: a recorder would
hold back 100,000 rows, five seconds of 18,000 ticks/s, for them.

frames: 5,582 bytes each (30 packets of mode full), with CRC-32 and a commit for each; the raw copies are
of the same bytes, without either.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kit
import lasting
import numpy as np

from kite_hft import _ring
from kite_hft.layout import COUNTERS, TICK, SegmentKind
from kite_hft.memory.recording import ROW as ROW_DTYPE
from kite_hft.memory.recording import Kind, Origin
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.stages.recorder import Recorder, Track

BATCH = 4096
ROW = 64
RING = 1 << 16
FRAME_BYTES = 2 + 30 * 186
APPEND = 100_000
FRESH = "raw copy, fresh file"


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


def raw_copy(folder: Path, batch: np.ndarray, copies: int) -> tuple[float, float]:
    """Copies of `batch` (bytes) per CPU second: into a fresh mapped file, and over it once more."""
    path = folder / "raw"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        start = time.thread_time()
        os.posix_fallocate(fd, 0, copies * len(batch))
        mapped = np.frombuffer(mmap.mmap(fd, copies * len(batch)), np.uint8).reshape(copies, -1)
        speeds = []
        for _ in range(2):
            for place in mapped:
                np.copyto(place, batch)
            now = time.thread_time()
            speeds.append(copies / (now - start))
            start = now
        return speeds[0], speeds[1]
    finally:
        os.close(fd)
        path.unlink()


def in_sqlite(folder: Path, rows: int, batch: np.ndarray) -> float:
    """Rows per CPU second."""
    path = folder / "rows.sqlite"
    names = ROW_DTYPE.names or ()
    lines = np.ndarray((len(batch),), "V64", batch, 0, (TICK.itemsize,)).copy().view(ROW_DTYPE)
    values = [(lines[name].astype(np.uint64) >> 2).tolist() for name in names]  # fits its integers
    tuples = list(zip(*values, strict=True))
    base = sqlite3.connect(path)
    try:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=OFF")
        base.execute(f"CREATE TABLE ticks ({', '.join(f'{name} INTEGER' for name in names)})")
        insert = f"INSERT INTO ticks VALUES ({', '.join('?' * len(names))})"
        start = time.thread_time()
        for _ in range(0, rows, BATCH):
            with base:
                base.executemany(insert, tuples)
        speed = rows / (time.thread_time() - start)
        if base.execute("SELECT count(*) FROM ticks").fetchone()[0] != rows:
            raise SystemExit("bench: rows are missing in sqlite")
        return speed
    finally:
        base.close()
        for left in folder.glob("rows.sqlite*"):
            left.unlink()


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


def twice(measure: Callable[[], tuple[float, float]]) -> tuple[Callable[[], float], Callable[[], float]]:
    """Two contenders out of one measurement: the first measures, the second tells its other figure."""
    other = [0.0]

    def first() -> float:
        figure, other[0] = measure()
        return figure

    return first, lambda: other[0]


def cleared(folder: Path, run: Callable[[], float]) -> Callable[[], float]:
    """`run`, and its recording removed."""

    def measured() -> float:
        try:
            return run()
        finally:
            (folder / "bench.rec").unlink()

    return measured


def compact(folder: Path, rows: int, rounds: int) -> kit.Row:
    """The row of compact rows."""
    batch = ticks()
    lines = np.ascontiguousarray(batch.view(np.uint8).reshape(BATCH, -1)[:, :ROW]).reshape(-1)
    fresh, warm = twice(
        lambda: tuple(n * BATCH / 1e6 for n in raw_copy(folder, lines, rows // BATCH))  # type: ignore[return-value]
    )
    few = max(BATCH, rows // 20 // BATCH * BATCH)
    row = kit.Row("recording compact rows of 64 bytes", "M rows/s", "more", [kit.Target(FRESH, at_least=0.8)])
    contenders = {
        kit.OURS: cleared(folder, lambda: compact_rows(folder, rows, batch) / 1e6),
        FRESH: fresh,
        "raw copy, warm": warm,
        "kite_hft, from the ring": cleared(folder, lambda: from_ring(folder, rows, batch) / 1e6),
        "sqlite": lambda: in_sqlite(folder, few, batch) / 1e6,
    }
    row.notes["sqlite"] = f"sqlite {sqlite3.sqlite_version}"
    with contextlib.ExitStack() as stack:
        for append, total in ((BATCH, rows // 32), (APPEND, rows // 4)):
            name = f"ArcticDB, {append:,} an append"
            ask = stack.enter_context(lasting.rival("arctic", "arctic_rows.py", folder, total, append))
            if ask is None:
                row.notes[name] = "cannot be had here: not installed, or it gave no figure"
                continue
            contenders[name] = lasting.figure(ask)
            row.notes[name] = lasting.version(ask)
        return kit.measure(row, contenders, rounds)


def raw_frames(folder: Path, rows: int, rounds: int) -> kit.Row:
    """The row of raw frames."""
    batch = ticks()
    data = np.resize(batch.view(np.uint8), FRAME_BYTES)
    copies = rows * ROW // FRAME_BYTES
    fresh, warm = twice(
        lambda: tuple(n * FRAME_BYTES / 1e9 for n in raw_copy(folder, data, copies))  # type: ignore[return-value]
    )
    row = kit.Row("recording raw frames of 5,582 bytes", "GB/s", "more")
    contenders = {
        kit.OURS: cleared(folder, lambda: frames(folder, rows, batch) / 1e9),
        FRESH: fresh,
        "raw copy, warm": warm,
    }
    return kit.measure(row, contenders, rounds)


def main() -> None:
    parser = kit.options(__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000, help="of each measurement")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on which disk")
    options = parser.parse_args()
    asked = options.rows // 8 if options.quick else options.rows
    rows = max(1, asked // (8 * BATCH)) * 8 * BATCH
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        found = [make(Path(scratch), rows, options.rounds) for make in (compact, raw_frames)]
    kit.write("recorder", found, options.json)


if __name__ == "__main__":
    main()
