"""Layer 5, supervisor, cold: starting child processes, telling them things and hearing from them.

A child is a fresh interpreter (never a fork: threads, event loops and OpenSSL do not survive
one). What it needs to know comes over an inherited pipe, so that no secret stands in an argument
list or an environment: first `{"prepare": ...}` (no secret in it: what to import and warm up), then
`{"become": config}`, both behind their length, and from there on JSON lines that steer it (engine/
control.py). A child that has prepared and waits is a spare: it becomes a process at once.

It answers on a second descriptor with JSON lines: `{"prepared": ...}`, `{"placed": ...}` (how it
waits and where it runs, engine/plan/placing.py) and `{"ready": ...}` once, `{"log": ...}` and
`{"alert": ...}` whenever, `{"part": ...}` at its end (its share of the report).
A child dies with its supervisor (PR_SET_PDEATHSIG), but for ORDERS, which cancels its entries first. It leads
its own session, so that Ctrl-C in the terminal reaches the supervisor alone, which stops everything in order.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.plan.placing import complaints, settle
from kite_hft.engine.processes.awake import Awake

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
HURRY_S: Final = 2.0
KILL_S: Final = 5.0
WAIT_STEP_S: Final = 0.02
LOG_BYTES_MAX: Final = 4000  # below PIPE_BUF: written whole or not at all
LOG_KEPT: Final = 200
UNSENT_BYTES_MAX: Final = 1 << 22
LENGTH: Final = struct.Struct("<Q")
LEAN: Final = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "OPENBLAS_NUM_THREADS": "1"}
"""Each child has models and numpy for itself: nothing that only other programs' plugins or a matrix
product would need. The user's own environment comes first."""


@dataclass(slots=True)
class Child:
    """A running child process. control: our end of its pipe, -1: closed."""

    name: str
    process: subprocess.Popen[bytes]
    answers: IO[bytes]
    control: int = -1
    pending: bytes = b""
    unsent: bytearray = field(default_factory=bytearray)
    prepared: bool = False
    ready: dict[str, Any] | None = None
    part: dict[str, Any] | None = None
    placed: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def listen(self) -> list[str]:
        """Take in what the child said since; returns new log lines. Never blocks.

        Alerts gather in `alerts`; whoever handles them empties the list.
        """
        self.flush()
        while not self.answers.closed:
            chunk = self.answers.read(65536)
            if not chunk:
                break
            self.pending += chunk
        *lines, self.pending = self.pending.split(b"\n")
        said = []
        for line in lines:
            message = json.loads(line)
            self.prepared = self.prepared or "prepared" in message
            self.ready = message.get("ready", self.ready)
            self.part = message.get("part", self.part)
            self.placed = message.get("placed", self.placed)
            if "alert" in message:
                self.alerts.append(message["alert"])
            if "log" in message:
                said.append(str(message["log"]))
        self.log = [*self.log, *said][-LOG_KEPT:]
        return said

    def become(self, config: dict[str, Any]) -> None:
        """Let a prepared child (or one that still prepares) be the process of this configuration."""
        self.name = str(config["name"])
        self._put({"become": config}, framed=True)

    def tell(self, message: dict[str, Any]) -> bool:
        """Say something to the process; False: it has not listened for too long, nothing was said."""
        if self.control < 0 or len(self.unsent) > UNSENT_BYTES_MAX:
            return False
        self._put(message)
        return True

    def _put(self, message: dict[str, Any], *, framed: bool = False) -> None:
        text = json.dumps(message).encode()
        self.unsent += LENGTH.pack(len(text)) + text if framed else text + b"\n"
        self.flush()

    def flush(self) -> None:
        """Hand on what the pipe could not take earlier. Never blocks."""
        try:
            while self.unsent and self.control >= 0:
                del self.unsent[: os.write(self.control, self.unsent)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.unsent.clear()

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(
        self,
        timeout_s: float,
        hurry: Callable[[], bool] = lambda: False,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """Whether the child has ended within the time (at most HURRY_S once `hurry` says so). We have to be
        awake ourselves for that to pass: where the whole machine stood still it had none either.

        Its answers are taken in meanwhile: a child that must wait for us to read would never end.
        """
        awake = Awake(time.monotonic_ns)
        while self.process.poll() is None:
            self.listen()
            meanwhile()
            waited = awake.look()
            if waited > timeout_s or (hurry() and waited > HURRY_S):
                return False
            time.sleep(WAIT_STEP_S)
        self.listen()
        return True

    def kill(self) -> int | None:
        """End it now, whatever it does; returns its exit code. It leaves no zombie.

        None: it has not ended KILL_S later. The kernel ends nothing that waits in it for a disk or a file
        system; that ends when those answer.
        """
        if self.process.poll() is None:
            self.process.kill()
        awake = Awake(time.monotonic_ns)
        while self.process.poll() is None:
            if awake.look() > KILL_S:
                return None
            time.sleep(WAIT_STEP_S)
        return self.process.returncode

    def release(self) -> None:
        """Close our ends of its pipes; harmless when repeated."""
        self.answers.close()
        if self.control >= 0:
            os.close(self.control)
            self.control = -1


def start_child(name: str, prepare: dict[str, Any], inherit: Sequence[int]) -> Child:
    """Start `python -m kite_hft.engine.processes.child` and let it prepare; `inherit`: further descriptors.

    prepare: see engine/processes/warm.py. The child waits for `become` then.
    """
    control_out, control_in = os.pipe()
    answer_out, answer_in = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "kite_hft.engine.processes.child", name, str(control_out), str(answer_in)],
            pass_fds=[control_out, answer_in, *inherit],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**LEAN, **os.environ},
        )
    except OSError:
        os.close(control_in)
        os.close(answer_out)
        raise
    finally:
        os.close(control_out)
        os.close(answer_in)
    os.set_blocking(answer_out, False)
    os.set_blocking(control_in, False)
    child = Child(name, process, os.fdopen(answer_out, "rb", buffering=0), control_in)
    child._put({"prepare": prepare}, framed=True)
    return child


