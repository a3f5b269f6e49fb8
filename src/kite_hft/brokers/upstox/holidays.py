"""Layer 2, command line, cold: Upstox's public calls about the days: holidays and hours. They need no token.

GET /v2/market/holidays: rows {date, description, holiday_type, closed_exchanges, open_exchanges}; a
settlement holiday closes no exchange; open_exchanges (exchange, start_time, end_time in epoch ms) trade at
hours of their own. GET /v2/market/timings/{date}: rows {exchange, start_time, end_time} of those that trade.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.values import AnswerError, rows_of
from kite_hft.trading.broker import HttpRequest

NS_PER_MS: Final = 1_000_000
OUR_NAME: Final[Mapping[str, str]] = {"NSCOM": "NCO"}
"""Upstox's name of an exchange -> ours, where they differ."""
Hours = tuple[int, int]
"""Open and close, epoch ns."""


class Holiday(NamedTuple):
    """One row of the calls. open: exchange -> its hours of that day."""

    day: dt.date
    words: str
    closed: frozenset[str]
    open: Mapping[str, Hours]


def holidays() -> HttpRequest:
    """GET /v2/market/holidays: of the year."""
    return HttpRequest("GET", "/v2/market/holidays")


def timings(day: dt.date) -> HttpRequest:
    """GET /v2/market/timings/{date}."""
    return HttpRequest("GET", f"/v2/market/timings/{day.isoformat()}")


def parse_holidays(body: bytes) -> dict[dt.date, Holiday]:
    """By date.

    Raises:
        AnswerError: a row that cannot be read.
    """
    try:
        found = [_holiday(row) for row in rows_of(data_of(body))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnswerError(f"holidays: {type(error).__name__}: {error}") from error
    return {row.day: row for row in found}


def parse_timings(body: bytes) -> dict[str, Hours]:
    """Exchange -> its hours; one that is not there is closed.

    Raises:
        AnswerError: a row that cannot be read.
    """
    try:
        return _hours(rows_of(data_of(body)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnswerError(f"timings: {type(error).__name__}: {error}") from error


def _holiday(row: Mapping[str, Any]) -> Holiday:
    closed = frozenset(OUR_NAME.get(str(name), str(name)) for name in row.get("closed_exchanges") or ())
    day = dt.date.fromisoformat(str(row["date"]))
    return Holiday(day, str(row.get("description") or ""), closed, _hours(row.get("open_exchanges") or ()))


def _hours(rows: Any) -> dict[str, Hours]:
    return {
        OUR_NAME.get(str(row["exchange"]), str(row["exchange"])): (
            int(row["start_time"]) * NS_PER_MS,
            int(row["end_time"]) * NS_PER_MS,
        )
        for row in rows
    }
