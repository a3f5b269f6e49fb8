"""Order calls as the official SDK sends them, to the same host."""

from __future__ import annotations

import json
from typing import Any

import pytest
from upstox_rows import CRUDE, NIFTY_CE, RELIANCE, USDINR, Sent, model, same_call, sdk, table

from kite_hft.brokers.upstox import account, calls
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import HttpRequest, OrderRequest

TABLE = table()
M, L, SL, SLM = OrderType.MARKET, OrderType.LIMIT, OrderType.SL, OrderType.SLM
MIS, CNC, NRML, MTF = Product.MIS, Product.CNC, Product.NRML, Product.MTF
BUY, SELL, DAY, IOC = Side.BUY, Side.SELL, Validity.DAY, Validity.IOC

# What is asked for, and the fields that the SDK is given for the same.
PLACED: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((RELIANCE, BUY, L, MIS, DAY, 10, 142_010), {"price": 1420.1, "product": "I", "order_type": "LIMIT"}),
    ((RELIANCE, SELL, M, CNC, DAY, 1), {"product": "D", "order_type": "MARKET", "market_protection": -1}),
    ((RELIANCE, BUY, M, MTF, IOC, 3, 0, 0, 2.5),
     {"product": "MTF", "order_type": "MARKET", "market_protection": 2.5}),
    ((RELIANCE, SELL, SL, MIS, DAY, 7, 141_900, 142_000),
     {"price": 1419.0, "trigger_price": 1420.0, "product": "I", "order_type": "SL"}),
    ((RELIANCE, SELL, SLM, MIS, DAY, 7, 0, 142_000),
     {"trigger_price": 1420.0, "product": "I", "order_type": "SL-M", "market_protection": -1}),
    ((NIFTY_CE, SELL, L, NRML, IOC, 150, 21_930), {"price": 219.3, "product": "D", "order_type": "LIMIT"}),
    ((USDINR, BUY, L, MIS, DAY, 5, 727_525_000), {"price": 72.7525, "product": "I", "order_type": "LIMIT"}),
    ((CRUDE, BUY, L, MIS, DAY, 300, 560_000),
     {"price": 5600.0, "product": "I", "order_type": "LIMIT", "quantity": 3}),
]  # fmt: skip
TAG = "kh100000000000000001"


def asked(words: tuple[Any, ...], tag: str) -> OrderRequest:
    return OrderRequest(TABLE[words[0]], *words[1:], tag=tag)


def body_for_sdk(words: tuple[Any, ...], fields: dict[str, Any], tag: str) -> dict[str, Any]:
    slot, side, _kind, _product, validity, quantity = words[:6]
    base: dict[str, Any] = {
        "quantity": quantity, "validity": validity.name, "price": 0.0, "trigger_price": 0.0,
        "disclosed_quantity": 0, "is_amo": False, "slice": False, "transaction_type": side.name,
        "instrument_token": TABLE[slot].upstox_key,
    }  # fmt: skip
    return model("PlaceOrderV3Request", **base | fields | ({"tag": tag} if tag else {}))


