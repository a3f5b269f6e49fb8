"""Rules files: the shipped one loads, and every wrong key or number is named."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from orders_world import RULES, limits

from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.trading.broker import RateWindow


def test_the_shipped_rules() -> None:
    assert RULES.name == "kite_2026-04-01.yaml"
    found = limits()
    assert found.order_windows == (RateWindow(10, 1.25, 2), RateWindow(380, 60.0, 60))
    assert (found.orders_per_day, found.entry_share_of_day, found.modifications_per_order) == (5000, 0.9, 25)
    assert (found.tag_length_max, found.instruments_per_connection, found.connections) == (20, 3000, 3)
    assert found.valid_from == "2026-04-01" and found.other_windows == (RateWindow(10, 1.25),)


WRONG: list[dict[str, Any]] = [
    {"orders_per_day": 0},
    {"orders_per_day": 1.5},
    {"orders_per_day": True},
    {"orders_per_day": "5000"},
    {"entry_share_of_day": 0},
    {"entry_share_of_day": 1.1},
    {"entry_share_of_day": float("nan")},
    {"order_windows": []},
    {"order_windows": "10/s"},
    {"order_windows": [{"calls": 10}]},
    {"order_windows": [{"calls": 10, "window_s": 0}]},
    {"order_windows": [{"calls": 10, "window_s": 1, "reserved": 10}]},
    {"order_windows": [{"calls": 10, "window_s": 1, "burst": 3}]},
    {"cooldown_after_429_s": -1},
    {"extras": 3},
    {"loopback_only": "yes"},
    {"orders_per_dya": 5000},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_wrong_rules_are_refused(wrong: dict[str, Any]) -> None:
    mapping = yaml.safe_load(RULES.read_text()) | wrong
    with pytest.raises(LimitsError, match=next(iter(wrong))):
        limits_from_mapping(mapping)


def test_missing_key() -> None:
    mapping = yaml.safe_load(RULES.read_text())
    del mapping["orders_per_day"]
    with pytest.raises(LimitsError, match="orders_per_day"):
        limits_from_mapping(mapping)
