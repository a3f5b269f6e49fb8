"""A process that a kill does not end for its parent, as one does that waits in the kernel for a disk."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

HELD = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
libc.prctl(0x59616D61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)  # anybody may trace this process
me, (out, into) = os.getpid(), os.pipe()
if (tracer := os.fork()) == 0:
    os.write(into, b"0" if libc.ptrace(0x4206, me, 0, 0) == 0 else b"1")  # PTRACE_SEIZE
    time.sleep(60)
    os._exit(0)
print(tracer if os.read(out, 1) == b"0" else 0, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def held_process() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else traces it: its parent hears of its end only when that one has let go, at the end of this.

    A test on a machine where nobody may be traced is skipped.
    """
    process = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE)
    assert process.stdout is not None
    tracer = int(process.stdout.readline())
    process.stdout.close()
    if not tracer:
        process.kill()
        process.wait()
        pytest.skip("nobody may be traced here")
    try:
        yield process
    finally:
        os.kill(tracer, signal.SIGKILL)
        process.kill()
        process.wait(5)
