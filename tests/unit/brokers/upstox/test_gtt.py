"""Good-till-triggered orders: as the official SDK sends them, and as the broker lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from upstox_rows import CRUDE, RELIANCE, SAMPLES, answer, model, same_call, sdk, table

from kite_hft.brokers.upstox import gtt
from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.values import AnswerError
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import OrderRequest, TriggerLeg, TriggerReport, TriggerRequest
from kite_hft.trading.exits.trigger import Leg, legs_of, request_of

TABLE = table()
NAMES = Names(TABLE)


def request(
    px: int = 140_000, last: int = 142_000, slot: int = RELIANCE, quantity: int = 10
) -> TriggerRequest:
    return request_of(TABLE[slot], Product.CNC, [Leg(Side.SELL, quantity, px, px)], last)


def test_a_trigger_as_the_sdk() -> None:
    below = model("GttRule", strategy="ENTRY", trigger_type="BELOW", trigger_price=1400.0)
    above = model("GttRule", strategy="ENTRY", trigger_type="ABOVE", trigger_price=1500.0)
    place = model(
        "GttPlaceOrderRequest", type="SINGLE", quantity=10, product="D", rules=[below],
        instrument_token="NSE_EQ|INE002A01018", transaction_type="SELL",
    )  # fmt: skip
    modify = model("GttModifyOrderRequest", type="SINGLE", quantity=4, rules=[above], gtt_order_id="GTT-1")
    reply = {"gtt_order_ids": ["GTT-1"]}
    v3 = "OrderApiV3"
    theirs = sdk(
        {"api": v3, "call": "place_gtt_order", "args": [place], "reply": reply},
        {"api": v3, "call": "modify_gtt_order", "args": [modify], "reply": reply},
        {"api": v3, "call": "cancel_gtt_order", "reply": reply,
         "args": [model("GttCancelOrderRequest", gtt_order_id="GTT-1")]},
        {"api": v3, "call": "get_gtt_order_details", "reply": [row()]},
    )  # fmt: skip
    ours = [
        gtt.place(request()), gtt.modify("GTT-1", request(150_000, quantity=4)), gtt.delete("GTT-1"),
        gtt.triggers(),
    ]  # fmt: skip
    for mine, sent in zip(ours, theirs, strict=True):
        same_call(mine, sent)
        assert sent.host == "api"  # none of them goes to the host for orders
    (listed,) = theirs[3].result["data"]
    (report,) = gtt.parse_triggers(NAMES, answer([row()]).body)
    assert (report.trigger_id, report.legs[0].quantity) == (listed["gtt_order_id"], listed["quantity"])
    assert report.legs[0].trigger_px == round(listed["rules"][0]["trigger_price"] * 100)


def row(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {
        "type": "SINGLE", "exchange": "NSE_EQ", "quantity": 10, "product": "D", "trading_symbol": "RELIANCE",
        "instrument_token": "NSE_EQ|INE002A01018", "gtt_order_id": "GTT-1", "expires_at": 1826952299000000,
        "created_at": 1795416302000000, "rules": list(rules) or [rule()],
    }  # fmt: skip
    return base | more


def rule(**more: Any) -> dict[str, Any]:
    base = {
        "strategy": "ENTRY", "status": "SCHEDULED", "trigger_type": "BELOW", "trigger_price": 1400.0,
        "transaction_type": "SELL", "message": "", "order_id": None, "trailing_gap": None,
    }  # fmt: skip
    return base | more


def listed(*rules: dict[str, Any], **more: Any) -> TriggerReport:
    (found,) = gtt.parse_triggers(NAMES, answer([row(*rules, **more)]).body)
    return found


def test_what_was_placed_is_known_again_in_the_list() -> None:
    asked = request()
    assert listed() == TriggerReport(
        "GTT-1", "SCHEDULED", True, 738561, (TriggerLeg(140_000, Side.SELL, Product.CNC, 10, 140_000),)
    )
    leg = asked.legs[0]
    assert legs_of(listed()) == (Leg(leg.side, leg.quantity, leg.px, asked.trigger_px[0]),)


@pytest.mark.parametrize(
    ("words", "active", "order_id", "failed"),
    [
        ({"status": "PENDING"}, True, "", ""),
        ({"status": "OPEN"}, True, "", ""),  # fired, and its order is not named yet
        ({"status": "A new word"}, True, "", ""),
        ({"status": "OPEN", "order_id": "2611"}, False, "2611", ""),
        ({"status": "TRIGGERED", "order_id": "2611"}, False, "2611", ""),
        ({"status": "COMPLETED", "order_id": "2611"}, False, "2611", ""),
        ({"status": "CANCELLED"}, False, "", ""),
        ({"status": "EXPIRED"}, False, "", ""),
        ({"status": "FAILED", "message": "RMS: margin"}, False, "", "RMS: margin"),
        ({"status": "failed"}, False, "", "failed"),
    ],
)
def test_how_a_trigger_stands(words: dict[str, Any], active: bool, order_id: str, failed: str) -> None:
    found = listed(rule(**words))
    assert (found.active, found.legs[0].order_id, found.legs[0].failed) == (active, order_id, failed)


@pytest.mark.data
def test_the_sample_is_no_trigger_of_ours(data_dir: Path) -> None:
    sample = json.loads((data_dir / SAMPLES / "portfolio_gtt_update.json").read_text())
    (found,) = gtt.parse_triggers(NAMES, answer([sample]).body)
    assert found.status == "COMPLETED PENDING PENDING" and found.active and len(found.legs) == 3
    assert found.legs[0].order_id == "261123000000003"


def test_lots_and_rows_of_others() -> None:
    words = {"instrument_token": "MCX_FO|447500", "quantity": 3, "product": "D"}
    assert listed(**words).legs[0].quantity == 300
    foreign = row(rule(trigger_price=-1), instrument_token="NSE_FO|1")
    assert gtt.parse_triggers(NAMES, answer([foreign, row()]).body) == [listed()]
    whole = json.loads(gtt.place(request(600_000, 560_000, CRUDE, 300)).body)
    assert whole["quantity"] == 3 and whole["rules"][0]["trigger_type"] == "ABOVE"


@pytest.mark.parametrize(
    "more", [{"rules": []}, {"rules": None}, {"gtt_order_id": ""}, {"quantity": -1}, {"rules": [{}]}]
)
def test_an_unreadable_row_ends_the_read(more: dict[str, Any]) -> None:
    with pytest.raises(AnswerError):
        gtt.parse_triggers(NAMES, answer([row(**more)]).body)


def test_what_upstox_cannot_do_is_not_sent() -> None:
    two = request_of(TABLE[RELIANCE], Product.CNC, [Leg(2, 1, 1, 1), Leg(2, 1, 2, 2)], 5)
    with pytest.raises(ValueError, match="2 legs: Upstox takes one"):
        gtt.place(two)
    leg = OrderRequest(TABLE[RELIANCE], Side.SELL, OrderType.LIMIT, Product.CNC, Validity.DAY, 1, 139_000)
    with pytest.raises(ValueError, match="at the trigger price"):
        gtt.place(TriggerRequest(TABLE[RELIANCE], (140_000,), 142_000, (leg,)))
    with pytest.raises(ValueError, match="no last price"):
        gtt.modify("GTT-1", request(last=0))
