"""Hours of one's own leave time to close what must not stay overnight."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.orders.own_hours import refuse_early_end
from kite_hft.sessions import ist_midnight_ns, seconds_of_day
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.instruments import Instrument, InstrumentTable

FRIDAY = dt.date(2026, 11, 20)
NOW = ist_midnight_ns(FRIDAY) + seconds_of_day("09:00") * 1_000_000_000
CONFIG = Path("config").resolve()
FILES = {"calendar": CONFIG / "calendar/india.yaml", "market": CONFIG / "rules/market_2026-08-03.yaml"}


def settings(end: str, mode: str = "live", **more: Any) -> Settings:
    trading = FILES | {"market_start": "09:15:00", "market_end": end} | more.pop("trading", {})
    return Settings.model_validate({"mode": mode, "trading": trading} | more)


def table(*exchanges: str) -> InstrumentTable:
    kinds = {"NSE": "EQ"}
    return InstrumentTable(
        tuple(
            Instrument(at, 257 + at, at, f"X{at}", name, name, kinds.get(name, "FUT"), 5, 1)
            for at, name in enumerate(exchanges)
        )
    )


def test_an_end_before_the_hour_of_closing_is_refused_with_cause_and_way_out() -> None:
    with pytest.raises(SettingsError, match=r"is before 15:08:00.*left to the broker") as e:
        refuse_early_end(settings("15:00:00"), NOW)
    assert "Leave market_start and market_end out" in str(e.value)
    refuse_early_end(settings("15:08:00"), NOW)


def test_the_hour_is_that_of_what_the_run_trades() -> None:
    refuse_early_end(settings("15:10:00"), NOW, table("NSE"))
    with pytest.raises(SettingsError, match=r"before 15:20:00.* of NFO"):
        refuse_early_end(settings("15:10:00"), NOW, table("NSE", "NFO"))
    with pytest.raises(SettingsError, match=r"before 23:00:00.* of MCX"):
        refuse_early_end(settings("22:00:00"), NOW, table("MCX"))
    refuse_early_end(settings("22:00:00"), NOW)


def test_a_simulator_and_a_run_by_the_calendar_may_end_when_they_like() -> None:
    here = {"kite": {"ws_url": "ws://127.0.0.1:1", "api_url": "http://127.0.0.1:1"}}
    refuse_early_end(settings("15:00:00", **here), NOW)
    refuse_early_end(settings("15:00:00", "sim"), NOW)
    refuse_early_end(Settings.model_validate({"mode": "live", "trading": FILES}), NOW)
