"""Layer 1, orders process, cold: the journal's file: made on a real disk, opened again after a crash.

What a crash left behind the last good record is kept in a file beside (`journal.bin.torn-N`), and
what is not known to be on the disk is written once more: after a failed sync the kernel may show
data that the disk never got. A journal that failed leaves a note (`journal.bin.failed`), so that
the process that comes after it knows.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kite_hft.memory.journal import HEADER_BYTES, JournalError, Scan, scan

FREE_BYTES_MIN: Final = 64 << 20
OVERLAY: Final = 0x794C7630  # OVERLAYFS_SUPER_MAGIC of linux/magic.h
IN_MEMORY: Final = {0x01021994: "tmpfs", 0x858458F6: "ramfs", 0x958458F6: "hugetlbfs"}
"""f_type of statfs(2) -> name; linux/magic.h."""
WORDLESS: Final = "the journal could not be written, nor why"
DEPTH: Final = 4
"""So many folders above the file are synced when it is made: run, day, account, product."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """A journal that can be gone on with. set_aside: what was kept of a torn tail, for people; "": nothing.

    failed: why the process before could not write it any more; "": it could.
    """

    fd: int
    found: Scan
    set_aside: str
    failed: str


def in_memory(fd: int) -> str:
    """Why the file does not outlive a power cut, as far as the kernel tells; "": it lies on a disk.

    tmpfs and the like; a RAM disk, or a loop device over a file in memory; an overlay whose upper
    layer is in memory, or cannot be seen from here (a container's own layer: it goes with the
    container).
    """
    kind = _fs_type(fd)
    if kind in IN_MEMORY:
        return IN_MEMORY[kind]
    if kind == OVERLAY:
        return _overlay(fd)
    return _device(os.fstat(fd).st_dev)


def _fs_type(fd: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_long * 32)()  # struct statfs: f_type is its first word
    if libc.fstatfs(fd, ctypes.byref(buffer)):
        raise OSError(ctypes.get_errno(), "fstatfs")
    return buffer[0] & 0xFFFFFFFF


def _type_of(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return in_memory(fd)
    finally:
        os.close(fd)


def _overlay(fd: int) -> str:
    upper = upper_layer(Path(f"/proc/self/fd/{fd}").resolve(), Path("/proc/self/mountinfo").read_text())
    if upper is None:
        return "an overlay whose upper layer is not told"
    try:
        below = _type_of(upper)
    except OSError:
        return f"an overlay whose upper layer {upper} cannot be seen from here, as in a container"
    return below and f"an overlay over {below}"


def upper_layer(path: Path, mounts: str) -> Path | None:
    """The upperdir of the overlay that `path` lies on, by /proc/self/mountinfo (proc(5))."""
    best, found = -1, None
    for line in mounts.splitlines():
        fields, _, more = line.partition(" - ")
        point = Path(fields.split()[4].replace("\\040", " "))
        if len(point.parts) >= best and (path == point or point in path.parents):
            words = more.split()
            options = dict(o.partition("=")[::2] for o in words[2].split(",")) if len(words) > 2 else {}
            upper = options.get("upperdir") if words[0] == "overlay" else None
            best, found = len(point.parts), Path(upper.replace("\\040", " ")) if upper else None
    return found


def _device(number: int) -> str:
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not device.exists():
        return ""  # no block device below: a network or a pooled file system
    name = device.resolve().name
    if name.startswith(("ram", "zram")):
        return f"the RAM disk {name}"
    backing = device / "loop/backing_file"
    try:
        below = _type_of(Path(backing.read_text().strip())) if backing.exists() else ""
    except OSError:
        below = ""  # the file below is out of sight, or gone
    return below and f"a loop device over {below}"


def open_journal(path: Path, *, allow_memory: bool = False) -> int:
    """A file descriptor for a new journal (0600, must not exist). `keep_name` once it has its header.

    Raises:
        JournalError: the file lies in memory, where a sync means nothing, or the disk is nearly full.
        OSError: it exists already, or cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _require_disk(fd, path, allow_memory)
        disk = os.fstatvfs(fd)
        free = disk.f_bavail * disk.f_frsize
        if free < FREE_BYTES_MIN:
            raise JournalError(f"{path}: {free >> 20} MiB free < {FREE_BYTES_MIN >> 20} MiB")
    except BaseException:
        os.close(fd)
        path.unlink()
        raise
    return fd


