"""The dated files are found and read."""

from __future__ import annotations

import datetime as dt

import pytest

from kite_hft.settings import SettingsError
from kite_hft.sim.exchange.defaults import _find, default_calendar, default_market_rules


def test_rules_and_calendar_are_there() -> None:
    assert default_market_rules().limit("orders_per_day") == 5_000
    assert default_market_rules(dt.date(2025, 12, 15)).limit("orders_per_day") == 3_000
    assert any("NSE" in row["segments"] for row in default_calendar())


def test_a_missing_file_says_where_it_was_looked_for() -> None:
    with pytest.raises(SettingsError, match=r"config/rules/none\.yaml is in none of .*config"):
        _find("rules/none.yaml")
