"""A market protection that the order broker refuses stops the start, not an order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from upstox_rows import table

from kite_hft.engine.orders.transports import order_broker
from kite_hft.settings import Settings

API = {"mode": "sim", "url": "http://127.0.0.1:1"}


def settings(broker: str, percent: float) -> Settings:
    risk: dict[str, Any] = {"market_protection": percent}
    made = Settings.model_validate({"broker": broker, "strategies": [{"name": "probe"}], "mode": "sim"})
    return made.model_copy(update={"risk": made.risk.model_copy(update=risk)})  # past the settings' own check


@pytest.mark.parametrize("percent", [-1, 1, 2.5, 25])
def test_what_upstox_takes(percent: float) -> None:
    assert order_broker(API, settings("upstox", percent), table()).name == "upstox"


@pytest.mark.parametrize("percent", [0, 0.5, 26])
def test_what_upstox_refuses(percent: float) -> None:
    with pytest.raises(ValueError, match=r"risk.market_protection .*: upstox takes -1 .* or 1 to 25"):
        order_broker(API, settings("upstox", percent), table())
    assert order_broker(API, settings("kite", percent), table()).name == "kite"


def test_an_instrument_without_a_key_stops_the_start_too() -> None:
    rows = tuple(replace(row, upstox_key="") for row in table())
    with pytest.raises(ValueError, match="no Upstox key"):
        order_broker(API, settings("upstox", -1), type(table())(rows))