def read_message(fd: int) -> dict[str, Any] | None:
    """In the child: the next message that stands behind its length; None: the pipe was closed.

    Reads no byte too many: lines that follow are for the ControlPipe.
    """
    head = _read_exactly(fd, LENGTH.size)
    if head is None:
        return None
    body = _read_exactly(fd, LENGTH.unpack(head)[0])
    if body is None:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def _read_exactly(fd: int, n: int) -> bytes | None:
    found = bytearray()
    while len(found) < n:
        chunk = os.read(fd, n - len(found))
        if not chunk:
            return None
        found += chunk
    return bytes(found)


class Answers:
    """In the child: the way back to the supervisor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """To see whether there is room for a line."""
        return self._fd

    def send(self, **message: Any) -> bool:
        """One JSON line; a supervisor that is gone is no reason to fail. False: it is gone."""
        line = json.dumps(message).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except BrokenPipeError:
            return False
        return True

    def log(self, text: str) -> None:
        """One line for people. Dropped when nobody reads: trading never waits for its log."""
        if self._heard():
            self.send(log=text[: LOG_BYTES_MAX // 6])  # six bytes a character at most, escaped

    def placed(self, name: str, place: Mapping[str, Any]) -> None:
        """Put the calling thread where its place in the plan is, and tell what it got."""
        rows = settle(place)
        for line in complaints(name, rows):
            self.log(line)
        self.send(placed=rows)

    def alert(self, code: str, key: str, text: str, severity: int) -> None:
        """One alert: what (`code`), of which instrument, process or order (`key`), in words.

        Dropped, as a log line is, when nobody reads; whatever it tells of stands in counters too.
        """
        if self._heard():
            self.send(alert={"code": code, "key": key, "text": text[: LOG_BYTES_MAX // 8],
                             "severity": int(severity)})  # fmt: skip

    def _heard(self) -> bool:
        _, writable, _ = select.select([], [self._fd], [], 0)
        return bool(writable)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; leave at once if it already has. From here on
    its memory is nobody else's."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    harden_process()  # before the configuration comes, with its token
    if os.getppid() != parent or parent == 1:
        sys.exit(1)


def outlive_parent() -> None:
    """Take back `die_with_parent`: this process ends by itself, in order, when its supervisor is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, 0)


def show_as(name: str) -> None:
    """What tools show as the name of this process (at most 15 bytes)."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15])
