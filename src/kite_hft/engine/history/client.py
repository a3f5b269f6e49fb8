"""Layer 5, metadata job, cold: daily candles over HTTP: paced, tried again, cut into spans.

What a person can mend stops the job (a token, a plan without history, a broker that is down); what one
instrument lacks is that instrument's. A call is tried again after 429, 5xx, no answer and half an answer:
it reads, so that doing it twice does no harm.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from kite_hft.brokers.table import HistoryCalls
from kite_hft.brokers.values import AnswerError
from kite_hft.engine.history.pacing import Pacing
from kite_hft.trading.broker import HttpRequest, Limits
from kite_hft.trading.history import DAY, Array, HistoryError, check
from kite_hft.trading.instruments import Instrument

TRIES: Final = 6
BACKOFF_S: Final = 1.0
"""After the first failure; doubled after each."""
BACKOFF_S_MAX: Final = 60.0

Fetch = Callable[[str, Sequence[tuple[str, str]]], tuple[int, bytes]]
"""GET of an address with headers: (status, body); raises OSError."""


class HistoryRefused(Exception):
    """An instrument has no history to be had; the message says what the broker said."""


class HistoryStopped(Exception):
    """Nothing can be had now; the message says why, and what to do."""


def spans(first: dt.date, last: dt.date, days_max: int) -> list[tuple[dt.date, dt.date]]:
    """first to last, both in it, in pieces of at most `days_max` days, newest first."""
    found = []
    while last >= first:
        begin = max(first, last - dt.timedelta(days=days_max - 1))
        found.append((begin, last))
        last = begin - dt.timedelta(days=1)
    return found


class HistoryClient:
    """The historical calls of one broker. url: its API host. say: told what is waited for. guard: asked
    before each call, raises HistoryStopped where none may leave."""

    def __init__(
        self,
        calls: HistoryCalls,
        url: str,
        headers: Sequence[tuple[str, str]],
        limits: Limits,
        fetch: Fetch,
        pacing: Pacing,
        say: Callable[[str], None] = lambda text: None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises:
        HistoryStopped: the rules file lacks what this needs.
        """
        span_days = limits.extras.get("history_span_days", 0)
        if span_days < 1:
            raise HistoryStopped(f"the rules of {limits.name} lack extras.history_span_days: add it")
        self._calls, self._url, self._headers = calls, url.rstrip("/"), headers
        self._span_days = int(span_days)
        self._cooldown_s = limits.cooldown_after_429_s
        self._fetch, self.pacing, self._say, self._guard = fetch, pacing, say, guard

    def days(self, row: Instrument, first: dt.date, today: dt.date, *, open_today: bool) -> Array:
        """DAY[n] from `first` on, the day under way with them where it has a bar.

        Goes back from the newest, and ends at a span of the rules' length without any bar: there the
        instrument was not listed yet.

        Raises:
            HistoryRefused, HistoryStopped: see the classes.
        """
        last = today if self._calls.today is None else today - dt.timedelta(days=1)
        parts: list[Array] = []
        try:
            if self._calls.today is not None and open_today and first <= today:
                found = self._asked(self._calls.today(row), row)
                parts.append(found[found["day"] == np.datetime64(today)])
            for begin, end in spans(first, last, self._span_days):
                part = self._asked(self._calls.days(row, begin, end), row)
                part = part[(part["day"] >= np.datetime64(begin)) & (part["day"] <= np.datetime64(end))]
                if not len(part) and end != last:
                    break
                parts.append(part)
            whole: Array = np.concatenate([np.zeros(0, DAY), *parts[::-1]])
            check(whole)
        except (ValueError, HistoryError) as error:
            raise HistoryRefused(str(error)) from None
        return whole

    def _asked(self, request: HttpRequest, row: Instrument) -> Array:
        why, answered = "", False
        for attempt in range(TRIES):
            self.pacing.wait()
            self._guard()
            answered = False
            try:
                status, body = self._fetch(self._url + request.path, self._headers)
            except OSError as error:
                why = str(error)
            else:
                if status == 200:
                    try:
                        return self._calls.parse(body)
                    except AnswerError as error:
                        why, answered = str(error), True
                elif status in (401, 403):
                    raise HistoryStopped(self._refused_words(status, body))
                elif status == 429:
                    why = "too many requests"
                elif status >= 500:
                    why = f"HTTP {status} {self._calls.refusal(body)}".rstrip()
                else:
                    raise HistoryRefused(f"{self._calls.refusal(body) or body[:100]!r} (HTTP {status})")
                if status == 429:
                    self._pause(row, why, self._cooldown_s * 2**attempt)
                    continue
            self._pause(row, why, BACKOFF_S * 2**attempt)
        if answered:  # and what it said made no bars: another instrument's may
            raise HistoryRefused(why)
        raise HistoryStopped(
            f"{row.key}: {TRIES} tries, the last one: {why}. What was gathered is kept: the "
            "same command goes on"
        )

    def _pause(self, row: Instrument, why: str, seconds: float) -> None:
        seconds = min(seconds, max(BACKOFF_S_MAX, self._cooldown_s))
        self.pacing.rest(seconds)
        self._say(f"{row.key}: {why}; next try in {seconds:.0f} s")

    def _refused_words(self, status: int, body: bytes) -> str:
        said = self._calls.refusal(body)
        if "permission" in said.lower():
            return (
                f"the broker says: {said}; candles need a paid plan of the API (Kite Connect, not Personal)"
            )
        return f"the broker refuses the token (HTTP {status} {said}): log in again, kite-hft login"
