"""Weeks, months and averages: day by day, at once, by the slow twin and by pandas they are the same."""

from __future__ import annotations

import datetime as dt
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import history as twin

from kite_hft.trading import history

FIRST = dt.date(2019, 12, 20)
DATA_FILE = "nse_daily/nse_daily_260stocks_last780.csv.xz"


@st.composite
def day_rows(draw: st.DrawFn) -> list[twin.Row]:
    """Trading days with holes of any length, weekends among them; prices of up to 7 decimals."""
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 4, 9, 40]), min_size=1, max_size=120))
    prices = st.integers(1, 10**13).map(lambda units: units / history.UNITS)
    day, rows = FIRST, []
    for step in steps:
        day += dt.timedelta(days=step)
        four = [draw(prices) for _ in range(4)]
        rows.append((day, four[0], max(four), min(four), four[1], draw(st.integers(0, 10**9))))
    return rows


def as_days(rows: list[twin.Row]) -> Any:
    days = np.zeros(len(rows), history.DAY)
    for i, row in enumerate(rows):
        days[i] = (np.datetime64(row[0]), *row[1:], 0)
    return days


def same(found: Any, wanted: list[float | None]) -> None:
    np.testing.assert_array_equal(found, [np.nan if x is None else x for x in wanted])


@settings(max_examples=60, deadline=None)
@given(day_rows(), st.sampled_from([(1,), (2, 5), (9, 30)]))
def test_bars_and_averages_are_the_twins(rows: list[twin.Row], windows: tuple[int, ...]) -> None:
    days = as_days(rows)
    history.check(days)
    for frame in history.FRAMES:
        bars, wanted = history.fold(days, frame), twin.bars(rows, frame)
        assert [
            (b["first"].item(), b["last"].item(), *(b[n].item() for n in ("open", "high", "low", "close")),
             b["volume"].item(), b["days"].item())
            for b in bars
        ] == wanted  # fmt: skip
        found = history.averages(bars["close"], windows)
        for column, window in enumerate(windows):
            same(found[:, column], twin.average([b[5] for b in wanted], window))


@settings(max_examples=40, deadline=None)
@given(st.lists(day_rows(), min_size=1, max_size=3), st.sampled_from([(1, 3), (2, 9)]))
def test_day_by_day_is_the_same_as_at_once(many: list[list[twin.Row]], windows: tuple[int, ...]) -> None:
    """Series that trade on days of their own; each prefix of the days, not the end alone."""
    pyramid = history.Pyramid(len(many), windows)
    closes = {row[0]: np.full(len(many), np.nan) for rows in many for row in rows}
    for i, rows in enumerate(many):
        for row in rows:
            closes[row[0]][i] = row[4]
    for day in sorted(closes):
        pyramid.push(np.datetime64(day), np.where(np.isnan(closes[day]), np.nan, 1.0))  # corrected below
        pyramid.push(np.datetime64(day), closes[day])
        means = pyramid.means()
        for i, rows in enumerate(many):
            so_far = as_days([row for row in rows if row[0] <= day])
            for f, frame in enumerate(history.FRAMES):
                bars = history.fold(so_far, frame)
                wanted = (
                    history.averages(bars["close"], windows)[-1] if len(bars) else [np.nan] * len(windows)
                )
                np.testing.assert_array_equal(means[i, f], wanted)


@settings(max_examples=60, deadline=None)
@given(day_rows(), st.integers(1, 10**13), st.sampled_from([(1, 3), (2, 9)]))
def test_rests_give_the_average_of_a_moving_price(
    rows: list[twin.Row], units: int, windows: tuple[int, ...]
) -> None:
    price = units / history.UNITS
    closes = as_days(rows)["close"]
    rest, following = history.rests(closes, windows)
    window = np.array(windows)
    moved = history.averages(np.append(closes[:-1], price), windows)[-1]
    grown = history.averages(np.append(closes, price), windows)[-1]
    np.testing.assert_allclose((rest + price) / window, moved, rtol=1e-12)
    np.testing.assert_allclose((following + price) / window, grown, rtol=1e-12)


def test_the_past_is_not_pushed() -> None:
    pyramid = history.Pyramid(1)
    pyramid.push(np.datetime64("2026-01-05"), np.array([1.0]))
    with pytest.raises(history.HistoryError, match="before a day"):
        pyramid.push(np.datetime64("2026-01-02"), np.array([1.0]))


def stocks(data_dir: Path) -> Any:
    """The recorded days as a pandas frame: Date, Symbol and prices."""
    import pandas

    path = data_dir / DATA_FILE
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    with lzma.open(path, "rt") as file:
        return pandas.read_csv(file, parse_dates=["Date"])


@pytest.mark.data
def test_recorded_stocks_come_out_as_pandas_has_them(data_dir: Path) -> None:
    """Every bar and every average of every stock, all three frames, and the rings day by day."""
    frame = stocks(data_dir)
    code = "Symbol" if "Symbol" in frame else "Ticker" if "Ticker" in frame else "Code"
    rules = {"week": "W-SUN", "month": "ME"}
    names = sorted(frame[code].unique())
    pyramid = history.Pyramid(len(names))
    wide = frame.pivot(index="Date", columns=code, values="Close")[names]
    for day, closes in zip(wide.index, wide.to_numpy(), strict=True):
        pyramid.push(np.datetime64(day, "D"), closes)
    means, checked = pyramid.means(), 0
    for i, (_, part) in enumerate(frame.sort_values([code, "Date"]).groupby(code)):
        days = np.zeros(len(part), history.DAY)
        days["day"] = part["Date"].to_numpy().astype("M8[D]")
        for name in ("open", "high", "low", "close", "volume"):
            days[name] = part[name.title()].to_numpy()
        indexed = part.set_index("Date")
        for f, kind in enumerate(history.FRAMES):
            wanted = indexed
            if kind in rules:
                how = {"Open": "first", "High": "max", "Low": "min", "Close": "last", "Volume": "sum"}
                wanted = indexed.resample(rules[kind]).agg(how).dropna(subset=["Close"])
            bars = history.fold(days, kind)
            for name in ("open", "high", "low", "close", "volume"):
                np.testing.assert_array_equal(bars[name], wanted[name.title()].to_numpy())
            found = history.averages(bars["close"])
            for column, window in enumerate(history.WINDOWS):
                rolled = wanted["Close"].rolling(window).mean().to_numpy()
                np.testing.assert_allclose(found[:, column], rolled, rtol=1e-11)
            np.testing.assert_array_equal(means[i, f], found[-1])
            checked += len(bars)
    assert checked > 200_000
