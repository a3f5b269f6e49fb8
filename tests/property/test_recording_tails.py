"""A recording that ends anywhere, at any moment: readers see whole rows and frames, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft.layout import PAGE, TICK
from kite_hft.memory.recording import (
    COMMIT,
    DATA_OFFSET,
    ROW_BYTES,
    Gap,
    GapReason,
    Kind,
    Origin,
    Recording,
    RecordingError,
)
from kite_hft.memory.recording_writer import RecordingWriter


def numbered(first: int, n: int) -> np.ndarray:
    found = np.zeros(n, TICK)
    found["seq"] = found["recv_ns"] = found["volume"] = np.arange(first, first + n) + 1
    found["kind"] = 5
    return found


def made(path: Path, kind: Kind) -> RecordingWriter:
    return RecordingWriter(path, Origin(kind, 0, "d", 1, 2), b"boot", PAGE)


def test_rows_cut_off_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "ticks-0.rec"
    held = made(path, Kind.ROWS)
    held.write_rows(numbered(0, 70), 70, 70)
    held.close()
    whole = path.read_bytes()
    for end in range(len(whole) - 1, DATA_OFFSET + 66 * ROW_BYTES, -1):
        os.truncate(path, end)
        rows = Recording(path).rows
        assert rows["seq"].tolist() == list(range(1, (end - DATA_OFFSET) // ROW_BYTES + 1))


def test_frames_cut_off_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "frames-0.rec"
    held = made(path, Kind.FRAMES)
    sizes, ends = [0, 1, 5_000, 7, 8, 9, 1], []
    for number, size in enumerate(sizes, 1):
        held.write_frame(number, number, bytes([number]) * size, number)
        ends.append(DATA_OFFSET + held.size)
    held.close()
    for end in range(path.stat().st_size - 1, ends[2] - 1, -1):
        os.truncate(path, end)
        found = Recording(path).frames
        assert [number for _, number, _ in found] == [n for n, e in enumerate(ends, 1) if e <= end]
        assert all(data == bytes([number]) * sizes[number - 1] for _, number, data in found)


def test_two_pages_cut_off_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ticks-0.rec"
    made(path, Kind.ROWS).close()
    for end in (0, 7, PAGE - 1, PAGE, DATA_OFFSET - 1):
        os.truncate(path, end)
        try:
            Recording(path)
        except RecordingError:
            continue
        raise AssertionError(f"{end} bytes were taken for a recording")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["rows", "gap", "close"]), st.integers(1, 150)), max_size=12),
    st.binary(min_size=200, max_size=200),
)
def test_killed_between_any_two_steps(steps: list[tuple[str, int]], rubbish: bytes) -> None:
    """Whatever a dead writer left behind its last commit, the next one goes on from there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ticks-0.rec"
        held, written, gaps = made(path, Kind.ROWS), 0, 0
        for what, n in steps:
            if what == "rows":
                held.write_rows(numbered(written, n), n, written + n)
                written += n
            elif what == "gap":
                held.write_gap(Gap(5, n, GapReason.TOO_SLOW, 0), 1, held.next_seq)
                gaps += 1
            else:
                held.close()
                held = made(path, Kind.ROWS)
                assert held.resumed and held.next_seq == written
            # A half-written batch, and a commit slot that is filled but does not count yet.
            os.pwrite(held._fd, rubbish, DATA_OFFSET + held.size)
            spare = held._slots[(held._count + 1) & 1 :][:1].view("u1")
            spare[COMMIT["size"].itemsize :] = np.frombuffer(rubbish, "u1")[: len(spare) - 8]
            del spare
            found = Recording(path)
            assert found.rows["seq"].tolist() == list(range(1, written + 1))
            assert len(found.gaps) == gaps
        held.close()
        assert Recording(path).closed
