"""The recording's file: what was committed is read, whole, after any kind of end."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pytest

from kite_hft.layout import NO_SLOT, PAGE, TICK
from kite_hft.memory import recording
from kite_hft.memory.recording import (
    DATA_OFFSET,
    ENTRY,
    ROW,
    ROW_BYTES,
    DiskFull,
    Gap,
    GapReason,
    Kind,
    Origin,
    Recording,
    RecordingError,
    describe,
    file_name,
    find,
)
from kite_hft.memory.recording_writer import RecordingWriter

DIGEST = "ab" * 32
BOOT = b"boot"


def origin(kind: Kind = Kind.ROWS, connection: int = 0, digest: str = DIGEST) -> Origin:
    return Origin(kind, connection, digest, 1_000, 5_000_001_000)


def writer(path: Path, kind: Kind = Kind.ROWS, chunk: int = PAGE) -> RecordingWriter:
    return RecordingWriter(path, origin(kind), BOOT, chunk)


def ticks(first: int, n: int) -> np.ndarray:
    """TICKs with something in every field of the hot line and of the cold ones."""
    found = np.zeros(n, TICK)
    for name in TICK.names or ():
        if found[name].ndim == 1:
            found[name] = np.arange(first, first + n) % 200 + 1
    found["seq"] = np.arange(first, first + n)
    found["bid_qty"], found["bid_px_deep"] = 7, 9
    return found


def test_the_compact_row_is_the_hot_line_of_a_tick() -> None:
    whole = ticks(0, 3)
    row = np.frombuffer(b"".join(tick.tobytes()[:64] for tick in whole), ROW)
    for name in ROW.names or ():
        assert np.array_equal(row[name], whole[name]), name
    assert {"last_px", "bid_px", "ask_px", "volume", "oi", "recv_ns", "flags"} <= set(ROW.names or ())


def test_rows_come_back_over_chunks_and_an_orderly_close_cuts_the_file(tmp_path: Path) -> None:
    path, whole = tmp_path / "ticks-0.rec", ticks(10, 1_000)
    held = writer(path)
    for at in range(0, 1_000, 77):
        part = np.ascontiguousarray(whole[at : at + 77])
        held.write_rows(part, len(part), 10 + at + len(part))
    assert path.stat().st_size > DATA_OFFSET + 1_000 * ROW_BYTES
    assert len(Recording(path)) == 1_000 and not Recording(path).closed  # while it is written
    held.close()
    held.close()
    found = Recording(path)
    assert found.closed and found.next_seq == 1_010 and not found.gaps
    for name in ROW.names or ():
        assert np.array_equal(found.rows[name], whole[name]), name
    assert path.stat().st_size == DATA_OFFSET + 1_000 * ROW_BYTES
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_frames_come_back_to_the_bit(tmp_path: Path) -> None:
    path, random = tmp_path / "frames-1.rec", np.random.default_rng(1)
    frames = [(i, i + 1, random.bytes(int(random.integers(0, 9_000)))) for i in range(50)]
    held = writer(path, Kind.FRAMES)
    for recv_ns, number, data in frames:
        held.write_frame(recv_ns, number, data, number)
    assert held.frame_no == 50
    held.close()
    assert Recording(path).frames == frames


@pytest.mark.parametrize("kind", Kind)
def test_a_gap_is_kept_with_its_clock(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "x.rec"
    held = writer(path, kind)

    def one(n: int) -> None:
        if kind is Kind.ROWS:
            held.write_rows(ticks(n, 1), 1, n)
        else:
            held.write_frame(n, n, b"x" * n, n)

    one(1)
    held.write_gap(Gap(77, 12, GapReason.TOO_SLOW, 0), 9_000_000_000, 14)
    one(2)
    held.close()
    found = Recording(path)
    assert found.gaps == [Gap(77, 12, GapReason.TOO_SLOW, 1)]
    assert len(found) == 2
    times = found.times_real_ns(np.array([10, 10]))
    assert times.tolist() == [5_000_000_010, 9_000_000_010]
    told = describe(path)
    assert (told["count"], told["lost"], told["gaps"][0]["reason"]) == (2, 12, "TOO_SLOW")


def test_it_goes_on_behind_the_last_whole_row(tmp_path: Path) -> None:
    path, whole = tmp_path / "ticks-0.rec", ticks(0, 300)
    first = writer(path)
    first.write_rows(whole, 100, 100)
    with pytest.raises(RecordingError, match="another process records"):
        writer(path)
    # Killed: the kernel lets go of the lock. What was written and not committed does not count.
    os.pwrite(first._fd, b"\xff" * 64, DATA_OFFSET + first.size)
    fcntl.flock(first._fd, fcntl.LOCK_UN)
    second = writer(path)
    assert second.resumed and second.next_seq == 100
    second.write_rows(np.ascontiguousarray(whole[100:]), 200, 300)
    second.close()
    third = writer(path)  # also a file that was cut to its data goes on
    assert third.resumed and third.next_seq == 300
    third.write_rows(ticks(300, 50), 50, 350)
    third.close()
    assert Recording(path).rows["seq"].tolist() == list(range(350))


def test_another_recording_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "ticks-0.rec"
    writer(path).close()
    for other in (origin(Kind.FRAMES), origin(connection=1), origin(digest="cd" * 32)):
        with pytest.raises(RecordingError, match="other instruments"):
            RecordingWriter(path, other, BOOT)


def test_a_full_disk_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ticks-0.rec"
    held = writer(path)
    held.write_rows(ticks(0, 60), 60, 60)  # a chunk has 64 rows
    real = os.posix_fallocate

    def full(fd: int, at: int, n: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFull, match="no room for 4,096 bytes"):
        held.write_rows(ticks(60, 10), 10, 70)
    assert len(Recording(path)) == 60 and held.next_seq == 60
    monkeypatch.setattr(os, "posix_fallocate", real)
    held.write_rows(ticks(60, 10), 10, 70)  # room again
    held.close()
    assert Recording(path).rows["seq"].tolist() == list(range(70))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("part", [0, 1, 63, 64, 65, 639])
def test_a_write_that_breaks_off_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, part: int
) -> None:
    """The commit comes last: a disk that fails, or a kill, inside a write leaves what was before."""
    path = tmp_path / "x.rec"
    held, data = writer(path, kind), bytes(range(200)) * 4

    def write(n: int) -> None:
        if kind is Kind.ROWS:
            held.write_rows(ticks(10 * n, 10), 10, 10 * n + 10)
        else:
            held.write_frame(n, n, data, n)

    write(1)
    real = os.pwritev

    def broken(fd: int, pieces: list[bytes], at: int) -> int:
        real(fd, [b"".join(map(bytes, pieces))[:part]], at)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwritev", broken)
    before = len(Recording(path))
    with pytest.raises(OSError, match="Input/output error"):
        write(2)
    assert len(Recording(path)) == before
    monkeypatch.setattr(os, "pwritev", real)
    write(3)
    held.close()
    found = Recording(path)
    seen = found.rows["seq"][::10].tolist() if kind is Kind.ROWS else [10 * n for _, n, _ in found.frames]
    assert seen == [10, 30]


def test_the_file_system_itself_runs_full(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for a small disk: the kernel refuses, nothing dies by a signal."""
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    held = writer(tmp_path / "ticks-0.rec")
    resource.setrlimit(resource.RLIMIT_FSIZE, (DATA_OFFSET + 2 * PAGE, hard))
    try:
        with pytest.raises(DiskFull):
            held.write_rows(ticks(0, 500), 500, 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    held.close()
    assert len(Recording(tmp_path / "ticks-0.rec")) == 0


def test_lost_power_ends_at_the_first_blank_row(tmp_path: Path) -> None:
    path = tmp_path / "ticks-0.rec"
    held = writer(path)
    held.write_rows(ticks(1, 100), 100, 101)
    held.close()
    with path.open("r+b") as file:
        file.seek(DATA_OFFSET + 40 * ROW_BYTES)
        file.write(bytes(60 * ROW_BYTES))
    assert len(Recording(path)) == 40


def test_lost_power_ends_at_the_first_damaged_frame(tmp_path: Path) -> None:
    path = tmp_path / "frames-0.rec"
    held = writer(path, Kind.FRAMES)
    for number in range(1, 11):
        held.write_frame(number, number, b"abcdefgh", number)
    held.close()
    with path.open("r+b") as file:
        file.seek(DATA_OFFSET + 4 * (ENTRY.itemsize + 8) + ENTRY.itemsize)
        file.write(b"\0")
    assert len(Recording(path)) == 4


@pytest.mark.parametrize(
    ("at", "word"), [(0, "not a recording"), (9, "header is damaged"), (PAGE - 1, "header is damaged")]
)
def test_what_is_no_recording_is_refused(tmp_path: Path, at: int, word: str) -> None:
    path = tmp_path / "ticks-0.rec"
    writer(path).close()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=word):
        Recording(path)


