"""Layer 0, every process, cold: the trading day of an exchange as data and plain arithmetic.

India keeps one zone (UTC+5:30, no summer time), so local times are integer arithmetic on epoch
nanoseconds. Session times come from config/calendar: dated rows by exchange segment; nothing
about hours stands in code.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.units import IST_OFFSET_S, NS_PER_S

DAY_S = 86_400

CONTINUOUS: Final = "continuous"
AUCTION: Final = "auction"
NO_MATCH: Final = "none"
CLOSED: Final = "closed"


class CalendarError(ValueError):
    """A calendar row that cannot be read, or a day that no row covers."""


@dataclass(frozen=True, slots=True)
class Session:
    """Continuous trading of one day, in epoch ns: open_ns <= t < close_ns."""

    open_ns: int
    close_ns: int


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a day in which the same rules hold, in epoch ns: start_ns <= t < end_ns.

    orders: order types that may be entered or changed ("LIMIT", "MARKET", "SL", "SL-M").
    match: how orders meet: "continuous", "auction" (they gather and uncross at the end) or "none".
    cancels: what the exchange cancels when the phase begins: "stops", "disclosed", "out_of_band".
    """

    name: str
    start_ns: int
    end_ns: int
    orders: frozenset[str] = frozenset()
    match: str = NO_MATCH
    cancels: frozenset[str] = frozenset()


def seconds_of_day(text: str) -> int:
    """ "09:15:00" or "09:15" -> seconds after midnight.

    Raises:
        CalendarError: not a time of day.
    """
    try:
        parts = [int(part) for part in text.split(":")]
        hour, minute, second = (*parts, 0)[:3] if len(parts) in {2, 3} else (-1, 0, 0)
        if not (0 <= hour <= 24 and 0 <= minute < 60 and 0 <= second < 60):
            raise ValueError(text)
    except ValueError:
        raise CalendarError(f"{text!r} is no time of day (expected HH:MM:SS)") from None
    return hour * 3600 + minute * 60 + second


