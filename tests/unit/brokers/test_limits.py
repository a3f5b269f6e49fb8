"""Rules files: the shipped one loads, and every wrong key or number is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from orders_world import RULES, limits

from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.trading.broker import Conduct, RateWindow


def test_the_shipped_rules() -> None:
    assert RULES.name == "kite_2026-04-01.yaml"
    found = limits()
    assert found.order_windows == (RateWindow(10, 1.25, 2), RateWindow(380, 60.0, 60))
    assert (found.orders_per_day, found.entry_share_of_day, found.modifications_per_order) == (5000, 0.9, 25)
    assert (found.tag_length_max, found.instruments_per_connection, found.connections) == (20, 3000, 3)
    assert found.valid_from == "2026-04-01" and found.other_windows == (RateWindow(10, 1.25),)
    assert found.all_windows == (RateWindow(10, 1.25, 2, 4),)
    assert (found.quote_windows, found.historical_windows) == ((RateWindow(1, 1.25),), (RateWindow(3, 1.25),))
    assert found.per_contract == Conduct(100, 50, 200, 200, 500)


def test_the_other_brokers_rules() -> None:
    path = RULES.with_name("upstox_2026-04-01.yaml")
    found = limits_from_mapping(yaml.safe_load(path.read_text()))
    assert (found.name, found.valid_from, found.tag_length_max) == ("upstox", "2026-04-01", 40)
    assert found.quotes_are_reads and not found.quote_windows, "standard APIs, as the books"
    granted = {1.25: 10, 60: 500, 1800: 2000}
    assert [w.window_s for w in found.order_windows] == list(granted)
    for window in found.order_windows:
        assert 0.9 * granted[window.window_s] < window.calls <= granted[window.window_s]
        assert window.calls - window.reserved == 0.8 * granted[window.window_s], "a fifth is for exits"
    assert found.all_windows == limits().all_windows
    assert {w.window_s: w.calls for w in found.other_windows} == {60: 490, 1800: 1990}
    assert (found.connections, found.instruments_per_connection) == (2, found.extras["keys_full"])
    assert all(value == int(value) for value in found.extras.values())


@pytest.mark.parametrize("path", sorted(RULES.parent.glob("*_2026-04-01.yaml")), ids=lambda p: p.stem)
def test_every_window_names_its_source(path: Path) -> None:
    mapping = yaml.safe_load(path.read_text())
    for rows in (rows for key, rows in mapping.items() if key.endswith("_windows")):
        assert all(row["source"] for row in rows)


LEVELS = {
    "messages_min": 1, "ratio_warn": 50, "ratio_stop": 200, "modifications_warn": 9, "modifications_stop": 20,
}  # fmt: skip
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
    {"all_windows": [{"calls": 10, "window_s": 1, "reserved": 2, "reads": 9}]},
    {"quote_windows": [{"calls": 1, "window_s": 0}]},
    {"per_contract": {"ratio_warn": 50}},
    {"per_strategy": LEVELS | {"ratio_warn": 300}},
    {"per_strategy": LEVELS | {"modifications_warn": 0}},
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
