"""Sizes by hand: risk, stop, volatility, margin, lots."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_world import PX, instrument

from kite_hft.layout import Side
from kite_hft.trading.gate import sizing
from kite_hft.trading.gate.sizing import Size, SizingError, position_size

SHARE = instrument(0)
FUTURE = replace(SHARE, exchange="NFO", kind="FUT", lot_size=75, multiplier=1)
METAL = replace(SHARE, exchange="MCX", kind="FUT", lot_size=1, multiplier=2500)
CURRENCY = replace(
    SHARE, exchange="CDS", kind="FUT", lot_size=1, multiplier=1000, scale=10**7, tick_px=25_000
)
RUPEE = 100


def test_one_percent_a_day_over_five_trades() -> None:
    assert sizing.risk_per_trade_paise(500_000 * RUPEE) == 1_000 * RUPEE
    assert sizing.risk_per_trade_paise(500_000 * RUPEE, 2.0, 4) == 2_500 * RUPEE
    assert sizing.risk_per_trade_paise(0) == 0
    for words in ((-1,), (1, 0.0), (1, 101.0), (1, math.nan), (1, 1.0, 0)):
        with pytest.raises(SizingError):
            sizing.risk_per_trade_paise(*words)


def test_by_the_stop() -> None:
    # 1,000 rupees of risk, 5 rupees to the stop: 200 shares
    assert position_size(SHARE, PX, PX - 500, 1_000 * RUPEE, free_paise=10**9) == Size(200, "risk")
    assert position_size(SHARE, PX, PX + 500, 1_000 * RUPEE, free_paise=10**9).quantity == 200
    assert position_size(FUTURE, PX, PX - 500, 1_000 * RUPEE, free_paise=10**9).quantity == 150
    assert position_size(METAL, PX, PX - 10, 1_000 * RUPEE, free_paise=10**9).quantity == 4
    unit = 10**7
    assert position_size(CURRENCY, 80 * unit, 79 * unit, 3_500 * RUPEE, free_paise=10**9).quantity == 3
    assert position_size(SHARE, PX, PX - 500, 499, free_paise=10**9).quantity == 0
    assert position_size(SHARE, PX, PX - 500, -1, free_paise=10**9).quantity == 0


def test_by_the_margin_the_volatility_and_the_limit() -> None:
    wide: dict[str, Any] = {"risk_paise": 10**9}
    assert position_size(SHARE, PX, PX - 500, free_paise=25_000 * RUPEE, **wide) == Size(250, "margin")
    assert (
        position_size(SHARE, PX, PX - 500, free_paise=25_000 * RUPEE, share_of_free=0.5, **wide).quantity
        == 125
    )
    assert (
        position_size(SHARE, PX, PX - 500, free_paise=25_000 * RUPEE, margin_paise=2_000, **wide).quantity
        == 1250
    )
    assert position_size(SHARE, PX, PX - 500, free_paise=-1, **wide).quantity == 0
    half = position_size(SHARE, PX, PX - 500, 1_000 * RUPEE, free_paise=10**9, factor=0.5)
    assert half == Size(100, "volatility")
    assert position_size(SHARE, PX, PX - 500, free_paise=10**9, quantity_max=7, **wide) == Size(7, "limit")


def test_volatility() -> None:
    assert sizing.volatility_factor(0.02, 0.01) == 0.5
    assert sizing.volatility_factor(0.005, 0.01) == 1.0
    assert sizing.volatility_factor(0.005, 0.01, most=3.0) == 2.0
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SizingError):
            sizing.volatility_factor(bad, 0.01)
        with pytest.raises(SizingError):
            sizing.volatility_factor(0.01, bad)
        with pytest.raises(SizingError):
            sizing.volatility_factor(0.01, 0.01, bad)


def test_average_true_range_by_hand() -> None:
    high, low, close = [12, 13, 15, 14], [10, 11, 12, 9], [11, 12, 14, 10]
    # true ranges 2, 3, 5; mean of the first two 2.5; then (2.5 + 5) / 2
    assert sizing.average_true_range(high[:3], low[:3], close[:3], 2) == 2.5
    assert sizing.average_true_range(high, low, close, 2) == 3.75
    assert sizing.average_true_range([10, 20], [10, 20], [10, 20], 1) == 10, "a gap counts"
    for words in ((high[:2], low[:2], close[:2], 2), (high, low[:3], close, 2), (high[:3], low, close, 2)):
        with pytest.raises(SizingError):
            sizing.average_true_range(*words)
    with pytest.raises(SizingError):
        sizing.average_true_range([1.0, math.nan], [1.0, 1.0], [1.0, 1.0], 1)
    with pytest.raises(SizingError):
        sizing.average_true_range(high, low, close, 0)


def test_stops_lie_on_the_grid_and_never_nearer() -> None:
    assert sizing.stop_by_range(PX, 101.0, Side.BUY, SHARE) == PX - 205
    assert sizing.stop_by_range(PX, 101.0, Side.SELL, SHARE) == PX + 205
    assert sizing.stop_by_range(PX, 100.0, Side.BUY, SHARE, times=1.0) == PX - 100
    assert sizing.stop_by_bars([9_900, 9_850], [10_100, 10_050], Side.BUY, SHARE) == 9_845
    assert sizing.stop_by_bars([9_900, 9_850], [10_100, 10_050], Side.SELL, SHARE) == 10_105
    for distance in (0.0, -1.0, math.nan, math.inf, PX / 2):
        with pytest.raises(SizingError):
            sizing.stop_by_range(PX, distance, Side.BUY, SHARE)
    with pytest.raises(SizingError):
        sizing.stop_by_bars([], [1], Side.BUY, SHARE)
    with pytest.raises(SizingError):
        sizing.stop_by_bars([1], [], Side.BUY, SHARE)


@pytest.mark.parametrize(
    "words",
    [
        {"entry_px": 0}, {"stop_px": 0}, {"stop_px": PX}, {"factor": math.nan}, {"factor": -1.0},
        {"margin_paise": 0.0},
        {"margin_paise": math.nan}, {"share_of_free": 1.1}, {"share_of_free": -0.1},
        {"share_of_free": math.nan},
        {"instrument": replace(FUTURE, multiplier=None)}, {"instrument": replace(FUTURE, multiplier=0)},
        {"instrument": replace(SHARE, lot_size=0)},
    ],
)  # fmt: skip
def test_no_size_is_made_of_nonsense(words: dict[str, Any]) -> None:
    base = {"instrument": SHARE, "entry_px": PX, "stop_px": PX - 100, "risk_paise": 1000, "free_paise": 10**6}
    with pytest.raises(SizingError):
        position_size(**(base | words))


@given(
    entry=st.integers(100, 10**6), distance=st.integers(1, 99), risk=st.integers(0, 10**9),
    free=st.integers(0, 10**10), lot=st.integers(1, 100), factor=st.floats(0, 2),
)  # fmt: skip
def test_never_more_than_each_bound(
    entry: int, distance: int, risk: int, free: int, lot: int, factor: float
) -> None:
    row = replace(SHARE, lot_size=lot)
    found = position_size(row, entry, entry - distance, risk, free_paise=free, factor=factor).quantity
    assert found % lot == 0 and found >= 0
    assert found * distance <= risk and found * entry <= free
    one_more = found + lot
    assert one_more * distance > risk * min(1, factor) * (1 - 1e-12) or one_more * entry > free * (1 - 1e-12)


def test_edges_that_are_allowed() -> None:
    assert sizing.risk_per_trade_paise(500, 100.0, 1) == 500
    assert sizing.average_true_range([5] * 15, [5] * 15, [5] * 15) == 0.0, "nothing moved"
    with pytest.raises(SizingError, match="15 are needed"):
        sizing.average_true_range([5] * 14, [5] * 14, [5] * 14)
    fine = replace(SHARE, tick_px=1)
    assert sizing.stop_by_range(3, 1.0, Side.BUY, fine) == 1
    with pytest.raises(SizingError, match="a stop at 0"):
        sizing.stop_by_range(3, 1.5, Side.BUY, fine)
    assert sizing.whole_lots(-5, SHARE) == 0 and sizing.whole_lots(149.9, FUTURE) == 75


def test_the_range_counts_a_gap_either_way() -> None:
    assert sizing.average_true_range([10, 20], [10, 19], [10, 19], 1) == 10, "20 - 10"
    assert sizing.average_true_range([10, 5], [10, 4], [10, 4], 1) == 6, "10 - 4"
    assert sizing.average_true_range([10, 15], [10, 5], [10, 10], 1) == 10, "15 - 5"
    with pytest.raises(SizingError, match="range is inf"):
        sizing.average_true_range([1.0, math.inf], [1.0, 1.0], [1.0, 1.0], 1)


def test_the_smallest_distance_price_and_margin() -> None:
    fine = replace(SHARE, tick_px=1)
    assert sizing.stop_by_range(3, 0.25, Side.BUY, fine) == 2
    assert position_size(fine, 1, 2, 10, free_paise=10**6) == Size(10, "risk")
    assert position_size(fine, 2, 1, 10, free_paise=10**6) == Size(10, "risk")
    assert position_size(fine, 2, 1, 10**6, free_paise=10, margin_paise=1.0) == Size(10, "margin")


def test_nothing_to_risk_and_nothing_free_is_nothing() -> None:
    fine = replace(SHARE, tick_px=1)
    assert position_size(fine, 2, 1, 0, free_paise=10**6) == Size(0, "risk")
    assert position_size(fine, 2, 1, -5, free_paise=10**6, factor=2.0) == Size(0, "risk")
    assert position_size(fine, 2, 1, 10, free_paise=0, margin_paise=1.0) == Size(0, "margin")
    assert position_size(fine, 2, 1, 10, free_paise=10, share_of_free=0.0) == Size(0, "margin")
    assert position_size(fine, 2, 1, 0, free_paise=-5) == Size(0, "risk"), (
        "both are nothing: the first says so"
    )


def test_what_has_no_price_or_no_multiplier_has_no_size_however_it_is_margined() -> None:
    for entry_px, stop_px in ((0, PX), (-1, PX), (PX, 0), (PX, -1)):
        with pytest.raises(SizingError, match="entry"):
            position_size(SHARE, entry_px, stop_px, 1000, free_paise=10**6, margin_paise=100.0)
    for multiplier in (None, 0, -1):
        with pytest.raises(SizingError, match="multiplier"):
            sizing.unit_paise(PX, replace(FUTURE, multiplier=multiplier))
