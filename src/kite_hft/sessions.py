"""Layer 0, every process, cold: the trading day of an exchange as data and plain arithmetic.

India keeps one zone (UTC+5:30, no summer time), so local times are integer arithmetic on epoch
nanoseconds. Session times come from config/calendar: dated rows by exchange segment; nothing
about hours stands in code.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kite_hft.units import IST_OFFSET_S, NS_PER_S

DAY_S = 86_400


class CalendarError(ValueError):
    """A calendar row that cannot be read, or a day that no row covers."""


@dataclass(frozen=True, slots=True)
class Session:
    """Continuous trading of one day, in epoch ns: open_ns <= t < close_ns."""

    open_ns: int
    close_ns: int


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
    try:
        fitting = [r for r in rows if segment in r["segments"] and r["valid_from"] <= day <= r["valid_to"]]
    except (TypeError, KeyError) as error:
        raise CalendarError(
            f"the calendar is no list of rows with segments, valid_from, valid_to, open, close ({error!r})"
        ) from error
    if not fitting:
        raise CalendarError(f"no calendar row covers {segment} on {day}; add one to config/calendar")
    row = max(fitting, key=lambda r: r["valid_from"])
    special = {s["date"]: s for s in row.get("special", ())}
    if day in special:
        return session_on(day, special[day]["open"], special[day]["close"])
    if day in row.get("holidays", ()) or day.weekday() >= 5:
        raise CalendarError(f"{segment} is closed on {day}")
    return session_on(day, row["open"], row["close"])
