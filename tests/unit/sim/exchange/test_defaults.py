"""The dated files are found and read."""

from __future__ import annotations

import datetime as dt

import pytest

from kite_hft.sessions import phases_from_calendar
from kite_hft.settings import SettingsError
from kite_hft.sim.exchange.defaults import _find, default_calendar, default_market_rules
from kite_hft.sim.kite.rows import ist_text


def test_rules_and_calendar_are_there() -> None:
    assert default_market_rules().limit("orders_per_day") == 5_000
    assert default_market_rules(dt.date(2025, 12, 15)).limit("orders_per_day") == 3_000
    assert any("NSE" in row["segments"] for row in default_calendar())


def test_a_missing_file_says_where_it_was_looked_for() -> None:
    with pytest.raises(SettingsError, match=r"config/rules/none\.yaml is in none of .*config"):
        _find("rules/none.yaml")


@pytest.mark.parametrize(
    ("day", "shares", "commodities"),
    [
        (dt.date(2026, 11, 23), True, "09:00"),
        (dt.date(2026, 11, 24), False, "17:00"),  # Guru Nanak's birthday: MCX trades in the evening
        (dt.date(2026, 12, 25), False, None),
        (dt.date(2026, 2, 1), True, None),  # the Sunday of the Budget
        (dt.date(2026, 5, 28), False, "17:00"),
        (dt.date(2026, 3, 3), False, "17:00"),
    ],
)
def test_holidays_of_2026(day: dt.date, shares: bool, commodities: str | None) -> None:
    for segment in ("NSE", "BSE", "INDICES", "NFO", "BFO"):
        assert bool(phases_from_calendar(default_calendar(), segment, False, day)) == shares, segment
    phases = phases_from_calendar(default_calendar(), "MCX", False, day)
    opens = ist_text(phases[0].start_ns)[11:16] if phases else None
    assert opens == commodities


def test_every_row_of_2026_names_the_same_holidays_of_shares() -> None:
    rows = [r for r in default_calendar() if r["segments"][0] in ("NSE", "NFO", "CDS")]
    assert {tuple(row["holidays"]) for row in rows} == {tuple(rows[0]["holidays"])}
    assert len(rows[0]["holidays"]) == 16 and all(day.weekday() < 5 for day in rows[0]["holidays"])
