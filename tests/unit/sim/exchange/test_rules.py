"""Protection prices, latencies and what a report says about the simulation."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from sim_tools import EQUITY, OPTION

from kite_hft.layout import Side
from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.exchange.rules import ExchangeParams, FillRule, Latency, order_value_paise, protected_px


@pytest.mark.parametrize(
    ("side", "last", "percent", "px"),
    # 1 % of 150.05 is 1.5005: 151.5505 down to the grid, 148.5495 up to it.
    [(Side.BUY, 15_005, 1.0, 15_155), (Side.SELL, 15_005, 1.0, 14_855), (Side.SELL, 5, 100.0, 5)],
)
def test_protection_price_is_on_the_grid_inside_the_band(
    side: Side, last: int, percent: float, px: int
) -> None:
    assert protected_px(EQUITY, side, last, percent) == px


def test_latency_stays_within_its_bounds_and_uses_them() -> None:
    latency, numbers = Latency(), random.Random(1)
    drawn = sorted(latency.draw(numbers) for _ in range(2_000))
    assert drawn[0] == 30_000_000 and drawn[-1] == 150_000_000
    assert 55_000_000 < drawn[1_000] < 65_000_000
    again = random.Random(1)
    assert latency.draw(again) == latency.draw(random.Random(1))


def test_the_report_names_rule_and_latency() -> None:
    told = ExchangeParams(latency=Latency(), fills=FillRule(queue_share=0.5)).described()
    assert told["fills"]["queue_share"] == 0.5 and told["fills"]["touch"] is False
    assert (told["latency"]["low_ns"], told["latency"]["high_ns"]) == (30_000_000, 150_000_000)
    assert told["market_rules"] == "india, newest rows"
    dated = ExchangeParams(market=default_market_rules(dt.date(2025, 12, 15)))
    assert dated.described()["market_rules"] == "india, 2025-12-15"
    assert ExchangeParams(latency_ns=(1, 2)).described()["latency"]["bounds_ns"] == [1, 2]


def test_value_counts_the_multiplier() -> None:
    assert order_value_paise(OPTION, 5_000, 75) == 375_000
