"""Layer 5, keys, cold: memory of our own for what is secret, and a process that shows its memory to nobody.

Python copies strings and bytes as it likes and never wipes them (docs/security.md): keys and plaintexts
stay in such a buffer as long as they can.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import resource
from types import TracebackType
from typing import Final

PR_SET_DUMPABLE: Final = 4


def harden_process() -> None:
    """Make this process's memory unreadable to others: no core file, no debugger, no /proc/<pid>/mem.

    Core files go by two ways: the limit stops files, PR_SET_DUMPABLE also what is piped to a collector
    (core(5): a pipe ignores the limit). It also takes /proc/<pid>/{environ,fd,maps,mem} away from other
    processes of the same user (prctl(2), proc(5)); root still reads everything. Comes before any secret;
    a new program (exec) begins without it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _set_dumpable(0)


def show_memory() -> None:
    """Let meters and debuggers of the same user look again: this process gets to know no real secret. There
    are still no core files."""
    _set_dumpable(1)


def _set_dumpable(value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, value, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, "prctl(PR_SET_DUMPABLE) failed: this process cannot protect its memory")


class Private:
    """A buffer that stands in no core file and is zeroed when it is closed. view: all of it, writable."""

    __slots__ = ("_map", "view")

    def __init__(self, n: int) -> None:
        self._map = mmap.mmap(-1, max(n, 1))
        with contextlib.suppress(OSError):  # a kernel without the advice has the other two protections
            self._map.madvise(mmap.MADV_DONTDUMP)
            self._map.madvise(mmap.MADV_DONTFORK)
        self.view = memoryview(self._map)[:n]

    def close(self) -> None:
        """Zero and give back; harmless when repeated."""
        if self._map.closed:
            return
        self._map[:] = bytes(len(self._map))
        self.view.release()
        self._map.close()

    def __enter__(self) -> Private:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
