"""Layer 2, metadata job and workers, cold: daily bars as weeks and months, and averages over all three.

A week is the calendar week from Monday (ISO 8601) and holds the days that were traded in it; a month
likewise. Prices are rupees as float64: what brokers give out here is adjusted for splits and is no price
that anybody paid. Averages are exact: closes are summed as whole 1/10^7 rupees, the finest price unit there
is, so that a sum never depends on where it began, and one that goes on day by day equals one that is worked
out afresh, bit for bit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

DAY: Final = np.dtype(
    [("day", "<M8[D]"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"),
     ("volume", "<i8"), ("oi", "<i8")]
)  # fmt: skip
PERIOD: Final = np.dtype(
    [("first", "<M8[D]"), ("last", "<M8[D]"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"),
     ("close", "<f8"), ("volume", "<i8"), ("oi", "<i8"), ("days", "<i4")]
)  # fmt: skip
"""first, last: the days that were traded of it; days: how many."""
FRAMES: Final = ("day", "week", "month")
WINDOWS: Final = (9, 200)
UNITS: Final = 10_000_000
"""Of a rupee."""
CLOSE_MAX: Final = 10_000_000.0
"""Rupees: 200 of these, and all days since 2000, fit 64 bits."""
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday, three days after a Monday."""


class HistoryError(ValueError):
    """Bars that are none; the message says which day."""


def check(days: Array) -> None:
    """Whether DAY[n] can be a history: days in order, each once, prices above 0 that fit one another.

    Raises:
        HistoryError: not so.
    """
    prices = [days[name] for name in ("open", "high", "low", "close")]
    wrong = np.zeros(len(days), bool)
    for price in prices:
        wrong |= ~(np.isfinite(price) & (price > 0) & (price <= CLOSE_MAX))
    wrong |= (days["low"] > np.minimum(days["open"], days["close"])) | (
        days["high"] < np.maximum(days["open"], days["close"])
    )
    wrong |= (days["volume"] < 0) | (days["oi"] < 0)
    if wrong.any():
        row = days[np.flatnonzero(wrong)[0]]
        told = ", ".join(f"{name} {row[name]}" for name in DAY.names or ())
        raise HistoryError(f"no bar of a day: {told}")
    steps = np.diff(days["day"]) <= np.timedelta64(0, "D")
    if steps.any():
        raise HistoryError(f"{days['day'][np.flatnonzero(steps)[0] + 1]} is not after the day before it")


def numbers(days: Array, frame: str) -> Whole:
    """int64[n]: which day, week or month (counted from 1970) each date of datetime64[D][n] belongs to.

    Raises:
        KeyError: no such frame.
    """
    if frame not in FRAMES:
        raise KeyError(frame)
    if frame == "month":
        return days.astype("M8[M]").astype(np.int64)
    whole = days.astype("M8[D]").astype(np.int64)
    return (whole + _EPOCH_WEEKDAY) // 7 if frame == "week" else whole


def fold(days: Array, frame: str) -> Array:
    """DAY[n], in order, as PERIOD[m]: first open, highest high, lowest low, last close and open interest,
    volume of all."""
    number = numbers(days["day"], frame)
    first = np.flatnonzero(np.append(len(days) > 0, number[1:] != number[:-1]))
    last = np.append(first[1:], len(days)) - 1
    out = np.zeros(len(first), PERIOD)
    if not len(first):
        return out
    out["first"], out["last"] = days["day"][first], days["day"][last]
    out["open"], out["close"], out["oi"] = days["open"][first], days["close"][last], days["oi"][last]
    out["high"] = np.maximum.reduceat(days["high"], first)
    out["low"] = np.minimum.reduceat(days["low"], first)
    out["volume"] = np.add.reduceat(days["volume"], first)
    out["days"] = last - first + 1
    return out


def units_of(closes: Any) -> Whole:
    """Closes in rupees as whole 1/10^7 rupees, to the nearest.

    Raises:
        HistoryError: no price, or one above CLOSE_MAX.
    """
    found = np.asarray(closes, np.float64)
    if not (np.isfinite(found) & (found >= 0) & (found <= CLOSE_MAX)).all():
        raise HistoryError("a close that is no price")
    return np.rint(found * UNITS).astype(np.int64)


