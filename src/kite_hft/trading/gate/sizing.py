"""Layer 2, strategies and people, cold: how much to trade, as pure functions.

    risk of a trade   R = capital x daily_percent / 100 / planned_trades      (1 % a day over 5 trades)
    by the stop       q = R / (|entry - stop| x multiplier)
    by volatility     q = q x min(most, target / realised)
    by the margin     q <= free x share / margin of one unit
    whole lots        q = floor(q / lot) x lot

Quantities are only ever rounded down; 0 says that not even one lot is affordable. A value that is no
number, or a distance of 0, is an error and never a size. Prices in the instrument's unit, money in paise.
The gate's limits hold whatever comes out here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kite_hft.layout import Side
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.positions import multiplier_of


class SizingError(ValueError):
    """An input that no size can be made of."""


@dataclass(frozen=True, slots=True)
class Size:
    """A quantity in whole lots, and what bounded it: "risk", "volatility", "margin" or "limit"."""

    quantity: int
    bound: str


def risk_per_trade_paise(capital_paise: int, daily_percent: float = 1.0, planned_trades: int = 5) -> int:
    """What one trade may lose: the day's share of the capital, spread over the planned trades.

    Raises:
        SizingError: a negative capital, a percentage outside (0, 100], no planned trade.
    """
    if capital_paise < 0 or not 0 < daily_percent <= 100 or planned_trades < 1:
        raise SizingError(
            f"capital {capital_paise}, {daily_percent} % a day, {planned_trades} planned trades"
        )
    return math.floor(capital_paise * daily_percent / 100 / planned_trades)


def average_true_range(
    high_px: Sequence[float], low_px: Sequence[float], close_px: Sequence[float], n: int = 14
) -> float:
    """Wilder's average true range of the newest bar; oldest bar first.

    TR = max(high - low, |high - close before|, |low - close before|); the first average is the mean of n
    true ranges, then ATR = (ATR x (n - 1) + TR) / n.

    Raises:
        SizingError: fewer than n + 1 bars, columns of different lengths, or a value that is no number.
    """
    bars = len(close_px)
    if n < 1 or bars < n + 1 or len(high_px) != bars or len(low_px) != bars:
        raise SizingError(f"{bars} bars for an average over {n}: {n + 1} are needed")
    ranges = [
        max(high_px[i] - low_px[i], abs(high_px[i] - close_px[i - 1]), abs(low_px[i] - close_px[i - 1]))
        for i in range(1, bars)
    ]
    average = sum(ranges[:n]) / n
    for true_range in ranges[n:]:
        average = (average * (n - 1) + true_range) / n
    if not math.isfinite(average):
        raise SizingError(f"the average true range is {average}")
    return average


def stop_by_range(
    entry_px: int, atr_px: float, side: Side, instrument: Instrument, times: float = 2.0
) -> int:
    """A stop `times` average true ranges away from the entry, on the grid, further rather than nearer.

    Raises:
        SizingError: no distance, or the stop would not be above 0.
    """
    distance = atr_px * times
    if not (math.isfinite(distance) and distance > 0):
        raise SizingError(f"a stop {times} x {atr_px} away from {entry_px}")
    return _on_grid(entry_px - distance if side == Side.BUY else entry_px + distance, side, instrument)


def stop_by_bars(low_px: Sequence[int], high_px: Sequence[int], side: Side, instrument: Instrument) -> int:
    """A stop one tick beyond the lowest low (of a long position; a short's: highest high) of the bars.

    Raises:
        SizingError: no bars, or the stop would not be above 0.
    """
    if not low_px or not high_px:
        raise SizingError("no bars to place a stop by")
    step = instrument.tick_px
    return _on_grid(min(low_px) - step if side == Side.BUY else max(high_px) + step, side, instrument)


def _on_grid(px: float, side: Side, instrument: Instrument) -> int:
    step = instrument.tick_px
    found = math.floor(px / step) * step if side == Side.BUY else math.ceil(px / step) * step
    if found <= 0:
        raise SizingError(f"a stop at {found}")
    return found


def volatility_factor(realised: float, target: float, most: float = 1.0) -> float:
    """By how much a size is scaled so that its swings come to `target`; never above `most`.

    Both in the same measure: standard deviation of returns, or ATR / price.

    Raises:
        SizingError: a value that is no number above 0.
    """
    if not all(math.isfinite(value) and value > 0 for value in (realised, target, most)):
        raise SizingError(f"volatility {realised}, target {target}, at most {most}")
    return min(most, target / realised)


def unit_paise(px: int, instrument: Instrument) -> float:
    """Value of one unit of quantity at a price (or of a price difference).

    Raises:
        SizingError: the multiplier is not known.
    """
    multiplier = multiplier_of(instrument)
    if multiplier is None or multiplier <= 0:
        raise SizingError(f"{instrument.key}: multiplier {multiplier}")
    return px * multiplier * 100 / instrument.scale


def whole_lots(quantity: float, instrument: Instrument) -> int:
    """Rounded down to whole lots.

    Raises:
        SizingError: no number, or a lot size of 0.
    """
    lot = instrument.lot_size
    if not math.isfinite(quantity) or lot <= 0:
        raise SizingError(f"{instrument.key}: quantity {quantity}, lot {lot}")
    return max(0, math.floor(quantity / lot) * lot)


def position_size(
    instrument: Instrument,
    entry_px: int,
    stop_px: int,
    risk_paise: int,
    *,
    free_paise: int,
    margin_paise: float | None = None,
    share_of_free: float = 1.0,
    factor: float = 1.0,
    quantity_max: int | None = None,
) -> Size:
    """The largest quantity that risk, volatility, margin and limit allow together.

    risk_paise: see `risk_per_trade_paise`. factor: see `volatility_factor`. free_paise: funds; of them
    `share_of_free` may be used. margin_paise: of one unit; None: its whole value at the entry. quantity_max:
    e.g. the gate's max_order_quantity.

    Raises:
        SizingError: a price that is not above 0, a stop at the entry, or a share outside [0, 1].
    """
    if entry_px <= 0 or stop_px <= 0 or entry_px == stop_px:
        raise SizingError(f"entry {entry_px}, stop {stop_px}")
    if not (math.isfinite(factor) and factor >= 0 and 0 <= share_of_free <= 1):
        raise SizingError(f"factor {factor}, share of free funds {share_of_free}")
    margin = unit_paise(entry_px, instrument) if margin_paise is None else margin_paise
    if not (math.isfinite(margin) and margin > 0):
        raise SizingError(f"margin of one unit {margin}")
    by_risk = max(0, risk_paise) / unit_paise(abs(entry_px - stop_px), instrument)
    bounds = {
        "risk": by_risk,
        "volatility": by_risk * factor,
        "margin": max(0, free_paise) * share_of_free / margin,
        "limit": math.inf if quantity_max is None else quantity_max,
    }
    bound = min(bounds, key=lambda name: bounds[name])
    return Size(whole_lots(bounds[bound], instrument), bound)
