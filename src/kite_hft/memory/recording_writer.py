"""Layer 1, recorder, hot: the one writer of a recording (format: recording.py)."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import NO_SLOT, PAGE, TICK
from kite_hft.memory.recording import (
    COMMIT,
    DATA_OFFSET,
    ENTRY,
    ENTRY_MARK,
    FRAME_ENTRY,
    GAP,
    GAP_DATA,
    ROW_BYTES,
    DiskFull,
    Gap,
    Kind,
    Origin,
    RecordingError,
    check,
    last_commit,
    seal,
)

CHUNK_BYTES: Final = 16 << 20
STAGE_ROWS: Final = 4096

Array = npt.NDArray[Any]


class RecordingWriter:
    """Appends to one file. One writer at a time: the file is locked while it is open."""

    def __init__(
        self,
        path: Path,
        origin: Origin,
        boot_id: bytes,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        """Make the file, or go on behind its last whole row; then `resumed` is true.

        Raises:
            RecordingError: another process writes it, or it is another recording.
            DiskFull: no room to start.
        """
        self.path, self.kind, self._chunk = path, origin.kind, chunk_bytes
        self._stage = np.frombuffer(mmap.mmap(-1, STAGE_ROWS * ROW_BYTES), "V64")  # on a cache line
        self._bytes = self._stage.view(np.uint8).data
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._lock()
            self.resumed = os.fstat(self._fd).st_size >= DATA_OFFSET
            if self.resumed:
                self._check_same(origin)
            else:
                self._allocate(0, DATA_OFFSET)
                os.pwrite(self._fd, seal(origin, boot_id), 0)
            self._commits = mmap.mmap(self._fd, PAGE, offset=PAGE)
            self._slots = np.frombuffer(self._commits, COMMIT, 2)
            commit = last_commit(self._commits)
            self._count = int(commit["count"])
            self._room = os.fstat(self._fd).st_size - DATA_OFFSET
            self.size = min(int(commit["size"]), self._room)
            self.next_seq, self.frame_no = int(commit["next_seq"]), int(commit["frame_no"])
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordingError(f"{self.path}: another process records into it") from None

    def _check_same(self, origin: Origin) -> None:
        found = check(os.pread(self._fd, PAGE, 0), str(self.path))
        if (found.kind, found.connection, found.instruments) != (
            origin.kind,
            origin.connection,
            origin.instruments,
        ):
            raise RecordingError(f"{self.path}: a recording of other instruments or of another connection")
        if (found.build, found.config, found.rules) != (origin.build, origin.config, origin.rules):
            raise RecordingError(f"{self.path}: recorded by another build, configuration or rules")

    def write_rows(self, ticks: Array, n: int, next_seq: int) -> None:
        """Append the hot lines of `ticks[:n]` (TICK, contiguous); `next_seq`: of the ring, after them.

        Raises:
            DiskFull: nothing of them is in the file.
        """
        lines = np.ndarray((n,), "V64", ticks, 0, (TICK.itemsize,))
        at = self.size
        self._make_room(at + n * ROW_BYTES)
        for first in range(0, n, STAGE_ROWS):
            part = lines[first : first + STAGE_ROWS]
            np.copyto(self._stage[: len(part)], part)
            at = self._put(at, [self._bytes[: len(part) * ROW_BYTES]])
        self._commit(at, next_seq)

    def write_frame(self, recv_ns: int, frame_no: int, data: bytes | memoryview, next_seq: int) -> None:
        """Append one whole frame; `next_seq`: of its ring, after its last part.

        Raises:
            DiskFull: nothing of it is in the file.
        """
        self._write_entry(FRAME_ENTRY, recv_ns, frame_no, data, next_seq)

    def write_gap(self, gap: Gap, offset_ns: int, next_seq: int) -> None:
        """Append a gap; `offset_ns`: real minus monotonic time from here on.

        Raises:
            DiskFull: it is not in the file.
        """
        if self.kind is Kind.FRAMES:
            data = np.array([(gap.lost, gap.reason, offset_ns)], GAP_DATA).tobytes()
            self._write_entry(GAP, gap.at_ns, 0, data, next_seq)
            return
        row = np.zeros(1, TICK)
        row["seq"], row["recv_ns"], row["exch_ns"], row["volume"] = next_seq, gap.at_ns, offset_ns, gap.lost
        row["slot"], row["flags"], row["kind"] = NO_SLOT, gap.reason, GAP
        self.write_rows(row, 1, next_seq)

    def _write_entry(
        self, kind: int, recv_ns: int, frame_no: int, data: bytes | memoryview, next_seq: int
    ) -> None:
        entry = np.array([(ENTRY_MARK, len(data), recv_ns, frame_no, zlib.crc32(data), kind)], ENTRY)
        padding = bytes(-len(data) % 8)
        self._make_room(self.size + ENTRY.itemsize + len(data) + len(padding))
        at = self._put(self.size, [entry.tobytes(), data, padding])
        self.frame_no = frame_no or self.frame_no
        self._commit(at, next_seq)

    def _commit(self, size: int, next_seq: int, closed: int = 0) -> None:
        # The slot not in use is filled, its count last: only then does it hold.
        slot = self._slots[(self._count + 1) & 1 :]
        slot["size"][0], slot["next_seq"][0], slot["closed"][0] = size, next_seq, closed
        slot["frame_no"][0] = self.frame_no
        slot["count"][0] = self._count + 1
        self._count += 1
        self.size, self.next_seq = size, next_seq

    def _put(self, at: int, pieces: list[bytes | memoryview]) -> int:
        """Write `pieces` from byte `at` of the data on; the byte after them."""
        whole = sum(map(len, pieces))
        if os.pwritev(self._fd, pieces, DATA_OFFSET + at) != whole:
            raise DiskFull(f"{self.path}: the disk took only a part of {whole:,} bytes")
        return at + whole

    def _make_room(self, size: int) -> None:
        while self._room < size:
            self._allocate(DATA_OFFSET + self._room, self._chunk)
            self._room += self._chunk

    def _allocate(self, start: int, length: int) -> None:
        try:
            os.posix_fallocate(self._fd, start, length)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise
            raise DiskFull(f"{self.path}: no room for {length:,} bytes more ({error.strerror})") from None

    def close(self) -> None:
        """Cut the file to what was recorded and let go of it."""
        if self._fd < 0:
            return
        self._commit(self.size, self.next_seq, closed=1)
        del self._slots
        self._commits.close()
        os.ftruncate(self._fd, DATA_OFFSET + self.size)
        # mmap keeps a duplicate of the descriptor: the lock would outlive ours.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)
        self._fd = -1
