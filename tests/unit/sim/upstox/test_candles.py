"""Upstox's candles: units and intervals, what they are made of, spans, refusals; no token needed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from sim_tools import book_of
from upstox_bench import DAY, ELEVEN, EQUITY, HOUR, INDEX, SECOND, Bench

from kite_hft.layout import TICK

HISTORY = f"/v3/historical-candle/{EQUITY}"
TODAY = f"/v3/historical-candle/intraday/{EQUITY}"
OLD = f"/v2/historical-candle/{EQUITY}"


def candles(bench: Bench, path: str) -> list[list[Any]]:
    status, answer = bench.ask("GET", path, token="")
    assert status == 200, answer
    rows: list[list[Any]] = answer["data"]["candles"]
    return rows


def joined(rows: list[list[Any]]) -> list[Any]:
    """Candles, newest first, as one."""
    return [
        rows[-1][1], max(r[2] for r in rows), min(r[3] for r in rows), rows[0][4], sum(r[5] for r in rows),
        rows[0][6],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(ELEVEN)


@pytest.mark.parametrize(
    ("unit", "interval", "minutes"),
    [("minutes", 5, 5), ("minutes", 7, 7), ("minutes", 300, 300), ("hours", 1, 60), ("hours", 5, 300)],
)
def test_longer_candles_are_minutes_from_the_opening(
    bench: Bench, unit: str, interval: int, minutes: int
) -> None:
    small = candles(bench, f"{HISTORY}/minutes/1/2026-11-19/2026-11-18")
    groups: dict[dt.datetime, list[list[Any]]] = {}
    for row in small:
        at = dt.datetime.fromisoformat(row[0])
        opened = at.replace(hour=9, minute=15)
        start = opened + (at - opened) // dt.timedelta(minutes=minutes) * dt.timedelta(minutes=minutes)
        groups.setdefault(start, []).append(row)
    found = candles(bench, f"{HISTORY}/{unit}/{interval}/2026-11-19/2026-11-18")
    assert [dt.datetime.fromisoformat(row[0]) for row in found] == list(groups)
    assert [row[1:] for row in found] == [joined(rows) for rows in groups.values()]


def test_days_weeks_and_months(bench: Bench) -> None:
    days = candles(bench, f"{HISTORY}/days/1/2026-10-31/2026-08-01")
    for unit, start in (
        ("weeks", lambda day: day - dt.timedelta(days=day.weekday())),
        ("months", lambda day: day.replace(day=1)),
    ):
        groups: dict[dt.date, list[list[Any]]] = {}
        for row in days:
            groups.setdefault(start(dt.date.fromisoformat(row[0][:10])), []).append(row)
        found = candles(bench, f"{HISTORY}/{unit}/1/2026-10-31/2026-08-01")
        assert [row[0] for row in found] == [f"{day}T00:00:00+05:30" for day in groups]
        assert [row[1:] for row in found] == [joined(rows) for rows in groups.values()]
        assert found == candles(bench, f"{OLD}/{unit.removesuffix('s')}/2026-10-31/2026-08-01")
    assert days == candles(bench, f"{OLD}/day/2026-10-31/2026-08-01")
    assert candles(bench, f"{HISTORY}/minutes/30/2026-10-30/2026-10-29") == candles(
        bench, f"{OLD}/30minute/2026-10-30/2026-10-29"
    )
    assert len(candles(bench, f"{OLD}/day/2026-10-31")) == len(
        [row for row in days if row[0] >= "2026-10-01"]
    )


def test_today_is_what_the_ticks_were() -> None:
    bench = Bench(ELEVEN)
    for minute in range(12):
        bench.now = ELEVEN + minute * 60 * SECOND
        ticks = book_of(0, 10_000 + minute * 5, 10_005 + minute * 5, 10, volume=1000 + 10 * minute)
        ticks["exch_ns"], ticks["open_px"] = bench.now, 10_000
        bench.api.on_ticks(ticks, bench.now)
    one = candles(bench, f"{TODAY}/minutes/1")
    assert [row[4] for row in one] == [(10_000 + m * 5) / 100 for m in range(12)][::-1]
    assert candles(bench, f"{TODAY}/minutes/5")[-1][1:5] == [100.0, 100.2, 100.0, 100.2]
    assert [row[0][11:16] for row in candles(bench, f"{TODAY}/minutes/5")] == ["11:10", "11:05", "11:00"]
    assert one == candles(bench, f"/v2/historical-candle/intraday/{EQUITY}/1minute")
    (day,) = candles(bench, f"{TODAY}/days/1")
    assert day[0] == "2026-11-20T00:00:00+05:30" and day[4] == 100.55


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{HISTORY}/seconds/1/2026-11-19", "UDAPI1146"), (f"{TODAY}/weeks/1", "UDAPI1146"),
        (f"{HISTORY}/minutes/301/2026-11-19", "UDAPI1147"), (f"{HISTORY}/minutes/0/2026-11-19", "UDAPI1147"),
        (f"{HISTORY}/hours/6/2026-11-19", "UDAPI1147"), (f"{HISTORY}/days/2/2026-11-19", "UDAPI1147"),
        (f"{HISTORY}/minutes/x/2026-11-19", "UDAPI1147"),
        (f"{HISTORY}/minutes/15/2026-11-19/2026-10-01", "UDAPI1148"),
        (f"{HISTORY}/minutes/16/2026-11-19/2026-08-01", "UDAPI1148"),
        (f"{HISTORY}/hours/1/2026-11-19/2026-08-01", "UDAPI1148"),
        (f"{HISTORY}/days/1/2026-11-19/2016-01-01", "UDAPI1148"),
        (f"{HISTORY}/days/1/2026-11-18/2026-11-19", "UDAPI1148"),
        (f"{HISTORY}/days/1/20261119", "UDAPI1015"), (f"{OLD}/day/19-11-2026", "UDAPI1015"),
        (f"{OLD}/5minute/2026-11-19", "UDAPI1020"),
        (f"/v2/historical-candle/intraday/{EQUITY}/day", "UDAPI1020"),
        ("/v3/historical-candle/NSE_EQ|X/days/1/2026-11-19", "UDAPI100011"),
    ],
)  # fmt: skip
def test_what_is_refused(bench: Bench, path: str, code: str) -> None:
    assert bench.code("GET", path) == (400, code)


def test_spans_that_just_fit(bench: Bench) -> None:
    assert candles(bench, f"{HISTORY}/minutes/15/2026-11-19/2026-10-19")
    assert candles(bench, f"{HISTORY}/hours/4/2026-11-19/2026-08-19")
    assert candles(bench, f"{HISTORY}/weeks/1/2026-11-19/2015-06-01")


def test_nothing_of_the_future_and_nothing_without_a_price(bench: Bench) -> None:
    assert candles(bench, f"{HISTORY}/days/1/2026-12-31/2026-11-21") == []
    assert candles(bench, f"/v3/historical-candle/{INDEX}/days/1/2026-11-19") == []
    bench.exchange.on_ticks(np.zeros(0, TICK), DAY + 12 * HOUR)
