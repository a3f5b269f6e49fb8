"""Layer 5, supervisor, cold: alerts on their way to a person: file first, then every sink.

Whoever finds a condition says so as often as it likes. What trading/standing.Standing lets through
is appended to `alerts.jsonl` in the run folder (files.py), put to every configured sink
(engine/alerts/sinks: a command, a webhook, Telegram, the system's journal), and shown in the live view and
the log. Nothing here waits. A sink that fails is an alert too, which the other sinks get. Imports nothing
big: the watchdog keeps it at hand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.files import (
    FILE_NAME,
    AlertFile,
    one_line,
    read_alerts,
    severity_word,
    teller_of,
)
from kite_hft.engine.alerts.raisers import Raisers
from kite_hft.engine.alerts.sinks.sink import Outcome, Sink
from kite_hft.sessions import ist_text
from kite_hft.trading.alerts import INFO, Alert, Standing, advice_of, alert_of, lasts
from kite_hft.units import NS_PER_S

OPEN_MAX: Final = 1000  # alerts that wait to be acknowledged
TESTS_MAX: Final = 8
SINK_FAILED: Final = "SINK_FAILED"
HURRIED_S: Final = 2.0
"""Enough for a sink that works: what a stop has just told, that it did not reach zero perhaps, must leave."""


@dataclass(slots=True)
class Alerting:
    """The alerts of one run.

    folder: the run folder. remind_s, close_s: time between reminders; longest wait for the sinks at the
    end. about: further fields of every line (broker, account, run). say: the live view and the log.
    secrets: words that must stand in no alert. first_number: of the first alert. on_told: gets each alert
    that is new. on_acknowledged: gets each that a person has seen, with its number, and who it was.
    """

    folder: Path
    sinks: Sequence[Sink]
    clock: Clock
    say: Callable[[str], None]
    remind_s: float = 300.0
    close_s: float = 5.0
    about: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    on_told: Callable[[Alert], None] = lambda told: None
    on_acknowledged: Callable[[Alert, int, str], None] = lambda told, number, by: None
    first_number: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    _standing: Standing = field(init=False)
    _file: AlertFile = field(init=False)
    _raised: Counter[tuple[str, str]] = field(default_factory=Counter)
    _numbers: dict[tuple[str, ...], int] = field(default_factory=dict)
    _open: dict[int, Alert] = field(default_factory=dict)
    _number: int = 0
    _tests: dict[int, dict[str, str]] = field(default_factory=dict)
    _raisers: Raisers = field(default_factory=Raisers)

    def __post_init__(self) -> None:
        self._standing = Standing(round(self.remind_s * NS_PER_S))
        self._file = AlertFile(self.folder)
        self._number = self.first_number - 1

    # Raising

    def raise_(self, code: str, key: str, text: str, severity: int | None = None) -> None:
        """A condition was found. An unknown code is told as a warning."""
        self.take({"code": code, "key": key, "text": text, "severity": severity})

    def take(self, fields: Mapping[str, Any]) -> None:
        """The same from another process: {code, key, text, severity, size}; `cleared: true` ends it.
        process: its name.
        """
        raised = alert_of(fields)
        text = self._clean(raised.text)
        raised = Alert(raised.code, raised.key, text, raised.severity, size=raised.size)
        if fields.get("cleared"):
            return self.clear(raised.code, raised.key)
        self._raised[raised.code, raised.key] += 1
        name = (raised.code, raised.key)
        if lasts(raised.code) and self._raisers.raised(name, str(fields.get("process", ""))):
            self._standing.clear(*name)  # told anew, whoever had seen what an earlier process found
        told = self._standing.raise_(raised, self.clock.mono_ns())
        if told is not None:
            self._tell("raised", told)

    def clear(self, code: str, key: str = "") -> None:
        """A lasting condition is over; harmless when none stood."""
        self._raisers.over((code, key))
        over = self._standing.clear(code, key)
        if over is None:
            return
        self._tell("cleared", over)
        self._open.pop(self._numbers.pop(_name_of(over)), None)

    def replaced(self, process: str) -> list[Alert]:
        """A process is started again: what it raised is over unless the new one raises it again. Returns what
        stands on instead (raisers.KEPT), which the new one is to be told of."""
        kept = set(self._raisers.gone(process))
        return [told for told in self.standing() if (told.code, told.key) in kept]

    def returned(self, process: str) -> None:
        """The new process runs."""
        self._raisers.back(process, self.clock.mono_ns())

    def acknowledge(
        self, number: int | None = None, code: str = "", key: str | None = None, by: str = ""
    ) -> int:
        """A person has seen alerts (by number, by code and key, or all): quiet until they grow worse.

        Returns how many.
        """
        seen = [
            known
            for known, told in self._open.items()
            if number in (None, known) and code in ("", told.code) and key in (None, told.key)
        ]
        for known in seen:
            told = self._open.pop(known)
            self._standing.acknowledge(told)
            self._write("acknowledged", told, known, {"by": by} if by else {})
            for sink in self.sinks:
                sink.seen(known)
            self.on_acknowledged(told, known, by)
        return len(seen)

    def follow_file(self) -> None:
        """Take over what a person has acknowledged in the file, with the engine down."""
        ours = str(self.about.get("teller", ""))
        for row in read_alerts(self.folder):
            told = self._open.get(row["number"]) if teller_of(row) == ours else None
            if told is not None and row["state"] == "acknowledged":
                del self._open[row["number"]]
                self._standing.acknowledge(told)

    def standing(self) -> list[Alert]:
        """Conditions that hold now, worst first."""
        return self._standing.standing()

    # Telling

    def poll(self) -> None:
        """Reminders, and what became of the rows at the sinks. Call it often; it never waits."""
        for name in self._raisers.due(self.clock.mono_ns()):
            self.clear(*name)
        for due in self._standing.due(self.clock.mono_ns()):
            self._tell("reminder", due)
        for sink in self.sinks:
            for outcome in sink.poll():
                self._delivered(outcome)

    def test(self) -> int:
        """Send a test through every sink; returns its number, for `tested`."""
        told = Alert("TEST", "", f"a test of {len(self.sinks)} sinks", INFO)
        self._number += 1
        self._tests[self._number] = {sink.name: "waiting" for sink in self.sinks}
        while len(self._tests) > TESTS_MAX:
            del self._tests[next(iter(self._tests))]
        self._put(self._write("test", told, self._number), told)
        return self._number

    def tested(self, number: int) -> dict[str, str]:
        """What came of a test: sink -> "waiting", "" (delivered) or what is wrong; {}: no such test."""
        return dict(self._tests.get(number, {}))

    def close(self, sleep: Callable[[float], None], hurried: Callable[[], bool] = lambda: False) -> None:
        """See the last alerts to the sinks, for at most `close_s`, HURRIED_S when a person hurries; then give
        up what is under way."""
        began_ns = self.clock.mono_ns()
        self.poll()
        while any(sink.busy() for sink in self.sinks):
            wait_s = min(HURRIED_S, self.close_s) if hurried() else self.close_s
            if self.clock.mono_ns() - began_ns >= wait_s * NS_PER_S:
                break
            sleep(0.02)
            self.poll()
        self.poll()
        for sink in self.sinks:
            sink.close()
        self._file.close()

    def report(self) -> dict[str, Any]:
        """The `alerts` part of report.json."""
        return {
            "by_code": dict(sorted(self.counts.items())),
            "standing": [{**a.fields(), "severity": severity_word(a.severity)} for a in self.standing()],
            "sinks": {sink.name: sink.tally.fields() for sink in self.sinks},
        }

    def _delivered(self, outcome: Outcome) -> None:
        test = self._tests.get(int(outcome.row["number"]))
        if test is not None and outcome.row["code"] == "TEST":
            test[outcome.sink] = self._clean(outcome.failure)
        if outcome.failure:
            self.raise_(SINK_FAILED, outcome.sink, f"{outcome.sink}: {outcome.failure}")
        else:
            self.clear(SINK_FAILED, outcome.sink)

    def _tell(self, event: str, told: Alert) -> None:
        if event == "raised":
            self.counts[told.code] += 1
            self.on_told(told)
        number = self._number_of(told)
        if event == "raised" or (event == "reminder" and number not in self._open):
            self._open[number] = told
            if len(self._open) > OPEN_MAX:
                del self._open[next(iter(self._open))]
        self._put(self._write(event, told, number), told)
        head = {"raised": "ALERT", "reminder": "still", "cleared": "over"}[event]
        again = f" (told {told.again} times before)" if told.again else ""
        words = f"{head} {severity_word(told.severity)} {told.code} {told.key}: {told.text}{again}"
        self.say(words.replace(" :", ":"))

    def _put(self, row: Mapping[str, Any], told: Alert) -> None:
        """To all sinks but the one that the alert is about."""
        for sink in self.sinks:
            if (told.code, told.key) != (SINK_FAILED, sink.name):
                sink.put(row)

    def _number_of(self, told: Alert) -> int:
        """A lasting condition keeps its number while it lasts, an event for its reminders."""
        name = _name_of(told)
        if name in self._numbers and (lasts(told.code) or told.again):
            return self._numbers[name]
        self._number += 1
        if not lasts(told.code):
            self._numbers.pop(name, None)  # the newest stands last
        self._numbers[name] = self._number
        if len(self._numbers) > 2 * OPEN_MAX:
            self._forget_events()
        return self._number

    def _forget_events(self) -> None:
        """Numbers of the oldest events, which nobody is reminded of any more."""
        events = [name for name in self._numbers if len(name) == len(_EVENT_NAME)]
        for name in events[:OPEN_MAX]:
            del self._numbers[name]

    def _write(
        self, event: str, told: Alert, number: int, more: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        now_ns = self.clock.real_ns()
        fields = {
            "number": number, "event": event, "time": ist_text(now_ns), "time_ns": now_ns,
            "code": told.code, "severity": severity_word(told.severity), "key": told.key, "text": told.text,
            "advice": advice_of(told.code), "again": told.again, "raised": self._raised[told.code, told.key],
            "lasts": lasts(told.code), **self.about, **(more or {}),
        }  # fmt: skip
        try:
            self._file.append(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            self.say(f"{FILE_NAME} cannot be written: {error.strerror}")
        return fields

    def _clean(self, text: str) -> str:
        return one_line(text, self.secrets)


_EVENT_NAME: Final = ("code", "key", "text")


def _name_of(told: Alert) -> tuple[str, ...]:
    """A condition is known by code and key, an event by its words as well."""
    return (told.code, told.key) if lasts(told.code) else (told.code, told.key, told.text)
