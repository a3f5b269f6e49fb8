"""Layer 5, supervisor, cold: starting child processes and hearing from them.

A child is a fresh interpreter (never a fork: threads, event loops and OpenSSL do not survive
one) that gets its configuration as JSON over an inherited descriptor, so that no secret stands
in an argument list or an environment. It answers on a second descriptor with JSON lines:
`{"ready": ...}` once, `{"log": ...}` whenever, `{"part": ...}` at its end (its share of the report).
A child dies with its supervisor (PR_SET_PDEATHSIG) and leads its own session, so that Ctrl-C in
the terminal reaches the supervisor alone, which stops everything in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

PR_SET_PDEATHSIG: Final = 1
HURRY_S: Final = 2.0
WAIT_STEP_S: Final = 0.02
LOG_BYTES_MAX: Final = 4000  # below PIPE_BUF: written whole or not at all


@dataclass(slots=True)
class Child:
    """A running child process."""

    name: str
    process: subprocess.Popen[bytes]
    answers: IO[bytes]
    pending: bytes = b""
    ready: dict[str, Any] | None = None
    part: dict[str, Any] | None = None
    log: list[str] = field(default_factory=list)

    def listen(self) -> list[str]:
        """Take in what the child said since; returns new log lines. Never blocks."""
        while True:
            chunk = self.answers.read(65536)
            if not chunk:
                break
            self.pending += chunk
        *lines, self.pending = self.pending.split(b"\n")
        said = []
        for line in lines:
            message = json.loads(line)
            self.ready = message.get("ready", self.ready)
            self.part = message.get("part", self.part)
            if "log" in message:
                said.append(str(message["log"]))
        self.log += said
        return said

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Whether the child has ended within the time (at most HURRY_S once `hurry` says so).

        Its answers are taken in meanwhile: a child that must wait for us to read would never end.
        """
        started = time.monotonic()
        while self.process.poll() is None:
            self.listen()
            waited = time.monotonic() - started
            if waited > timeout_s or (hurry() and waited > HURRY_S):
                return False
            time.sleep(WAIT_STEP_S)
        self.listen()
        return True


def start_child(name: str, config: dict[str, Any], inherit: Sequence[int]) -> Child:
    """Start `python -m kite_hft.engine.child` with `config`; `inherit`: further descriptors."""
    config_out, config_in = os.pipe()
    answer_out, answer_in = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "kite_hft.engine.child", name, str(config_out), str(answer_in)],
            pass_fds=[config_out, answer_in, *inherit],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(config_out)
        os.close(answer_in)
    with os.fdopen(config_in, "wb") as pipe:
        pipe.write(json.dumps(config).encode())
    os.set_blocking(answer_out, False)
    return Child(name, process, os.fdopen(answer_out, "rb", buffering=0))


def read_config(fd: int) -> dict[str, Any]:
    """In the child: its configuration, read to the end of the pipe."""
    with os.fdopen(fd, "rb") as pipe:
        config: dict[str, Any] = json.loads(pipe.read())
    return config


class Answers:
    """In the child: the way back to the supervisor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, **message: Any) -> None:
        """One JSON line; a supervisor that is gone is no reason to fail."""
        line = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            while line:
                line = line[os.write(self._fd, line) :]

    def log(self, text: str) -> None:
        """One line for people. Dropped when nobody reads: trading never waits for its log."""
        _, writable, _ = select.select([], [self._fd], [], 0)
        if writable:
            self.send(log=text[: LOG_BYTES_MAX // 6])  # six bytes a character at most, escaped


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; leave at once if it already has."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core file with a token in it
    if os.getppid() != parent or parent == 1:
        sys.exit(1)
