"""Kite's REST calls: as the official SDK sends them, and what each answer proves."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kiteconnect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_world import instrument

from kite_hft.brokers.kite import rest
from kite_hft.brokers.kite.rest import AnswerError
from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.sim.kite.api import WRONG_IP
from kite_hft.trading.broker import (
    Ambiguous,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderRequest,
    Outcome,
    Refused,
)
from kite_hft.trading.sending.address import meaning

INFY = instrument(0, symbol="M&M-BE", exchange="NSE")
USDINR = instrument(0, symbol="USDINR26NOVFUT", exchange="CDS", scale=10_000_000, token=412675)


class Captured(Exception):
    """Carries what the SDK was about to send."""


def sdk_sends(call: str, **arguments: Any) -> tuple[str, str, dict[str, str], dict[str, str]]:
    """(method, path, form or query, headers) of an SDK call."""
    kite = kiteconnect.KiteConnect(api_key="key", access_token="token")
    seen: dict[str, Any] = {}

    def send(request: Any, **more: Any) -> Any:
        seen["request"] = request
        raise Captured

    kite.reqsession.send = send
    with pytest.raises(Captured):
        getattr(kite, call)(**arguments)
    request = seen["request"]
    parts = urlsplit(request.url)
    body = request.body or parts.query
    return (
        request.method,
        parts.path,
        fields(body if isinstance(body, str) else body.decode()),
        request.headers,
    )


def fields(text: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(text, strict_parsing=bool(text)).items()}


def assert_same(ours: HttpRequest, sdk: tuple[str, str, dict[str, str], dict[str, str]]) -> None:
    method, path, form, headers = sdk
    assert (ours.method, ours.path) == (method, path)
    mine = fields(ours.body.decode())
    for key in ("price", "trigger_price", "market_protection"):
        assert (key in mine) == (key in form)
        if key in mine:
            assert Decimal(mine.pop(key)) == Decimal(form.pop(key))
    assert mine == form
    assert ours.content_type == headers.get("Content-Type", "")


PLACES = [
    (INFY, OrderType.LIMIT, {"px": 150_005}, {"price": 1500.05}),
    (INFY, OrderType.MARKET, {}, {"market_protection": -1}),
    (INFY, OrderType.MARKET, {"protection_percent": 2.5}, {"market_protection": 2.5}),
    (INFY, OrderType.SL, {"px": 9_995, "trigger_px": 9_990}, {"price": 99.95, "trigger_price": 99.9}),
    (INFY, OrderType.SLM, {"trigger_px": 9_990}, {"trigger_price": 99.9, "market_protection": -1}),
    (USDINR, OrderType.LIMIT, {"px": 727_525_000}, {"price": 72.7525}),
]


@pytest.mark.parametrize(("what", "order_type", "ours", "theirs"), PLACES)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("product", Product)
def test_place_as_the_sdk(
    what: Any,
    order_type: OrderType,
    ours: dict[str, Any],
    theirs: dict[str, Any],
    side: Side,
    product: Product,
) -> None:
    request = rest.place(
        OrderRequest(what, side, order_type, product, Validity.IOC, 75, tag="abc0000000000000001x", **ours)
    )
    assert_same(
        request,
        sdk_sends(
            "place_order", variety="regular", exchange=what.exchange, tradingsymbol=what.symbol,
            transaction_type=side.name, quantity=75, product=product.name, validity="IOC",
            order_type=rest.ORDER_TYPES[order_type], tag="abc0000000000000001x", **theirs,
        ),
    )  # fmt: skip


def test_modify_and_cancel_as_the_sdk() -> None:
    sdk = sdk_sends("modify_order", variety="regular", order_id="26/1", quantity=5, price=10.05)
    ours = rest.modify("26/1", INFY, 5, 1005, 0)
    assert ours.path == "/orders/regular/26%2F1" and sdk[1] == "/orders/regular/26/1"  # theirs is a fault
    assert_same(
        rest.modify("261", INFY, 5, 1005, 0),
        sdk_sends("modify_order", variety="regular", order_id="261", quantity=5, price=10.05),
    )
    assert_same(
        rest.modify("261", INFY, 0, 0, 995),
        sdk_sends("modify_order", variety="regular", order_id="261", trigger_price=9.95),
    )
    assert_same(rest.cancel("261"), sdk_sends("cancel_order", variety="regular", order_id="261"))


def test_reads_as_the_sdk() -> None:
    for ours, call in (
        (rest.order_book(), "orders"),
        (rest.trade_book(), "trades"),
        (rest.positions(), "positions"),
        (rest.margins(), "margins"),
    ):
        assert_same(ours, sdk_sends(call))


def test_headers_as_the_sdk() -> None:
    headers = sdk_sends("orders")[3]
    for name, value in rest.auth_headers("key", "token"):
        assert headers[name] == value


@pytest.mark.parametrize("percent", [0, -2, 101, float("nan")])
def test_protection_out_of_range(percent: float) -> None:
    with pytest.raises(ValueError, match="market protection"):
        rest.place(
            OrderRequest(
                INFY, Side.BUY, OrderType.MARKET, Product.MIS, Validity.DAY, 1, protection_percent=percent
            )
        )


def outcome(status: int, body: Any) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return rest.parse_outcome(HttpResponse(status, raw))


def fault(error_type: str, message: str = "no") -> dict[str, str]:
    return {"status": "error", "error_type": error_type, "message": message}


def test_confirmed() -> None:
    assert outcome(200, {"status": "success", "data": {"order_id": "151"}}) == Confirmed("151")


REFUSED = [
    (404, fault("OrderException", "Couldn't find that `order_id`.")),
    (400, fault("InputException")),
    (400, fault("MarginException", "Insufficient funds. Check the orderbook for open orders.")),
    (400, fault("OrderException")),
    (400, fault("HoldingException")),
    (403, fault("TokenException")),
    (403, fault("UserException")),
    (403, fault("PermissionException")),
    (428, fault("HoldingException")),
    (429, fault("NetworkException", "Too many requests")),
    (429, b"<html>"),
]
AMBIGUOUS = [
    (200, {"status": "success", "data": {}}),
    (200, {"status": "success", "data": {"order_id": ""}}),
    (200, {"status": "success", "data": {"order_id": 5}}),
    (200, {"status": "success", "data": None}),
    (200, {"status": "error", "data": {"order_id": "1"}}),
    (200, b""),
    (200, b"[1]"),
    (200, b"\xff\xfe"),
    (204, b""),
    (302, b""),
    (400, b"Bad Request"),
    (400, fault("OrderException", "Order request timed out. Please check the order book and confirm before"
                " placing again.")),
    (400, fault("OrderException", "No word from the exchange. Check your order book.")),
    (400, fault("OrderException", "Please check  order book")),
    (400, fault("InputException", "Request Timeout")),
    (400, fault("MarginException", "OMS time-out")),
    (400, fault("NetworkException")),
    (400, fault("GeneralException")),
    (400, fault("DataException")),
    (400, fault("NewException")),
    (400, {"status": "success", "error_type": "InputException"}),
    (403, b"<html>Forbidden"),
    (404, fault("GeneralException")),
    (405, fault("InputException")),
    (408, fault("InputException")),
    (410, fault("InputException")),
    (500, fault("OrderException")),
    (500, fault("GeneralException")),
    (502, fault("DataException")),
    (503, fault("NetworkException")),
    (504, b""),
    (0, b""),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), REFUSED)
def test_proof_of_refusal(status: int, body: Any) -> None:
    found = outcome(status, body)
    assert isinstance(found, Refused) and found.http_status == status


@pytest.mark.parametrize(("status", "kind"), [(403, "PermissionException"), (400, "InputException")])
@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8:1::5"])
def test_another_address_than_the_registered_one(status: int, kind: str, address: str) -> None:
    """In the broker's words; the person reads what to do about it."""
    found = outcome(status, fault(kind, WRONG_IP.format(address)))
    assert isinstance(found, Refused) and found.error_type == "PermissionException"
    assert address in found.message and "Kite developer console; register this static IP" in found.message
    assert "kite.bind_address" in found.message and meaning(found).word == "address"
    other = outcome(403, fault("PermissionException", "Insufficient permission for that call."))
    assert isinstance(other, Refused) and "static IP" not in other.message
    token = outcome(403, fault("TokenException", "Token: this IP is not the one that logged in."))
    assert isinstance(token, Refused) and token.error_type == "TokenException"


