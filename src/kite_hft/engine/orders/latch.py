"""Layer 5, orders process, supervisor and `kite-hft`, hot where it looks: the kill latch of an account.

`<state>/kite_hft/<broker>-<account>/KILL`: while it exists, the account is killed. Nothing opens, orders
that open are cancelled, and that outlives every process, run and day until `kite-hft resume`. Whoever
may write into the folder may kill: `kite-hft kill`, ORDERS itself (a limit, SIGUSR1), the supervisor, a
person with `touch`. The file says why (JSON: reason, by, at_ns, flatten); one that says nothing, or
something that cannot be read, counts as well. Nobody needs to listen: ORDERS looks before each call
that leaves, and inotify wakes it when it sleeps.

Each kill and each resume is a line of `kills.jsonl` beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from kite_hft._latch import Look

NAME: Final = "KILL"
HISTORY: Final = "kills.jsonl"
REASON_CHARS_MAX: Final = 200
READ_BYTES: Final = 4096
LOOKS_MAX: Final = 8
_numbers: Final = itertools.count()
BY_HAND: Final = f"the file {NAME} was made by hand"

_IN_MOVED_TO: Final = 0x80
_IN_MOVED_FROM: Final = 0x40
_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_ONLYDIR: Final = 0x01000000


@dataclass(frozen=True, slots=True)
class Latched:
    """What the file says. at_ns: CLOCK_REALTIME; flatten: positions are to be closed as well."""

    reason: str
    by: str = ""
    at_ns: int = 0
    flatten: bool = False


Job = Callable[[], None]


def at_once(job: Job) -> None:
    """Do it now."""
    job()


def set_latch(
    folder: Path,
    reason: str,
    by: str,
    at_ns: int,
    *,
    flatten: bool = False,
    later: Callable[[Job], None] = at_once,
) -> Latched:
    """Kill the account whose folder this is; returns what stands now. Safe to repeat, and in a handler.

    The first reason stands; a later kill can only add `flatten`. The file is there, whole, at one instant,
    and counts from then on; on a full disk it may lack the words, `flatten` among them. It is on the disk
    when this returns; for who must not wait for a disk when `later` has done what it is given. Whoever sets
    it in the same moment, a signal handler of this process or another one, takes nothing away: only one
    creates the file, and who comes later looks again.

    Raises:
        OSError: not even an empty file could be made. The account is NOT killed.
    """
    said = " ".join(reason.split())[:REASON_CHARS_MAX] or "no reason was given"
    try:
        for last in (*[False] * (LOOKS_MAX - 1), True):
            new, standing = Latched(said, by, at_ns, flatten), read_latch(folder)
            if standing is not None:
                new = replace(standing, flatten=standing.flatten or flatten)
                if new == standing:
                    return standing
            if _put(folder, new, over=standing is not None or last):
                break
    except OSError:  # a full disk has no room for the words: the empty file says enough
        os.close(os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        stands = read_latch(folder) or new
    else:
        stands = new
    later(partial(_keep, folder, {"do": "kill", **asdict(new)}))
    return stands


def _keep(folder: Path, line: dict[str, Any]) -> None:
    """What was done, on the disk: the file, its name, a line of the history."""
    sync(folder, NAME)
    note(folder, line)


def sync(folder: Path, name: str) -> None:
    """A file, if it is there, and its name on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    _sync(folder)


def _put(folder: Path, new: Latched, *, over: bool) -> bool:
    """The file, whole, at one instant; False: there is one by now, and not `over`."""
    fresh = folder / f".{NAME}-{os.getpid()}-{next(_numbers)}"  # no two calls share one
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(fresh, flags, 0o600)
    try:
        os.write(fd, json.dumps(asdict(new)).encode() + b"\n")
        if over or not _linked(fresh, folder / NAME):
            if not over and read_latch(folder) is not None:
                return False
            os.replace(fresh, folder / NAME)  # from here on nothing opens
    finally:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        os.close(fd)
    return True


