"""Layer 5, supervisor, cold: alerts on their way to a person: file first, then the sinks.

Whoever finds a condition says so as often as it likes. What trading/alerts.Standing lets through
is appended to `alerts.jsonl` in the run folder, shown in the live view and the log, and handed to
the configured command (`alerts.hook`) as one JSON object on its standard input. Nothing here waits:
the command runs in a process group of its own, is looked after by `poll`, and is killed when its
time is over. A command that fails is an alert too, which the command itself does not get.

One line of alerts.jsonl (`event` is raised, reminder, cleared or acknowledged):

    {"number": 3, "event": "raised", "time": "2026-11-20 10:00:05", "time_ns": .., "code": "FEED_DEAD",
     "severity": "CRITICAL", "key": "feed-0", "text": .., "advice": .., "again": 0, "raised": 1, ..}

`number` names the alert: its later lines carry the same one. `raised` counts how often the
condition was found, told or not; `again` how often it was told before.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.log import printable
from kite_hft.layout import Severity
from kite_hft.sessions import ist_text
from kite_hft.settings import AlertSection
from kite_hft.trading.alerts import CODES, Alert, Standing, alert_of
from kite_hft.units import NS_PER_S

FILE_NAME: Final = "alerts.jsonl"
HOOK_LOG: Final = "alert_hook.log"
TEXT_CHARS_MAX: Final = 1000  # so that a line always fits an empty pipe, and writing never waits
HOOKS_AT_ONCE: Final = 4
WAITING_MAX: Final = 256
OPEN_MAX: Final = 1000  # alerts that wait to be acknowledged
HOOK_FAILED: Final = "HOOK_FAILED"

Name = tuple[str, str]
"""(code, key) of an alert."""


@dataclass(slots=True)
class Hook:
    """One run of the command."""

    process: subprocess.Popen[bytes]
    code: str
    due_ns: int


@dataclass(slots=True)
class Alerting:
    """The alerts of one run.

    folder: the run folder. about: further fields of every line (broker, account, run). say: the live
    view and the log. secrets: words that must stand in no alert. on_told: gets each alert that is new.
    """

    folder: Path
    settings: AlertSection
    clock: Clock
    say: Callable[[str], None]
    about: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    on_told: Callable[[Alert], None] = lambda told: None
    counts: Counter[str] = field(default_factory=Counter)
    hook_runs: int = 0
    hook_failures: int = 0
    hook_dropped: int = 0
    _standing: Standing = field(init=False)
    _numbers: dict[Name, int] = field(default_factory=dict)  # of lasting conditions
    _raised: Counter[Name] = field(default_factory=Counter)
    _open: dict[int, Alert] = field(default_factory=dict)  # not acknowledged, by number
    _number: int = 0
    _waiting: deque[tuple[str, bytes]] = field(default_factory=deque)
    _running: list[Hook] = field(default_factory=list)
    _fd: int = -1

    def __post_init__(self) -> None:
        self._standing = Standing(round(self.settings.remind_s * NS_PER_S))

    # Raising

    def raise_(self, code: str, key: str, text: str, severity: Severity | int | None = None) -> None:
        """A condition was found. An unknown code is told as a warning."""
        self.take({"code": code, "key": key, "text": text, "severity": severity})

    def take(self, fields: Mapping[str, Any]) -> None:
        """The same from another process: {code, key, text, severity}; `cleared: true` ends it."""
        raised = alert_of(fields)
        raised = Alert(raised.code, raised.key, self._clean(raised.text), raised.severity)
        if fields.get("cleared"):
            return self.clear(raised.code, raised.key)
        self._raised[raised.code, raised.key] += 1
        told = self._standing.raise_(raised, self.clock.mono_ns())
        if told is not None:
            self._tell("raised", told)

    def clear(self, code: str, key: str = "") -> None:
        """A lasting condition is over; harmless when none stood."""
        over = self._standing.clear(code, key)
        if over is None:
            return
        self._tell("cleared", over)
        self._open.pop(self._numbers.pop((code, key)), None)

    def acknowledge(self, number: int | None = None) -> int:
        """A person has seen alert `number` (None: all): no more reminders. Returns how many."""
        seen = [known for known in self._open if number in (None, known)]
        for known in seen:
            self._write("acknowledged", self._open.pop(known), known)
        return len(seen)

    def standing(self) -> list[Alert]:
        """Conditions that hold now, worst first."""
        return self._standing.standing()

    # Telling

    def poll(self) -> None:
        """Reminders, the commands under way and those that wait. Call it often; it never waits."""
        now_ns = self.clock.mono_ns()
        for due in self._standing.due(now_ns):
            if self._numbers[due.code, due.key] in self._open:
                self._tell("reminder", due)
        for hook in list(self._running):
            if hook.process.poll() is not None:
                self._running.remove(hook)
                self._ended(hook, f"exit code {hook.process.returncode}" * bool(hook.process.returncode))
            elif now_ns >= hook.due_ns:
                self._running.remove(hook)
                _kill(hook.process)
                self._ended(hook, f"no end within {self.settings.hook_timeout_s:g} s, killed")
        while self._waiting and len(self._running) < HOOKS_AT_ONCE:
            self._start(*self._waiting.popleft())

    def close(self, sleep: Callable[[float], None]) -> None:
        """See the last alerts to the command, for at most its time-out; then end what still runs."""
        deadline_ns = self.clock.mono_ns() + round(self.settings.hook_timeout_s * NS_PER_S)
        self.poll()
        while (self._waiting or self._running) and self.clock.mono_ns() < deadline_ns:
            sleep(0.02)
            self.poll()
        for hook in self._running:
            _kill(hook.process)
        self._running.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def report(self) -> dict[str, Any]:
        """The `alerts` part of report.json."""
        return {
            "by_code": dict(sorted(self.counts.items())),
            "standing": [{**a.fields(), "severity": Severity(a.severity).name} for a in self.standing()],
            "hook": {"runs": self.hook_runs, "failures": self.hook_failures, "dropped": self.hook_dropped},
        }

    def _tell(self, event: str, told: Alert) -> None:
        if event == "raised":
            self.counts[told.code] += 1
            self.on_told(told)
        number = self._number_of(told)
        if event != "cleared":
            self._open[number] = told
            if len(self._open) > OPEN_MAX:
                del self._open[next(iter(self._open))]
        line = self._write(event, told, number)
        head = {"raised": "ALERT", "reminder": "still", "cleared": "over"}[event]
        again = f" (told {told.again} times before)" if told.again else ""
        self.say(
            f"{head} {_word(told.severity)} {told.code} {told.key}: {told.text}{again}".replace(" :", ":")
        )
        if self.settings.hook and told.code != HOOK_FAILED:
            self._waiting.append((told.code, line))
            while len(self._waiting) > WAITING_MAX:
                self._waiting.popleft()
                self.hook_dropped += 1
            self.poll()

    def _number_of(self, told: Alert) -> int:
        """A lasting condition keeps its number while it lasts; an event gets one of its own."""
        name = (told.code, told.key)
        if name in self._numbers:
            return self._numbers[name]
        self._number += 1
        if _lasts(told.code):
            self._numbers[name] = self._number
        return self._number

    def _write(self, event: str, told: Alert, number: int) -> bytes:
        now_ns = self.clock.real_ns()
        fields = {
            "number": number, "event": event, "time": ist_text(now_ns), "time_ns": now_ns,
            "code": told.code, "severity": _word(told.severity), "key": told.key, "text": told.text,
            "advice": told.advice, "again": told.again, "raised": self._raised[told.code, told.key],
            **self.about,
        }  # fmt: skip
        line = json.dumps(fields, ensure_ascii=False).encode() + b"\n"
        try:
            append_line(self._file(), line)
        except OSError as error:
            self.say(f"{FILE_NAME} cannot be written: {error.strerror}")
        return line

    def _file(self) -> int:
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self.folder / FILE_NAME, flags, 0o600)
        return self._fd

    def _clean(self, text: str) -> str:
        """One printable line without secrets: brokers' words go to terminals, too."""
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, "<secret>")
        return " ".join(printable(text).split())[:TEXT_CHARS_MAX]

    # The command

    def _start(self, code: str, line: bytes) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            log = os.open(self.folder / HOOK_LOG, flags, 0o600)
            try:
                process = subprocess.Popen(
                    self.settings.hook, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
            finally:
                os.close(log)
        except OSError as error:
            self._fail(f"{self.settings.hook[0]} cannot be started: {error.strerror}")
            return
        self.hook_runs += 1
        if process.stdin is not None:
            with contextlib.suppress(OSError):  # it did not want to read
                os.write(process.stdin.fileno(), line)
            with contextlib.suppress(OSError):
                process.stdin.close()
        due_ns = self.clock.mono_ns() + round(self.settings.hook_timeout_s * NS_PER_S)
        self._running.append(Hook(process, code, due_ns))

    def _ended(self, hook: Hook, failure: str) -> None:
        if failure:
            self._fail(
                f"{self.settings.hook[0]} for {hook.code}: {failure}; see {HOOK_LOG} in the run folder"
            )
        elif self._standing.clear(HOOK_FAILED) is not None:
            self._open.pop(self._numbers.pop((HOOK_FAILED, ""), 0), None)
            self.say("the alert command works again")

    def _fail(self, text: str) -> None:
        self.hook_failures += 1
        self.raise_(HOOK_FAILED, "", text)


def append_line(fd: int, line: bytes) -> None:
    """One line in one write.

    Raises:
        OSError: it could not be written whole.
    """
    if os.write(fd, line) != len(line):
        raise OSError(28, "no space left: written in part")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lasts(code: str) -> bool:
    return code not in CODES or CODES[code].lasting


def _word(severity: int) -> str:
    return Severity(severity).name if severity in set(Severity) else str(severity)


# Reading back, for `kite-hft status` and `kite-hft alerts`


def read_alerts(folder: Path) -> list[dict[str, Any]]:
    """The alerts of a run, oldest first, each with its last words and `state`.

    state: standing (a lasting condition that holds), told (an event), over, or acknowledged. A line
    that was cut by a crash is left out.
    """
    try:
        lines = (folder / FILE_NAME).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
            number, event = int(row["number"]), str(row["event"])
        except (ValueError, KeyError, TypeError):
            continue
        known = found.get(number)
        if event in ("raised", "reminder") or known is None:
            first = known["time"] if known else row["time"]
            state = "standing" if _lasts(row.get("code", "")) else "told"
            found[number] = {**row, "first": first, "state": state}
            known = found[number]
        if event == "cleared":
            known["state"] = "over"
        elif event == "acknowledged":
            known["state"] = "acknowledged"
    return list(found.values())


def open_alerts(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that nobody has acknowledged and that are not over, worst first, then newest."""
    waiting = [row for row in rows if row["state"] in ("standing", "told")]
    rank = {severity.name: int(severity) for severity in Severity}
    return sorted(waiting, key=lambda row: (-rank.get(row["severity"], 0), -row["time_ns"]))


def acknowledge_file(folder: Path, number: int | None, now_real_ns: int) -> int:
    """Acknowledge alerts of a run that has ended; returns how many.

    Raises:
        OSError: the file cannot be written.
    """
    waiting = [row for row in open_alerts(read_alerts(folder)) if number in (None, row["number"])]
    if not waiting:
        return 0
    fd = os.open(folder / FILE_NAME, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for row in waiting:
            words = {name: row[name] for name in ("number", "code", "severity", "key")}
            stamp = {"event": "acknowledged", "time": ist_text(now_real_ns), "time_ns": now_real_ns}
            append_line(fd, json.dumps(words | stamp).encode() + b"\n")
    finally:
        os.close(fd)
    return len(waiting)
