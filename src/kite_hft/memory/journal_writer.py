"""Layer 1, orders process, hot: writes the order journal, and the thread that brings it to the disk.

A record is written with one call before what it tells of is done. The first failure is latched in
`failed`: from then on an INTENT or a GTT is refused for ever, so that nothing new can leave, and
other records (of cancels, answers, reports) are still tried, at the place of the one that failed.
A sync that failed is never tried again: the kernel may have marked the pages clean, and a second one
would succeed without the data being on the disk.

`reserve` bytes of the disk are kept behind the end of the file (fallocate, the size stays), and
taken anew as the file grows. When that no longer works `low` says so: ORDERS halts with room left for
the records of what it still has to cancel and to close.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import threading
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from kite_hft._journal import Appender
from kite_hft.memory.journal import PAYLOAD_MAX, Header, JournalError, Kind, Scan

RESERVE_BYTES: Final = 64 << 20
RESERVE_STEP_BYTES: Final = 16 << 20
GATHER_S: Final = 0.005
"""So long the thread gathers records for one sync, unless somebody waits for it."""
_KEEP_SIZE: Final = 0x01  # FALLOC_FL_KEEP_SIZE of linux/falloc.h
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
_NEEDED: Final = frozenset({Kind.INTENT, Kind.GTT})


class File(Protocol):
    """What the journal asks of a file. All raise OSError."""

    def write_at(self, data: bytes, offset: int) -> int: ...
    def sync(self) -> None: ...
    def allocate(self, offset: int, length: int) -> None: ...
    def free_bytes(self) -> int: ...
    def truncate(self, length: int) -> None: ...


class OsFile:
    """A file descriptor (handed in, not closed here)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.write_at = functools.partial(os.pwrite, fd)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def allocate(self, offset: int, length: int) -> None:
        """Take disk blocks beyond the end; the file's size stays."""
        call = ctypes.CDLL(None, use_errno=True).fallocate
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        if call(self._fd, _KEEP_SIZE, offset, length):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def free_bytes(self) -> int:
        disk = os.fstatvfs(self._fd)
        return disk.f_bavail * disk.f_frsize

    def truncate(self, length: int) -> None:
        os.ftruncate(self._fd, length)


