"""The sandbox's book: what was confirmed there, in the broker's own words."""

from __future__ import annotations

import json

import pytest
from upstox_rows import NIFTY_CE, RELIANCE, answer, problem, sdk, table

from kite_hft.brokers.upstox import bulk, calls, gtt
from kite_hft.brokers.upstox.rest import upstox
from kite_hft.brokers.upstox.sandbox import CALLS, NOTE, SandboxBook
from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.broker import HttpRequest, HttpResponse, OrderReport, OrderRequest, TransportError

TABLE = table()
BROKER = upstox(TABLE, sandbox=True)
NOW = "2026-11-23 09:15:02"


def order(kind: OrderType = OrderType.LIMIT, slot: int = RELIANCE, quantity: int = 10) -> OrderRequest:
    return OrderRequest(
        TABLE[slot], Side.BUY, kind, Product.MIS, Validity.DAY, quantity, 142_010, 142_000, tag="t"
    )


def body_of(book: SandboxBook, request: HttpRequest) -> bytes:
    found = book.answer(request)
    assert isinstance(found, HttpResponse) and found.status == 200
    return found.body


def shown(book: SandboxBook) -> list[OrderReport]:
    return BROKER.parse_orders(body_of(book, BROKER.order_book()))


def test_orders_stand_as_confirmed_and_never_fill() -> None:
    book = SandboxBook()
    assert shown(book) == []
    for number, kind in enumerate(OrderType):
        request = BROKER.place(order(kind))
        assert book.answer(request) is None
        book.took(request, answer({"order_ids": [str(number)]}), NOW)
    found = {row.order_type: row for row in shown(book)}
    assert {kind: row.status for kind, row in found.items()} == {
        OrderType.MARKET: OrderStatus.OPEN, OrderType.LIMIT: OrderStatus.OPEN,
        OrderType.SL: OrderStatus.TRIGGER_PENDING, OrderType.SLM: OrderStatus.TRIGGER_PENDING,
    }  # fmt: skip
    row = found[OrderType.LIMIT]
    assert (row.message, row.tags, row.filled_quantity, row.px) == (NOTE, ("t",), 0, 142_010)
    assert (row.order_timestamp, row.token, row.product) == (NOW, 738561, Product.MIS)


def test_changes_and_cancels() -> None:
    book = SandboxBook()
    book.took(BROKER.place(order()), answer({"order_ids": ["7"]}), NOW)
    change = BROKER.modify("7", TABLE[RELIANCE], 12, 142_100, 0, OrderType.LIMIT, -1.0)
    book.took(change, problem(400, ("UDAPI1052", "no")), NOW)
    assert shown(book)[0].quantity == 10
    book.took(change, answer({"order_id": "7"}), NOW)
    assert (shown(book)[0].quantity, shown(book)[0].px, shown(book)[0].pending_quantity) == (12, 142_100, 12)
    book.took(BROKER.cancel("7"), answer({"order_id": "7"}), NOW)
    assert shown(book)[0].status is OrderStatus.CANCELLED and shown(book)[0].cancelled_quantity == 12
    book.took(BROKER.cancel("8"), answer({"order_id": "8"}), NOW)  # placed before this process


def test_nothing_unproved_stands_in_it() -> None:
    book = SandboxBook()
    for response in (HttpResponse(400, b""), HttpResponse(502, b"<html>"), problem(429, ("UDAPI10005", ""))):
        book.took(BROKER.place(order()), response, NOW)
    assert shown(book) == []


def test_several_at_once() -> None:
    book, request = SandboxBook(), bulk.multi_place({"a": order(), "b": order(slot=NIFTY_CE, quantity=75)})
    data = [{"correlation_id": "b", "order_id": "9"}]
    body = {"status": "partial_success", "data": data, "errors": []}
    book.took(request, HttpResponse(207, json.dumps(body).encode()), NOW)
    assert [(row.order_id, row.quantity) for row in shown(book)] == [("9", 75)]


def test_the_other_reads_are_empty() -> None:
    book = SandboxBook(funds_rupees=500.0)
    assert BROKER.parse_trades(body_of(book, BROKER.trade_book())) == []
    assert BROKER.parse_positions(body_of(book, BROKER.positions())) == []
    assert BROKER.parse_holdings(body_of(book, BROKER.holdings())) == []
    assert BROKER.parse_triggers(body_of(book, BROKER.triggers())) == []
    assert BROKER.parse_funds(body_of(book, BROKER.margins())).net_paise == 50_000
    # It knows of no circuit limits, and without any nothing would be opened: these refuse nothing.
    bands = BROKER.parse_bands(body_of(book, BROKER.quotes(["NSE:RELIANCE"])), {"NSE:RELIANCE": 100})
    assert bands == {"NSE:RELIANCE": (1, 20_000_000)}


def test_what_is_not_there_never_leaves() -> None:
    book = SandboxBook()
    for request in (
        BROKER.basket_margin([order()]),
        gtt.delete("GTT-1"),
        bulk.exit_all(),
        calls.order_details("1"),
    ):
        found = book.answer(request)
        assert isinstance(found, TransportError) and not found.sent and "sandbox" in found.reason
    assert BROKER.trigger_legs_max == 0 and BROKER.order_paths == ()


@pytest.mark.parametrize("call", sorted(CALLS))
def test_the_seven_calls_go_there(call: tuple[str, str]) -> None:
    assert len(CALLS) == 7
    assert SandboxBook().answer(HttpRequest(*call)) is None


def test_the_sdk_refuses_the_same_reads() -> None:
    (book,) = sdk({"api": "OrderApi", "call": "get_order_book", "args": ["2.0"]}, host="sandbox")
    assert book.result == "This API is not available in sandbox mode."
