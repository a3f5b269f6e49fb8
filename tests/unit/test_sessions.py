"""Sessions from the calendar file, and the arithmetic of Indian time."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import pytest

from kite_hft.sessions import (
    CalendarError,
    Phases,
    ist_date,
    ist_midnight_ns,
    ist_text,
    phases_from_calendar,
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


# -- phases

PHASES = Phases(ROWS, seed=3)


def name_at(segment: str, is_cas: bool, text: str) -> str:
    return PHASES.phase_at(segment, is_cas, at(text)).name


@pytest.mark.parametrize(
    ("clock", "cas", "other"),
    [
        ("08:59:59", "closed", "closed"), ("09:00:00", "pre_open", "pre_open"),
        ("09:05:00", "pre_open_limit", "pre_open_limit"), ("09:10:01", "buffer", "buffer"),
        ("09:15:00", "continuous", "continuous"), ("15:14:59", "continuous", "continuous"),
        ("15:15:00", "close_pause", "continuous"), ("15:20:00", "close_entry", "continuous"),
        ("15:25:00", "close_limit", "continuous"), ("15:30:01", "closed", "closed"),
    ],
)  # fmt: skip
def test_phases_of_a_share(clock: str, cas: str, other: str) -> None:
    assert name_at("NSE", True, f"2026-11-20 {clock}") == cas
    assert name_at("NSE", False, f"2026-11-20 {clock}") == other


def test_phases_cover_the_day_without_gap_or_overlap() -> None:
    for segment, is_cas in (("NSE", True), ("NSE", False), ("NFO", False), ("MCX", False), ("CDS", False)):
        phases = PHASES.on(segment, is_cas, dt.date(2026, 11, 20))
        for before, after in itertools.pairwise(phases):
            assert before.end_ns == after.start_ns
        first, last = phases[0], phases[-1]
        assert PHASES.phase_at(segment, is_cas, first.start_ns - 1).end_ns == first.start_ns
        closed = PHASES.phase_at(segment, is_cas, last.end_ns)
        assert (closed.name, closed.orders, closed.match) == ("closed", frozenset(), "none")
        assert ist_text(closed.end_ns) == "2026-11-21 00:00:00"


def test_random_closes_are_drawn_within_bounds_and_by_seed() -> None:
    seen = set()
    for seed in range(40):
        days = Phases(ROWS, seed)
        opening = days.on("NSE", True, dt.date(2026, 11, 20))
        seen.add(ist_text(opening[1].end_ns))
        assert "2026-11-20 09:08:00" <= ist_text(opening[1].end_ns) <= "2026-11-20 09:10:00"
        assert "2026-11-20 15:28:00" <= ist_text(opening[-1].end_ns) <= "2026-11-20 15:30:00"
        assert opening == Phases(ROWS, seed).on("NSE", True, dt.date(2026, 11, 20))
    assert len(seen) > 20


def test_old_days_have_their_own_phases() -> None:
    assert name_at("NSE", True, "2026-07-31 15:20:00") == "continuous"  # no closing auction then
    assert name_at("NSE", True, "2026-09-04 09:06:59") == "pre_open"
    assert PHASES.phase_at("NSE", True, at("2026-09-04 09:06:59")).orders == {"LIMIT", "MARKET"}
    assert name_at("NFO", False, "2026-07-31 15:30:00") == "closed"
    assert name_at("NFO", False, "2026-08-03 15:39:59") == "continuous"


def test_closed_days_and_special_ones() -> None:
    assert name_at("NSE", False, "2026-11-21 11:00:00") == "closed"
    assert PHASES.on("NSE", False, dt.date(2026, 11, 21)) == ()
    assert name_at("NSE", False, "2026-02-01 11:00:00") == "continuous"
    with pytest.raises(CalendarError, match="no calendar row covers"):
        PHASES.phase_at("NSE", False, at("2031-01-06 11:00:00"))


def test_when_orders_are_taken_next() -> None:
    def following(text: str, order_type: str = "LIMIT", segment: str = "NSE") -> str | None:
        found = PHASES.next_open_ns(segment, True, at(text), order_type)
        return None if found is None else ist_text(found)

    assert following("2026-11-20 08:00:00") == "2026-11-20 09:00:00"
    assert following("2026-11-20 08:00:00", "SL") == "2026-11-20 09:15:00"
    assert following("2026-11-20 16:00:00") == "2026-11-23 09:00:00"
    assert following("2026-11-20 16:00:00", segment="NFO") == "2026-11-23 09:15:00"
    assert following("2026-12-31 16:00:00") is None  # not covered


@pytest.mark.parametrize(
    ("phases", "text"),
    [
        ([{"name": "a", "start": "10:00", "end": "09:00"}], "empty"),
        ([{"name": "a", "end": "09:00"}], "cannot be read"),
        ([{"name": "a", "start": "x", "end": "09:00"}], "no time of day"),
    ],
)
def test_phases_that_cannot_be_used(phases: list[dict[str, str]], text: str) -> None:
    row = {"segments": ["X"], "valid_from": dt.date(2026, 1, 1), "valid_to": dt.date(2026, 12, 31),
           "open": "09:00", "close": "10:00", "phases": phases}  # fmt: skip
    with pytest.raises(CalendarError, match=text):
        Phases([row]).on("X", False, dt.date(2026, 6, 1))


def test_a_special_session_is_one_continuous_phase() -> None:
    day = dt.date(2026, 2, 1)  # a Sunday
    phases = [{"name": "pre-open", "start": "09:00", "end": "09:08", "orders": ["LIMIT"], "kind": "auction"}]
    special = [{"date": day, "open": "18:00", "close": "19:00"}]
    row = {"valid_from": day, "valid_to": day, "segments": ["NSE"], "open": "09:15", "close": "15:30"}
    found = phases_from_calendar([row | {"phases": phases, "special": special}], "NSE", False, day)
    assert [(p.name, p.end_ns - p.start_ns) for p in found] == [("continuous", 3600 * 10**9)]


def test_how_much_a_special_day_is_shifted() -> None:
    special = [
        row | {"special": [{"date": dt.date(2026, 11, 8), "open": "18:00", "close": "19:00"}]} for row in ROWS
    ]
    phases = Phases(special)
    assert phases.shift_ns("NSE", dt.date(2026, 11, 8)) == 3.5 * 3600 * 10**9
    assert phases.shift_ns("NSE", dt.date(2026, 11, 9)) == 0
    assert Phases(ROWS).shift_ns("MCX", dt.date(2026, 1, 1)) == -6.5 * 3600 * 10**9
    with pytest.raises(CalendarError):
        phases.shift_ns("NSE", dt.date(2031, 1, 6))
