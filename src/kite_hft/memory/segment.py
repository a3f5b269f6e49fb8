"""Layer 1, every process, cold: shared-memory files, made and attached with every check.

A segment is a file in a directory of our own (0700, normally on tmpfs): page 0 HEADER, written
last and never changed; page 1 CONTROL; then the payload. Sizes are reserved with posix_fallocate
before anything is mapped, because a page that cannot be backed kills the process with SIGBUS.

The one writer of a segment holds flock on its file; the kernel lets go of it when the process
dies, however it dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from kite_hft import builds, layout
from kite_hft.layout import SegmentKind, SegmentState
from kite_hft.memory.header import (
    PAYLOAD_OFFSET,
    QUEUES,
    RECORD_SIZES,
    BadCapacity,
    BadChecksum,
    BadControl,
    BadGeometry,
    BadMagic,
    BuildMismatch,
    Exists,
    LayoutMismatch,
    Missing,
    NoRoom,
    OtherBoot,
    SegmentError,
    Truncated,
    WriterAlive,
    WrongKind,
    WrongOwner,
    WrongRecordSize,
    WrongVersion,
    check_control,
    check_header,
    check_own_build,
    payload_bytes,
    seal_header,
    segment_bytes,
)

__all__ = [
    "BadCapacity",
    "BadChecksum",
    "BadControl",
    "BadGeometry",
    "BadMagic",
    "BuildMismatch",
    "Exists",
    "LayoutMismatch",
    "Missing",
    "NoRoom",
    "OtherBoot",
    "Segment",
    "SegmentError",
    "Truncated",
    "WriterAlive",
    "WrongKind",
    "WrongOwner",
    "WrongRecordSize",
    "WrongVersion",
    "attach",
    "boot_id",
    "create",
    "file_name",
    "make_directory",
    "payload_bytes",
    "require_room",
    "segment_bytes",
    "start_ticks",
    "unlink",
]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
_CLAIM_TRIES: Final = 50
_CLAIM_PAUSE_S: Final = 0.001


def boot_id() -> bytes:
    """The kernel's name for this boot: monotonic times compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()


def start_ticks(pid: int) -> int:
    """When process `pid` started, in clock ticks since boot (field 22 of /proc/<pid>/stat).

    (pid, start ticks) names a process for good; a pid alone is re-used. 0: no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # The command name, in parentheses, may hold anything: count from behind it.
    return int(text.rpartition(b")")[2].split()[19])


def file_name(name: str, generation: int) -> str:
    """File of one generation of a segment.

    Raises:
        ValueError: a name that is no plain lower-case word.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"segment name {name!r}: use lower-case letters, digits, - and _ (at most 48)")
    return f"{name}.g{generation}.seg"


def _check_directory(path: Path) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise Missing(f"{path}: no such directory; make_directory creates it") from None
    if not stat.S_ISDIR(found.st_mode):
        raise WrongOwner(f"{path}: not a directory (symlinks are refused); remove it")
    if found.st_uid != os.geteuid():
        raise WrongOwner(f"{path}: belongs to user {found.st_uid}, not {os.geteuid()}; choose another")
    if found.st_mode & 0o7077:
        raise WrongOwner(f"{path}: mode {found.st_mode & 0o7777:o} lets others in; chmod 700 it")


