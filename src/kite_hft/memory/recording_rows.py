"""Layer 1, whoever converts recordings, cold: the rows of a run in order of time, piece by piece.

A day of 9,000 instruments is 26 GB of rows: nothing here holds more than `limit` rows of each
connection. Reads are preadv into one buffer, so that a failing disk is an error and no SIGBUS.

Order is that of reception by CLOCK_MONOTONIC, which all connections of a run share; rows of one
connection keep the order in which they were recorded, whatever their clock says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from kite_hft.layout import PAGE
from kite_hft.memory.recording import (
    DATA_OFFSET,
    ROW,
    ROW_BYTES,
    Gap,
    GapReason,
    Kind,
    RecordingError,
    check,
    gap_rows,
    last_commit,
    without_blank,
)

BLOCK: Final = 4096
"""Rows that are split into columns at a time: they and their columns stay in the cache."""
APART_NS: Final = 60_000_000_000
"""Real minus monotonic time differs by less between files of one run: clocks drift, boots jump."""

Array = npt.NDArray[Any]


class RowFile:
    """One ROWS recording, read from front to back: what it held when opened.

    `count`: rows and gaps that are committed. `gaps`, `rows` (taken so far), `steps_back` (rows whose
    clock is behind that of an earlier row) and `cut` (it ends in blank rows: power was lost) grow
    while it is read. `Gap.at_ns` is real time here.
    """

    def __init__(self, path: Path) -> None:
        """Raises RecordingError: no recording, another version, or raw frames."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror}") from error
        try:
            head = os.pread(self._fd, DATA_OFFSET, 0)
            self.origin = check(head, str(path))
            if self.origin.kind is not Kind.ROWS:
                raise RecordingError(
                    f"{path}: holds raw frames; rows come from datafeed.tick_storage_format: binary or both"
                )
            if len(head) < DATA_OFFSET:
                raise RecordingError(f"{path}: cut off within its first two pages")
            commit = last_commit(head[PAGE:])
            size = min(int(commit["size"]), os.fstat(self._fd).st_size - DATA_OFFSET)
        except BaseException:
            os.close(self._fd)
            raise
        self.closed, self.count = bool(commit["closed"]), max(0, size) // ROW_BYTES
        self.gaps: list[Gap] = []
        self.rows, self.steps_back, self.cut = 0, 0, False
        self._offset_ns = self.origin.offset_ns
        self._at, self._newest_ns = 0, int(np.iinfo(np.int64).min)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, rows: Array, order_ns: Array, real_ns: Array) -> int:
        """Fill with the next rows; how many, 0 at the end.

        rows: ROW[n], contiguous. order_ns: int64[n], never decreasing: recv_ns, or the largest before it.
        real_ns: int64[n], real time of reception.

        Raises:
            RecordingError: the disk does not give them.
        """
        while self._at < self.count:
            want = min(len(rows), self.count - self._at)
            self._fill(rows[:want])
            self._at += want
            taken = self._sift(rows[:want], real_ns)
            if not taken:
                continue
            recv_ns = np.ascontiguousarray(rows["recv_ns"][:taken])
            np.maximum.accumulate(recv_ns, out=order_ns[:taken])
            np.maximum(order_ns[:taken], self._newest_ns, out=order_ns[:taken])
            self.steps_back += int(np.count_nonzero(recv_ns < order_ns[:taken]))
            self._newest_ns = int(order_ns[taken - 1])
            self.rows += taken
            return taken
        return 0

    def _fill(self, rows: Array) -> None:
        wanted, at = rows.view(np.uint8).data, DATA_OFFSET + self._at * ROW_BYTES
        while wanted:
            try:
                got = os.preadv(self._fd, [wanted], at)
            except OSError as error:
                raise RecordingError(f"{self.path}: byte {at:,} cannot be read: {error.strerror}") from error
            if not got:
                raise RecordingError(f"{self.path}: became shorter while it was read")
            wanted, at = wanted[got:], at + got

    def _sift(self, rows: Array, real_ns: Array) -> int:
        """Take gaps out, end at a blank row, and put times to the rest; how many stay."""
        whole = without_blank(rows)
        if len(whole) < len(rows):
            self.cut, self.count = True, self._at
        start, taken = 0, 0
        holes = gap_rows(whole).tolist()
        for hole in [*holes, len(whole)]:
            n = hole - start
            if start != taken:
                rows[taken : taken + n] = rows[start:hole]  # numpy copies overlapping pieces rightly
            np.add(rows["recv_ns"][taken : taken + n], self._offset_ns, out=real_ns[taken : taken + n])
            taken, start = taken + n, hole + 1
            if hole < len(whole):
                self._note(whole[hole].copy(), self.rows + taken)
        return taken

    def _note(self, row: np.void, before: int) -> None:
        at_ns, self._offset_ns = int(row["recv_ns"]), int(row["exch_ns"])
        reason = GapReason(int(row["flags"]))
        self.gaps.append(Gap(at_ns + self._offset_ns, int(row["volume"]), reason, before))


