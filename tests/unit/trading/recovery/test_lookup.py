"""When an ambiguous order is found, absent, or neither."""

from __future__ import annotations

from dataclasses import replace

from orders_world import REAL0, S, instruments

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.book import Book, Order
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.recovery.lookup import Lookup, epoch_s

TABLE = instruments()
SENT_S = REAL0 // S
ROW = OrderReport(
    "id", OrderStatus.OPEN, "OPEN", "", "NSE", "SHARE0", TABLE[0].token, Side.BUY, OrderType.LIMIT,
    Product.MIS, 10, 0, 10, 0, 0.0, 100, 0, order_timestamp="2027-01-15 13:30:00",
)  # fmt: skip


def ambiguous(book: Book, number: int) -> Order:
    order = Order(
        number, 1, number, 0, Side.BUY, OrderType.LIMIT, Product.MIS, 1, 0, 10, 100, 0, f"tag{number}"
    )
    order.sent_real_ns = REAL0
    book.add(order)
    book.enter(order, Input.SUBMIT, 0)
    book.enter(order, Input.LOSE, 0)
    return order


def test_time_of_the_broker() -> None:
    assert epoch_s("2027-01-15 13:30:00") == SENT_S
    assert epoch_s("") is None and epoch_s("13:30:00") is None


def test_absent_needs_two_reads_in_a_row_past_the_horizon() -> None:
    book, lookup = Book(TABLE), Lookup(180 * S)
    order = ambiguous(book, 1)
    assert lookup.read(book, TABLE, [], 180 * S - 1) == []
    assert lookup.read(book, TABLE, [], 180 * S) == []
    assert lookup.read(book, TABLE, [ROW, replace(ROW, order_id="2")], 181 * S)[0].doubt
    assert lookup.read(book, TABLE, [], 182 * S) == []  # the count starts anew
    found = lookup.read(book, TABLE, [], 183 * S)
    assert [(f.order, f.row, f.doubt) for f in found] == [(order, None, "")]


def test_one_untagged_row_for_one_order_is_it() -> None:
    book, lookup = Book(TABLE), Lookup(180 * S)
    ambiguous(book, 1)
    for tags in ((), ("mktp", "mktp:2.00"), ("autoslice", "autoslice:5")):
        assert lookup.read(book, TABLE, [replace(ROW, tags=tags)], 1)[0].row is not None


def test_rows_that_cannot_be_it() -> None:
    book, lookup = Book(TABLE), Lookup(180 * S)
    ambiguous(book, 1)
    for row in (
        replace(ROW, tags=("manual",)),
        replace(ROW, side=Side.SELL),
        replace(ROW, quantity=11),
        replace(ROW, product=Product.CNC),
        replace(ROW, token=TABLE[1].token),
    ):
        assert lookup.read(book, TABLE, [row], 1) == [], row
    assert lookup.read(book, TABLE, [replace(ROW, order_timestamp="2027-01-15 13:29:54")], 1)[0].doubt
    assert lookup.read(book, TABLE, [replace(ROW, order_timestamp="2027-01-15 13:29:55")], 1)[0].row
    assert lookup.read(book, TABLE, [replace(ROW, order_timestamp="")], 1)[0].row


def test_one_row_for_two_orders_is_neither() -> None:
    book, lookup = Book(TABLE), Lookup(180 * S)
    ambiguous(book, 1)
    ambiguous(book, 2)
    findings = lookup.read(book, TABLE, [ROW], 400 * S)
    assert len(findings) == 2 and all(f.doubt and f.row is None for f in findings)


def test_a_row_that_a_trigger_may_have_placed_proves_nothing() -> None:
    book, lookup = Book(TABLE), Lookup(180 * S)
    order = ambiguous(book, 1)
    found = lookup.read(book, TABLE, [ROW], 1, of_trigger=lambda row: row.order_id == ROW.order_id)
    assert [f.row for f in found] == [None] and found[0].doubt and found[0].order is order
    assert lookup.read(book, TABLE, [ROW], 2, of_trigger=lambda row: False)[0].row is ROW
