"""The calendar of the days to come: covered or not, and what Upstox says of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from kite_hft.app.day.doctor.calendars import AHEAD, compared, coverage, hours_compared, spoken_of
from kite_hft.brokers.upstox.holidays import Holiday, parse_holidays, parse_timings
from kite_hft.sessions import ist_midnight_ns
from kite_hft.settings import load_yaml

ROWS = load_yaml(Path("config/calendar/india.yaml"))
FRIDAY = dt.date(2026, 11, 20)
HOLIDAY = dt.date(2026, 11, 24)
MINUTE_NS = 60 * 10**9


def test_five_sessions_ahead_are_looked_at() -> None:
    found = coverage(ROWS, ["NSE", "MCX"], FRIDAY)
    days = dict(found.days)
    assert days[FRIDAY] == ("MCX", "NSE") and days[HOLIDAY] == ("MCX",) and not found.uncovered
    assert dt.date(2026, 11, 21) not in days and len(days) == AHEAD + 1


def test_an_uncovered_day_is_named() -> None:
    found = coverage(ROWS, ["NSE"], dt.date(2026, 12, 30))
    day, text = found.uncovered[0]
    assert day == dt.date(2027, 1, 1) and "no calendar row covers NSE on 2027-01-01" in text


def test_a_day_off_is_in_the_list_when_it_is_the_traded_one() -> None:
    assert coverage(ROWS, ["NSE"], HOLIDAY).days[0] == (HOLIDAY, ())


def test_holidays_of_this_year_say_nothing_of_another() -> None:
    days = [dt.date(2026, 12, 31), dt.date(2027, 1, 1)]
    assert spoken_of(days, FRIDAY) == days[:1] and spoken_of(days, dt.date(2027, 1, 1)) == days[1:]
    assert spoken_of(days, dt.date(2028, 1, 3)) == []


def test_upstox_that_says_the_same_and_one_that_does_not() -> None:
    told = {HOLIDAY: Holiday(HOLIDAY, "Guru Nanak", frozenset({"NSE"}), {})}
    days = [FRIDAY, dt.date(2026, 11, 22), HOLIDAY]
    assert compared(ROWS, ["NSE", "MCX"], days, told) == ()
    assert compared(ROWS, ["NSE"], days, {}) == ("NSE on 2026-11-24: the calendar says closed, Upstox open",)
    told = {FRIDAY: Holiday(FRIDAY, "Election", frozenset({"NSE"}), {})}
    assert compared(ROWS, ["NSE"], [FRIDAY], told) == (
        "NSE on 2026-11-20: the calendar says open, Upstox closed (Election)",
    )


def test_a_special_session_opens_a_closed_day() -> None:
    sunday = dt.date(2026, 2, 1)
    told = {sunday: Holiday(sunday, "Budget", frozenset({"MCX"}), {"NSE": (1, 2)})}
    assert compared(ROWS, ["NSE"], [sunday], told) == ()


def test_hours_that_differ_are_told_in_both_words() -> None:
    base = ist_midnight_ns(FRIDAY)
    ours = (base + 555 * MINUTE_NS, base + 930 * MINUTE_NS)
    assert hours_compared(ROWS, ["NSE"], FRIDAY, {"NSE": ours}) == ()
    late = (ours[0], ours[1] + 10 * MINUTE_NS)
    (told,) = hours_compared(ROWS, ["NSE", "NFO"], FRIDAY, {"NSE": late})
    assert told == "NSE on 2026-11-20: the calendar says 09:15 to 15:30, Upstox 09:15 to 15:40"


def test_upstox_rows_are_read_with_its_own_names() -> None:
    body = (
        b'{"status":"success","data":[{"date":"2026-11-24","description":"x","holiday_type":"TRADING_HOLIDAY",'
        b'"closed_exchanges":["NSE","NSCOM"],"open_exchanges":[{"exchange":"MCX","start_time":1000,"end_time":2000}]}]}'
    )
    row = parse_holidays(body)[HOLIDAY]
    assert row.closed == {"NSE", "NCO"} and row.open == {"MCX": (10**9, 2 * 10**9)}
    body = b'{"status":"success","data":[{"exchange":"NSE","start_time":1,"end_time":2}]}'
    assert parse_timings(body) == {"NSE": (10**6, 2 * 10**6)}