def of_one_run(files: Sequence[RowFile]) -> None:
    """Raises RecordingError: the files are not of one run, so that their clocks cannot be compared."""
    first = files[0]
    for other in files[1:]:
        if other.origin.instruments != first.origin.instruments:
            raise RecordingError(f"{other.path}: has other instruments than {first.path.name}")
        if abs(other.origin.offset_ns - first.origin.offset_ns) > APART_NS:
            raise RecordingError(
                f"{other.path}: was not recorded in the same run as {first.path.name}; give one file"
            )


def in_time_order(files: Sequence[RowFile], limit: int) -> Iterator[dict[str, Array]]:
    """All rows of the files as columns: the fields of ROW and `real_ns`, at most `limit` rows of a file.

    A piece's arrays are used again for the next one. Rows of the same time stand in the order of the
    files.

    Raises:
        RecordingError: they are not of one run, or cannot be read.
    """
    of_one_run(files)
    whole = limit * len(files)
    rows, order_ns, real_ns = np.empty(whole, ROW), np.empty(whole, np.int64), np.empty(whole, np.int64)
    columns = {name: np.empty(whole, ROW[name]) for name in ROW.names or ()}
    columns["real_ns"] = np.empty(whole, np.int64)
    parts = [slice(limit * number, limit * (number + 1)) for number in range(len(files))]
    held = [0] * len(files)
    while True:
        # What comes later is not older than the last row held of a full part. Of the same time as that
        # it may be: files behind the first such one wait with theirs.
        bound_ns, first = int(np.iinfo(np.int64).max), len(files)
        for number, (file, part) in enumerate(zip(files, parts, strict=True)):
            arrays = [array[part] for array in (rows, order_ns, real_ns)]
            while held[number] < limit and (got := file.read(*(array[held[number] :] for array in arrays))):
                held[number] += got
            if held[number] == limit and order_ns[part][-1] < bound_ns:
                bound_ns, first = int(order_ns[part][-1]), number
        due = [
            int(np.searchsorted(order_ns[part][:n], bound_ns, "right" if number <= first else "left"))
            for number, (part, n) in enumerate(zip(parts, held, strict=True))
        ]
        if not any(due):
            return
        yield _split(rows, real_ns, _places(order_ns, parts, due), columns)
        for number, (part, taken) in enumerate(zip(parts, due, strict=True)):
            held[number] -= taken
            for array in (rows, order_ns, real_ns):
                array[part][: held[number]] = array[part][taken : taken + held[number]]


def _places(order_ns: Array, parts: Sequence[slice], due: Sequence[int]) -> Array:
    """Where the first `due` rows of each part stand, in order of time."""
    places = np.concatenate(
        [np.arange(part.start, part.start + n) for part, n in zip(parts, due, strict=True)]
    )
    return places if len(parts) == 1 else places[np.argsort(order_ns[places], kind="stable")]


def _split(rows: Array, real_ns: Array, places: Array, columns: dict[str, Array]) -> dict[str, Array]:
    """The rows at `places` as columns, block by block."""
    lines, block = rows.view("V64"), np.empty(BLOCK, "V64")
    for start in range(0, len(places), BLOCK):
        where = places[start : start + BLOCK]
        part = lines.take(where, out=block[: len(where)], mode="clip").view(ROW)
        for name in ROW.names or ():
            columns[name][start : start + len(where)] = part[name]
    real_ns.take(places, out=columns["real_ns"][: len(places)], mode="clip")
    return {name: column[: len(places)] for name, column in columns.items()}
