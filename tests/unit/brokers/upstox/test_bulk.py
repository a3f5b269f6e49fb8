"""Bulk calls: as the official SDK sends them, and what their answers prove of each line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from upstox_rows import NIFTY_CE, RELIANCE, answer, model, problem, same_call, sdk, table

from kite_hft.brokers.upstox import bulk
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import Ambiguous, Confirmed, HttpResponse, OrderRequest, Refused

TABLE = table()
ORDERS = {
    "a": OrderRequest(TABLE[RELIANCE], Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 10, 142_010,
                      tag="t"),
    "b": OrderRequest(TABLE[NIFTY_CE], Side.SELL, OrderType.MARKET, Product.NRML, Validity.DAY, 75, tag="t"),
}  # fmt: skip


def test_as_the_sdk() -> None:
    base = {
        "validity": "DAY",
        "disclosed_quantity": 0,
        "is_amo": False,
        "slice": False,
        "tag": "t",
        "trigger_price": 0.0,
    }
    lines = [
        model("MultiOrderRequest", **base, quantity=10, product="I", price=1420.1, order_type="LIMIT",
              instrument_token="NSE_EQ|INE002A01018", transaction_type="BUY", correlation_id="a"),
        model("MultiOrderRequest", **base, quantity=75, product="D", price=0.0, order_type="MARKET",
              instrument_token="NSE_FO|55775", transaction_type="SELL", correlation_id="b",
              market_protection=-1),
    ]  # fmt: skip
    theirs = sdk(
        {"api": "OrderApi", "call": "place_multi_order", "args": [lines], "reply": []},
        {"api": "OrderApi", "call": "cancel_multi_order", "kwargs": {"segment": "NSE_FO", "tag": "t"}},
        {"api": "OrderApi", "call": "exit_positions", "kwargs": {"tag": "t"}},
        {"api": "OrderApi", "call": "exit_positions"},
    )
    ours = [bulk.multi_place(ORDERS), bulk.cancel_all("NSE_FO", "t"), bulk.exit_all(tag="t"), bulk.exit_all()]
    for mine, sent in zip(ours, theirs, strict=True):
        assert sent.host == "api"
        same_call(mine._replace(body=b"" if mine.body == b"{}" else mine.body), sent)


def partly(*errors: dict[str, Any], data: Any = (), status: int = 207) -> HttpResponse:
    body = {"status": "partial_success", "data": list(data), "errors": list(errors), "summary": {"total": 2}}
    return HttpResponse(status, json.dumps(body).encode())


def test_each_line_by_itself() -> None:
    done = {"correlation_id": "a", "order_id": "2611"}
    no = {"correlation_id": "b", "error_code": "UDAPI1052", "message": "Quantity zero"}
    assert bulk.parse_multi(partly(no, data=[done]), "ab") == {
        "a": Confirmed("2611"), "b": Refused("UDAPI1052", "UDAPI1052: Quantity zero", 207),
    }  # fmt: skip
    unknown = no | {"error_code": "UDAPI100500"}
    assert isinstance(bulk.parse_multi(partly(unknown, data=[done]), "ab")["b"], Ambiguous)
    assert isinstance(bulk.parse_multi(partly(data=[done]), "ab")["b"], Ambiguous)
    late = no | {"message": "Order request timed out"}
    assert isinstance(bulk.parse_multi(partly(late, data=[done]), "ab")["b"], Ambiguous)
    both = done | {"correlation_id": "b"}
    assert isinstance(bulk.parse_multi(partly(no, data=[both]), "ab")["b"], Ambiguous)


@pytest.mark.parametrize(
    "response", [problem(400, ("UDAPI1114", "empty")), HttpResponse(502, b"<html>"), HttpResponse(200, b"")]
)
def test_without_a_word_of_the_lines_nothing_is_proved(response: HttpResponse) -> None:
    assert all(isinstance(found, Ambiguous) for found in bulk.parse_multi(response, "ab").values())


def test_the_limiter_refuses_all() -> None:
    found = bulk.parse_multi(HttpResponse(429, b""), "ab")
    assert all(isinstance(one, Refused) and one.http_status == 429 for one in found.values())


def test_limits_of_a_call() -> None:
    with pytest.raises(ValueError, match="0 orders: 1 to 10"):
        bulk.multi_place({})
    with pytest.raises(ValueError, match="11 orders"):
        bulk.multi_place({str(i): ORDERS["a"] for i in range(11)})
    with pytest.raises(ValueError, match="correlation id"):
        bulk.multi_place({"x" * 21: ORDERS["a"]})


def test_what_cancel_and_exit_did() -> None:
    assert bulk.parse_many(answer({"order_ids": ["1", "2"]})) == (("1", "2"), ())
    none = problem(400, ("UDAPI1109", "No open orders found"))
    assert bulk.parse_many(none) == ((), ("UDAPI1109 No open orders found",))
    assert bulk.parse_many(HttpResponse(503, b"")) == ((), ("HTTP 503",))