def make_directory(parent: Path, name: str) -> Path:
    """Create `parent/name` with mode 0700, or accept it when it is ours and just as closed.

    Raises:
        Missing: no `parent`.
        WrongOwner: the place is taken by a symlink, a file, or a directory that others may enter.
        ValueError: `name` is no plain lower-case word.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"directory name {name!r}: use lower-case letters, digits, - and _ (at most 48)")
    path = parent / name
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise Missing(f"{parent}: no such directory; create it or set another") from None
    _check_directory(path)
    return path


def require_room(
    directory: Path, total_bytes: int, *, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
) -> None:
    """Refuse before anything starts when `directory`'s file system cannot hold `total_bytes`.

    Raises:
        NoRoom: names what is needed, what is free and what to do.
    """
    found = statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < total_bytes:
        raise NoRoom(_no_room(directory, total_bytes, free))


def _no_room(directory: Path, needed: int, free: int) -> str:
    return (
        f"shared memory needs {needed:,} bytes, {directory} has {free:,} free: make its file system larger "
        "(mount -o remount,size=...; docker --shm-size) or lower performance.ring_buffer_size"
    )


def create(
    directory: Path,
    name: str,
    kind: SegmentKind,
    capacity: int,
    *,
    generation: int = 1,
    first_seq: int = 0,
    counters: int = 0,
    histograms: int = 0,
    now_mono_ns: int,
    now_real_ns: int,
) -> Path:
    """Create one segment file, all of it backed by memory, header written last.

    `capacity` counts records (rings and queues: a power of two) or rows; COUNTERS takes `counters`
    and `histograms` instead. The numbering of records starts at `first_seq`.

    Raises:
        BadCapacity, NoRoom, Exists, Missing, WrongOwner: see the classes. Nothing is left behind.
    """
    check_own_build()
    total = segment_bytes(kind, capacity, counters, histograms)
    _check_directory(directory)
    path = directory / file_name(name, generation)
    page = np.zeros(1, layout.HEADER)
    page["magic"] = layout.MAGIC
    page["format_version"] = layout.FORMAT_VERSION
    page["kind"] = kind
    page["layout_fingerprint"] = layout.LAYOUT_FINGERPRINT
    page["build_fingerprint"] = builds.fingerprint()
    page["record_size"] = RECORD_SIZES[kind]
    page["page_size"] = layout.PAGE
    page["capacity"] = counters if kind is SegmentKind.COUNTERS else capacity
    page["total_size"] = total
    page["payload_offset"] = PAYLOAD_OFFSET
    page["generation"] = generation
    page["first_seq"] = first_seq
    page["created_mono_ns"] = now_mono_ns
    page["created_real_ns"] = now_real_ns
    page["creator_pid"] = os.getpid()
    page["creator_start_ticks"] = start_ticks(os.getpid())
    page["histograms"] = histograms
    page["boot_id"] = boot_id()
    page["name"] = name
    control = np.zeros(1, layout.CONTROL)
    control["head"] = control["intent"] = control["tail"] = first_seq
    control["heartbeat_ns"] = now_mono_ns
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Exists(f"{path}: there already; stop the engine that uses it, or remove it") from None
    try:
        os.fchmod(fd, 0o600)
        os.posix_fallocate(fd, 0, total)
        os.pwrite(fd, control.tobytes(), layout.PAGE)
        os.pwrite(fd, seal_header(page), 0)
    except OSError as error:
        path.unlink()
        if error.errno == errno.EFBIG:
            raise NoRoom(
                f"{path.name} needs a file of {total:,} bytes: raise the limit (ulimit -f)"
            ) from None
        if error.errno != errno.ENOSPC:
            raise
        free = os.statvfs(directory)
        raise NoRoom(_no_room(directory, total, free.f_bavail * free.f_frsize)) from None
    finally:
        os.close(fd)
    return path


class Segment:
    """An attached segment. `view`: memoryview of the whole file, to hand to the ring, queue, table
    and counter classes; `header`: its HEADER record; `path`.

    Closing releases the writer's claim; the mapping itself goes when the last object that was
    given `view` goes.
    """

    def __init__(self, path: Path, fd: int, header: np.void, mapping: mmap.mmap, claimed: bool) -> None:
        self.path = path
        self.header = header
        self.view = memoryview(mapping)
        self._mapping = mapping
        self._fd = fd
        self.claimed = claimed

    def control(self) -> np.void:
        """A copy of the control page as it is now."""
        record: np.void = np.frombuffer(self.view[layout.PAGE : PAYLOAD_OFFSET].tobytes(), layout.CONTROL)[0]
        return record

    def fileno(self) -> int:
        """Descriptor of the file, while attached."""
        return self._fd

    def mark_closed(self, final_seq: int) -> None:
        """End of this generation: no record from number `final_seq` on will come. Writable only."""
        self._set(final_seq=final_seq)
        self._set(state=SegmentState.CLOSED)

    def heartbeat(self, now_mono_ns: int) -> None:
        """Sign of life of the writer, due every 100 ms. The segment must be writable."""
        self._set(heartbeat_ns=now_mono_ns)

    def set_parked(self, count: int) -> None:
        """How many consumers sleep on this segment. Writable only."""
        self._set(parked=count)

    def _set(self, **words: int) -> None:
        page = np.frombuffer(self.view[layout.PAGE : PAYLOAD_OFFSET], layout.CONTROL)
        for name, value in words.items():
            page[name] = value

    def close(self) -> None:
        """Give the claim back and let go of the file; harmless when repeated."""
        if self._fd < 0:
            return
        if self.claimed:
            # mmap keeps a duplicate of the descriptor, so closing ours would not be enough.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)
        self._fd = -1
        # BufferError: a ring or table object still uses the mapping and keeps it alive.
        with contextlib.suppress(BufferError):
            self.view.release()
            self._mapping.close()

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path, writable: bool) -> int:
    try:
        # a pipe in its place would hold us without O_NONBLOCK; a file does not mind
        how = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | how)
    except FileNotFoundError:
        raise Missing(f"{path}: no such segment; is the engine running?") from None
    except PermissionError:
        raise WrongOwner(f"{path}: this user may not open it; run as the engine's user") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise WrongOwner(f"{path}: a symlink, which is refused; remove it") from None
        raise WrongOwner(f"{path}: no plain file ({error.strerror}); remove it") from None


def _check_file(path: Path, fd: int) -> int:
    """Size of the file behind `fd`, after owner, mode and backing were checked."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise WrongOwner(f"{path}: not a plain file with one name; remove it")
    if found.st_uid != os.geteuid() or found.st_mode & 0o7077:
        raise WrongOwner(
            f"{path}: owner {found.st_uid}, mode {found.st_mode & 0o7777:o}; "
            f"wanted owner {os.geteuid()}, mode 600"
        )
    if found.st_size < PAYLOAD_OFFSET:
        raise Truncated(f"{path}: {found.st_size} bytes, less than the two leading pages; create it again")
    if found.st_blocks * 512 < found.st_size:
        raise Truncated(f"{path}: sparse, reading it could kill the process; create it again")
    return found.st_size


