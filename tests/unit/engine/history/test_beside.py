"""The history job and an engine of one account: side by side at Kite, one after the other at Upstox."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from history_tools import SBIN

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.brokers.table import history_of
from kite_hft.clock import ManualClock
from kite_hft.engine.history.beside import Beside
from kite_hft.engine.history.client import HistoryClient, HistoryStopped
from kite_hft.engine.history.pacing import pacing_of
from kite_hft.engine.plan.session import Access
from kite_hft.engine.runs.runs import RunNote
from kite_hft.settings import Settings, load_yaml
from kite_hft.trading.broker import RateWindow
from kite_hft.trading.sending.budget import Budget, ReadKind

S = 10**9
RULES = {"kite": "kite_2026-04-01", "upstox": "upstox_2026-04-01"}
HOSTS = {"kite": "https://api.kite.trade", "upstox": "https://api.upstox.com"}
LIMITS = {
    broker: limits_from_mapping(load_yaml(Path(f"config/rules/{file}.yaml")))
    for broker, file in RULES.items()
}


def note(broker: str = "upstox", account: str = "AB1", mode: str = "live") -> RunNote:
    return RunNote(broker, account, mode, "1", "/f", "/s", "/c", 77, 1, 5)


def beside(broker: str, *engines: RunNote, url: str = "", clock: ManualClock | None = None) -> Beside:
    settings = Settings.model_validate(
        {"broker": broker, "account": "AB1", "mode": "paper", "strategies": []}
    )
    access = Access(broker, "", url or HOSTS[broker], "key", "token")
    return Beside(settings, access, LIMITS[broker], clock or ManualClock(S, S), lambda: list(engines))


@pytest.mark.parametrize(
    ("engine", "url", "refused"),
    [
        (note(), "", True),
        (note(mode="paper"), "", False),
        (note(mode="sim"), "", False),
        (note(mode="sim"), "http://127.0.0.1:9", True),
        (note(account="OTHER"), "", False),
        (note(broker="kite"), "", False),
    ],
)
def test_at_upstox_an_engine_of_the_account_keeps_the_job_from_the_broker(
    engine: RunNote, url: str, refused: bool
) -> None:
    made = beside("upstox", engine, url=url)
    if not refused:
        made.check()
        return
    with pytest.raises(
        HistoryStopped, match=r"upstox-AB1 \(process 77\).*Run this before.*after it has ended"
    ):
        made.check()


def test_at_kite_candles_have_a_bucket_of_their_own() -> None:
    beside("kite", note("kite")).check()


def test_an_engine_that_begins_ends_the_job_before_its_next_call() -> None:
    engines: list[RunNote] = []
    clock, asked = ManualClock(S, S), []

    def fetch(url: str, headers: Any) -> tuple[int, bytes]:
        asked.append(url)
        engines.append(note())
        clock.advance(2 * S)
        return 200, b'{"status":"success","data":{"candles":[]}}'

    guard = beside("upstox", clock=clock)
    guard._engines = lambda: engines
    row = replace(SBIN, upstox_key="NSE_EQ|INE062A01020")
    calls, limits = history_of("upstox"), LIMITS["upstox"]
    pacing = pacing_of(limits, clock, lambda seconds: clock.advance(round(seconds * S)))
    client = HistoryClient(calls, "http://127.0.0.1", (), limits, fetch, pacing, guard=guard.check)
    client.days(row, dt.date(2026, 1, 1), dt.date(2026, 6, 1), open_today=False)
    with pytest.raises(HistoryStopped, match="an engine runs"):
        client.days(row, dt.date(2026, 1, 1), dt.date(2026, 6, 1), open_today=False)
    assert len(asked) == 1


def most(times: list[int], window: RateWindow) -> int:
    """Calls in the fullest span of a window."""
    span_ns = round(window.window_s * S)
    return max(sum(at <= other < at + span_ns for other in times) for at in times)


def test_at_kite_the_engine_and_the_job_together_pass_no_window_of_the_broker() -> None:
    """Both as fast as they may, for two minutes; the broker counts candles apart from all other calls."""
    limits = LIMITS["kite"]
    clock = ManualClock(1000 * S, S)
    budget, end_ns = Budget(limits), clock.mono_ns() + 120 * S
    books: list[int] = []
    candles: list[int] = []

    def engine(until_ns: int) -> None:
        while clock.mono < until_ns:
            clock.advance(10_000_000)
            if budget.read_free_ns(ReadKind.OTHER, clock.mono) <= clock.mono:
                budget.read_left(clock.mono, ReadKind.OTHER)
                books.append(clock.mono)

    pacing = pacing_of(limits, clock, lambda seconds: engine(clock.mono + round(seconds * S)))
    while clock.mono < end_ns:
        pacing.wait()
        candles.append(clock.mono)
    assert len(books) > 200 and len(candles) > 200
    assert all(most(candles, window) <= window.calls for window in limits.historical_windows)
    assert all(most(books, window) <= window.calls for window in limits.other_windows)
