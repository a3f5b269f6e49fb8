"""Bars of weeks and months and averages, told slowly: dictionaries and fractions, one day after another."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

Row = tuple[dt.date, float, float, float, float, int]
"""Day, open, high, low, close, volume."""


def period(day: dt.date, frame: str) -> tuple[int, ...]:
    """What a day belongs to."""
    if frame == "day":
        return (day.toordinal(),)
    return tuple(day.isocalendar()[:2]) if frame == "week" else (day.year, day.month)


def bars(rows: list[Row], frame: str) -> list[tuple[dt.date, dt.date, float, float, float, float, int, int]]:
    """First and last day, open, high, low, close, volume, number of days."""
    found: dict[tuple[int, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(period(row[0], frame), []).append(row)
    return [
        (
            part[0][0],
            part[-1][0],
            part[0][1],
            max(row[2] for row in part),
            min(row[3] for row in part),
            part[-1][4],
            sum(row[5] for row in part),
            len(part),
        )
        for part in found.values()
    ]


def average(closes: list[float], window: int) -> list[float | None]:
    """Exact means of the last `window` closes as printed with 7 decimals, rounded once."""
    exact = [Fraction(f"{close:.7f}") for close in closes]
    return [
        None if i + 1 < window else float(sum(exact[i + 1 - window : i + 1]) / window)
        for i in range(len(exact))
    ]