def averages(closes: Floats, windows: tuple[int, ...] = WINDOWS) -> Floats:
    """float64[n, len(windows)]: the mean of the last w closes at each bar; NaN before there are w."""
    total = np.concatenate([[0], np.cumsum(units_of(closes))])
    out = np.full((len(closes), len(windows)), np.nan)
    for column, window in enumerate(windows):
        if window <= len(closes):
            out[window - 1 :, column] = (total[window:] - total[:-window]) / (window * UNITS)
    return out


def rests(closes: Floats, windows: tuple[int, ...] = WINDOWS) -> tuple[Floats, Floats]:
    """(rest, rest_next), float64[len(windows)] each, in rupees: sums of the w - 1 closes before the last bar,
    and of the last w - 1; NaN where there are too few.

    With them an average moves with the price: (rest + price) / w while the last bar still forms,
    (rest_next + price) / w in the bar that follows it.
    """
    units = units_of(closes)
    rest, following = np.full(len(windows), np.nan), np.full(len(windows), np.nan)
    for column, window in enumerate(windows):
        if len(units) >= window:
            rest[column] = int(units[len(units) - window : -1].sum()) / UNITS
        if len(units) >= window - 1:
            following[column] = int(units[len(units) - window + 1 :].sum()) / UNITS
    return rest, following


class Rolling:
    """Means of the last w values of n series, kept up in rings: constant work for each new value."""

    def __init__(self, n: int, windows: tuple[int, ...] = WINDOWS) -> None:
        """windows: lengths, at least 1.

        Raises:
            ValueError: none, or one below 1.
        """
        if not windows or min(windows) < 1:
            raise ValueError(f"windows {windows}")
        self.windows = windows
        self.count = np.zeros(n, np.int64)
        self._ring = np.zeros((n, max(windows)), np.int64)
        self._sum = np.zeros((n, len(windows)), np.int64)

    def append(self, rows: Whole, units: Whole) -> None:
        """A new value for each of the series `rows` (each once)."""
        size = self._ring.shape[1]
        count = self.count[rows]
        for column, window in enumerate(self.windows):
            leaving = np.where(count >= window, self._ring[rows, (count - window) % size], 0)
            self._sum[rows, column] += units - leaving
        self._ring[rows, count % size] = units
        self.count[rows] += 1

    def replace(self, rows: Whole, units: Whole) -> None:
        """Another last value for each of the series `rows`, which have one."""
        at = (self.count[rows] - 1) % self._ring.shape[1]
        self._sum[rows] += (units - self._ring[rows, at])[:, None]
        self._ring[rows, at] = units

    def means(self) -> Floats:
        """float64[n, len(windows)] in rupees; NaN before there are enough values."""
        window = np.array(self.windows, np.int64)
        return np.where(self.count[:, None] >= window, self._sum / (window * UNITS), np.nan)


class Pyramid:
    """Averages of n instruments over days, weeks and months, kept up day by day."""

    def __init__(self, n: int, windows: tuple[int, ...] = WINDOWS) -> None:
        self.frames = {frame: Rolling(n, windows) for frame in FRAMES}
        self._number = {frame: np.full(n, np.iinfo(np.int64).min) for frame in FRAMES}

    def push(self, day: np.datetime64, closes: Floats) -> None:
        """The closes of a day, float64[n]; NaN: not traded. The same day again corrects it.

        Raises:
            HistoryError: a day before the last one of an instrument, or a close that is no price.
        """
        rows = np.flatnonzero(~np.isnan(closes))
        units = units_of(closes[rows])
        found = {frame: int(numbers(np.array([day]), frame)[0]) for frame in FRAMES}
        if (self._number["day"][rows] > found["day"]).any():
            raise HistoryError(f"{day} lies before a day that is known already")
        for frame, number in found.items():
            same = self._number[frame][rows] == number
            self.frames[frame].replace(rows[same], units[same])
            self.frames[frame].append(rows[~same], units[~same])
            self._number[frame][rows] = number

    def means(self) -> Floats:
        """float64[n, 3, len(windows)]: by FRAMES; the week and the month under way count with their last
        close."""
        return np.stack([self.frames[frame].means() for frame in FRAMES], axis=1)
