"""Layer 5, supervisor, cold: the watchdog's start, its words, and its end.

It is no member of the family: it must survive the supervisor, and ORDERS. What it must know comes over
a pipe as one JSON line; with a message `end` it goes, without one it believes that the engine is gone.
It says something with every look at the books. One that says nothing is killed and replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.engine.processes.control import ControlError, Lines
from kite_hft.engine.processes.restarts import Breaker
from kite_hft.units import NS_PER_S

RESTARTS_MAX: Final = 3
RESTARTS_S: Final = 600.0
END_S: Final = 2.0
START_S: Final = 90.0
SILENT_S: Final = 10.0
"""A watchdog that has not said a word for so long hangs: one that starts, one that looks twice a second."""
READ_BYTES: Final = 65536


@dataclass(slots=True)
class Watching:
    """The watchdog as the supervisor sees it. config: all that it gets to know (plan.py)."""

    config: Mapping[str, Any]
    say: Callable[[str], None]
    naked_paise: int = 0
    held: int = 0
    sees: bool = False  # it has read positions and orders of the account
    restarts: int = 0
    since_ns: int = 0
    ready: bool = False
    down: str = ""  # why it is not started again
    left: subprocess.Popen[bytes] | None = None  # one that outlives us
    _heard_ns: int = 0  # its last word, or since when we can hear one
    _looked_ns: int = 0
    _killed: list[subprocess.Popen[bytes]] = field(default_factory=list)  # the kernel may not have ended them
    _process: subprocess.Popen[bytes] | None = None
    _control: int = -1
    _answers: int = -1
    _unsent: bytearray = field(default_factory=bytearray)
    _lines: Lines = field(default_factory=Lines)
    _breaker: Breaker = field(default_factory=lambda: Breaker(RESTARTS_MAX, RESTARTS_S))

    def start(self, now_ns: int) -> None:
        """Start it; a machine that gives no process is told by the next `listen`."""
        control_out, self._control = os.pipe()
        self._answers, answer_in = os.pipe()
        self.since_ns, self.ready, self.sees, self._lines = now_ns, False, False, Lines()
        self._heard_ns = self._looked_ns = now_ns
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kite_hft.engine.watchdog.process", str(control_out), str(answer_in)],
                pass_fds=[control_out, answer_in],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._process, self.down = None, f"cannot be started: {error.strerror}"
        finally:
            os.close(control_out)
            os.close(answer_in)
        os.set_blocking(self._control, False)
        os.set_blocking(self._answers, False)
        self._unsent = bytearray(json.dumps(dict(self.config)).encode() + b"\n")
        self._flush()

    def listen(self, now_ns: int) -> tuple[list[dict[str, Any]], bool]:
        """(alerts since, whether fresh books are wanted). A watchdog that died or hangs is started again,
        three times in ten minutes at most."""
        alerts: list[dict[str, Any]] = []
        wanted = False
        messages = self._heard()
        if messages or now_ns - self._looked_ns > SILENT_S / 2 * NS_PER_S:  # else we ourselves stood still
            self._heard_ns = now_ns
        self._looked_ns = now_ns
        for message in messages:
            self.ready = self.ready or "ready" in message
            self.naked_paise = int(message.get("naked_paise", self.naked_paise))
            self.held = int(message.get("held", self.held))
            self.sees = bool(message.get("sees", self.sees))
            wanted = wanted or bool(message.get("wants_books"))
            if "log" in message:
                self.say(str(message["log"]))
            if "alert" in message:
                alerts.append(message["alert"])
        self._killed = [process for process in self._killed if process.poll() is None]
        if self._process is not None and self._process.poll() is not None:
            alerts += self._replace(f"ended (exit code {self._process.returncode})", now_ns)
        elif self._process is not None and self._silent(now_ns):
            self._process.kill()
            self._killed.append(self._process)
            alerts += self._replace("gave no sign of life and was killed", now_ns)
        elif self._process is None and self.down:
            alerts.append(_gone(self.down))
        return alerts, wanted

    def _heard(self) -> list[dict[str, Any]]:
        self._flush()
        found: list[dict[str, Any]] = []
        if self._answers < 0:
            return found
        with contextlib.suppress(BlockingIOError, ControlError):
            while chunk := os.read(self._answers, READ_BYTES):
                found += self._lines.add(chunk)
        return found

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._unsent and self._control >= 0:
                del self._unsent[: os.write(self._control, self._unsent)]

    def _silent(self, now_ns: int) -> bool:
        return now_ns - self._heard_ns > (SILENT_S if self.ready else START_S) * NS_PER_S

    def _replace(self, how: str, now_ns: int) -> list[dict[str, Any]]:
        self._release()
        if not self._breaker.allow("watchdog", now_ns):
            self.down = f"{how} more than {RESTARTS_MAX} times in {RESTARTS_S / 60:g} min"
            return [_gone(self.down)]
        self.restarts += 1
        self.say(f"watchdog {how}; it is started again")
        self.start(now_ns)
        return []

    def end(self, *, orderly: bool) -> None:
        """Let it go. Not orderly: it finds out by itself that the engine is gone, and tells what is open."""
        process = self._process
        if process is None:
            return
        if orderly and self._control >= 0:
            self._unsent += b'{"do": "end"}\n'
            self._flush()
        self._release()
        if not orderly:
            self.left = process
            return
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:  # it waits in the kernel: the run ends without it
                self.left = process
                self.say("the watchdog does not end although it is killed")

    def _release(self) -> None:
        for fd in (self._control, self._answers):
            if fd >= 0:
                os.close(fd)
        self._control = self._answers = -1
        self._unsent.clear()
        self._process = None

    @property
    def pid(self) -> int:
        """0: it does not run."""
        return self._process.pid if self._process is not None else 0

    def filenos(self) -> list[int]:
        """What to wait on for reading."""
        return [self._answers] if self._answers >= 0 else []

    def row(self) -> dict[str, Any]:
        """As one of the processes, for `status`."""
        state = "ended" if not self.pid else "running" if self.ready else "starting"
        return {"process": "watchdog", "stages": ["watchdog"], "state": state, "pid": self.pid,
                "since_ns": self.since_ns, "restarts": self.restarts}  # fmt: skip


def _gone(why: str) -> dict[str, Any]:
    return {"code": "WATCHDOG_GONE", "key": "", "text": f"the watchdog {why}"}
