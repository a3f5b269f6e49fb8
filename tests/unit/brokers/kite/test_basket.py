"""What a basket takes: asked as the official SDK asks, and read."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from orders_world import instrument
from sdk_tools import sdk_request

from kite_hft.brokers.kite import basket, rest
from kite_hft.brokers.kite.answers import AnswerError
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import OrderRequest

INFY = instrument(0, symbol="INFY", token=408065)


def leg(side: Side, quantity: int, px: int) -> OrderRequest:
    return OrderRequest(INFY, side, OrderType.LIMIT, Product.CNC, Validity.DAY, quantity, px)


def test_a_basket_as_the_sdk() -> None:
    legs = [
        leg(Side.BUY, 5, 9_790),
        OrderRequest(INFY, Side.SELL, OrderType.MARKET, Product.MIS, Validity.DAY, 3),
    ]
    rows = json.loads(basket.margin(legs).body)
    theirs = sdk_request("basket_order_margins", rows, consider_positions=True, mode="compact")
    ours = basket.margin(legs)
    assert ours.path.split("?")[0] == urlsplit(theirs.url).path and json.loads(theirs.body) == rows
    query = {key: values[0].lower() for key, values in parse_qs(urlsplit(theirs.url).query).items()}
    assert {key: values[0] for key, values in parse_qs(urlsplit(ours.path).query).items()} == query
    assert rows[1] == {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "SELL", "variety": "regular",
        "product": "MIS", "order_type": "MARKET", "quantity": 3, "price": 0.0, "trigger_price": 0.0,
    }  # fmt: skip


@pytest.mark.data
def test_the_official_answer_is_read(data_dir: Path) -> None:
    margin = rest.KITE.parse_basket_margin((data_dir / "kite/basket_margins.json").read_bytes())
    assert (margin.initial_paise, margin.final_paise) == (9_650_498, 3_478_673)


def test_an_answer_without_a_total_is_none() -> None:
    with pytest.raises(AnswerError):
        basket.parse_margin(b'{"status": "success", "data": {"initial": {}}}')
