"""The hours of each class of instruments."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from kite_hft.app.day.morning.hours import ClassHours, class_hours
from kite_hft.sessions import Phases
from kite_hft.settings import load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import market_rules

ROWS = (
    Instrument(0, 2562, 10, "ABC", "NSE", "NSE", "EQ", 5, 1, name="ABC"),
    Instrument(1, 5122, 20, "XYZ", "NSE", "NSE", "EQ", 5, 1, name="XYZ"),
    Instrument(2, 7682, 30, "XYZ26DECFUT", "NFO", "NFO-FUT", "FUT", 5, 100, name="XYZ", expiry="2026-12-29"),
    Instrument(3, 10247, 40, "GOLD", "MCX", "MCX-FUT", "FUT", 100, 1, name="GOLD", expiry="2026-12-04"),
    Instrument(4, 256265, 50, "NIFTY 50", "NSE", "INDICES", "EQ", 5, 1),
)


def classes(day: dt.date) -> dict[str, ClassHours]:
    rules = market_rules(load_yaml(Path("config/rules/market_2026-08-03.yaml")), day, "kite")
    calendar = Phases(load_yaml(Path("config/calendar/india.yaml")))
    found = class_hours(InstrumentTable(ROWS), rules, calendar, day, frozenset({"XYZ"}))
    return {row.name: row for row in found}


def test_a_day_in_november() -> None:
    found = classes(dt.date(2026, 11, 20))
    assert {name: (row.instruments, row.trades_from, row.trades_until) for name, row in found.items()} == {
        "NSE shares, closing auction": (1, "09:15", "15:15"),
        "NSE shares, no auction": (1, "09:15", "15:30"),
        "NSE derivatives": (1, "09:15", "15:40"),
        "MCX": (1, "09:00", "23:30"),
    }
    auction = found["NSE shares, closing auction"]
    assert (auction.entries_until, auction.flat_by, auction.special) == ("14:55", "15:08", False)
    assert [name for name, _, _ in auction.phases][-1] == "close_limit"


def test_a_holiday_of_the_exchange_and_an_evening_session() -> None:
    found = classes(dt.date(2026, 11, 24))
    assert not found["NSE derivatives"].trades and not found["NSE shares, no auction"].trades
    assert (found["MCX"].trades_from, found["MCX"].trades_until) == ("17:00", "23:30")


def test_a_sunday_session_is_special() -> None:
    assert classes(dt.date(2026, 2, 1))["NSE shares, no auction"].special


def test_an_uncovered_year_is_an_error_in_words() -> None:
    row = classes(dt.date(2027, 1, 4))["NSE derivatives"]
    assert not row.trades and "no calendar row covers NFO" in row.error
