"""What the tests of the history job share: a broker in memory that gives out daily candles, and its clock."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.brokers.table import history_of
from kite_hft.clock import ManualClock
from kite_hft.engine.history.client import HistoryClient
from kite_hft.engine.history.gathering import Gathering
from kite_hft.engine.history.pacing import Pacing
from kite_hft.sessions import ist_midnight_ns
from kite_hft.settings import load_yaml
from kite_hft.trading.history import DAY, Array
from kite_hft.trading.instruments import Instrument

RULES = Path("config/rules/kite_2026-04-01.yaml")
CALENDAR: list[Any] = load_yaml(Path("config/calendar/india.yaml"))
LIMITS = limits_from_mapping(load_yaml(RULES))
SBIN = Instrument(0, 779521, 3045, "SBIN", "NSE", "NSE", "EQ", 5, 1)
INFY = Instrument(1, 408065, 1594, "INFY", "NSE", "NSE", "EQ", 5, 1)
HOUR_NS = 3600 * 10**9


def at_ist(day: str, hour: float) -> int:
    """Epoch ns of an hour of a day in India."""
    return ist_midnight_ns(dt.date.fromisoformat(day)) + round(hour * HOUR_NS)


def weekdays(first: str, n: int, price: float = 100.0, skip: Sequence[str] = ()) -> Array:
    """DAY[n]: weekdays from `first` on but for `skip`; the close goes up by 0.05 a day."""
    days: list[dt.date] = []
    day = dt.date.fromisoformat(first)
    while len(days) < n:
        if day.weekday() < 5 and day.isoformat() not in skip:
            days.append(day)
        day += dt.timedelta(days=1)
    out = np.zeros(n, DAY)
    out["day"] = np.array(days, "M8[D]")
    out["close"] = out["open"] = np.round(price + 0.05 * np.arange(n), 2)
    out["high"], out["low"], out["volume"] = out["close"] + 1, out["close"] - 1, 1000
    return out


@dataclass
class FakeKite:
    """Answers /instruments/historical as Kite does. days: token -> what it has. faults: what the next calls
    get instead: a status, an exception, or a body."""

    clock: ManualClock
    days: dict[int, Array]
    faults: list[Any] = field(default_factory=list)
    asked: list[tuple[int, str, str]] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)

    def fetch(self, url: str, headers: Any) -> tuple[int, bytes]:
        parts = urlsplit(url)
        query = {name: values[0][:10] for name, values in parse_qs(parts.query).items()}
        token = int(parts.path.split("/")[-2])
        self.asked.append((token, query["from"], query["to"]))
        self.times_ns.append(self.clock.mono_ns())
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            if isinstance(fault, bytes):
                return 200, fault
            body = {"status": "error", "error_type": "X", "message": f"fault {fault}"}
            return fault, json.dumps(body).encode()
        first, last = (np.datetime64(query[name]) for name in ("from", "to"))
        assert (last - first).astype(int) < 2000, "interval exceeds max limit: 2000 days"
        rows = self.days[token]
        rows = rows[(rows["day"] >= first) & (rows["day"] <= last)]
        candles = [
            [f"{r['day']}T00:00:00+0530", *(float(r[n]) for n in DAY.names[1:5]), 1000, 0] for r in rows
        ]
        return 200, json.dumps({"status": "success", "data": {"candles": candles}}).encode()


@dataclass
class HistoryWorld:
    """A gathering on a clock that moves only when the job sleeps."""

    folder: Path
    broker: FakeKite
    said: list[str] = field(default_factory=list)

    @property
    def clock(self) -> ManualClock:
        return self.broker.clock

    def client(self) -> HistoryClient:
        pacing = Pacing(LIMITS.historical_windows, self.clock, self.sleep)
        calls = history_of("kite")
        return HistoryClient(calls, "http://broker", (), LIMITS, self.broker.fetch, pacing, self.said.append)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.clock.advance(max(1, round(seconds * 1e9)))

    def gather(self, *rows: Instrument, **options: Any) -> Gathering:
        """A whole job over the rows."""
        job = Gathering(self.folder, "kite", self.client(), self.clock, CALENDAR, **options)
        for _ in job.run(rows):
            pass
        return job


def world(folder: Path, now: int, days: dict[int, Array]) -> HistoryWorld:
    return HistoryWorld(folder, FakeKite(ManualClock(0, now), days))


def changed(days: Array, change: Callable[[Array], None]) -> Array:
    copy = days.copy()
    change(copy)
    return copy