def test_rows_of_another_build_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ticks-0.rec"
    writer(path).close()
    monkeypatch.setattr(recording, "LAYOUT_FINGERPRINT", 1)
    with pytest.raises(RecordingError, match="another build"):
        Recording(path)


def test_which_run_recorded_it_is_told_and_another_does_not_go_on(tmp_path: Path) -> None:
    path = tmp_path / "ticks-0.rec"
    made = Origin(Kind.ROWS, 0, DIGEST, 1_000, 5_000_001_000, "kite", 7, 8, 9)
    RecordingWriter(path, made, BOOT, PAGE).close()
    assert Recording(path).origin == made
    assert [describe(path)[name] for name in ("build", "config", "rules")] == [f"{n:016x}" for n in (7, 8, 9)]
    for other in ((6, 8, 9), (7, 6, 9), (7, 8, 6)):
        with pytest.raises(RecordingError, match="another build, configuration or rules"):
            RecordingWriter(
                path, Origin(Kind.ROWS, 0, DIGEST, 1_000, 5_000_001_000, "kite", *other), BOOT, PAGE
            )


def test_names(tmp_path: Path) -> None:
    assert (file_name(Kind.ROWS, 2), file_name(Kind.FRAMES, 0)) == ("ticks-2.rec", "frames-0.rec")
    (tmp_path / "ticks-0.rec").touch()
    (tmp_path / "instruments.csv").touch()
    assert find(tmp_path) == find(tmp_path / "ticks-0.rec") == [tmp_path / "ticks-0.rec"]
    assert find(tmp_path / "instruments.csv") == []
    assert NO_SLOT == 0xFFFFFFFF