def _linked(fresh: Path, path: Path) -> bool:
    """The file has its name as well; False: something has that name, or the disk knows no links."""
    try:
        os.link(fresh, path)
    except OSError:
        return False
    return True


def read_latch(folder: Path) -> Latched | None:
    """What is latched; None only when there is no such file."""
    path = folder / NAME
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Latched(f"{path} cannot be looked at: {error.strerror}")
    try:
        said = json.loads(path.read_bytes()[:READ_BYTES])
        reason = str(said["reason"]).strip() or BY_HAND
        return Latched(reason, str(said["by"]), int(said["at_ns"]), bool(said["flatten"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Latched(BY_HAND, "", found.st_mtime_ns)


def clear_latch(
    folder: Path, by: str, at_ns: int, *, later: Callable[[Job], None] = at_once
) -> Latched | None:
    """End the kill; returns what was latched. later: as `set_latch`.

    Raises:
        OSError: the file cannot be removed; the account stays killed.
    """
    was = read_latch(folder)
    if was is not None:
        (folder / NAME).unlink(missing_ok=True)
        later(partial(_keep, folder, {"do": "resume", "by": by, "at_ns": at_ns, "was": asdict(was)}))
    return was


def note(folder: Path, line: dict[str, Any]) -> None:
    """One line of the account's history of kills; a disk that takes none changes nothing else."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        fd = os.open(folder / HISTORY, flags, 0o600)
        try:
            os.write(fd, json.dumps(line).encode() + b"\n")
        finally:
            os.close(fd)


def _sync(folder: Path) -> None:
    """The directory entry on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class LatchWatch:
    """The latch as ORDERS sees it: a change wakes `fileno()`.

    killed(): why the account is killed; empty only when the file is not there, and nothing stands in for it.
    It costs one lstat, half a us.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, str(folder / NAME)
        self.killed = Look(os.fsencode(self._path), self._reason, self._gone)
        self._seen: tuple[int, int, int] | None = None
        self._latched = Latched("")
        self.unwritten: Latched | None = None
        self._fd = _watch(folder)

    def fileno(self) -> int:
        """An inotify descriptor for epoll; -1: there is none, and the latch is found at the next beat."""
        return self._fd

    def stand_in(self, kill: Latched | None) -> None:
        """A kill that no file says, or not all of it: it counts while there is no file, and its `flatten`
        beside one. None: the file alone counts. Safe in a signal's handler.
        """
        self.unwritten = kill
        self.killed.absent = kill.reason or BY_HAND if kill is not None else ""

    def _gone(self) -> None:
        """Somebody has taken the file away: that ends the kill, with what stood in for a part of it."""
        self._seen = None
        self.stand_in(None)

    def _reason(self) -> str:
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            self._seen = None
            return ""
        except OSError as error:
            return f"{self._path} cannot be looked at: {error.strerror}"
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._latched = read_latch(self._folder) or Latched(BY_HAND)
            self._seen = seen
        return self._latched.reason or BY_HAND

    def flatten(self) -> bool:
        """Whether positions are to be closed as well."""
        if not self.killed():
            return False
        more = self.unwritten is not None and self.unwritten.flatten
        return more or (self._seen is not None and self._latched.flatten)

    @property
    def by(self) -> str:
        """Who latched it, as the file says, or whoever stands in for it."""
        if self._seen is not None:
            return self._latched.by
        return self.unwritten.by if self.unwritten is not None else ""

    def drain(self) -> None:
        """Take away what woke us: the file itself is looked at by `killed`."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, READ_BYTES):
                pass

    def close(self) -> None:
        """Harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _watch(folder: Path) -> int:
    """An inotify descriptor on the folder; -1 where the system gives none."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    mask = _IN_CREATE | _IN_MOVED_TO | _IN_DELETE | _IN_MOVED_FROM | _IN_ONLYDIR
    if fd >= 0 and libc.inotify_add_watch(fd, os.fsencode(folder), mask) < 0:
        os.close(fd)
        return -1
    return fd
