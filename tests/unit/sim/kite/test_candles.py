"""Candles: today's against a slow fold of the same ticks, history against itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sim_tools import COMMODITY, CURRENCY, EQUITY, INDEX, SECOND, TABLE

from kite_hft.layout import TICK
from kite_hft.sim.kite.candles import DAY_S, MINUTES, Candles, day_of, day_start_s, hours, odd_days
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import Instrument

MIDNIGHT_S = day_start_s(dt.date(2026, 11, 20))  # a Friday
OPEN_S = MIDNIGHT_S + 33_300
FUTURE = Instrument(
    1, 2 + 256, 1, "F", "NFO", "NFO-FUT", "FUT", 5, 50, name="F", expiry="2026-12-29", multiplier=1
)
Bars = list[tuple[int, ...]]


def rows(bars: np.ndarray[Any, Any]) -> Bars:
    return [tuple(int(v) for v in row)[1:] for row in bars.tolist()]


def fold(ticks: np.ndarray[Any, Any], slot: int, minutes: int) -> Bars:
    """The slow twin: one tick after the other; the first one brings the day's open along."""
    out: list[list[int]] = []
    before = 0
    for tick in ticks[ticks["slot"] == slot]:
        at_s = int(tick["exch_ns"]) // SECOND
        start = OPEN_S + (at_s - OPEN_S) // (minutes * 60) * (minutes * 60)
        px, volume, oi = int(tick["last_px"]), int(tick["volume"]), int(tick["oi"])
        if not out:
            out.append([start, int(tick["open_px"]), int(tick["high_px"]), int(tick["low_px"]), px, 0, oi])
        elif out[-1][0] != start:
            out.append([start, px, px, px, px, 0, oi])
        bar = out[-1]
        bar[2:5] = max(bar[2], px), min(bar[3], px), px
        bar[5:] = bar[5] + volume - before, oi
        before = volume
    return [tuple(bar) for bar in out]


@pytest.fixture(scope="module")
def day() -> tuple[Candles, np.ndarray[Any, Any], SyntheticMarket]:
    """A market of 12 instruments over nine minutes, taken in batches of many sizes."""
    table, base = default_instruments(12, 5)
    market = SyntheticMarket(table, base, 1.0, 5, OPEN_S * SECOND)
    candles, parts = Candles(table, 5), []
    for i, until in enumerate(np.cumsum(np.random.default_rng(1).uniform(0.1, 20, 54))):
        part = market.take(int(until * SECOND), 1 << 20)[1]
        parts.append(part)
        for piece in np.array_split(part, 1 + i % 5):
            candles.on_ticks(piece)
    return candles, np.concatenate(parts), market


@pytest.mark.parametrize("interval", MINUTES)
def test_bars_of_today_are_the_slow_fold_of_the_ticks(day: Any, interval: str) -> None:
    candles, ticks, market = day
    assert len(ticks) > 5000
    for row in market.instruments:
        tick = market.opening()[row.slot]
        ours = candles.bars(row, interval, OPEN_S, OPEN_S + DAY_S, tick, OPEN_S)
        assert rows(ours) == fold(ticks, row.slot, MINUTES[interval])


def test_the_day_bar_is_what_the_quotes_show(day: Any) -> None:
    candles, _, market = day
    for row in market.instruments:
        tick = market.opening()[row.slot]
        (bar,) = candles.bars(row, "day", OPEN_S - 33_300, OPEN_S, tick, OPEN_S)
        names = ("open_px", "high_px", "low_px", "volume", "oi")
        assert [bar[n] for n in names] == [tick[n] for n in names] and bar["close_px"] == tick["last_px"]
        minutes = candles.bars(row, "minute", OPEN_S, OPEN_S + DAY_S, tick, OPEN_S)
        assert minutes["high_px"].max() == tick["high_px"] and minutes["low_px"].min() == tick["low_px"]
        assert minutes["volume"].sum() == tick["volume"] and minutes["open_px"][0] == tick["open_px"]


def test_a_day_that_began_before_the_first_tick() -> None:
    """Nothing is known of the time before: the first bar begins with its own tick."""
    candles = Candles(TABLE, 1)
    tick = np.zeros(1, TICK)
    tick["exch_ns"], tick["last_px"], tick["open_px"] = (OPEN_S + 3700) * SECOND, 10_000, 9_000
    tick["high_px"], tick["low_px"], tick["volume"], tick["last_qty"] = 11_000, 8_000, 5_000, 20
    candles.on_ticks(tick)
    bars = candles.bars(EQUITY, "minute", OPEN_S, OPEN_S + DAY_S, tick[0], OPEN_S)
    assert rows(bars) == [(OPEN_S + 3660, 10_000, 10_000, 10_000, 10_000, 20, 0)]


def test_ticks_from_before_the_forming_minute_are_left_out() -> None:
    candles = Candles(TABLE, 1)
    for at_s, px in ((OPEN_S + 60, 100), (OPEN_S, 999), (OPEN_S + 61, 101)):
        tick = np.zeros(1, TICK)
        tick["exch_ns"], tick["last_px"], tick["open_px"] = at_s * SECOND, px, 100
        tick["high_px"] = tick["low_px"] = 100
        candles.on_ticks(tick)
        assert candles.today_bars.today() == dt.date(2026, 11, 20)
    assert [row[1:5] for row in rows(candles.today_bars.of(0))] == [(100, 101, 100, 101)]


