"""The broker's books of the evening: what is asked, and how fast."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any

import pytest
from history_tools import INFY

from kite_hft.app.day.ending import books as module
from kite_hft.app.day.ending.books import read_books
from kite_hft.brokers.charges import Executed
from kite_hft.clock import ManualClock
from kite_hft.engine.history.pacing import Pacing
from kite_hft.engine.plan.session import Access
from kite_hft.layout import OrderType, Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, RateWindow
from kite_hft.trading.instruments import InstrumentTable

ROW = replace(INFY, slot=0, upstox_key="NSE_EQ|INE009A01021")
S = 10**9
CHARGES = b'{"status": "success", "data": {"charges": {"total": 1.25}}}'
EMPTY = b'{"status": "success", "data": []}'


class Asked:
    """Stands for a broker: when it was asked what."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.calls = clock, list[tuple[int, str]]()

    def __call__(self, access: Access, broker: Any) -> Asked:
        return self

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing is held."""

    def call(self, request: HttpRequest) -> HttpResponse:
        self.calls.append((self.clock.mono_ns(), request.path))
        return HttpResponse(200, CHARGES if "brokerage" in request.path else EMPTY)

    def words(self, text: str) -> str:
        return text


def test_charges_are_asked_for_at_the_pace_of_the_brokers_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(0, 0)
    asked = Asked(clock)
    monkeypatch.setattr(module, "Asking", asked)

    def sleep(seconds: float) -> None:
        clock.advance(round(seconds * S))

    pacing = Pacing((RateWindow(10, 1.25), RateWindow(50, 60.0)), clock, sleep)
    said: list[str] = []
    orders = [Executed(str(n), ROW, Side.BUY, Product.MIS, OrderType.LIMIT, n + 1, 100.0) for n in range(120)]
    found = read_books(
        Access("upstox", "f", "a", "", "t"), InstrumentTable((ROW,)), orders, pacing, said.append
    )
    assert not found.problems and found.charges_paise == 120 * 125
    times = [at for at, _ in asked.calls]
    assert len(times) == 120 + 4 and all(b - a >= 60 * S for a, b in zip(times, times[50:], strict=False))
    assert all(b - a >= 1.25 * S for a, b in zip(times, times[10:], strict=False))
    assert len(said) == 1 and "the charges of 120 orders" in said[0] and "at least 2 minutes" in said[0]


def test_few_orders_are_asked_about_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(0, 0)
    monkeypatch.setattr(module, "Asking", Asked(clock))
    said: list[str] = []
    pacing = Pacing((RateWindow(10, 1.25),), clock, lambda seconds: None)
    order = Executed("1", ROW, Side.SELL, Product.CNC, OrderType.MARKET, 1, 10.0)
    access = Access("upstox", "f", "a", "", "t")
    assert read_books(access, InstrumentTable((ROW,)), [order], pacing, said.append).charges_paise == 125
    assert not said
