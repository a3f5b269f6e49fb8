"""Layer 5, child processes, cold: the trading hours of a run, by instrument."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt

from kite_hft.sessions import Session, ist_date, session_from_calendar, session_on
from kite_hft.settings import Settings, load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentTable

Nanoseconds = npt.NDArray[np.int64]


def trading_day(settings: Settings, now_real_ns: int) -> dt.date:
    """The configured date (a replayed day), or today in India."""
    return settings.trading.date or ist_date(now_real_ns)


def session_arrays(
    settings: Settings, instruments: InstrumentTable, now_real_ns: int
) -> tuple[Nanoseconds, Nanoseconds]:
    """(open_ns, close_ns), each int64[n], epoch ns of every slot's session.

    trading.market_start and market_end override the calendar.

    Raises:
        CalendarError: the calendar does not cover the day, or the exchange is closed on it.
    """
    day = trading_day(settings, now_real_ns)
    chosen = settings.trading
    if chosen.market_start and chosen.market_end:
        fixed = session_on(day, chosen.market_start, chosen.market_end)
        sessions = [fixed] * len(instruments)
    else:
        rows: list[Any] = load_yaml(chosen.calendar)
        by_segment: dict[str, Session] = {}
        sessions = [_session(rows, by_segment, i, day) for i in instruments]
    return (
        np.array([s.open_ns for s in sessions], np.int64),
        np.array([s.close_ns for s in sessions], np.int64),
    )


def _session(rows: list[Any], known: dict[str, Session], instrument: Instrument, day: dt.date) -> Session:
    if instrument.exchange not in known:
        known[instrument.exchange] = session_from_calendar(rows, instrument.exchange, day)
    return known[instrument.exchange]