def _claim(path: Path, fd: int) -> None:
    """Take the writer's lock; a few tries, because a liveness look holds it for a moment."""
    for _ in range(_CLAIM_TRIES):
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_CLAIM_PAUSE_S)
    control = np.frombuffer(os.pread(fd, layout.PAGE, layout.PAGE), layout.CONTROL)[0]
    raise WriterAlive(
        f"{path}: process {control['writer_pid']} writes it and is alive; stop it first "
        "(whoever only reads or parks attaches with claim=False)"
    )


def attach(path: Path, kind: SegmentKind, *, writable: bool, claim: bool | None = None) -> Segment:
    """Map a segment after checking all of it.

    `claim` makes this process the segment's one writer (flock, pid and start time in the control
    page). By default whoever attaches a ring, table or counters writable claims it; attach with
    `writable=True, claim=False` only to park on it. A queue is writable for both its ends: its
    producer passes `claim=True`.

    Raises:
        SegmentError: the named subclasses of kite_hft.memory.header; the file stays untouched.
    """
    check_own_build()
    if claim is None:
        claim = writable and kind not in QUEUES
    _check_directory(path.parent)
    fd = _open(path, writable)
    try:
        size = _check_file(path, fd)
        header = check_header(os.pread(fd, layout.PAGE, 0), kind, size, boot_id())
        if claim:
            _claim(path, fd)
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        mapping = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=protection)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, SegmentError) and str(path) not in str(error):
            raise type(error)(f"{path}: {error}") from None
        raise
    segment = Segment(path, fd, header, mapping, claim)
    try:
        check_control(segment.control, lambda number: _stored_seq(segment, number), header, kind)
        if claim:
            # A closed generation stays closed: its writer classes refuse it by name.
            state = int(segment.control()["state"])
            opened = SegmentState.OPEN if state == SegmentState.CREATED else state
            pid = os.getpid()
            segment._set(writer_pid=pid, writer_start_ticks=start_ticks(pid), state=opened)
    except BaseException as error:
        segment.close()
        if isinstance(error, SegmentError):
            raise type(error)(f"{path}: {error}") from None
        raise
    return segment


def _stored_seq(segment: Segment, number: int) -> int:
    slot = number & (int(segment.header["capacity"]) - 1)
    at = PAYLOAD_OFFSET + slot * int(segment.header["record_size"])
    words: np.ndarray[Any, np.dtype[np.uint64]] = np.frombuffer(segment.view[at : at + 8], "<u8")
    return int(words[0])


def unlink(path: Path) -> None:
    """Remove a segment's name; whoever has it mapped keeps it. Harmless when it is gone already."""
    path.unlink(missing_ok=True)
