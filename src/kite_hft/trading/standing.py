"""Layer 2, every process, cold: when a person is told of a condition: once, worse, again, over.

`Standing` lets an alert through when it is new, when it has grown worse, and as a reminder until a
person acknowledges it or it ends. An acknowledged condition is quiet until it grows worse or ends.
Pure: times are handed in. Imports nothing big, for the watchdog's sake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kite_hft.units import NS_PER_S

CRITICAL: Final = 3  # layout.Severity.CRITICAL
EVENTS_MAX: Final = 200
"""Critical events that wait for somebody; beyond that the oldest is reminded of no more."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `severity` is a Severity's value; `again`: how often it was told before.

    size: how much of it there is, where that can be said (paise without protection, say); 0: cannot.
    """

    code: str
    key: str
    text: str
    severity: int
    again: int = 0
    size: int = 0

    def fields(self) -> dict[str, Any]:
        """As it travels between processes and stands in files: code, key, text, severity (and size).

        With `cleared: true` added such a message says that the condition is over.
        """
        words = {"code": self.code, "key": self.key, "text": self.text, "severity": self.severity}
        return words | ({"size": self.size} if self.size else {})


@dataclass(slots=True)
class _Told:
    alert: Alert
    told_ns: int
    told_size: int
    times: int = 1
    acknowledged: bool = False


def always(code: str) -> bool:
    """Every condition lasts until it is cleared."""
    return bool(code)


@dataclass(slots=True)
class Standing:
    """Which conditions stand, and which events nobody has acknowledged.

    A condition that lasts is told once, when it grows worse (in severity, or by a quarter in size), and
    every `remind_ns`. An event (`lasts(code)` is false) is told whenever it is raised, but the same words
    no more than once in `quiet_ns`; a critical one is reminded of as well.
    """

    remind_ns: int
    quiet_ns: int = NS_PER_S
    lasts: Callable[[str], bool] = always
    _told: dict[tuple[str, str], _Told] = field(default_factory=dict)
    _events: dict[tuple[str, str, str], _Told] = field(default_factory=dict)
    _once: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def raise_(self, raised: Alert, now_ns: int) -> Alert | None:
        """The alert to tell now, if it is to be told."""
        if not self.lasts(raised.code):
            return self._tell_event(raised, now_ns)
        name = (raised.code, raised.key)
        told = self._told.get(name)
        if told is None:
            self._told[name] = _Told(raised, now_ns, raised.size)
            return raised
        worse = raised.severity > told.alert.severity or 4 * raised.size > 5 * told.told_size > 0
        told.alert = raised if raised.severity >= told.alert.severity else told.alert
        if not worse:
            return None
        told.acknowledged, told.told_size = False, raised.size
        return self._again(told, now_ns)

    def _tell_event(self, raised: Alert, now_ns: int) -> Alert | None:
        self._once = {name: at for name, at in self._once.items() if now_ns - at < self.quiet_ns}
        name = (raised.code, raised.key, raised.text)
        if name in self._once:
            return None
        self._once[name] = now_ns
        if raised.severity >= CRITICAL:
            self._events[name] = _Told(raised, now_ns, raised.size)
            if len(self._events) > EVENTS_MAX:
                del self._events[next(iter(self._events))]
        return raised

    def acknowledge(self, known: Alert) -> bool:
        """A person has seen it; whether anything was to be quietened."""
        event = self._events.pop((known.code, known.key, known.text), None)
        told = self._told.get((known.code, known.key))
        if told is None or told.acknowledged:
            return event is not None
        told.acknowledged = True
        return True

    def clear(self, code: str, key: str = "") -> Alert | None:
        """The condition is over; the alert that stood, None when none did."""
        told = self._told.pop((code, key), None)
        return told.alert if told else None

    def due(self, now_ns: int) -> list[Alert]:
        """Reminders of what nobody has acknowledged for `remind_ns` since it was last told."""
        waiting = [*self._told.values(), *self._events.values()]
        return [
            self._again(told, now_ns)
            for told in waiting
            if not told.acknowledged and now_ns - told.told_ns >= self.remind_ns
        ]

    def next_ns(self) -> int | None:
        """When `due` will next have something; None: nothing waits."""
        waiting = [*self._told.values(), *self._events.values()]
        return min((t.told_ns + self.remind_ns for t in waiting if not t.acknowledged), default=None)

    def standing(self) -> list[Alert]:
        """What stands now, worst first; events do not stand."""
        return sorted((t.alert for t in self._told.values()), key=lambda a: (-a.severity, a.code, a.key))

    def _again(self, told: _Told, now_ns: int) -> Alert:
        again = replace(told.alert, again=told.times)
        told.told_ns, told.times = now_ns, told.times + 1
        return again
