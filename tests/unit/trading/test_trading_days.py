"""Which days are over, which come next, and what looks like a split."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from history_tools import CALENDAR, at_ist, weekdays

from kite_hft.trading.trading_days import TradingDays, jumps, market_moves, missing, voted

NSE = TradingDays(CALENDAR, "NSE")


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("date", "wanted"),
    [
        ("2026-06-10", True),
        ("2026-06-13", False),  # a Saturday
        ("2026-06-26", False),  # a holiday
        ("2026-02-01", True),  # a Sunday on which shares were traded
        ("2019-06-10", None),  # its holidays are not filled in
        ("2019-06-09", False),
        ("1999-01-04", None),  # no row covers it
    ],
)
def test_is_open(date: str, wanted: bool | None) -> None:
    assert NSE.is_open(day(date)) is wanted
    assert NSE.is_open(day(date)) is wanted  # as remembered


@pytest.mark.parametrize(
    ("date", "hour", "wanted"),
    [
        ("2026-06-10", 8.0, "2026-06-09"),
        ("2026-06-10", 15.49, "2026-06-09"),
        ("2026-06-10", 15.5, "2026-06-10"),
        ("2026-06-13", 3.0, "2026-06-13"),  # nothing is traded on it: it is over from its beginning
        ("2026-06-26", 3.0, "2026-06-26"),
    ],
)
def test_done(date: str, hour: float, wanted: str) -> None:
    assert NSE.done(at_ist(date, hour)) == day(wanted)


def test_next_open_passes_weekends_and_holidays() -> None:
    assert NSE.next_open(day("2026-06-12")) == day("2026-06-15")
    assert NSE.next_open(day("2026-06-25")) == day("2026-06-29")
    assert TradingDays((), "NSE").next_open(day("2026-06-12")) == day("2026-06-15")


def test_evening_sessions_end_the_day_of_commodities() -> None:
    mcx = TradingDays(CALENDAR, "MCX")
    assert mcx.done(at_ist("2026-06-10", 16)) == day("2026-06-09")
    assert mcx.done(at_ist("2026-06-10", 23.5)) == day("2026-06-10")


def test_a_minority_does_not_make_a_day() -> None:
    whole = weekdays("2019-01-01", 10)
    many = [whole, np.delete(whole, 4), np.delete(whole, 4), whole[6:]]
    found = voted(many)
    assert whole["day"][4] not in found and len(found) == 9
    assert len(voted(many[:2])) == 0  # two say nothing
    lacking, checked = missing(np.delete(whole, 2), day("2019-01-14"), NSE, found)
    assert (lacking, checked) == ([whole["day"][2].item()], True)


def test_a_move_of_the_market_is_no_split() -> None:
    one = weekdays("2026-06-01", 3)
    for name in ("open", "high", "low", "close"):
        one[name][2] /= 2
    assert "1:2" in jumps(one, {})[0]
    assert jumps(one, market_moves([one] * 3)) == []
    assert len(jumps(one, market_moves([one] * 2))) == 1  # two are no market
    assert jumps(one[:1], {}) == []


def test_the_calendar_of_the_tests_is_the_products() -> None:
    assert Path("config/calendar/india.yaml").exists() and NSE.filled_in(2026)
