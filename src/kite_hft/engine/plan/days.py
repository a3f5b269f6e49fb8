"""Layer 5, child processes, cold: the trading hours of a run, by instrument."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from kite_hft.clock import Clock
from kite_hft.sessions import Session, ist_date, session_from_calendar, session_on
from kite_hft.settings import Settings, load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.ports import ALWAYS_NS

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


def sessions_now(
    settings: Settings, instruments: InstrumentTable, now_real_ns: int
) -> tuple[Nanoseconds, Nanoseconds] | None:
    """`session_arrays` where they bind the market that we see; None: it is always open.

    A configured date that is not today belongs to a simulator, whose market keeps hours of its own.
    """
    day = settings.trading.date
    if day is not None and day != ist_date(now_real_ns):
        return None
    return session_arrays(settings, instruments, now_real_ns)


def open_for(settings: Settings, instruments: InstrumentTable, clock: Clock) -> Callable[[int], int]:
    """slot -> for how many ns its session is open now; -1: it is closed."""
    sessions = sessions_now(settings, instruments, clock.real_ns())
    if sessions is None:
        return lambda slot: ALWAYS_NS
    opens, closes = sessions

    def since_ns(slot: int) -> int:
        now_ns = clock.real_ns()
        return now_ns - int(opens[slot]) if opens[slot] <= now_ns < closes[slot] else -1

    return since_ns


def _session(rows: list[Any], known: dict[str, Session], instrument: Instrument, day: dt.date) -> Session:
    if instrument.exchange not in known:
        known[instrument.exchange] = session_from_calendar(rows, instrument.exchange, day)
    return known[instrument.exchange]
