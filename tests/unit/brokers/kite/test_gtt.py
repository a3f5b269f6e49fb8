"""Triggers as the official SDK sends them, and what the answers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from orders_world import instrument
from sdk_tools import sdk_request

from kite_hft.brokers.kite import gtt, rest
from kite_hft.brokers.kite.answers import AnswerError
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import (
    Ambiguous,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderRequest,
    Refused,
    TriggerRequest,
)

INFY = instrument(0, symbol="INFY", token=408065)


def fields(text: str) -> dict[str, Any]:
    found = {key: values[0] for key, values in parse_qs(text).items()}
    return found | {key: json.loads(found[key]) for key in ("condition", "orders") if key in found}


def leg(side: Side, quantity: int, px: int) -> OrderRequest:
    return OrderRequest(INFY, side, OrderType.LIMIT, Product.CNC, Validity.DAY, quantity, px)


TWO = TriggerRequest(INFY, (9_800, 10_200), 10_000, (leg(Side.SELL, 5, 9_790), leg(Side.SELL, 5, 10_200)))
SDK_TWO = {
    "trigger_type": "two-leg", "tradingsymbol": "INFY", "exchange": "NSE", "trigger_values": [98.0, 102.0],
    "last_price": 100.0,
    "orders": [
        {"transaction_type": "SELL", "quantity": 5, "order_type": "LIMIT", "product": "CNC", "price": 97.9},
        {"transaction_type": "SELL", "quantity": 5, "order_type": "LIMIT", "product": "CNC", "price": 102.0},
    ],
}  # fmt: skip


def same(ours: HttpRequest, theirs: Any) -> None:
    assert (ours.method, ours.path) == (theirs.method, urlsplit(theirs.url).path)
    body = theirs.body if isinstance(theirs.body, str | None) else theirs.body.decode()
    assert fields(ours.body.decode()) == fields(body or "")


def test_triggers_as_the_sdk() -> None:
    same(gtt.place(TWO), sdk_request("place_gtt", **SDK_TWO))
    same(gtt.modify("123", TWO), sdk_request("modify_gtt", trigger_id=123, **SDK_TWO))
    same(gtt.delete("123"), sdk_request("delete_gtt", 123))
    same(gtt.triggers(), sdk_request("get_gtts"))
    one = TriggerRequest(INFY, (9_800,), 10_000, (leg(Side.BUY, 5, 9_790),))
    assert fields(gtt.place(one).body.decode())["type"] == "single"


def answer(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status, json.dumps(body).encode())


def test_what_answers_about_triggers_prove() -> None:
    outcome = rest.parse_trigger_outcome
    assert outcome(answer(200, {"status": "success", "data": {"trigger_id": 123}})) == Confirmed("123")
    for body in ({"data": {"trigger_id": 0}}, {"data": {"order_id": "1"}}, {"data": None}):
        assert isinstance(outcome(answer(200, {"status": "success"} | body)), Ambiguous)
    told = {"status": "error", "error_type": "InputException", "message": "Trigger already met"}
    assert isinstance(outcome(answer(400, told)), Refused)
    assert isinstance(outcome(answer(503, told)), Ambiguous)


@pytest.mark.data
def test_the_official_lists_are_read(data_dir: Path) -> None:
    rows = rest.KITE.parse_triggers((data_dir / "kite/gtt_get_orders.json").read_bytes())
    assert [row.active for row in rows] == [True, False] and rows[0].legs[0].trigger_px == 70_200
    assert rows[1].status == "triggered" and len(rows[1].legs) == 2


def test_a_list_that_is_not_whole_is_no_list() -> None:
    row = {
        "id": 1, "status": "active",
        "condition": {"instrument_token": 408065, "trigger_values": [98.0]},
        "orders": [
            {"transaction_type": "BUY", "quantity": 1, "product": "CNC", "price": 98.0, "result": None}
        ],
    }  # fmt: skip
    body = {"status": "success", "data": [row]}
    (found,) = gtt.parse_triggers(json.dumps(body).encode())
    assert found.active and found.legs[0].px == 9_800 and not found.legs[0].order_id
    for broken in ({"condition": {}}, {"orders": []}, {"status": None}, {"orders": [{}]}):
        with pytest.raises(AnswerError):
            gtt.parse_triggers(json.dumps(body | {"data": [row | broken]}).encode())
