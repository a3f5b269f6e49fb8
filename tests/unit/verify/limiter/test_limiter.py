"""The limiter campaign: a short run passes, and limits that are too wide are caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.verify.limiter import limiter
from kite_hft.verify.limiter.cases import run_case
from kite_hft.verify.limiter.server import GRANTED, SECOND, ideal, most_in_calendar, most_sliding

N = 3_000


def test_days_of_both_brokers_pass() -> None:
    tables = limiter.tables()
    found = [run_case(7, number, tables, N) for number in range(20)]
    assert not [row.wrong for row in found if row.wrong]
    assert sum(row.sent for row in found) > 10_000 and sum(row.prompt for row in found) > 50
    assert {row.case.pattern for row in found} == {"steady", "poisson", "bursts", "edges", "storm"}
    again = run_case(7, 4, tables, N)
    assert (again.sent, again.reads, again.busiest) == (found[4].sent, found[4].reads, found[4].busiest)


def test_days_of_one_broker_alone() -> None:
    tables = limiter.tables("upstox")
    assert list(tables) == ["upstox"]
    assert not [text for number in range(5) for text in run_case(7, number, tables, N).wrong]


def one_second(table: Limits) -> Limits:
    short = replace(table.all_windows[0], window_s=1.1)
    return replace(table, all_windows=(short,), order_windows=(short, *table.order_windows[1:]))


def whole_minute(table: Limits) -> Limits:
    return replace(table, order_windows=(RateWindow(440, 60.0, 60), RateWindow(5000, 1800.0, 500)))


def no_day(table: Limits) -> Limits:
    return replace(table, orders_per_day=10_000, entry_share_of_day=1.0)


@pytest.mark.parametrize(
    ("broken", "said"),
    [(one_second, "window of 1 s"), (whole_minute, "of 60 s"), (no_day, "in a day")],
    ids=["short", "minute", "day"],
)
def test_limits_that_are_too_wide_are_caught(broken: Callable[[Limits], Limits], said: str) -> None:
    tables = {broker: broken(table) for broker, table in limiter.tables().items()}
    texts = (text for number in range(30) for text in run_case(1, number, tables, 9_000).wrong)
    assert any(said in text for text in texts)


def test_exits_that_starve_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget forgets what is kept for exits."""
    from kite_hft.verify.limiter import cases

    class Greedy(cases.Budget):
        def __init__(self, table: Limits) -> None:
            super().__init__(
                replace(
                    table,
                    all_windows=tuple(replace(w, reserved=0) for w in table.all_windows),
                    order_windows=tuple(replace(w, reserved=0) for w in table.order_windows),
                )
            )

    monkeypatch.setattr(cases, "Budget", Greedy)
    texts = (text for number in range(12) for text in run_case(1, number, limiter.tables(), N).wrong)
    assert any("kept places were free" in text for text in texts)


def test_deletions_that_wait_behind_reads_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are paid out of the reads' part."""
    from kite_hft.verify.limiter import cases

    monkeypatch.setattr(cases, "RELIEF", cases.OTHER)
    texts = (text for number in range(12) for text in run_case(1, number, limiter.tables(), N).wrong)
    assert any("kept places were free" in text for text in texts)


@pytest.mark.parametrize("forgotten", ["read_written", "written"])
def test_calls_that_count_where_they_were_decided_are_caught(
    monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """The process stands still before it writes, and the budget does not hear of it."""
    from kite_hft.verify.limiter import cases

    monkeypatch.setattr(cases.Budget, forgotten, lambda self, after_ns: None)
    texts = (text for number in range(30) for text in run_case(1, number, limiter.tables(), N).wrong)
    assert any("calls of all kinds" in text for text in texts)


def test_the_server_counts_as_a_calendar_and_as_a_sliding_window() -> None:
    times = np.array([0, 1, SECOND - 1, SECOND, SECOND + 1], np.int64)
    assert most_in_calendar(times, 1) == 3 and most_sliding(times, SECOND) == 3
    assert most_sliding(times, SECOND + 1) == 4
    assert most_in_calendar(times[:0], 1) == most_sliding(times[:0], SECOND) == 0


def test_the_ideal_limiter_fills_each_second_and_minute_and_drops_what_is_late() -> None:
    n = 1000
    at, no, yes = np.zeros(n, np.int64), np.zeros(n, bool), np.ones(n, bool)
    granted, last = GRANTED["kite"], np.array([3 * SECOND])

    def sent(urgent: np.ndarray, patience: int, placed: int = 0) -> int:
        times = np.append(at, last)
        flags = np.append(urgent, False)
        return ideal(granted, times, flags, np.append(yes, False), times + patience, placed)

    assert sent(no, 0) == 10 + 1 and sent(no, SECOND) == 20 + 1 and sent(yes, 0) == 40
    assert sent(no, 9 * SECOND, placed=4985) == 15 + 1


def test_the_campaign_tells_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert limiter.main(["--arrivals", "4e4", "--jobs", "2", "--seed", "3"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["ok"] and told["cases"] == 2 and told["kite"]["busiest"]["1 s"] <= 10
    assert told["arrivals"] >= 40_000
    assert limiter.main(["--case", "1"]) == 0
    assert json.loads(capfd.readouterr().out)["drawn"]["broker"] == "upstox"
