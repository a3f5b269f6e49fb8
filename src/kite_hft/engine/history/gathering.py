"""Layer 5, metadata job, cold: the bars of many instruments brought up to date, one file after another.

What is done is kept: a job that was interrupted, or that a broker stopped, goes on where it was. Of an
instrument that is known the newest bars alone are asked for, a few days back: where these no longer agree
with what is stored, the broker has adjusted the history (a split, a bonus): all of it is fetched again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft.clock import Clock
from kite_hft.engine.history import store
from kite_hft.engine.history.client import HistoryClient, HistoryRefused
from kite_hft.engine.history.store import Stored, StoreError
from kite_hft.sessions import ist_date
from kite_hft.trading.history import Array
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.trading_days import TradingDays
from kite_hft.units import NS_PER_S

FIRST_DAY: Final = dt.date(2000, 1, 3)
OVERLAP_BARS: Final = 5
"""Stored bars that are asked for again, to see whether the broker has changed them."""
SAME: Final = 1e-6
"""Closes that differ by less are equal."""
FRESH_S: Final = 3600
"""A bar of the day under way is taken for known so long."""


@dataclass(slots=True)
class Outcome:
    """What a job did. refused: instrument -> why it has no history. notes: what a person should know."""

    fetched: int = 0
    known: int = 0
    adjusted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Gathering:
    """One job. calendar: rows of config/calendar. since: None: as before, or FIRST_DAY. again: also what is
    known already."""

    folder: Path
    broker: str
    client: HistoryClient
    clock: Clock
    calendar: Sequence[Any]
    since: dt.date | None = None
    again: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    _days: dict[str, TradingDays] = field(default_factory=dict)

    def days_of(self, exchange: str) -> TradingDays:
        """The trading days of an exchange."""
        return self._days.setdefault(exchange, TradingDays(self.calendar, exchange))

    def run(self, rows: Iterable[Instrument]) -> Iterator[str]:
        """Bring every instrument up to date; yields each when it is done, with its file in place.

        Raises:
            HistoryStopped: nothing more can be had now. OSError: a file cannot be written.
        """
        for row in rows:
            try:
                self._one(row)
            except HistoryRefused as error:
                self.outcome.refused[row.key] = str(error)
            yield row.key

    def _one(self, row: Instrument) -> None:
        stored = self._stored(row)
        now_ns = self.clock.real_ns()
        days = self.days_of(row.exchange)
        if stored is not None and not self.again and self._known(stored, days, now_ns):
            self.outcome.known += 1
            return
        today, done = ist_date(now_ns), days.done(now_ns)

        def ask(first: dt.date) -> Array:
            return self.client.days(row, first, today, open_today=days.is_open(today) is not False)

        first = self._first(stored)
        if stored is None or not len(stored.days) or first < stored.since or self.again:
            found = ask(first)
        else:
            settled = ist_date(stored.asked_ns)
            old = stored.days["day"][stored.days["day"] < np.datetime64(settled)]
            from_day = old[-OVERLAP_BARS:][0].item() if len(old) else first
            known = joined(stored.days, ask(from_day), settled)
            if known is None:
                self.outcome.adjusted.append(row.key)
            found = ask(first) if known is None else known
        store.write(
            self.folder,
            Stored(row.key, row.token, row.upstox_key, self.broker, first, now_ns, done, found),
        )
        self.outcome.fetched += 1

    def _first(self, stored: Stored | None) -> dt.date:
        """Where the history begins: never later than it did."""
        if stored is None:
            return self.since or FIRST_DAY
        return min(self.since or stored.since, stored.since)

    def _stored(self, row: Instrument) -> Stored | None:
        """What can be built on; a file that cannot is told of and replaced."""
        try:
            stored = store.read(self.folder, row.key)
        except StoreError as error:
            self.outcome.notes.append(f"{error}: fetched again")
            return None
        if stored is not None and not stored.belongs_to(row, self.broker):
            self.outcome.notes.append(
                f"{row.key}: the bars here were of token {stored.token} ({stored.broker}): fetched again"
            )
            return None
        return stored

    def _known(self, stored: Stored, days: TradingDays, now_ns: int) -> bool:
        """Whether asking again would bring nothing: no trading since, or a young bar of today."""
        if self._first(stored) < stored.since:
            return False
        today, done = ist_date(now_ns), days.done(now_ns)
        if days.next_open(stored.done) <= done:
            return False  # a day has ended since
        under_way = done < today
        age_s = (now_ns - stored.asked_ns) / NS_PER_S
        return not under_way or (ist_date(stored.asked_ns) == today and 0 <= age_s < FRESH_S)


def joined(stored: Array, fresh: Array, settled: dt.date) -> Array | None:
    """The stored bars with the fresh ones behind them; None: where both have a day they disagree.

    settled: bars from this day on were young when they were stored: the broker may have corrected them.
    """
    if not len(stored):
        return fresh
    old = stored[stored["day"] < np.datetime64(settled)]
    _, at, of = np.intersect1d(old["day"], fresh["day"], return_indices=True)
    begin = fresh["day"][0] if len(fresh) else np.datetime64(settled)
    if len(at) < (old["day"] >= begin).sum() or (len(old) and not len(at)):
        return None  # a stored day is gone, or nothing is left to compare
    if (np.abs(old["close"][at] / fresh["close"][of] - 1) > SAME).any():
        return None
    return np.concatenate([old[old["day"] < begin], fresh])
