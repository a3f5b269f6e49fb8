"""The recorder stage: what the rings held stands in the files, what did not is counted there."""

from __future__ import annotations

import errno
import fcntl
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from segments import make

from kite_hft import _ring
from kite_hft.layout import COUNTERS, FRAME, FRAME_BYTES_MAX, PAGE, TICK, SegmentKind
from kite_hft.memory.recording import GapReason, Kind, Origin, Recording, describe
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.memory.segment import Segment, attach
from kite_hft.stages.recorder import Recorder, Track

NAMES = COUNTERS["recorder"]


class Counts:
    """Counters and histograms by name."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.recorded_ns: list[tuple[int, int]] = []

    def add(self, index: int, n: int = 1) -> None:
        self.of[NAMES[index]] += n

    def record(self, histogram: int, ns: int, n: int = 1) -> None:
        self.recorded_ns.append((ns, n))


class Bench:
    """One ring of each kind and the recorder behind them."""

    def __init__(self, folder: Path, ring: int = 1024, frame_ring: int = 64) -> None:
        self.folder = folder
        self.held: list[Segment] = []
        self.ticks = self._ring(SegmentKind.TICK_RING, ring)
        self.frames = self._ring(SegmentKind.FRAME_RING, frame_ring)
        self.counts, self.alerts, self.now, self.frame_no = Counts(), [], 1_000, 0
        self.recorder, self.tracks = self.start()

    def _ring(self, kind: SegmentKind, capacity: int) -> tuple[_ring.RingWriter, memoryview]:
        path = make(self.folder, kind, capacity)
        segment = attach(path, kind, writable=True)
        self.held.append(segment)
        return _ring.RingWriter(segment.view), segment.view

    def start(self) -> tuple[Recorder, list[Track]]:
        tracks = []
        for kind, (_, view) in ((Kind.ROWS, self.ticks), (Kind.FRAMES, self.frames)):
            path = self.folder / f"{kind.name}.rec"
            writer = RecordingWriter(path, Origin(kind, 0, "d", 0, 50), b"boot", 16 * PAGE)
            start = writer.next_seq if writer.resumed else "oldest"
            tracks.append(Track(_ring.RingReader(view, start), writer))
        recorder = Recorder(
            tracks,
            self.counts,
            lambda: self.now,
            lambda: self.now + 50,
            lambda *what: self.alerts.append(what),
        )
        recorder.start()
        return recorder, tracks

    def publish(self, n: int) -> None:
        records = np.zeros(n, TICK)
        records["recv_ns"], records["kind"], records["bid_qty"] = self.now, 5, 3
        records["last_px"] = self.ticks[0].next_seq + np.arange(n)
        self.ticks[0].publish(records)

    def frame(self, data: bytes, parts: slice = slice(None)) -> None:
        """A frame in parts as the feed hands it on; `parts`: which of them."""
        self.frame_no += 1
        cut = range(0, max(1, len(data)), FRAME_BYTES_MAX)
        for offset in list(cut)[parts]:
            piece = data[offset : offset + FRAME_BYTES_MAX]
            record = np.zeros(1, FRAME)
            record["recv_ns"], record["frame_no"], record["total"] = self.now, self.frame_no, len(data)
            record["offset"], record["length"] = offset, len(piece)
            record["data"][0, : len(piece)] = np.frombuffer(piece, "u1")
            self.frames[0].publish(record)

    def rows(self) -> Recording:
        return Recording(self.folder / "ROWS.rec")

    def raw(self) -> Recording:
        return Recording(self.folder / "FRAMES.rec")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_every_tick_becomes_a_row_and_every_frame_is_kept_whole(bench: Bench) -> None:
    frames = [b"\0", b"ab" * 9_000, bytes(range(256)), b"c" * FRAME_BYTES_MAX, b"d" * (3 * FRAME_BYTES_MAX)]
    bench.publish(700)
    for data in frames:
        bench.frame(data)
    bench.now += 77
    assert bench.recorder.step(bench.now) == 700 + 9
    assert bench.recorder.step(bench.now) == 0
    bench.publish(1)
    bench.recorder.step(bench.now)
    bench.recorder.close()
    assert bench.rows().rows["last_px"].tolist() == list(range(701))
    assert [(n, data) for _, n, data in bench.raw().frames] == list(enumerate(frames, 1))
    expected = {"rows": 701, "row_bytes": 701 * 64, "frames": 5}
    assert {name: bench.counts.of[name] for name in expected} == expected
    assert bench.counts.of["frame_bytes"] == sum(map(len, frames)) + 5 * 32
    assert not (bench.counts.of["gaps"] or bench.alerts)
    assert (77, 700) in bench.counts.recorded_ns


def test_what_it_was_too_slow_for_is_a_gap(bench: Bench) -> None:
    bench.publish(10)
    bench.recorder.step(1)
    for _ in range(5):
        bench.publish(500)  # 2,500 into a ring of 1,024
    bench.now = 5_000
    bench.recorder.step(1)
    bench.recorder.close()
    found, lost = bench.rows(), 2_510 - 1_024 - 10
    assert [(g.lost, g.reason, g.before, g.at_ns) for g in found.gaps] == [
        (lost, GapReason.TOO_SLOW, 10, 5_000)
    ]
    assert len(found) + lost == 2_510 == found.next_seq
    assert bench.counts.of["lost_rows"] == lost and bench.counts.of["gaps"] == 1
    assert bench.alerts == [
        ("RECORDER_GAP", "ROWS.rec", f"ROWS.rec: {lost} rows were not recorded (TOO_SLOW)")
    ]


def test_frames_that_were_overwritten_are_told_by_their_numbers(bench: Bench) -> None:
    bench.frame(b"first")
    bench.recorder.step(1)
    for i in range(100):  # 200 parts into 64 places
        bench.frame(bytes([i]) * (FRAME_BYTES_MAX + 1))
    bench.recorder.step(1)
    bench.recorder.close()
    found = bench.raw()
    assert [number for _, number, _ in found.frames] == [1, *range(70, 102)]
    assert [(g.lost, g.reason, g.before) for g in found.gaps] == [(68, GapReason.TOO_SLOW, 1)]
    assert bench.counts.of["lost_frames"] == 68


def test_a_frame_without_its_end_or_beginning_is_left_out(bench: Bench) -> None:
    long = b"x" * (3 * FRAME_BYTES_MAX)
    bench.frame(b"one")
    bench.frame(long, slice(2))  # its feed died inside
    bench.frame(b"three")
    bench.frame(long, slice(1, None))
    bench.frame(b"five")
    bench.recorder.step(1)
    bench.recorder.close()
    assert [data for *_, data in bench.raw().frames] == [b"one", b"three", b"five"]
    assert [g.lost for g in bench.raw().gaps] == [1, 1]
    assert bench.counts.of["lost_frames"] == 2


def test_a_restart_goes_on_with_a_counted_gap(bench: Bench) -> None:
    bench.publish(100)
    bench.frame(b"one")
    bench.recorder.step(1)
    for track in bench.tracks:  # killed: nothing is closed
        fcntl.flock(track.writer._fd, fcntl.LOCK_UN)
    bench.publish(1_000)
    bench.frame(b"two")
    bench.publish(200)  # 176 of these 1,200 are overwritten
    bench.now = 9_000
    again, _ = bench.start()
    again.step(1)
    again.close()
    found = bench.rows()
    assert sum(g.lost for g in found.gaps) == 176 and {g.reason for g in found.gaps} == {GapReason.RESTART}
    assert found.gaps[0].before == 100 and found.gaps[0].at_ns == 9_000
    assert found.rows["last_px"].tolist() == [*range(100), *range(276, 1_300)]
    assert [data for *_, data in bench.raw().frames] == [b"one", b"two"]
    assert [(g.lost, g.reason) for g in bench.raw().gaps] == [(0, GapReason.RESTART)]
    assert bench.counts.of["restarts"] == 1 and bench.counts.of["lost_rows"] == 176


def test_a_full_disk_ends_one_file_with_an_alert(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.publish(1_000)
    bench.frame(b"one")
    bench.recorder.step(1)

    def full(fd: int, at: int, n: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    for _ in range(3):
        bench.publish(900)
        bench.frame(b"more")
        bench.recorder.step(1)
    assert [(code, key) for code, key, _ in bench.alerts] == [("FILE_FAILED", "ROWS.rec")]
    assert "no room for" in bench.alerts[0][2]
    bench.recorder.close()
    assert len(bench.rows()) == 1_000
    assert len(bench.raw()) == 4  # the other file has room left in its chunk
    assert describe(bench.folder / "ROWS.rec")["closed"]