def quoted(close_px: int) -> np.void:
    tick = np.zeros(1, TICK)
    tick["close_px"], tick["exch_ns"] = close_px, OPEN_S * SECOND
    return tick[0]


CLOSES = {EQUITY.slot: 80_000, INDEX.slot: 2_500_000, CURRENCY.slot: 845_000_000, COMMODITY.slot: 12_100_000}


def history(row: Instrument, interval: str, seed: int = 1, since: int = 30) -> Bars:
    candles = Candles(TABLE, seed)
    bars = candles.bars(
        row, interval, MIDNIGHT_S - since * DAY_S, MIDNIGHT_S - 1, quoted(CLOSES[row.slot]), OPEN_S
    )
    return rows(bars)


def by_day(bars: Bars) -> Iterator[tuple[dt.date, Bars]]:
    for day in sorted({day_of(bar[0]) for bar in bars}):
        yield day, [bar for bar in bars if day_of(bar[0]) == day]


@pytest.mark.parametrize("row", [EQUITY, INDEX, CURRENCY, COMMODITY], ids=lambda r: r.symbol)
def test_history_is_whole(row: Instrument) -> None:
    minutes, days = history(row, "minute"), history(row, "day")
    assert [d for d, _ in by_day(minutes)] == [day_of(bar[0]) for bar in days]
    for (day, own), whole in zip(by_day(minutes), days, strict=True):
        opens, closes = hours(row, day)
        assert day.weekday() < 5 and whole[0] == day_start_s(day)
        assert [bar[0] for bar in own] == list(range(whole[0] + opens, whole[0] + closes, 60))
        assert whole[1:5] == (
            own[0][1], max(b[2] for b in own), min(b[3] for b in own), own[-1][4],
        )  # fmt: skip
        assert whole[5] == sum(b[5] for b in own)
        for bar in own:
            assert bar[3] <= min(bar[1], bar[4]) <= max(bar[1], bar[4]) <= bar[2]
            assert all(px > 0 and px % max(row.tick_px, 1) == 0 for px in bar[1:5])
            assert bar[5] % max(row.lot_size, 1) == 0 and (bar[5] > 0) != row.is_index
    assert days[-1][4] == CLOSES[row.slot]


def test_history_depends_on_seed_token_and_day_alone() -> None:
    whole = history(EQUITY, "minute")
    assert history(EQUITY, "minute") == whole != history(EQUITY, "minute", seed=2)
    assert history(EQUITY, "minute", since=5) == [b for b in whole if b[0] >= MIDNIGHT_S - 5 * DAY_S]
    assert history(EQUITY, "15minute")[0][1] == whole[0][1]


def test_a_contract_has_history_from_its_listing_and_the_continuous_series_before() -> None:
    candles = Candles(TABLE, 1)
    far = OPEN_S - 1000 * DAY_S, OPEN_S
    alone = candles.bars(FUTURE, "day", *far, quoted(50_000), OPEN_S)
    joined = candles.bars(FUTURE, "day", *far, quoted(50_000), OPEN_S, continuous=True)
    assert day_of(int(alone["start_s"][0])) >= dt.date(2026, 9, 30) and len(joined) > 700
    assert rows(joined)[-len(alone) :] == rows(alone)
    assert (alone["oi"] > 0).all()


def test_nothing_is_made_up_without_a_close_or_on_a_holiday() -> None:
    span = MIDNIGHT_S - 5 * DAY_S, MIDNIGHT_S - 1
    assert len(Candles(TABLE, 1).bars(EQUITY, "day", *span, quoted(0), OPEN_S)) == 0
    sunday = {"date": dt.date(2026, 11, 15), "open": "18:00:00", "close": "19:00:00"}
    row = {"segments": ["NSE"], "holidays": [dt.date(2026, 11, 18)], "special": [sunday]}
    candles = Candles(TABLE, 1, odd_days([row]))
    bars = candles.bars(EQUITY, "day", *span, quoted(80_000), OPEN_S)
    assert [day_of(int(s)).day for s in bars["start_s"]] == [15, 16, 17, 19]
    evening = candles.bars(EQUITY, "30minute", *span, quoted(80_000), OPEN_S)[:2]
    opens = day_start_s(sunday["date"]) + 18 * 3600
    assert evening["start_s"].tolist() == [opens, opens + 1800]
    assert len(candles.bars(FUTURE, "day", *span, quoted(50_000), OPEN_S)) == 4  # another exchange


def test_hours_by_date() -> None:
    assert hours(FUTURE, dt.date(2026, 8, 2)) == (33_300, 55_800)
    assert hours(FUTURE, dt.date(2026, 8, 3)) == (33_300, 56_400)
    assert hours(COMMODITY, dt.date(2020, 1, 1)) == (32_400, 84_600)


def test_shares_of_the_closing_auction_have_fewer_minutes_since_it_began() -> None:
    candles = Candles(TABLE, 1, cas=frozenset({EQUITY.slot}))
    for day, minutes in ((dt.date(2026, 7, 31), 375), (dt.date(2026, 8, 3), 360)):
        start = day_start_s(day)
        bars = candles.bars(EQUITY, "minute", start, start + DAY_S - 1, quoted(80_000), OPEN_S)
        assert len(bars) == minutes