@pytest.mark.parametrize(("status", "body"), AMBIGUOUS)
def test_no_proof(status: int, body: Any) -> None:
    assert isinstance(outcome(status, body), Ambiguous)


@given(st.integers(100, 599), st.binary(max_size=200))
def test_bytes_that_are_no_envelope_prove_nothing(status: int, body: bytes) -> None:
    found = outcome(status, body)
    assert isinstance(found, Refused if status == 429 else Ambiguous)


@given(st.integers(500, 599), st.text(max_size=20), st.text(max_size=50))
def test_5xx_is_never_proof(status: int, error_type: str, message: str) -> None:
    assert isinstance(outcome(status, fault(error_type, message)), Ambiguous)


def test_status_labels() -> None:
    assert set(rest.STATUS.values()) == {
        OrderStatus.COMPLETE, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.OPEN,
        OrderStatus.TRIGGER_PENDING, OrderStatus.PENDING,
    }  # fmt: skip
    assert "UPDATE" not in rest.STATUS


ROW = {
    "order_id": "1", "status": "OPEN", "instrument_token": 408065, "transaction_type": "BUY", "quantity": 1,
}  # fmt: skip


def parse(**more: Any) -> Any:
    return rest.parse_orders(json.dumps({"status": "success", "data": [ROW | more]}).encode())[0]


def test_an_unknown_word_says_nothing() -> None:
    row = parse(status="UPDATE", product="CO", order_type="ICEBERG")
    assert (row.status, row.product, row.order_type) == (None, None, None)
    assert parse(status="SOMETHING NEW").status is None