MODIFIED: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((RELIANCE, 0, 142_010, 0, L), {"price": 1420.1, "order_type": "LIMIT"}),
    ((RELIANCE, 12, 142_010, 0, L), {"quantity": 12, "price": 1420.1, "order_type": "LIMIT"}),
    ((NIFTY_CE, 0, 21_000, 21_500, SL), {"price": 210.0, "trigger_price": 215.0, "order_type": "SL"}),
    ((NIFTY_CE, 0, 0, 21_500, SLM, 3.0),
     {"trigger_price": 215.0, "order_type": "SL-M", "market_protection": 3.0}),
    ((RELIANCE, 0, 0, 0, M), {"order_type": "MARKET", "market_protection": -1}),
    ((CRUDE, 200, 560_000, 0, L), {"quantity": 2, "price": 5600.0, "order_type": "LIMIT"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def sent() -> list[Sent]:
    """All calls of this module, from one process of the SDK."""
    v3, v2 = "OrderApiV3", "OrderApi"
    wanted: list[dict[str, Any]] = [
        {"api": v3, "call": "place_order", "args": [body_for_sdk(words, fields, TAG)]}
        for words, fields in PLACED
    ]
    for _, fields in MODIFIED:
        base = {"order_id": "2611", "validity": "DAY", "price": 0.0, "trigger_price": 0.0}
        body = model("ModifyOrderRequest", **base | fields)
        wanted.append({"api": v3, "call": "modify_order", "args": [body]})
    wanted.append({"api": v3, "call": "cancel_order", "args": ["2611-7"]})
    wanted.append({"api": v2, "call": "get_order_book", "args": ["2.0"], "reply": []})
    wanted.append({"api": v2, "call": "get_trade_history", "args": ["2.0"], "reply": []})
    wanted.append({"api": v2, "call": "get_order_status", "kwargs": {"order_id": "2611"}})
    portfolio = "PortfolioApi"
    wanted.append({"api": portfolio, "call": "get_positions", "args": ["2.0"], "reply": []})
    wanted.append({"api": portfolio, "call": "get_holdings", "args": ["2.0"], "reply": []})
    wanted.append({"api": "UserApi", "call": "get_user_fund_margin_v3"})
    wanted.append({"api": "UserApi", "call": "get_user_ips"})
    return sdk(*wanted)


def test_orders_as_the_sdk(sent: list[Sent]) -> None:
    for (words, _), theirs in zip(PLACED, sent, strict=False):
        ours = calls.place(asked(words, TAG))
        same_call(ours, theirs)
        assert theirs.host == "order" and ours.path.startswith(calls.ORDER_PATHS)


def test_modifications_as_the_sdk(sent: list[Sent]) -> None:
    for ((slot, *terms), _), theirs in zip(MODIFIED, sent[len(PLACED) :], strict=False):
        ours = calls.modify("2611", TABLE[slot], *terms)
        same_call(ours, theirs)
        assert theirs.host == "order" and ours.path.startswith(calls.ORDER_PATHS)


def test_cancels_and_reads_as_the_sdk(sent: list[Sent]) -> None:
    cancel, *reads = sent[len(PLACED) + len(MODIFIED) :]
    same_call(calls.cancel("2611-7"), cancel)
    assert cancel.host == "order"
    ours = [
        calls.order_book(), calls.trade_book(), calls.order_details("2611"), account.positions(),
        account.holdings(), account.margins(), account.addresses(),
    ]  # fmt: skip
    for request, theirs in zip(ours, reads, strict=True):
        same_call(request, theirs)
        assert theirs.host == "api" and not request.path.startswith(calls.ORDER_PATHS)


def test_headers_as_the_sdk(sent: list[Sent]) -> None:
    ours = dict(calls.auth_headers("", "key", "token"))
    assert ours["Authorization"] == sent[0].headers["authorization"]
    assert "X-Algo-Name" not in ours and "key" not in str(ours)
    assert dict(calls.auth_headers("MY-ALGO", "key", "token"))["X-Algo-Name"] == "MY-ALGO"


def test_prices_are_exact_decimals() -> None:
    words = (RELIANCE, BUY, L, MIS, DAY, 1, 142_010)
    assert b'"price":1420.10,' in calls.place(asked(words, "")).body
    assert b'"tag"' not in calls.place(asked(words, "")).body


def test_any_tag_is_sent_as_it_is() -> None:
    words = (RELIANCE, BUY, L, MIS, DAY, 1, 142_010)
    for tag in ('a"b\\c', "\u20b9 1", "x" * 40):
        assert json.loads(calls.place(asked(words, tag)).body)["tag"] == tag
    with pytest.raises(ValueError, match="tag of 41 characters > 40"):
        calls.place(asked(words, "x" * 41))


@pytest.mark.parametrize("percent", [0.0, 0.5, 25.5, -2.0, float("nan")])
def test_a_protection_the_broker_refuses_is_not_sent(percent: float) -> None:
    with pytest.raises(ValueError, match=r"neither -1 nor 1 to 25 percent: set risk\.market_protection"):
        calls.place(asked((RELIANCE, BUY, M, MIS, DAY, 1, 0, 0, percent), ""))
    with pytest.raises(ValueError, match="neither -1 nor 1 to 25"):
        calls.modify("1", TABLE[RELIANCE], 0, 0, 0, M, percent)


def test_a_modification_names_all_terms() -> None:
    with pytest.raises(ValueError, match="names the order's type, price and trigger price"):
        calls.modify("1", TABLE[RELIANCE], 5, 142_010, 0)
    body = json.loads(calls.modify('2"6', TABLE[RELIANCE], 0, 142_010, 0, L).body)
    assert body["order_id"] == '2"6' and "quantity" not in body


def test_an_order_id_cannot_leave_its_place() -> None:
    assert calls.cancel("a&b c").path == "/v3/order/cancel?order_id=a%26b%20c"
    assert isinstance(calls.cancel("1"), HttpRequest)


def test_a_stop_at_market_names_no_price() -> None:
    """The broker refuses one (UDAPI1030): a price that came along stays here."""
    request = OrderRequest(TABLE[RELIANCE], SELL, SLM, MIS, DAY, 7, 141_900, 142_000)
    assert json.loads(calls.place(request).body)["price"] == 0
    market = OrderRequest(TABLE[RELIANCE], SELL, M, MIS, DAY, 7, 141_900, 142_000)
    placed = json.loads(calls.place(market).body)
    assert (placed["price"], placed["trigger_price"]) == (0, 0)
    for kind in (SLM, M):
        assert json.loads(calls.modify("1", TABLE[RELIANCE], 0, 141_900, 142_000, kind).body)["price"] == 0
    limit = OrderRequest(TABLE[RELIANCE], SELL, L, MIS, DAY, 7, 141_900, 142_000)
    assert json.loads(calls.place(limit).body)["trigger_price"] == 0
