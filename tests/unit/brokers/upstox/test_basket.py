"""Margin of a basket, and what an order costs, as the official SDK asks for it."""

from __future__ import annotations

from typing import Any

import pytest
from upstox_rows import CRUDE, NIFTY_CE, RELIANCE, answer, model, same_call, sdk, table

from kite_hft.brokers.upstox.basket import LEGS_MAX, brokerage, margin, parse_brokerage, parse_margin
from kite_hft.brokers.values import AnswerError
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import BasketMargin, OrderRequest

TABLE = table()


def leg(slot: int, side: Side, quantity: int, px: int, product: Product = Product.NRML) -> OrderRequest:
    return OrderRequest(TABLE[slot], side, OrderType.LIMIT, product, Validity.DAY, quantity, px)


LEGS = [leg(NIFTY_CE, Side.BUY, 75, 21_930), leg(CRUDE, Side.SELL, 200, 0, Product.MIS)]
MARGINS = {"required_margin": 1234.56, "final_margin": 1000.04, "margins": [{"total_margin": 1.0}]}
CHARGES: dict[str, Any] = {
    "charges": {
        "total": 44.31, "brokerage": 20.0, "taxes": {"gst": 5.0, "stt": 1.42, "stamp_duty": 0.21},
        "other_taxes": {"transaction": 4.22, "clearing": 0.0, "ipft": 0.01, "sebi_turnover": 0.14},
        "dp_plan": {"name": "", "min_expense": 0.0},
    }
}  # fmt: skip


def test_margin_and_brokerage_as_the_sdk() -> None:
    instruments = [
        model("Instrument", instrument_key="NSE_FO|55775", quantity=75, product="D", transaction_type="BUY",
              price=219.3),
        model("Instrument", instrument_key="MCX_FO|447500", quantity=2, product="I", transaction_type="SELL"),
    ]  # fmt: skip
    asked, cost = sdk(
        {"api": "ChargeApi", "call": "post_margin", "args": [model("MarginRequest", instruments=instruments)],
         "reply": MARGINS},
        {"api": "ChargeApi", "call": "get_brokerage",
         "args": ["NSE_EQ|INE002A01018", 10, "D", "BUY", 1420.1, "2.0"], "reply": CHARGES},
    )  # fmt: skip
    same_call(margin(LEGS), asked)
    assert asked.host == "api" and asked.result["data"]["required_margin"] == 1234.56
    in_lots = brokerage(leg(CRUDE, Side.BUY, 200, 560_000, Product.MIS))
    assert "quantity=2&" in in_lots.path  # the wire counts lots of commodities
    same_call(brokerage(leg(RELIANCE, Side.BUY, 10, 142_010, Product.CNC)), cost)


def test_answers() -> None:
    assert parse_margin(answer(MARGINS).body) == BasketMargin(123_456, 100_004)
    found = parse_brokerage(answer(CHARGES).body)
    assert (found["total"], found["brokerage"], found["transaction_tax"], found["gst"]) == (
        4431,
        2000,
        142,
        500,
    )
    old = {"charges": {k: v for k, v in CHARGES["charges"].items() if k != "other_taxes"}}
    old["charges"]["otherTaxes"] = CHARGES["charges"]["other_taxes"]
    assert parse_brokerage(answer(old).body) == found


@pytest.mark.parametrize(
    "data", [{}, None, [], {"required_margin": 1}, {"required_margin": "x", "final_margin": 1}]
)
def test_unreadable(data: Any) -> None:
    with pytest.raises(AnswerError):
        parse_margin(answer(data).body)
    with pytest.raises(AnswerError):
        parse_brokerage(answer(data).body)


def test_too_many_legs() -> None:
    with pytest.raises(ValueError, match="21 legs > 20"):
        margin(LEGS[:1] * (LEGS_MAX + 1))