WRONG_ROWS: list[dict[str, Any]] = [
    {"order_id": None},
    {"order_id": 5},
    {"instrument_token": "x"},
    {"transaction_type": "HOLD"},
    {"quantity": -1},
    {"filled_quantity": 0.5},
    {"average_price": -1},
    {"average_price": "x"},
    {"tags": "abc"},
]


@pytest.mark.parametrize("wrong", WRONG_ROWS, ids=str)
def test_a_wrong_row_spoils_the_book(wrong: dict[str, Any]) -> None:
    with pytest.raises(AnswerError):
        parse(**wrong)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"status":"success"}', b'{"status":"error","data":[]}', b'{"status":"success","data":{}}'],
)
def test_no_book_is_an_error_and_not_an_empty_book(body: bytes) -> None:
    for read in (rest.parse_orders, rest.parse_trades, rest.parse_positions, rest.parse_funds):
        with pytest.raises(AnswerError):
            read(body)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_parsers_raise_only_their_own_error(body: bytes) -> None:
    for read in (rest.parse_orders, rest.parse_trades, rest.parse_positions, rest.parse_funds):
        with pytest.raises(AnswerError):
            read(body)
    with contextlib.suppress(AnswerError):
        rest.parse_update(body)


def test_updates() -> None:
    frame = json.dumps({"type": "order", "data": ROW}).encode()
    assert rest.parse_update(frame) == rest.parse_update(json.dumps(ROW).encode()) == parse()
    for other in (b'{"type":"message","data":"hello"}', b'{"type":"error","data":"x"}'):
        assert rest.parse_update(other) is None
    with pytest.raises(AnswerError):
        rest.parse_update(b'{"type":"order","data":"x"}')


@pytest.mark.data
def test_official_order_rows(data_dir: Path) -> None:
    raw = (data_dir / "kite/orders.json").read_bytes()
    rows = rest.parse_orders(raw)
    official = json.loads(raw)["data"]
    assert len(rows) == len(official) == 10
    for ours, theirs in zip(rows, official, strict=True):
        assert ours.order_id == theirs["order_id"] and ours.symbol == theirs["tradingsymbol"]
        assert ours.status is not None and ours.status.name == theirs["status"].replace(" ", "_")
        assert ours.side.name == theirs["transaction_type"]
        assert (ours.quantity, ours.filled_quantity) == (theirs["quantity"], theirs["filled_quantity"])
        assert ours.average_price == theirs["average_price"]
        assert set(ours.tags) == {t for t in [theirs["tag"], *theirs.get("tags", [])] if t}
    assert rows[0].px == 720_000_000 and rows[1].px == 10_940
    assert any("mktp" in tag for row in rows for tag in row.tags)
    assert any(tag.startswith("autoslice:") for row in rows for tag in row.tags)


@pytest.mark.data
def test_official_history_trades_positions_margins_and_postback(data_dir: Path) -> None:
    folder = data_dir / "kite"
    history = rest.parse_orders((folder / "order_info.json").read_bytes())
    assert len(history) == 8 and OrderStatus.PENDING in {row.status for row in history}
    trades = rest.parse_trades((folder / "trades.json").read_bytes())
    assert [(t.trade_id, t.quantity, t.average_price) for t in trades][:2] == [
        ("10000000", 1, 420.65), ("40000000", 1, 72.755),
    ]  # fmt: skip
    assert rest.parse_trades((folder / "order_trades.json").read_bytes())
    held = rest.parse_positions((folder / "positions.json").read_bytes())
    official = json.loads((folder / "positions.json").read_bytes())["data"]["net"]
    assert [p.quantity for p in held] == [row["quantity"] for row in official]
    assert held[0].multiplier == 1000
    assert rest.parse_funds((folder / "margins.json").read_bytes()).net_paise == 9_972_505
    postback = rest.parse_update((folder / "postback.json").read_bytes())
    assert postback is not None and postback.status is OrderStatus.COMPLETE and postback.average_price == 470
    for name in ("order_response", "order_modify", "order_cancel"):
        assert isinstance(outcome(200, (folder / f"{name}.json").read_bytes()), Confirmed)


def test_a_change_of_type_carries_protection_where_it_is_due() -> None:
    def form(*terms: Any) -> dict[str, str]:
        return fields(rest.modify("261", INFY, *terms).body.decode())

    base = {"variety": "regular", "order_id": "261"}
    assert form(0, 10_200, 0, OrderType.LIMIT) == base | {"order_type": "LIMIT", "price": "102.00"}
    assert form(0, 0, 0, OrderType.MARKET) == base | {"order_type": "MARKET", "market_protection": "-1"}
    slm = {"order_type": "SL-M", "trigger_price": "99.00", "market_protection": "-1"}
    assert form(0, 0, 9_900, OrderType.SLM) == base | slm
    ours = {"order_type": "MARKET", "market_protection": "2.5"}
    assert form(0, 0, 0, OrderType.MARKET, 2.5) == base | ours
    with pytest.raises(ValueError, match="protection"):
        form(0, 0, 0, OrderType.MARKET, 0.0)
    sl = {"order_type": "SL", "price": "98.00", "trigger_price": "99.00", "quantity": "7"}
    assert form(7, 9_800, 9_900, OrderType.SL) == base | sl
