"""Sessions from the calendar file, and the arithmetic of Indian time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from kite_hft.sessions import (
    CalendarError,
    ist_date,
    ist_midnight_ns,
    ist_text,
    seconds_of_day,
    session_from_calendar,
    session_on,
)
from kite_hft.settings import load_yaml

ROWS = load_yaml(Path("config/calendar/india.yaml"))
IST = dt.timezone(dt.timedelta(hours=5, minutes=30))


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()) * 10**9


@pytest.mark.parametrize("text", ["1970-01-01 05:30:00", "2026-02-28 23:59:59", "2026-03-01 00:00:00"])
def test_ist_against_the_standard_library(text: str) -> None:
    assert ist_text(at(text)) == text
    assert ist_date(at(text)).isoformat() == text[:10]
    assert ist_midnight_ns(dt.date.fromisoformat(text[:10])) == at(text[:10] + " 00:00:00")


def test_derivatives_close_later_since_the_closing_auction() -> None:
    before = session_from_calendar(ROWS, "NFO", dt.date(2026, 7, 31))
    after = session_from_calendar(ROWS, "NFO", dt.date(2026, 8, 3))
    assert ist_text(before.close_ns) == "2026-07-31 15:30:00"
    assert ist_text(after.close_ns) == "2026-08-03 15:40:00"


def test_recorded_days_run_under_the_rules_of_their_own_date() -> None:
    session = session_from_calendar(ROWS, "NSE", dt.date(2025, 12, 15))
    assert (ist_text(session.open_ns), ist_text(session.close_ns)) == (
        "2025-12-15 09:15:00",
        "2025-12-15 15:30:00",
    )


def test_weekend_is_closed_but_the_budget_sunday_was_open() -> None:
    assert session_from_calendar(ROWS, "NSE", dt.date(2026, 2, 1)).open_ns
    with pytest.raises(CalendarError, match="closed"):
        session_from_calendar(ROWS, "NSE", dt.date(2026, 2, 8))


@pytest.mark.parametrize(("segment", "day"), [("NSE", dt.date(2031, 1, 1)), ("XETRA", dt.date(2026, 6, 1))])
def test_a_day_that_no_row_covers_is_an_error(segment: str, day: dt.date) -> None:
    with pytest.raises(CalendarError, match="no calendar row covers"):
        session_from_calendar(ROWS, segment, day)


@pytest.mark.parametrize("text", ["", "9", "09:60", "25:00:00", "aa:bb", "09:15:00:00"])
def test_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(CalendarError, match="no time of day"):
        seconds_of_day(text)


def test_an_empty_session_is_refused() -> None:
    with pytest.raises(CalendarError, match="empty"):
        session_on(dt.date(2026, 6, 1), "15:30", "09:15")
