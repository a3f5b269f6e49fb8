"""Layer 5, supervisor and watchdog, cold: the command that gets each alert on its standard input.

It runs in a process group of its own, at most HOOKS_AT_ONCE at a time and once for one alert, and is killed
with its children when its time is over. What it prints goes to alert_hook.log of the run folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.sinks.sink import Outcome, Row, Tally
from kite_hft.engine.alerts.sinks.waiting import Waiting
from kite_hft.units import NS_PER_S

HOOK_LOG: Final = "alert_hook.log"
HOOKS_AT_ONCE: Final = 4
KILL_S: Final = 0.2
STARTER: Final = ("/bin/sh", "-c", 'exec "$@"', "alert-hook")
"""Who starts a process waits until its program is read. That of a person may lie on a share that hangs: the
shell of this machine waits for it, and not the supervisor."""
NO_COMMAND: Final = 126
NO_PROGRAM: Final = 127
"""Exit codes of a shell that could not start what it was given (POSIX, 2.8.2)."""


@dataclass(slots=True)
class Running:
    """One run of the command."""

    process: subprocess.Popen[bytes]
    row: Row
    since_ns: int


class HookSink:
    """Starts the command for each row."""

    name = "hook"

    def __init__(self, command: Sequence[str], timeout_s: float, folder: Path, clock: Clock) -> None:
        self.tally = Tally()
        self._command, self._folder, self._clock = list(command), folder, clock
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._waiting = Waiting(self.tally)
        self._running: list[Running] = []
        self._killed: list[subprocess.Popen[bytes]] = []  # the kernel has not ended them yet
        self._ended: list[Outcome] = []

    def put(self, row: Row) -> None:
        self._waiting.put(row, self._clock.mono_ns())
        self._start_waiting()

    def seen(self, number: int) -> None:
        self._waiting.seen(number)

    def poll(self) -> list[Outcome]:
        now_ns = self._clock.mono_ns()
        self._killed = [process for process in self._killed if process.poll() is None]
        for run in list(self._running):
            code = run.process.poll()
            if code is not None:
                what = "cannot be started, " if code in (NO_COMMAND, NO_PROGRAM) else ""
                self._end(run, f"{what}exit code {code}; see {HOOK_LOG} in the run folder" if code else "")
            elif now_ns - run.since_ns >= self._timeout_ns:
                self._kill(run)
                self._end(run, f"no end within {self._timeout_ns / NS_PER_S:g} s, killed")
        self._start_waiting()
        ended, self._ended = self._ended, []
        return ended

    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    def close(self) -> None:
        for run in self._running:
            self._kill(run)
        self._running.clear()
        self._waiting.clear()

    def _start_waiting(self) -> None:
        while len(self._running) < HOOKS_AT_ONCE:
            under_way = {run.row["number"] for run in self._running}
            entry = self._waiting.take(self._clock.mono_ns(), under_way)
            if entry is None:
                return
            self._start(entry.row)

    def _start(self, row: Row) -> None:
        line = json.dumps(dict(row), ensure_ascii=False).encode() + b"\n"
        since_ns = self._clock.mono_ns()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                log = os.open(self._folder / HOOK_LOG, flags, 0o600)
            except OSError:  # a full disk is no reason to tell nobody
                log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            try:
                process = subprocess.Popen(
                    [*STARTER, *self._command],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(log)
        except OSError as error:
            self._tell(row, f"{STARTER[0]} cannot be started: {error.strerror}", since_ns)
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):  # it did not want to read
                os.write(process.stdin.fileno(), line)  # fits an empty pipe: never waits
            with contextlib.suppress(OSError):
                process.stdin.close()
        self._running.append(Running(process, row, since_ns))

    def _kill(self, run: Running) -> None:
        """End a command and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGKILL)
        try:
            run.process.wait(KILL_S)
        except subprocess.TimeoutExpired:  # it waits in the kernel: we do not
            self._killed.append(run.process)

    def _end(self, run: Running, failure: str) -> None:
        self._running.remove(run)
        self._tell(run.row, failure and f"{self._command[0]} for {run.row['code']}: {failure}", run.since_ns)

    def _tell(self, row: Row, failure: str, since_ns: int) -> None:
        self.tally.failed += bool(failure)
        self.tally.delivered += not failure
        took_s = (self._clock.mono_ns() - since_ns) / NS_PER_S
        self._ended.append(Outcome(self.name, row, failure, took_s))
