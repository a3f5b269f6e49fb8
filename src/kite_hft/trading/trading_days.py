"""Layer 2, metadata job and end of the day, cold: which days are traded, which are missing, and jumps.

The calendar knows the holidays of the years that are filled in (config/calendar); of other years it
knows weekends alone. There the market itself says: a day on which most of the instruments that are
gathered have a bar was traded. Nothing is ever filled in: what is missing is listed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.sessions import CalendarError, ist_date, session_from_calendar
from kite_hft.trading.history import Array

JUMP: Final = 0.40
"""A move overnight that the market has not made and that is larger than this looks like a split."""
VOTERS_MIN: Final = 3
"""So many instruments must have been listed on a day before the market says that it was one."""
RATIOS: Final = ((1, 2), (1, 3), (1, 4), (1, 5), (1, 10), (1, 20), (2, 3), (2, 1), (5, 1), (10, 1))
_NEAR: Final = 0.1
_DAY: Final = dt.timedelta(days=1)
_AHEAD_DAYS: Final = 31


@dataclass(slots=True)
class TradingDays:
    """The days of one exchange. rows: of config/calendar; an exchange without rows has weekdays alone."""

    rows: Sequence[Mapping[str, Any]]
    exchange: str
    _filled: dict[int, bool] = field(default_factory=dict)
    _known: dict[dt.date, bool | None] = field(default_factory=dict)

    def filled_in(self, year: int) -> bool:
        """Whether the calendar has the holidays of a year."""
        if year not in self._filled:
            days = [
                day
                for row in self.rows
                if self.exchange in row.get("segments", ())
                for day in (*row.get("holidays", ()), *(s["date"] for s in row.get("special", ())))
            ]
            self._filled[year] = any(day.year == year for day in days)
        return self._filled[year]

    def is_open(self, day: dt.date) -> bool | None:
        """None: a weekday of a year whose holidays are not known."""
        if day not in self._known:
            try:
                session_from_calendar(self.rows, self.exchange, day)
                opens = True
            except CalendarError:
                opens = False
            known = self.filled_in(day.year)
            self._known[day] = opens if known else (None if day.weekday() < 5 else False)
        return self._known[day]

    def done(self, real_ns: int) -> dt.date:
        """The last day whose trading was over at an instant, traded or not."""
        day = ist_date(real_ns)
        if self.is_open(day) is False:
            return day
        try:
            over = real_ns >= session_from_calendar(self.rows, self.exchange, day).close_ns
        except CalendarError:
            over = False
        return day if over else day - _DAY

    def next_open(self, day: dt.date) -> dt.date:
        """The next day that is traded, or may be."""
        for ahead in range(1, _AHEAD_DAYS):
            if self.is_open(day + ahead * _DAY) is not False:
                return day + ahead * _DAY
        return day + _AHEAD_DAYS * _DAY


def voted(many: Sequence[Array]) -> Array:
    """datetime64[D], in order: the days on which most of the histories (DAY[n] each) have a bar.

    A history votes from its first bar to its last; days with fewer than VOTERS_MIN voters are left out.
    """
    lived = [days["day"] for days in many if len(days)]
    if not lived:
        return np.zeros(0, "M8[D]")
    days, traded = np.unique(np.concatenate(lived), return_counts=True)
    begun = np.searchsorted(np.sort([d[0] for d in lived]), days, "right")
    ended = np.searchsorted(np.sort([d[-1] for d in lived]), days, "left")
    voters = begun - ended
    return days[(voters >= VOTERS_MIN) & (traded * 2 > voters)]


def missing(days: Array, last: dt.date, calendar: TradingDays, market: Array) -> tuple[list[dt.date], bool]:
    """(days that were traded from the first bar to `last` and have no bar, whether all years could be
    checked). market: `voted`; it counts in years that the calendar does not know."""
    if not len(days):
        return [], True
    held = set(days["day"].tolist())
    first = days["day"][0].item()
    traded = set(market[(market >= days["day"][0]) & (market <= np.datetime64(last))].tolist())
    checked = True
    for year in range(first.year, last.year + 1):
        if not calendar.filled_in(year):
            checked &= any(day.year == year for day in traded)
            continue
        traded = {day for day in traded if day.year != year}
        day = max(first, dt.date(year, 1, 1))
        while day <= min(last, dt.date(year, 12, 31)):
            if calendar.is_open(day):
                traded.add(day)
            day += _DAY
    return sorted(traded - held), checked


def overnight(days: Array) -> tuple[Array, Array]:
    """(datetime64[D][n-1], float64[n-1]): each day but the first; its open by the close before it, - 1."""
    return days["day"][1:], days["open"][1:] / days["close"][:-1] - 1


def market_moves(many: Sequence[Array]) -> dict[Any, float]:
    """Day -> median of the overnight moves of the histories, where there are VOTERS_MIN of them."""
    parts = [overnight(days) for days in many if len(days) > 1]
    if not parts:
        return {}
    days, moves = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(days, kind="stable")
    days, moves = days[order], moves[order]
    found, first = np.unique(days, return_index=True)
    pieces = np.split(moves, first[1:])
    return {
        day: float(np.median(piece))
        for day, piece in zip(found.tolist(), pieces, strict=True)
        if len(piece) >= VOTERS_MIN
    }


def jumps(days: Array, market: Mapping[Any, float]) -> list[str]:
    """Warnings about moves overnight that the market has not made: prices that were not adjusted, perhaps."""
    if len(days) < 2:
        return []
    found = []
    at, moves = overnight(days)
    for i in np.flatnonzero(np.abs(moves) > JUMP).tolist():
        day, move = at[i].item(), float(moves[i])
        ours = (1 + move) / (1 + market.get(day, 0.0))
        if abs(ours - 1) <= JUMP:
            continue
        ratio = next((f"{a}:{b}" for a, b in RATIOS if abs(ours * b / a - 1) < _NEAR), "")
        guess = f", as a split or bonus of {ratio} would" if ratio else ""
        found.append(
            f"{day}: opens {move:+.0%} from the close before{guess}; the market did not: averages across "
            "that day are wrong if the broker has not adjusted it"
        )
    return found
