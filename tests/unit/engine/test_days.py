"""Trading hours of a run, by instrument."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from kite_hft.engine.days import session_arrays, trading_day
from kite_hft.sessions import CalendarError, ist_text
from kite_hft.settings import Settings, TradingSection
from kite_hft.trading.instruments import CSV_COLUMNS, parse_csv

TABLE = parse_csv(
    [
        ",".join(CSV_COLUMNS),
        "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE",
        "13163010,51418,X26DECFUT,X,0,2026-12-29,0,0.05,35,FUT,NFO-FUT,NFO",
    ]
)
CALENDAR = Path("config/calendar/india.yaml").resolve()
NOW_NS = 1_795_150_800 * 10**9  # 2026-11-20


def settings(**trading: object) -> Settings:
    return Settings(trading=TradingSection(calendar=CALENDAR, **trading))


def test_each_segment_has_its_own_hours() -> None:
    opens, closes = session_arrays(settings(), TABLE, NOW_NS)
    assert [ist_text(int(t)) for t in opens] == ["2026-11-20 09:15:00"] * 2
    assert [ist_text(int(t))[11:] for t in closes] == ["15:30:00", "15:40:00"]


def test_the_configured_day_and_hours_win() -> None:
    chosen = settings(date=dt.date(2025, 12, 15))
    assert trading_day(chosen, NOW_NS) == dt.date(2025, 12, 15)
    assert ist_text(int(session_arrays(chosen, TABLE, NOW_NS)[1][1])) == "2025-12-15 15:30:00"
    fixed = settings(market_start="10:00", market_end="11:00")
    assert ist_text(int(session_arrays(fixed, TABLE, NOW_NS)[0][0])) == "2026-11-20 10:00:00"


def test_a_closed_day_is_an_error() -> None:
    with pytest.raises(CalendarError, match="closed on 2026-11-22"):
        session_arrays(settings(date=dt.date(2026, 11, 22)), TABLE, NOW_NS)
