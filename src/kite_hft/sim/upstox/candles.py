"""Layer 4, simulator, cold: Upstox's historical and intraday candles, v2 and v3.

v3 names a unit and how many of it make a candle (minutes 1 to 300, hours 1 to 5, days, weeks, months
1), v2 five words. Candles of minutes and hours count from the day's opening; those of a week from
its Monday, of a month from its first, and hold the days that were asked for. Newest first. What one
v3 request may span: a month up to 15 minutes, a quarter beyond and for hours, ten years of days.
Codes and spans: the pages on historical candles; those codes stand for other things at GTT calls.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.sessions import ist_date, ist_midnight_ns, ist_text
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.kite.candles import BAR, Candles, day_of, day_start_s
from kite_hft.sim.rest import Call, Route
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import BAD_KEY, date_of
from kite_hft.trading.instruments import Instrument
from kite_hft.units import NS_PER_S

Bars = npt.NDArray[np.void]

_MOST: Final = {"minutes": 300, "hours": 5, "days": 1, "weeks": 1, "months": 1}
"""Unit of v3 -> the largest interval."""
_V2: Final = {
    "1minute": ("minutes", 1), "30minute": ("minutes", 30), "day": ("days", 1), "week": ("weeks", 1),
    "month": ("months", 1),
}  # fmt: skip
_V2_TODAY: Final = ("1minute", "30minute")
_DEFAULT_DAYS: Final = 30
"""How far back a request without a first day goes (invented)."""
_MONTH, _QUARTER, _DECADE = 31, 92, 3653
_SHORT_MINUTES: Final = 15


class CandlesDesk:
    """What the market looked like."""

    def __init__(self, exchange: Exchange, candles: Candles) -> None:
        self._exchange = exchange
        self._candles = candles

    def routes(self) -> list[Route]:
        """Both versions, without a token. A path with `intraday` comes before one with a key there."""
        return [
            Route("GET", "/v3/historical-candle/intraday/*/*/*", self._today_v3, open=True),
            Route("GET", "/v3/historical-candle/*/*/*/*", self._history_v3, open=True),
            Route("GET", "/v3/historical-candle/*/*/*/*/*", self._history_v3, open=True),
            Route("GET", "/v2/historical-candle/intraday/*/*", self._today_v2, open=True),
            Route("GET", "/v2/historical-candle/*/*/*", self._history_v2, open=True),
            Route("GET", "/v2/historical-candle/*/*/*/*", self._history_v2, open=True),
        ]

    # -- calls

    def _today_v3(self, call: Call) -> dict[str, Any]:
        key, unit, number = call.args
        row, interval = self._instrument(key), _interval(unit, number)
        if unit in ("weeks", "months"):
            raise refusal("UDAPI1146", "Invalid unit. Of today there are minutes, hours and days.")
        return self._today(row, unit, interval, call.now_ns)

    def _today_v2(self, call: Call) -> dict[str, Any]:
        key, word = call.args
        if word not in _V2_TODAY:
            raise refusal("UDAPI1020", f"Interval accepts one of ({','.join(_V2_TODAY)})")
        return self._today(self._instrument(key), *_V2[word], call.now_ns)

    def _history_v3(self, call: Call) -> dict[str, Any]:
        key, unit, number, *days = call.args
        row, interval = self._instrument(key), _interval(unit, number)
        first, last = _span(days)
        if (most := _longest(unit, interval)) and (last - first).days > most:
            raise refusal(
                "UDAPI1148", f"Invalid date range: {interval} {unit} go back {most} days a request."
            )
        return self._rows(row, unit, interval, first, last, call.now_ns)

    def _history_v2(self, call: Call) -> dict[str, Any]:
        key, word, *days = call.args
        row = self._instrument(key)
        if word not in _V2:
            raise refusal("UDAPI1020", f"Interval accepts one of ({','.join(_V2)})")
        return self._rows(row, *_V2[word], *_span(days), call.now_ns)

    def _instrument(self, key: str) -> Instrument:
        row = self._exchange.instruments.by_upstox_key.get(key)
        if row is None:
            raise refusal(*BAD_KEY)
        return row

    def _today(self, row: Instrument, unit: str, interval: int, now_ns: int) -> dict[str, Any]:
        today = ist_date(now_ns)
        return self._rows(row, unit, interval, today, today, now_ns)

    def _rows(
        self, row: Instrument, unit: str, interval: int, first: dt.date, last: dt.date, now_ns: int
    ) -> dict[str, Any]:
        from_s = ist_midnight_ns(first) // NS_PER_S
        to_s = ist_midnight_ns(last + dt.timedelta(days=1)) // NS_PER_S - 1
        bars = self.bars(row, unit, interval, from_s, min(to_s, now_ns // NS_PER_S), now_ns)
        return {"candles": [_row(bar, row.scale) for bar in bars[::-1]]}

    # -- bars

    def bars(
        self, row: Instrument, unit: str, interval: int, from_s: int, to_s: int, now_ns: int
    ) -> npt.NDArray[np.void]:
        """BAR[n], oldest first, of what begins in [from_s, to_s] (epoch seconds)."""
        small = "minute" if unit in ("minutes", "hours") else "day"
        latest = self._exchange.latest[row.slot]
        bars = self._candles.bars(row, small, from_s, to_s, latest, now_ns // NS_PER_S, continuous=False)
        if (unit, interval) in (("minutes", 1), ("days", 1)):
            return bars
        return _joined(bars, self._starts(bars["start_s"], row, unit, interval))

    def _starts(
        self, at_s: npt.NDArray[np.int64], row: Instrument, unit: str, interval: int
    ) -> npt.NDArray[np.int64]:
        """When the candle begins that a bar of these times belongs to."""
        days = [day_of(int(at)) for at in at_s]
        if unit == "weeks":
            days = [day - dt.timedelta(days=day.weekday()) for day in days]
        elif unit == "months":
            days = [day.replace(day=1) for day in days]
        begins = np.array([day_start_s(day) for day in days], np.int64)
        if unit in ("weeks", "months"):
            return begins
        opens = {day: self._candles.history.hours(row, day)[0] for day in set(days)}
        begins += np.array([opens[day] for day in days], np.int64)
        length = interval * (60 if unit == "minutes" else 3600)
        return begins + (at_s - begins) // length * length


def _row(bar: np.void, scale: int) -> list[Any]:
    stamp = ist_text(int(bar["start_s"]) * NS_PER_S).replace(" ", "T") + "+05:30"
    prices = [int(bar[name]) / scale for name in ("open_px", "high_px", "low_px", "close_px")]
    return [stamp, *prices, int(bar["volume"]), int(bar["oi"])]


def _joined(bars: Bars, starts: npt.NDArray[np.int64]) -> Bars:
    """Neighbours of one start become one bar."""
    first = np.flatnonzero(np.append(len(starts) > 0, starts[1:] != starts[:-1]))
    last = np.append(first[1:], len(starts)) - 1
    out = np.zeros(len(first), BAR)
    if not len(first):
        return out
    out["slot"], out["start_s"], out["oi"] = bars["slot"][first], starts[first], bars["oi"][last]
    out["open_px"], out["close_px"] = bars["open_px"][first], bars["close_px"][last]
    out["high_px"] = np.maximum.reduceat(bars["high_px"], first)
    out["low_px"] = np.minimum.reduceat(bars["low_px"], first)
    out["volume"] = np.add.reduceat(bars["volume"], first)
    return out


def _interval(unit: str, number: str) -> int:
    """Raises Refusal."""
    if unit not in _MOST:
        raise refusal("UDAPI1146", f"Invalid unit. It is one of {', '.join(_MOST)}.")
    if not (number.isascii() and number.isdigit() and len(number) < 4 and 1 <= int(number) <= _MOST[unit]):
        raise refusal("UDAPI1147", f"Invalid interval. Of {unit} it is 1 to {_MOST[unit]}.")
    return int(number)


def _longest(unit: str, interval: int) -> int:
    """Days of one request; 0: any number."""
    if unit == "minutes":
        return _MONTH if interval <= _SHORT_MINUTES else _QUARTER
    return {"hours": _QUARTER, "days": _DECADE}.get(unit, 0)


def _span(days: list[str]) -> tuple[dt.date, dt.date]:
    """(first, last) of the path's last day and, perhaps, first. Raises Refusal."""
    last = date_of(days[0])
    first = date_of(days[1]) if len(days) > 1 else last - dt.timedelta(days=_DEFAULT_DAYS)
    if first > last:
        raise refusal("UDAPI1148", "Invalid date range: from_date lies after to_date.")
    return first, last
