"""Memory that is zeroed, and a process that shows its memory to nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kite_hft.engine.keys.private import Private

PROBE = """
import ctypes, resource, sys
from kite_hft.engine.keys.private import harden_process, show_memory
dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
said = [dumpable()]
harden_process()
said += [dumpable(), resource.getrlimit(resource.RLIMIT_CORE)]
show_memory()
print(said + [dumpable(), resource.getrlimit(resource.RLIMIT_CORE)])
"""
FLAGS = """
import mmap
from kite_hft.engine.keys.private import Private
held = Private(5000)
held.view[:4] = b"here"
import ctypes
at = ctypes.addressof(ctypes.c_char.from_buffer(held.view))
lines = open("/proc/self/smaps").read().splitlines()
for n, line in enumerate(lines):
    span = line.split()[0]
    if "-" in span and not span.endswith(":"):
        low, high = (int(x, 16) for x in span.split("-"))
        if low <= at < high:
            print(next(l for l in lines[n:] if l.startswith("VmFlags")))
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_hardened_process_leaves_no_core_and_shows_nothing() -> None:
    assert run(PROBE).strip() == "[1, 0, (0, 0), 1, (0, 0)]"


def test_the_buffer_stands_in_no_core_file_and_in_no_child() -> None:
    flags = run(FLAGS).split()
    assert {"dd", "dc"} <= set(flags)  # MADV_DONTDUMP, MADV_DONTFORK


def test_closing_zeroes() -> None:
    held = Private(40)
    held.view[:] = b"s" * 40
    inner = held._map
    seen = []

    class Watched:
        closed = False

        def __len__(self) -> int:
            return len(inner)

        def __setitem__(self, at: slice, value: bytes) -> None:
            inner[at] = value
            seen.append(bytes(inner[:40]))

        def close(self) -> None:
            self.closed = True

    held._map = Watched()
    held.close()
    held.close()
    assert seen == [bytes(40)]
    with pytest.raises(ValueError, match="released"):
        bytes(held.view)


def test_empty_is_no_special_case() -> None:
    with Private(0) as held:
        assert bytes(held.view) == b""