class JournalWriter(Appender):
    """Appends records to a file. One thread appends; `sync` and `top_up` may run in one other.

    What writes is compiled (ext/journal.pyx: append), what follows when that fails stands here.
    """

    def __init__(
        self,
        file: File | int,
        *,
        header: Header | None = None,
        resume: Scan | None = None,
        reserve: int = 0,
        reserve_step: int = RESERVE_STEP_BYTES,
        on_failure: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`header` begins a new file, `resume` goes on behind what was read of an old one.

        file: or a descriptor. reserve: bytes, taken `reserve_step` further at a time. on_failure:
        is told once, by whichever thread saw the first failure.

        Raises:
            JournalError: neither or both, the old file does not end clean, or the header cannot be
                written and brought to the disk.
        """
        if (header is None) == (resume is None):
            raise JournalError("give a header for a new journal or a scan of an old one")
        self._file: File = OsFile(file) if isinstance(file, int) else file
        self.write_at = self._file.write_at
        self._reserve, self._reserve_step, self._on_failure = reserve, reserve_step, on_failure
        self.failed = self.low = ""
        self._sync_failed = False
        self._lock = threading.Lock()
        if resume is not None:
            if resume.tail != "clean":
                raise JournalError(f"the journal is {resume.tail}: {resume.detail}")
            self.next_seq, self.crc, self.seed, self.end = (
                resume.next_seq, resume.crc, resume.seed, resume.end,
            )  # fmt: skip
        elif header is not None:
            encoded = header.encode()
            self.next_seq, self.end = 1, 0
            self.seed = self.crc = zlib.crc32(encoded[:-4])
            self.write(encoded)
        self._allocated = self.end
        self.synced_seq = 0
        self.sync()

    def refuse(self, kind: Kind, length: int) -> None:
        """Nothing new is begun on a file that has failed, and no payload is too long.

        Raises:
            JournalError: always but for a record that tells how something begun before goes on.
        """
        if self.failed and kind in _NEEDED:
            raise JournalError(self.failed)
        if length > PAYLOAD_MAX:
            raise JournalError(f"payload of {length} bytes > {PAYLOAD_MAX}")

    def not_written(self, error: OSError | None, written: int, of: int) -> None:
        """A write has failed, or was cut short.

        Raises:
            JournalError: always.
        """
        if error is not None:
            self._fail(f"journal write failed: {error.strerror}")
        else:
            self._fail(f"journal write cut short: {written} of {of} bytes")
        raise JournalError(self.failed) from error

    @property
    def behind(self) -> bool:
        """Records are written that no sync has brought to the disk, and one may be tried."""
        return self.next_seq - 1 > self.synced_seq and not self._sync_failed

    def state(self) -> tuple[str, str]:
        """(why it failed, why its disk is nearly full): nothing may be opened with either; "": it may."""
        return self.failed, self.low

    def sync(self) -> int:
        """fdatasync; returns the last seq that is on the disk. May run in another thread.

        Raises:
            JournalError: it failed; it is never tried again.
        """
        if self._sync_failed:
            raise JournalError(self.failed)
        written = self.next_seq - 1
        try:
            self._file.sync()
        except OSError as error:
            self._sync_failed = True
            self._fail(f"journal sync failed: {error.strerror}")
            raise JournalError(self.failed) from error
        self.synced_seq = max(self.synced_seq, written)
        return written

    def top_up(self) -> None:
        """Keep `reserve` bytes of the disk behind the end of the file; `low` says when there are fewer."""
        if not self._reserve or self._allocated - self.end >= self._reserve:
            return
        for more in (self._reserve_step, 0):
            due = self.end + self._reserve + more
            try:
                self._file.allocate(self._allocated, due - self._allocated)
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    return self._count_free()
                text = f"the disk is nearly full ({error.strerror})"
            else:
                self._allocated, self.low = due, ""
                return None
        self.low = f"{text}: the journal lives on its reserve of {self._reserve >> 10} KiB"
        return None

    def _count_free(self) -> None:
        """A file system that cannot set blocks apart: look at what is free."""
        free = self._file.free_bytes()
        short = free < self._reserve
        self.low = f"the disk is nearly full: {free >> 20} MiB free" if short else ""

    def finish(self) -> None:
        """Orderly end: what is written goes to the disk, the reserve back to it. Harmless after a failure."""
        try:
            if self.behind:
                self.sync()
            self._file.truncate(self.end)
        except (JournalError, OSError):
            return

    def _fail(self, text: str) -> None:
        with self._lock:
            first = not self.failed
            self.failed = self.failed or text
        if first:
            self._on_failure(text)


class SyncBeside:
    """The thread that syncs: it sleeps until `wake` finds something to do.

    on_sync: called in it after each sync, and after the one that failed. gather_s: waits so long first.
    """

    def __init__(
        self,
        writer: JournalWriter,
        *,
        on_sync: Callable[[], None] = lambda: None,
        gather_s: float = GATHER_S,
    ) -> None:
        self._writer, self._on_sync, self._gather_s = writer, on_sync, gather_s
        self._due, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Called by whoever appends, when it has time: something written is not on the disk yet?"""
        if self._writer.behind and not self._due.is_set():
            self._due.set()

    def stop(self) -> None:
        """Ends the thread; what is written is synced before, unless that fails."""
        self._stop.set()
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait()
            if self._gather_s:
                self._stop.wait(self._gather_s)
            self._due.clear()
            if not self._writer.behind:
                continue
            try:
                self._writer.sync()
                self._writer.top_up()
            except JournalError:
                pass  # latched in writer.failed, which ORDERS asks for at each step
            self._on_sync()
