"""Layer 6, by hand, cold: does the calendar cover the days to come, and does Upstox say the same of them?

The comparison is pure; the calls are Upstox's public ones, which need no token and no account.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kite_hft.app.day.asking import Asking, NoAnswer
from kite_hft.app.day.facts import CalendarFacts
from kite_hft.brokers.table import broker_of
from kite_hft.brokers.upstox.holidays import (
    Holiday,
    Hours,
    holidays,
    parse_holidays,
    parse_timings,
    timings,
)
from kite_hft.brokers.values import AnswerError
from kite_hft.engine.plan.session import Access
from kite_hft.sessions import CalendarError, Session, ist_text, session_from_calendar
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.instruments import InstrumentTable

AHEAD: Final = 5
"""Sessions after the traded day that must be covered."""
DAYS_MAX: Final = 21
NAMED: Final = 6

Rows = Sequence[Mapping[str, Any]]


def hours_of(rows: Rows, exchange: str, day: dt.date) -> Session | str | None:
    """The session of an exchange; None: it is closed; a text: no row covers the day."""
    try:
        return session_from_calendar(rows, exchange, day)
    except CalendarError as error:
        return None if "is closed" in str(error) else str(error)


def coverage(rows: Rows, exchanges: Iterable[str], day: dt.date) -> CalendarFacts:
    """The traded day and the next AHEAD sessions, of the exchanges of the configuration."""
    wanted = sorted(set(exchanges))
    days: list[tuple[dt.date, tuple[str, ...]]] = []
    uncovered: list[tuple[dt.date, str]] = []
    sessions = 0
    for ahead in range(DAYS_MAX):
        date = day + dt.timedelta(days=ahead)
        found = {exchange: hours_of(rows, exchange, date) for exchange in wanted}
        uncovered += [(date, text) for text in found.values() if isinstance(text, str)]
        trades = tuple(e for e, hours in found.items() if isinstance(hours, Session))
        if not ahead or trades:
            days.append((date, trades))
        sessions += bool(ahead and trades)
        if sessions >= AHEAD or len(uncovered) >= NAMED:
            break
    return CalendarFacts(tuple(days), tuple(uncovered))


def compared(
    rows: Rows, exchanges: Iterable[str], days: Iterable[dt.date], told: Mapping[dt.date, Holiday]
) -> tuple[str, ...]:
    """Where Upstox's holidays and the calendar differ about an exchange's day, one line each."""
    found = []
    for day in days:
        holiday = told.get(day)
        for exchange in sorted(set(exchanges)):
            ours = hours_of(rows, exchange, day)
            if isinstance(ours, str):
                continue
            theirs = opens(holiday, exchange, day)
            if theirs != (ours is not None):
                words = f" ({holiday.words})" if holiday and holiday.words else ""
                found.append(
                    f"{exchange} on {day}: the calendar says {_open(ours is not None)}, Upstox "
                    f"{_open(theirs)}{words}"
                )
    return tuple(found)


def opens(holiday: Holiday | None, exchange: str, day: dt.date) -> bool:
    """Whether an exchange trades by Upstox's row of the day, or without one."""
    if holiday is not None and exchange in holiday.open:
        return True
    if holiday is not None and exchange in holiday.closed:
        return False
    return day.weekday() < 5


def hours_compared(
    rows: Rows, exchanges: Iterable[str], day: dt.date, told: Mapping[str, Hours]
) -> tuple[str, ...]:
    """Where Upstox's hours of the day and the calendar's differ, for exchanges that trade by both."""
    found = []
    for exchange in sorted(set(exchanges)):
        ours = hours_of(rows, exchange, day)
        if isinstance(ours, Session) and exchange in told and told[exchange] != (ours.open_ns, ours.close_ns):
            found.append(
                f"{exchange} on {day}: the calendar says {_span(ours.open_ns, ours.close_ns)}, Upstox "
                f"{_span(*told[exchange])}"
            )
    return tuple(found)


def spoken_of(days: Iterable[dt.date], today: dt.date) -> list[dt.date]:
    """The days of which Upstox's holidays say something: they are those of this year."""
    return [day for day in days if day.year == today.year]


def asked(
    rows: Rows, exchanges: Sequence[str], found: CalendarFacts, access: Access, today: dt.date
) -> CalendarFacts:
    """The same with what Upstox says of these days. today: in India, whatever day is traded."""
    days = [day for day, _ in found.days]
    span = [days[0] + dt.timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)] if days else []
    try:
        with Asking(access, broker_of("upstox", InstrumentTable(()))) as asking:
            told = parse_holidays(_body(asking, holidays()))
            hours = parse_timings(_body(asking, timings(days[0]))) if days and found.days[0][1] else {}
    except (NoAnswer, AnswerError) as error:
        return CalendarFacts(found.days, found.uncovered, unreachable=str(error))
    of_this_year = spoken_of(span, today)
    against = compared(rows, exchanges, of_this_year, told) if of_this_year else None
    against_hours = hours_compared(rows, exchanges, days[0], hours) if hours else ()
    return CalendarFacts(found.days, found.uncovered, against, against_hours)


def _body(asking: Asking, request: HttpRequest) -> bytes:
    """Raises NoAnswer: another status than 200."""
    answer = asking.call(request)
    if answer.status != 200:
        raise NoAnswer(f"Upstox answers {request.path} with HTTP {answer.status}")
    return answer.body


def _open(is_open: bool) -> str:
    return "open" if is_open else "closed"


def _span(open_ns: int, close_ns: int) -> str:
    return f"{ist_text(open_ns)[11:16]} to {ist_text(close_ns)[11:16]}"
