"""Layer 4, simulator, hot in `on_ticks`, else cold: historical candles, old and of the day.

Today's come from the ticks that the simulator has sent: the minutes add up to the day's open,
high, low, last price and volume. Days before today are made up from seed, token and date alone,
so that a request gives the same rows whatever was asked before; they end at the close that the
ticks carry. Prices in the instrument's unit; times in epoch seconds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.sessions import seconds_of_day
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.units import IST_OFFSET_S, NS_PER_S

Array = npt.NDArray[Any]

BAR: Final = np.dtype(
    [("slot", "<i4"), ("start_s", "<i8"), ("open_px", "<i8"), ("high_px", "<i8"), ("low_px", "<i8"),
     ("close_px", "<i8"), ("volume", "<i8"), ("oi", "<i8")]
)  # fmt: skip
MINUTE_S: Final = 60
DAY_S: Final = 86_400
MINUTES: Final = {
    "minute": 1, "3minute": 3, "5minute": 5, "10minute": 10, "15minute": 15, "30minute": 30,
    "60minute": 60,
}  # fmt: skip
FIRST_DAY: Final = dt.date(2015, 2, 2)
"""Where the made-up history begins; derivatives begin LISTED_DAYS before they expire."""
LISTED_DAYS: Final = 90
FOLD_TICKS: Final = 2048
"""Ticks kept before they are folded into bars."""
_FOLDED: Final = (
    "slot", "exch_ns", "last_px", "open_px", "high_px", "low_px", "volume", "last_qty", "oi",
)  # fmt: skip
"""Fields of a TICK that bars are made of."""

# Continuous trading in history, IST seconds of day, by exchange; the first row that fits counts.
_HOURS: Final = {
    "NFO": ((dt.date(2026, 8, 3), 33_300, 56_400), (dt.date.min, 33_300, 55_800)),
    "BFO": ((dt.date(2026, 8, 3), 33_300, 56_400), (dt.date.min, 33_300, 55_800)),
    "CDS": ((dt.date.min, 32_400, 61_200),),
    "BCD": ((dt.date.min, 32_400, 61_200),),
    "MCX": ((dt.date.min, 32_400, 84_600),),
    "NCO": ((dt.date.min, 32_400, 84_600),),
}
_HOURS_EQUITY: Final = ((dt.date.min, 33_300, 55_800),)
_HOURS_CAS: Final = ((dt.date(2026, 8, 3), 33_300, 54_900), (dt.date.min, 33_300, 55_800))


def hours(row: Instrument, day: dt.date, *, cas: bool = False) -> tuple[int, int]:
    """(open, close) of an instrument's trading on a day, IST seconds of the day; `cas`: it takes
    part in the closing auction and trades continuously to 15:15 only."""
    table = _HOURS_CAS if cas else _HOURS.get(row.exchange, _HOURS_EQUITY)
    _, opens, closes = next(entry for entry in table if entry[0] <= day)
    return opens, closes


def day_start_s(day: dt.date) -> int:
    """Epoch seconds of midnight in India."""
    return (day.toordinal() - dt.date(1970, 1, 1).toordinal()) * DAY_S - IST_OFFSET_S


def day_of(at_s: int) -> dt.date:
    """The date in India."""
    return dt.date.fromordinal(dt.date(1970, 1, 1).toordinal() + (at_s + IST_OFFSET_S) // DAY_S)


class TodayBars:
    """Minute bars of the ticks seen; one writer, folded in batches."""

    def __init__(self, slots: int) -> None:
        self._pending: list[Array] = []
        self._waiting = 0
        self._closed: list[Array] = []
        self._open = np.zeros(slots, BAR)
        self._open["slot"] = np.arange(slots)
        self._volume_before = np.zeros(slots, np.int64)
        self._latest_s = 0

    def on_ticks(self, ticks: Array) -> None:
        """TICK rows in order; they must not be changed afterwards."""
        self._pending.append(ticks)
        self._waiting += len(ticks)
        if self._waiting >= FOLD_TICKS:
            self._fold()

    def today(self) -> dt.date | None:
        """The date of the latest tick; None before the first."""
        self._fold()
        return day_of(self._latest_s) if self._latest_s else None

    def of(self, slot: int) -> Array:
        """BAR[n] of one slot in time order, the forming minute included."""
        self._fold()
        if len(self._closed) > 1:
            self._closed = [np.concatenate(self._closed)]
        rows = [part[part["slot"] == slot] for part in self._closed]
        if self._open["start_s"][slot]:
            rows.append(self._open[slot : slot + 1])
        return np.concatenate(rows) if rows else np.empty(0, BAR)

    def _fold(self) -> None:
        """Move the waiting ticks into the bars."""
        if not self._pending:
            return
        fields = {
            name: np.concatenate([part[name] for part in self._pending]).astype(np.int64) for name in _FOLDED
        }
        self._pending, self._waiting = [], 0
        minute = fields["exch_ns"] // NS_PER_S // MINUTE_S * MINUTE_S
        self._latest_s = max(self._latest_s, int(fields["exch_ns"].max()) // NS_PER_S)
        for start_s in np.unique(minute[minute > 0]).tolist():
            self._fold_minute(start_s, {name: column[minute == start_s] for name, column in fields.items()})

    def _fold_minute(self, start_s: int, ticks: dict[str, Array]) -> None:
        order = np.argsort(ticks["slot"], kind="stable")
        ticks = {name: column[order] for name, column in ticks.items()}
        slots, first = np.unique(ticks["slot"], return_index=True)
        last = np.append(first[1:], len(order)) - 1
        px = ticks["last_px"]
        high, low = np.maximum.reduceat(px, first), np.minimum.reduceat(px, first)
        bars = self._open
        self._begin(start_s, slots, {name: column[first] for name, column in ticks.items()})
        live = bars["start_s"][slots] == start_s  # a tick from before the forming minute is left out
        slots, high, low, last = slots[live], high[live], low[live], last[live]
        bars["high_px"][slots] = np.maximum(bars["high_px"][slots], high)
        bars["low_px"][slots] = np.minimum(bars["low_px"][slots], low)
        bars["close_px"][slots] = px[last]
        volume = ticks["volume"][last] - self._volume_before[slots]
        bars["volume"][slots] = np.maximum(bars["volume"][slots], volume)
        bars["oi"][slots] = ticks["oi"][last]

    def _begin(self, start_s: int, slots: Array, first: dict[str, Array]) -> None:
        """Close the minutes that are over and open new ones with their first tick."""
        bars = self._open
        fresh = bars["start_s"][slots] < start_s
        if not fresh.any():
            return
        slots, first = slots[fresh], {name: column[fresh] for name, column in first.items()}
        old = bars["start_s"][slots] > 0
        self._closed.append(bars[slots[old]])
        self._volume_before[slots[old]] += bars["volume"][slots[old]]
        before = first["volume"] - first["last_qty"]
        self._volume_before[slots[~old]] = np.maximum(before[~old], 0)
        # With nothing traded before it, the first minute begins at the day's open.
        opening = ~old & (before <= 0) & (first["open_px"] > 0)
        bars["start_s"][slots] = start_s
        bars["volume"][slots] = 0
        for name, of_day in (("open_px", "open_px"), ("high_px", "high_px"), ("low_px", "low_px")):
            bars[name][slots] = np.where(opening, first[of_day], first["last_px"])


@dataclass(slots=True)
class OddDays:
    """What the calendar says beyond the week, by exchange: days without trading, and days (weekends
    too) with hours of their own, as (open, close) in IST seconds of the day."""

    holidays: dict[str, set[dt.date]] = field(default_factory=dict)
    special: dict[str, dict[dt.date, tuple[int, int]]] = field(default_factory=dict)


def odd_days(calendar: Sequence[Mapping[str, Any]]) -> OddDays:
    """The holidays and special sessions of the rows of config/calendar."""
    found = OddDays()
    for row in calendar:
        for exchange in row["segments"]:
            found.holidays.setdefault(exchange, set()).update(row.get("holidays", ()))
            times = found.special.setdefault(exchange, {})
            for s in row.get("special", ()):
                times[s["date"]] = seconds_of_day(s["open"]), seconds_of_day(s["close"])
    return found


@dataclass(slots=True)
class History:
    """Made-up bars of the days before `today`. `cas`: slots of the closing auction."""

    seed: int
    days: OddDays = field(default_factory=OddDays)
    cas: frozenset[int] = frozenset()

    def hours(self, row: Instrument, day: dt.date) -> tuple[int, int]:
        """(open, close) of an instrument's trading on a day, IST seconds of the day."""
        special = self.days.special.get(row.exchange, {}).get(day)
        return special or hours(row, day, cas=row.slot in self.cas)

    def trading_days(self, row: Instrument, today: dt.date, *, continuous: bool = False) -> list[dt.date]:
        """All days with bars before `today`, oldest first."""
        first = FIRST_DAY
        if row.expiry and not continuous:
            first = max(first, dt.date.fromisoformat(row.expiry) - dt.timedelta(LISTED_DAYS))
        days = (first + dt.timedelta(n) for n in range((today - first).days))
        closed = self.days.holidays.get(row.exchange, set())
        special = self.days.special.get(row.exchange, {})
        return [day for day in days if day in special or (day.weekday() < 5 and day not in closed)]

    def closes(self, row: Instrument, days: int, close_px: int) -> Array:
        """float[days]: closing prices, the last of them `close_px`; a walk backwards in time."""
        rng = np.random.default_rng([self.seed, row.token, 0])
        steps = rng.standard_normal(max(days, 1)) * _volatility(row)
        back = np.concatenate([[0.0], np.cumsum(steps)])[:days]
        return np.asarray(close_px * np.exp(-back)[::-1])

    def day_bars(self, row: Instrument, day: dt.date, before_px: float, close_px: float) -> Array:
        """BAR[minutes] of one day, between the close before it and its own."""
        opens, closes = self.hours(row, day)
        n, step = (closes - opens) // MINUTE_S, max(row.tick_px, 1)
        rng = np.random.default_rng([self.seed, row.token, day.toordinal()])
        z, u = rng.standard_normal((2, n)), rng.random((4, n))
        start = np.log(before_px) + 0.25 * _volatility(row) * rng.standard_normal()
        walk = np.cumsum(z[0]) * _volatility(row) / np.sqrt(n)
        part = np.arange(1, n + 1) / n
        path = start + walk - walk[-1] * part + (np.log(close_px) - start) * part
        close = np.maximum(np.rint(np.exp(path) / step), 1).astype(np.int64) * step
        bars = np.zeros(n, BAR)
        bars["slot"], bars["close_px"] = row.slot, close
        bars["start_s"] = day_start_s(day) + opens + MINUTE_S * np.arange(n)
        bars["open_px"][0] = max(round(float(np.exp(start)) / step), 1) * step
        bars["open_px"][1:] = close[:-1]
        reach = np.exp(path) * _volatility(row) / np.sqrt(n)
        upper = np.maximum(bars["open_px"], bars["close_px"])
        lower = np.minimum(bars["open_px"], bars["close_px"])
        bars["high_px"] = upper + np.rint(u[0] * reach / step).astype(np.int64) * step
        bars["low_px"] = np.maximum(lower - np.rint(u[1] * reach / step).astype(np.int64) * step, step)
        if not row.is_index:
            crowd = 1 + 2 * np.abs(2 * part - 1) ** 3  # more at both ends of the day
            lots = 1 + (u[2] * u[2] * crowd * (400 if row.kind == "EQ" else 60)).astype(np.int64)
            bars["volume"] = lots * max(row.lot_size, 1)
        if row.kind != "EQ":
            drift = np.cumsum((u[3] * 5).astype(np.int64) - 2)
            base = 2_000 + int(rng.integers(0, 8_000))
            bars["oi"] = np.maximum(base + drift, 0) * max(row.lot_size, 1)
        return bars


