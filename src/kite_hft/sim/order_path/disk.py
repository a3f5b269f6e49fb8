"""Layer 4, campaigns and tests, cold: a disk that lies below the real journal writer.

A VirtualFile has the face that the writer asks of a file (memory/journal_writer.File) and knows which
of its bytes have reached the platter. A process that dies leaves all that it wrote. A power cut keeps
what was synced; of the rest any sectors may have come, in any order: others are zeros, or the file ends
before them.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from typing import Final

SECTOR: Final = 512
FREE_BYTES: Final = 1 << 30


class VirtualDisk:
    """Makes files. `write_fault()` names the fault of this write, or "" for none; `sync_fault()` says
    whether this sync fails, `nearly_full()` whether blocks can be set apart; `tick()` is called where
    the process may die; `stall(data)` may take its time over a write."""

    def __init__(self, rng: random.Random) -> None:
        self.files: list[VirtualFile] = []
        self.rng = rng
        self.write_fault: Callable[[], str] = lambda: ""
        self.sync_fault: Callable[[], bool] = lambda: False
        self.nearly_full: Callable[[], bool] = lambda: False
        self.tick: Callable[[], None] = lambda: None
        self.stall: Callable[[bytes], None] = lambda data: None

    def create(self) -> VirtualFile:
        """A new, empty file."""
        self.files.append(VirtualFile(self))
        return self.files[-1]

    def power_cut(self) -> int:
        """Only what is on the platter stays, and chance sectors behind it; returns how many bytes went."""
        return sum(file.power_cut() for file in self.files)


class VirtualFile:
    """One file. `durable`: so many bytes are on the platter."""

    def __init__(self, disk: VirtualDisk) -> None:
        self._disk = disk
        self.data = bytearray()
        self.durable = 0
        self._dropped = False  # a failed sync: what was written before it may never come

    # What the journal's writer calls

    def write_at(self, data: bytes, offset: int) -> int:
        """As pwrite(2): may fail, or take in a part."""
        fault = self._disk.write_fault()
        if fault == "disk_full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault == "disk_write_error":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if fault == "disk_short_write":
            data = data[: self._disk.rng.randrange(len(data))]
        self.data[offset : offset + len(data)] = data
        self.durable = min(self.durable, offset)
        self._disk.stall(data)
        self._disk.tick()
        return len(data)

    def sync(self) -> None:
        """As fdatasync(2). After a failure what was not synced may never reach the platter."""
        if self._disk.sync_fault():
            self._dropped = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if not self._dropped:
            self.durable = len(self.data)

    def allocate(self, offset: int, length: int) -> None:
        if self._disk.nearly_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def free_bytes(self) -> int:
        return FREE_BYTES

    def truncate(self, length: int) -> None:
        del self.data[length:]
        self.durable = min(self.durable, length)

    def written_anew(self) -> None:
        """Whoever opened it again has written and synced what it holds: it is on the platter."""
        self.durable, self._dropped = len(self.data), False

    # What happens to it

    def power_cut(self) -> int:
        """Returns how many bytes went."""
        rng, whole = self._disk.rng, len(self.data)
        end = rng.randint(self.durable, whole)
        kept = self.data[:end]
        for at in range(self.durable // SECTOR * SECTOR, end, SECTOR):
            begin, stop = max(at, self.durable), min(at + SECTOR, end)
            if begin < stop and rng.random() < 0.3:
                kept[begin:stop] = bytes(stop - begin)
        gone = whole - len(kept)
        self.data, self.durable, self._dropped = kept, len(kept), False
        return gone
