"""A trader's own limits: they only take away from the rules file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.brokers.stricter import COUNTS, WINDOWS, allowed, stricter
from kite_hft.settings import load_yaml
from kite_hft.trading.broker import RateWindow

RULES = limits_from_mapping(load_yaml(Path("config/rules/kite_2026-04-01.yaml")))
PROMISED = {
    "rate_limits.http_api": 3, "rate_limits.historical_api": 2, "rate_limits.order_placement": 200,
    "rate_limits.max_orders_per_day": 3000, "websocket.max_connections": 3,
    "websocket.max_instruments_per_connection": 3000,
}  # fmt: skip


def test_nothing_asked_changes_nothing() -> None:
    assert stricter(RULES, {}, "r") == RULES
    assert stricter(RULES, dict.fromkeys(PROMISED), "r") == RULES


def test_the_promised_values_are_stricter_than_today_and_hold() -> None:
    found = stricter(RULES, PROMISED, "r")
    assert found.orders_per_day == 3000 and set(PROMISED) == set(WINDOWS) | set(COUNTS)
    assert found.order_windows == (*RULES.order_windows, RateWindow(200, 60.0, 32))
    assert found.other_windows[-1] == RateWindow(3, 1.25)
    assert found.historical_windows[-1] == RateWindow(2, 1.25)
    assert allowed(found.order_windows, 60) == 200


@pytest.mark.parametrize(("key", "most"), [
    ("rate_limits.http_api", 10), ("rate_limits.historical_api", 3), ("rate_limits.order_placement", 380),
    ("rate_limits.max_orders_per_day", 5000), ("websocket.max_connections", 3),
    ("websocket.max_instruments_per_connection", 3000),
])  # fmt: skip
def test_one_more_than_the_rules_is_refused(key: str, most: int) -> None:
    stricter(RULES, {key: most}, "r")
    with pytest.raises(LimitsError, match=rf"kite\.{key}: {most + 1} is more than r\.yaml lets through"):
        stricter(RULES, {key: most + 1}, "r.yaml")


def test_exits_keep_a_place_also_in_the_smallest_window() -> None:
    assert stricter(RULES, {"rate_limits.order_placement": 2}, "r").order_windows[-1] == RateWindow(
        2, 60.0, 1
    )
    assert stricter(RULES, {"rate_limits.order_placement": 1}, "r").order_windows[-1] == RateWindow(
        1, 60.0, 0
    )