class Candles:
    """Answers of the historical call."""

    def __init__(
        self,
        instruments: InstrumentTable,
        seed: int,
        days: OddDays | None = None,
        cas: frozenset[int] = frozenset(),
    ) -> None:
        """`cas`: slots that take part in the closing auction."""
        self.today_bars = TodayBars(len(instruments))
        self.history = History(seed, days or OddDays(), cas)

    def on_ticks(self, ticks: Array) -> None:
        """The market moves: TICK rows in order."""
        self.today_bars.on_ticks(ticks)

    def bars(
        self,
        row: Instrument,
        interval: str,
        from_s: int,
        to_s: int,
        tick: np.void,
        now_s: int,
        *,
        continuous: bool = False,
    ) -> Array:
        """BAR[n] whose opening time lies in [from_s, to_s]; `interval`: "day" or a key of MINUTES.

        `tick`: the latest TICK of the instrument, whose close ends the history; all zero when
        there was none, and then there is nothing to show.
        """
        today = self.today_bars.today() or day_of(int(tick["exch_ns"]) // NS_PER_S or now_s)
        daily = interval == "day"
        parts = self._past(row, interval, from_s, to_s, int(tick["close_px"]), today, continuous)
        if daily:
            parts.append(_day_bar_of_tick(row, tick, today))
        else:
            own, opens = self.today_bars.of(row.slot), self.history.hours(row, today)[0]
            parts.append(
                _group(own[own["start_s"] >= day_start_s(today)], row, today, MINUTES[interval], opens)
            )
        whole = np.concatenate(parts)
        return whole[(whole["start_s"] >= from_s) & (whole["start_s"] <= to_s)]

    def _past(
        self, row: Instrument, interval: str, from_s: int, to_s: int, close_px: int, today: dt.date,
        continuous: bool,
    ) -> list[Array]:  # fmt: skip
        days = self.history.trading_days(row, today, continuous=continuous) if close_px > 0 else []
        closes = self.history.closes(row, len(days) + 1, close_px)  # one more: before the first day
        first, last = day_of(from_s), day_of(to_s)
        parts: list[Array] = []
        for i, day in enumerate(days):
            if first <= day <= last:
                bars = self.history.day_bars(row, day, float(closes[i]), float(closes[i + 1]))
                minutes = DAY_S if interval == "day" else MINUTES[interval]
                parts.append(_group(bars, row, day, minutes, self.history.hours(row, day)[0]))
        return parts


def _day_bar_of_tick(row: Instrument, tick: np.void, today: dt.date) -> Array:
    """BAR[0 or 1]: the day so far, as the quotes show it."""
    if not int(tick["open_px"]):
        return np.empty(0, BAR)
    bar = np.zeros(1, BAR)
    bar["slot"], bar["start_s"] = row.slot, day_start_s(today)
    for name in ("open_px", "high_px", "low_px"):
        bar[name] = tick[name]
    bar["close_px"], bar["volume"], bar["oi"] = tick["last_px"], tick["volume"], tick["oi"]
    return bar


def _group(bars: Array, row: Instrument, day: dt.date, minutes: int, opens: int) -> Array:
    """Minute bars of one day as longer ones, counted from the day's opening (IST second of the
    day); DAY_S: one bar."""
    if minutes == 1 or not len(bars):
        return bars
    midnight = day_start_s(day)
    if minutes == DAY_S:
        start = np.full(len(bars), midnight)
    else:
        begin, length = midnight + opens, minutes * MINUTE_S
        start = begin + (bars["start_s"] - begin) // length * length
    first = np.flatnonzero(np.append(True, start[1:] != start[:-1]))
    last = np.append(first[1:], len(bars)) - 1
    out = np.zeros(len(first), BAR)
    out["slot"], out["start_s"] = row.slot, start[first]
    out["open_px"], out["close_px"] = bars["open_px"][first], bars["close_px"][last]
    out["high_px"] = np.maximum.reduceat(bars["high_px"], first)
    out["low_px"] = np.minimum.reduceat(bars["low_px"], first)
    out["volume"] = np.add.reduceat(bars["volume"], first)
    out["oi"] = bars["oi"][last]
    return out


def _volatility(row: Instrument) -> float:
    """Of one day, as a share of the price."""
    if row.is_index or row.exchange in ("MCX", "NCO"):
        return 0.009
    if row.exchange in ("CDS", "BCD"):
        return 0.003
    return 0.03 if row.kind in ("CE", "PE") else 0.014