def ist_date(epoch_ns: int) -> dt.date:
    """The calendar date in India at an instant."""
    return dt.date.fromordinal(
        dt.date(1970, 1, 1).toordinal() + (epoch_ns // NS_PER_S + IST_OFFSET_S) // DAY_S
    )


def ist_midnight_ns(day: dt.date) -> int:
    """Epoch ns of 00:00 IST of a date."""
    days = day.toordinal() - dt.date(1970, 1, 1).toordinal()
    return (days * DAY_S - IST_OFFSET_S) * NS_PER_S


def ist_text(epoch_ns: int) -> str:
    """`YYYY-MM-DD HH:MM:SS` in India, as the brokers print times."""
    seconds = (epoch_ns // NS_PER_S + IST_OFFSET_S) % DAY_S
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{ist_date(epoch_ns).isoformat()} {clock}"


def session_on(day: dt.date, start: str, end: str) -> Session:
    """The session of `day` between two times of day."""
    midnight = ist_midnight_ns(day)
    opens, closes = seconds_of_day(start), seconds_of_day(end)
    if opens >= closes:
        raise CalendarError(f"session {start} to {end} is empty")
    return Session(midnight + opens * NS_PER_S, midnight + closes * NS_PER_S)


def session_from_calendar(rows: Sequence[Mapping[str, Any]], segment: str, day: dt.date) -> Session:
    """The session of an exchange segment by the dated rows of config/calendar.

    The row with the latest `valid_from` that is not after `day` counts; `holidays` close a day,
    `special` opens it with its own times.

    Raises:
        CalendarError: no row covers the day, or the exchange is closed on it.
    """
    row = _row_of_day(rows, segment, day)
    special = {s["date"]: s for s in row.get("special", ())}
    if day in special:
        return session_on(day, special[day]["open"], special[day]["close"])
    if day in row.get("holidays", ()) or day.weekday() >= 5:
        raise CalendarError(f"{segment} is closed on {day}")
    return session_on(day, row["open"], row["close"])


def phases_from_calendar(
    rows: Sequence[Mapping[str, Any]], segment: str, is_cas: bool, day: dt.date, seed: int = 0
) -> tuple[Phase, ...]:
    """The phases of a day in order, without the closed time before and after; () on a closed day.

    `is_cas`: of instruments that take part in the closing auction (`cas_phases`, where the row has
    them). A phase with `end_latest` ends at a second drawn from (seed, segment's row, day); the
    next one begins there. A special session is one continuous phase.

    Raises:
        CalendarError: no row covers the day, or its phases cannot be read.
    """
    row = _row_of_day(rows, segment, day)
    special = {s["date"] for s in row.get("special", ())}
    if day not in special and (day in row.get("holidays", ()) or day.weekday() >= 5):
        return ()
    wanted = row.get("cas_phases" if is_cas else "phases") or row.get("phases")
    if not wanted or day in special:
        session = session_from_calendar(rows, segment, day)
        return (Phase(CONTINUOUS, session.open_ns, session.close_ns, _ALL_ORDERS, CONTINUOUS),)
    try:
        return _phases(wanted, ist_midnight_ns(day), f"{seed} {day} {row['segments'][0]}")
    except (KeyError, TypeError) as error:
        raise CalendarError(f"phases of {segment} on {day} cannot be read: {error!r}") from error


_ALL_ORDERS: Final = frozenset(("LIMIT", "MARKET", "SL", "SL-M"))


def _phases(wanted: Sequence[Mapping[str, Any]], midnight: int, draw: str) -> tuple[Phase, ...]:
    phases: list[Phase] = []
    for part in wanted:
        start, end = seconds_of_day(part["start"]), seconds_of_day(part["end"])
        if "end_latest" in part:
            spread = seconds_of_day(part["end_latest"]) - end
            end += zlib.crc32(f"{draw} {part['name']}".encode()) % (spread + 1)
        start_ns = midnight + start * NS_PER_S
        if phases and start_ns <= phases[-1].end_ns:
            start_ns = phases[-1].end_ns
        end_ns = midnight + end * NS_PER_S
        if end_ns <= start_ns:
            raise CalendarError(f"phase {part['name']} from {part['start']} to {part['end']} is empty")
        phases.append(
            Phase(
                part["name"], start_ns, end_ns, frozenset(part.get("orders", ())),
                part.get("match", NO_MATCH), frozenset(part.get("cancels", ())),
            )
        )  # fmt: skip
    return tuple(phases)


@dataclass(frozen=True, slots=True)
class Phases:
    """The phases of all segments, by the rows of config/calendar; days are worked out once."""

    rows: Sequence[Mapping[str, Any]]
    seed: int = 0
    _days: dict[tuple[str, bool, dt.date], tuple[Phase, ...]] = field(default_factory=dict)

    def on(self, segment: str, is_cas: bool, day: dt.date) -> tuple[Phase, ...]:
        """`phases_from_calendar` of a day."""
        key = (segment, is_cas, day)
        if key not in self._days:
            self._days[key] = phases_from_calendar(self.rows, segment, is_cas, day, self.seed)
        return self._days[key]

    def phase_at(self, segment: str, is_cas: bool, real_ns: int) -> Phase:
        """The phase of an instant; outside all of them a phase "closed" that takes no order.

        Raises:
            CalendarError: no row covers the day.
        """
        day = ist_date(real_ns)
        start = ist_midnight_ns(day)
        for phase in self.on(segment, is_cas, day):
            if real_ns < phase.start_ns:
                return Phase(CLOSED, start, phase.start_ns)
            if real_ns < phase.end_ns:
                return phase
            start = phase.end_ns
        return Phase(CLOSED, start, ist_midnight_ns(day) + DAY_S * NS_PER_S)

    def shift_ns(self, segment: str, day: dt.date) -> int:
        """How much later (or, negative, earlier) than usual continuous trading ends on a special day; else 0.

        Raises:
            CalendarError: no row covers the day.
        """
        row = _row_of_day(self.rows, segment, day)
        special = next((s for s in row.get("special", ()) if s["date"] == day), None)
        if special is None:
            return 0
        return (seconds_of_day(special["close"]) - seconds_of_day(row["close"])) * NS_PER_S

    def next_open_ns(
        self, segment: str, is_cas: bool, real_ns: int, order_type: str = "LIMIT", days_max: int = 15
    ) -> int | None:
        """When a phase that takes this order type begins next, after `real_ns`; None when no day
        within reach is open or covered."""
        for ahead in range(days_max + 1):
            try:
                phases = self.on(segment, is_cas, ist_date(real_ns) + dt.timedelta(days=ahead))
            except CalendarError:
                return None
            for phase in phases:
                if phase.start_ns > real_ns and order_type in phase.orders:
                    return phase.start_ns
        return None


def _row_of_day(rows: Sequence[Mapping[str, Any]], segment: str, day: dt.date) -> Mapping[str, Any]:
    try:
        fitting = [r for r in rows if segment in r["segments"] and r["valid_from"] <= day <= r["valid_to"]]
    except (TypeError, KeyError) as error:
        raise CalendarError(
            f"the calendar is no list of rows with segments, valid_from, valid_to, open, close ({error!r})"
        ) from error
    if not fitting:
        raise CalendarError(f"no calendar row covers {segment} on {day}; add one to config/calendar")
    return max(fitting, key=lambda r: r["valid_from"])