def begun(path: Path) -> bool:
    """Whether anything stands in the journal at `path`: what was written before a whole header tells nothing.

    Raises:
        OSError: it cannot be read.
    """
    data = path.read_bytes() if path.exists() else b""
    return len(data) >= HEADER_BYTES and bool(data.strip(b"\0"))


def reopen_journal(path: Path, *, allow_memory: bool = False) -> Reopened:
    """An existing journal, ready to be gone on with behind its last good record.

    A disk that is full is no reason to refuse it: cancels must work.

    Raises:
        JournalError: no journal, corrupt, or in memory. OSError: it cannot be opened or written.
    """
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _require_disk(fd, path, allow_memory)
        data = path.read_bytes()
        found = scan(data)
        if found.tail == "corrupt":
            raise JournalError(f"{path} is corrupt: {found.detail}")
        set_aside = _set_aside(path, data[found.end :], found.detail)
        if found.end > found.on_disk:
            os.pwrite(fd, data[found.on_disk : found.end], found.on_disk)
        if len(data) > found.end:
            os.ftruncate(fd, found.end)
        os.fdatasync(fd)
        return Reopened(fd, scan(data[: found.end]), set_aside, failed_before(path))
    except BaseException:
        os.close(fd)
        raise


def _set_aside(path: Path, rest: bytes, detail: str) -> str:
    """Keep a torn tail in a file beside, on the disk before it is cut off. Zeros tell nothing."""
    if not rest.strip(b"\0"):
        return ""
    number = 1
    while (beside := path.with_name(f"{path.name}.torn-{number}")).exists():
        number += 1
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    told = f"{len(rest)} bytes behind the last good record ({detail}) "
    try:
        fd = os.open(beside, flags, 0o600)
        with os.fdopen(fd, "wb", buffering=0) as file:
            if file.write(rest) != len(rest):
                raise OSError("written in part")
            os.fsync(fd)
        sync_folders([path.parent])
    except OSError as error:  # a full disk must not keep cancels from working
        return told + f"are lost: {beside.name} cannot be written: {error.strerror or error}"
    return told + f"lie in {beside.name}"


def keep_name(path: Path) -> None:
    """Bring the journal's name, and those of the folders that it lies in, to the disk.

    Raises:
        OSError: that fails.
    """
    sync_folders(list(path.resolve().parents)[:DEPTH])


def sync_folders(folders: Iterable[Path]) -> None:
    """Bring the names in these folders to the disk; one that cannot be opened is left out."""
    for folder in folders:
        with contextlib.suppress(PermissionError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def failure_note(path: Path) -> Path:
    """Where it is written that the journal at `path` failed."""
    return path.with_name(f"{path.name}.failed")


def failed_before(path: Path) -> str:
    """Why the process before could not write the journal at `path` any more; "": it could."""
    note = failure_note(path)
    # A full disk takes the name of the note, and not what stands in it.
    return (note.read_text("utf-8", "replace") or WORDLESS) if note.exists() else ""


def note_failure(path: Path, text: str) -> None:
    """Leave word for the next process, as far as the disk still takes it."""
    with contextlib.suppress(OSError):
        failure_note(path).write_text(text, "utf-8")


def give_back_reserves(paths: Iterable[Path]) -> None:
    """Let go of what journals of dead processes still hold of the disk behind their ends."""
    for path in paths:
        with contextlib.suppress(OSError):
            seen = path.stat()
            if seen.st_blocks * 512 > seen.st_size + (1 << 20):
                os.truncate(path, seen.st_size)


def _require_disk(fd: int, path: Path, allow_memory: bool) -> None:
    if not allow_memory and (why := in_memory(fd)):
        raise JournalError(
            f"{path} does not outlive a power cut ({why}): put the state directory on a disk (XDG_STATE_HOME)"
        )
