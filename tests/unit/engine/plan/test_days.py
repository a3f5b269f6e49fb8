"""Trading hours of a run, by instrument."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.market.feeds import market_hours
from kite_hft.engine.plan.days import open_for, session_arrays, sessions_now, trading_day
from kite_hft.sessions import CalendarError, ist_text
from kite_hft.settings import Settings, TradingSection
from kite_hft.trading.instruments import CSV_COLUMNS, parse_csv
from kite_hft.trading.ports import ALWAYS_NS

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


def test_hours_bind_only_the_market_of_today() -> None:
    day = dt.date(2026, 11, 20)
    opens, closes = session_arrays(settings(), TABLE, NOW_NS)
    clock = ManualClock(0, int(opens[0]) + 7)
    since = open_for(settings(), TABLE, clock)
    assert (since(0), since(1)) == (7, 7)
    clock.real = int(closes[0])
    assert since(0) == -1 and since(1) == int(closes[0] - opens[1])  # derivatives trade longer
    clock.real = int(opens[0]) - 1
    assert since(0) == -1
    assert sessions_now(settings(date=day), TABLE, NOW_NS) is not None
    replayed = settings(date=dt.date(2025, 12, 15))  # a simulator's market
    assert sessions_now(replayed, TABLE, NOW_NS) is None
    assert open_for(replayed, TABLE, clock)(0) == ALWAYS_NS


def test_a_connection_is_expected_to_bring_data_in_the_hours_of_its_own_instruments() -> None:
    clock = ManualClock(0, NOW_NS)
    clock.real = NOW_NS // 86_400_000_000_000 * 86_400_000_000_000 + (10 * 60 + 5) * 60 * 10**9  # 15:35 IST
    assert ist_text(clock.real) == "2026-11-20 15:35:00"
    hours = [market_hours(settings(), TABLE, slots, clock)() for slots in ([0], [1], [0, 1], [])]
    assert hours == [False, True, True, False]
