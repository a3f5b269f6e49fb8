"""Bars brought up to date: what is asked for, what is kept, what is fetched again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from history_tools import INFY, SBIN, at_ist, changed, weekdays, world

from kite_hft.engine.history import store
from kite_hft.engine.history.client import HistoryStopped
from kite_hft.trading.history import Array

EVENING, NEXT_EVENING = at_ist("2026-06-10", 16), at_ist("2026-06-11", 16)  # a Wednesday, and Thursday
YEARS = weekdays("2014-01-01", 3246)  # to Wednesday 2026-06-10, holidays and all


def kept(folder: Path, key: str = "NSE:SBIN") -> Array:
    stored = store.read(folder, key)
    assert stored is not None
    return stored.days


def test_the_whole_history_comes_in_spans_and_ends_where_there_is_none(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    job = w.gather(SBIN)
    assert (job.outcome.fetched, job.outcome.refused) == (1, {})
    np.testing.assert_array_equal(kept(tmp_path), YEARS)
    firsts = [dt.date.fromisoformat(first) for _, first, _ in w.broker.asked]
    assert len(firsts) == 4  # three with bars, one without; 1999 and before is not asked for
    assert YEARS["day"][0].item() > firsts[-1] > dt.date(2000, 1, 3)


def test_what_is_known_is_not_asked_for_again(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN)
    calls = len(w.broker.asked)
    assert w.gather(SBIN).outcome.known == 1
    w.clock.real = at_ist("2026-06-11", 8)  # before the next open: nothing can be new
    w.gather(SBIN)
    assert len(w.broker.asked) > calls  # today is under way, and has not been asked for yet
    calls = len(w.broker.asked)
    w.clock.real += 1800 * 10**9
    assert w.gather(SBIN).outcome.known == 1 and len(w.broker.asked) == calls
    w.clock.real += 3600 * 10**9
    assert w.gather(SBIN).outcome.known == 0


def test_the_weekend_brings_nothing(tmp_path: Path) -> None:
    w = world(tmp_path, at_ist("2026-06-12", 16), {SBIN.token: YEARS})  # Friday
    w.gather(SBIN)
    w.clock.real = at_ist("2026-06-14", 20)
    assert w.gather(SBIN).outcome.known == 1


def test_the_next_day_asks_for_a_few_days_and_adds_one(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN)
    longer = np.append(YEARS, weekdays("2026-06-11", 1, 300.0))
    w.broker.days[SBIN.token] = longer
    w.broker.asked.clear()
    w.clock.real = NEXT_EVENING
    job = w.gather(SBIN)
    assert job.outcome.adjusted == []
    ((_, first, last),) = w.broker.asked
    assert (first, last) == ("2026-06-03", "2026-06-11")  # five settled bars and what is new
    np.testing.assert_array_equal(kept(tmp_path), longer)


def test_a_young_bar_may_be_corrected(tmp_path: Path) -> None:
    """The evening's close is not the last word: no reason to fetch 26 years again."""
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN)

    def correct(days: Array) -> None:
        days["close"][-1] += 0.5

    w.broker.days[SBIN.token] = changed(YEARS, correct)
    w.clock.real = NEXT_EVENING
    w.broker.asked.clear()
    assert w.gather(SBIN).outcome.adjusted == []
    assert len(w.broker.asked) == 1
    assert kept(tmp_path)["close"][-1] == YEARS["close"][-1] + 0.5


def test_an_adjusted_history_is_fetched_whole(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN)

    def split(days: Array) -> None:
        for name in ("open", "high", "low", "close"):
            days[name] /= 5

    halved = changed(YEARS, split)
    w.broker.days[SBIN.token] = halved
    w.clock.real = NEXT_EVENING
    assert w.gather(SBIN).outcome.adjusted == ["NSE:SBIN"]
    np.testing.assert_array_equal(kept(tmp_path), halved)


def test_a_bar_that_the_broker_takes_back_is_seen(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN)
    w.broker.days[SBIN.token] = np.delete(YEARS, -3)
    w.clock.real = NEXT_EVENING
    assert w.gather(SBIN).outcome.adjusted == ["NSE:SBIN"]
    assert len(kept(tmp_path)) == len(YEARS) - 1


def test_the_day_under_way_is_marked(tmp_path: Path) -> None:
    w = world(tmp_path, at_ist("2026-06-10", 11), {SBIN.token: YEARS})
    w.gather(SBIN)
    stored = store.read(tmp_path, "NSE:SBIN")
    assert stored is not None and stored.days["day"][-1].item() == dt.date(2026, 6, 10)
    assert stored.done == dt.date(2026, 6, 9)


def test_a_broker_that_stops_leaves_what_is_done(tmp_path: Path) -> None:
    """And the same command goes on there."""
    w = world(tmp_path, EVENING, {SBIN.token: YEARS, INFY.token: YEARS})
    w.gather(SBIN)
    w.broker.faults = [503] * 6
    with pytest.raises(HistoryStopped, match="goes on"):
        w.gather(SBIN, INFY)
    assert len(kept(tmp_path)) == len(YEARS)
    assert store.read(tmp_path, "NSE:INFY") is None
    job = w.gather(SBIN, INFY)
    assert (job.outcome.known, job.outcome.fetched) == (1, 1)


def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN)
    path = store.path_of(tmp_path, "NSE:SBIN")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    job = w.gather(SBIN)
    assert job.outcome.fetched == 1 and len(job.outcome.notes) == 1
    np.testing.assert_array_equal(kept(tmp_path), YEARS)


def test_a_token_that_is_used_again_is_another_instrument(tmp_path: Path) -> None:
    from dataclasses import replace

    w = world(tmp_path, EVENING, {SBIN.token: YEARS, 257: YEARS[-10:]})
    w.gather(SBIN)
    job = w.gather(replace(SBIN, token=257))
    assert "token 779521" in job.outcome.notes[0]
    assert len(kept(tmp_path)) == 10


def test_one_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS, INFY.token: YEARS})
    w.broker.faults = [400]
    job = w.gather(SBIN, INFY)
    assert list(job.outcome.refused) == ["NSE:SBIN"] and "fault 400" in job.outcome.refused["NSE:SBIN"]
    assert job.outcome.fetched == 1


def test_a_later_start_is_no_reason_to_ask_an_earlier_one_is(tmp_path: Path) -> None:
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN, since=dt.date(2020, 1, 1))
    assert kept(tmp_path)["day"][0].item() == dt.date(2020, 1, 1)
    assert w.gather(SBIN).outcome.known == 1
    w.gather(SBIN, since=dt.date(2000, 1, 3))
    np.testing.assert_array_equal(kept(tmp_path), YEARS)


def test_the_beginning_stays_where_it_was(tmp_path: Path) -> None:
    """Also when all of it has to be fetched again, and whatever a later job asks for."""
    w = world(tmp_path, EVENING, {SBIN.token: YEARS})
    w.gather(SBIN, since=dt.date(2020, 1, 1))

    def split(days: Array) -> None:
        for name in ("open", "high", "low", "close"):
            days[name] /= 5

    w.broker.days[SBIN.token] = changed(YEARS, split)
    for evening, since in ((NEXT_EVENING, None), (NEXT_EVENING + 24 * 3600 * 10**9, dt.date(2025, 1, 1))):
        w.clock.real = evening
        assert w.gather(SBIN, since=since).outcome.fetched == 1
        stored = store.read(tmp_path, "NSE:SBIN")
        assert stored is not None and stored.since == dt.date(2020, 1, 1)  # what is there is not forgotten
        assert kept(tmp_path)["day"][0].item() == dt.date(2020, 1, 1)
