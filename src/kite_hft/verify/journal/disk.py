"""Layer 6, campaigns, cold: a disk below the journal that remembers every call, and fails on demand.

`Disk` is the File of memory/journal_writer.py in memory. Its log holds each write, the beginning and
the end of each sync, and what else the campaign marks in it; `states` are the files that a power
cut at one point of that log may leave.

What a cut may leave: all that was written before a sync that has ended began; of what was written since,
any sector of 512 bytes, each as it stood after any of the writes that touched it, in any combination;
the others as they were, or zeros, or what the blocks held before; and a size anywhere from the one
that was synced to the last one. That is more than any file system in use does.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

SECTOR: Final = 512


@dataclass(slots=True)
class Op:
    """One entry of the log: what is "write", "begin", "end" or "sent"; offset and data of a write."""

    what: str
    offset: int = 0
    data: bytes = b""
    number: int = 0  # sent: the seq of the order's INTENT. end: what the writer may take as synced


@dataclass(slots=True)
class Faults:
    """Which calls fail, by their number from 0 on; -1: none. `lasting`: all later ones of the kind, too.

    short: the write takes in half of it. after: ENOSPC or EIO.
    """

    write: int = -1
    sync: int = -1
    allocate: int = -1
    number: int = errno.ENOSPC
    short: bool = False
    lasting: bool = True


@dataclass
class Disk:
    """See above. `during_sync` runs between the beginning and the end of each sync, as other threads do."""

    faults: Faults = field(default_factory=Faults)
    during_sync: Callable[[], None] = lambda: None
    data: bytearray = field(default_factory=bytearray)
    on_disk: int = 0  # bytes that a sync that succeeded has covered
    log: list[Op] = field(default_factory=list)
    writes: int = 0
    syncs: int = 0
    allocates: int = 0
    failed: int = 0  # calls that failed
    syncs_after_failure: int = 0
    _sync_failed: bool = False

    def _fails(self, at: int, now: int) -> bool:
        if at < 0 or now < at or (now > at and not self.faults.lasting):
            return False
        self.failed += 1
        return True

    def _error(self) -> OSError:
        return OSError(self.faults.number, os.strerror(self.faults.number))

    def write_at(self, data: bytes, offset: int) -> int:
        fails = self._fails(self.faults.write, self.writes)
        self.writes += 1
        if fails and not self.faults.short:
            raise self._error()
        taken = data[: len(data) // 2] if fails else data
        self.log.append(Op("write", offset, taken))
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(taken)] = taken
        return len(taken)

    def sync(self) -> None:
        self.syncs_after_failure += self._sync_failed
        self.log.append(Op("begin"))
        covered = len(self.data)
        self.during_sync()
        fails = self._fails(self.faults.sync, self.syncs)
        self.syncs += 1
        if fails:
            self._sync_failed = True
            raise self._error()
        if not self._sync_failed:  # else the kernel says yes, and the data is not there
            self.on_disk = covered
        self.log.append(Op("end"))

    def allocate(self, offset: int, length: int) -> None:
        fails = self._fails(self.faults.allocate, self.allocates)
        self.allocates += 1
        if fails:
            raise self._error()

    def free_bytes(self) -> int:
        return 1 << 40

    def truncate(self, length: int) -> None:
        del self.data[length:]


@dataclass(slots=True)
class Window:
    """What may and what must be there when the power goes at one point of the log.

    durable: bytes that are there for certain. versions: sector number -> its possible contents, the last
    one as written last; the durable part is the same in all.
    """

    durable: bytes
    size: int
    versions: dict[int, list[bytes]]
    cuts: list[int]  # sizes that the file had, and sector boundaries between

    @property
    def combinations(self) -> int:
        n = 1
        for found in self.versions.values():
            n *= len(found)
        return n


def window_at(durable: bytes, pending: list[Op], old: bytes) -> Window:
    """The window of the writes `pending`, above what is durable. old: what free blocks held before."""
    image = bytearray(durable)
    sizes = {len(durable)}
    for op in pending:
        end = op.offset + len(op.data)
        image.extend(bytes(max(0, end - len(image))))
        sizes.add(max(len(durable), end))
    size = len(image)
    versions: dict[int, list[bytes]] = {}
    now = bytearray(durable) + bytes(size - len(durable))
    touched = {n for op in pending for n in _sectors(op.offset, len(op.data))}
    for n in sorted(touched):
        first = bytes(now[n * SECTOR : (n + 1) * SECTOR])
        versions[n] = [first]
        if n * SECTOR >= len(durable):
            versions[n].append((old * (SECTOR // max(1, len(old)) + 1))[: len(first)])
    for op in pending:
        now[op.offset : op.offset + len(op.data)] = op.data
        for n in _sectors(op.offset, len(op.data)):
            content = bytes(now[n * SECTOR : (n + 1) * SECTOR])
            if versions[n][-1] != content:
                versions[n].append(content)
    boundaries = range(len(durable) // SECTOR * SECTOR + SECTOR, size, SECTOR)
    return Window(durable, size, versions, sorted(sizes | set(boundaries)))


def _sectors(offset: int, length: int) -> range:
    return range(offset // SECTOR, (offset + length - 1) // SECTOR + 1) if length else range(0)


def states(window: Window, most: int, rng: random.Random) -> Iterator[bytes]:
    """Files that may be left: all combinations where there are at most `most`, else so many by chance.

    Then everything written, cut at every size that the file had and at every sector.
    """
    numbers = sorted(window.versions)
    choices = [window.versions[n] for n in numbers]
    if window.combinations <= most:
        picked: Iterator[tuple[bytes, ...]] = itertools.product(*choices)
    else:
        picked = (tuple(rng.choice(found) for found in choices) for _ in range(most))
    whole = bytes(window.size)
    for picks in picked:
        yield _built(window, numbers, picks, whole)
    last = _built(window, numbers, tuple(found[-1] for found in choices), whole)
    for cut in window.cuts:
        yield last[:cut]


def _built(window: Window, numbers: list[int], picks: tuple[bytes, ...], whole: bytes) -> bytes:
    image = bytearray(whole)
    image[: len(window.durable)] = window.durable
    for n, content in zip(numbers, picks, strict=True):
        image[n * SECTOR : n * SECTOR + len(content)] = content
    image[: len(window.durable)] = window.durable
    return bytes(image)
