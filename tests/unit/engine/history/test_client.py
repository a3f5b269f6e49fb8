"""Historical calls: paced by the rules file, tried again, given up with a reason."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from history_tools import LIMITS, SBIN, at_ist, weekdays, world
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kite_hft.brokers.table import history_of
from kite_hft.engine.history.client import HistoryClient, HistoryRefused, HistoryStopped, spans
from kite_hft.engine.history.pacing import Pacing

NOW = at_ist("2026-06-10", 16)
TODAY = dt.date(2026, 6, 10)
SOME = weekdays("2026-06-01", 8)


@hypothesis_settings(deadline=None)  # thousands of days are counted one by one
@given(st.dates(dt.date(2000, 1, 3), dt.date(2026, 1, 1)), st.integers(0, 9000), st.integers(1, 3000))
def test_spans_cover_all_days_once(first: dt.date, length: int, most: int) -> None:
    last = first + dt.timedelta(days=length)
    found = spans(first, last, most)
    days = [begin + dt.timedelta(days=i) for begin, end in found for i in range((end - begin).days + 1)]
    assert sorted(days) == [first + dt.timedelta(days=i) for i in range(length + 1)]
    assert max((end - begin).days + 1 for begin, end in found) <= most
    assert found == sorted(found, reverse=True)


def test_calls_keep_to_the_window_of_the_rules(tmp_path: Path) -> None:
    w = world(tmp_path, NOW, {SBIN.token: SOME})
    client = w.client()
    for _ in range(40):
        client.days(SBIN, dt.date(2026, 6, 1), TODAY, open_today=True)
    (window,) = LIMITS.historical_windows
    span_ns = round(window.window_s * 1e9)
    times = w.broker.times_ns
    assert all(late - early >= span_ns for early, late in zip(times, times[window.calls :], strict=False))
    assert times[-1] < 40 / window.calls * span_ns * 1.1  # and no slower than that


@pytest.mark.parametrize("fault", [429, 500, 503, ConnectionError("gone"), b"", b'{"status": "succ'])
def test_what_may_pass_is_tried_again(tmp_path: Path, fault: object) -> None:
    w = world(tmp_path, NOW, {SBIN.token: SOME})
    w.broker.faults = [fault, fault]
    assert len(w.client().days(SBIN, dt.date(2026, 6, 1), TODAY, open_today=True)) == 8
    assert len(w.broker.asked) == 3 and len(w.said) == 2
    first, second, third = w.broker.times_ns
    assert third - second >= 2 * (second - first) * 0.99 > 0


def test_too_many_requests_rests_as_the_rules_say(tmp_path: Path) -> None:
    w = world(tmp_path, NOW, {SBIN.token: SOME})
    w.broker.faults = [429]
    w.client().days(SBIN, dt.date(2026, 6, 1), TODAY, open_today=True)
    first, second = w.broker.times_ns
    assert second - first >= LIMITS.cooldown_after_429_s * 1e9


@pytest.mark.parametrize(("status", "words"), [(403, "log in again"), (401, "log in again")])
def test_a_dead_token_stops_the_job_at_once(tmp_path: Path, status: int, words: str) -> None:
    w = world(tmp_path, NOW, {SBIN.token: SOME})
    w.broker.faults = [status]
    with pytest.raises(HistoryStopped, match=words):
        w.client().days(SBIN, dt.date(2026, 6, 1), TODAY, open_today=True)
    assert len(w.broker.asked) == 1


def test_garbage_for_ever_is_the_instruments_fault(tmp_path: Path) -> None:
    w = world(tmp_path, NOW, {SBIN.token: SOME})
    w.broker.faults = [b'{"status": "success", "data": {"candles": [["2026-06-01", 1, 2]]}}'] * 6
    with pytest.raises(HistoryRefused, match="candle"):
        w.client().days(SBIN, dt.date(2026, 6, 1), TODAY, open_today=True)


def test_a_broker_that_is_down_stops_the_job_whatever_its_words_are(tmp_path: Path) -> None:
    w = world(tmp_path, NOW, {SBIN.token: SOME})
    w.broker.faults = [*[b""] * 5, ConnectionError("closed without an answer")]
    with pytest.raises(HistoryStopped, match="closed without an answer"):
        w.client().days(SBIN, dt.date(2026, 6, 1), TODAY, open_today=True)


def test_a_share_that_rests_keeps_its_history(tmp_path: Path) -> None:
    """The newest span may be empty: it was suspended. Only behind that an empty one is the beginning."""
    past = weekdays("2014-01-01", 1000)
    assert (TODAY - past["day"][-1].item()).days > 2000
    w = world(tmp_path, NOW, {SBIN.token: past})
    found = w.client().days(SBIN, dt.date(2000, 1, 3), TODAY, open_today=True)
    assert len(found) == 1000


def test_rules_without_a_span_are_refused(tmp_path: Path) -> None:
    w = world(tmp_path, NOW, {})
    with pytest.raises(HistoryStopped, match="history_span_days"):
        HistoryClient(
            history_of("kite"), "http://broker", (), replace(LIMITS, extras={}), w.broker.fetch,
            Pacing((), w.clock, w.sleep),
        )  # fmt: skip
