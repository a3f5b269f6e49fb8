"""When an ambiguous order is found, absent, or neither."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from orders_world import REAL0, S, instruments

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.order import Order
from kite_hft.trading.recovery.lookup import Finding, Lookup, as_asked, could_be_ours, epoch_s

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


def test_a_row_at_other_terms_is_left_to_a_person() -> None:
    """Somebody's order of the same size: ours may be hidden, and is neither it nor absent."""
    book, lookup = Book(TABLE), Lookup(180 * S)
    ambiguous(book, 1)
    for row in (replace(ROW, px=105), replace(ROW, order_type=OrderType.SL, trigger_px=95)):
        assert lookup.read(book, TABLE, [row], 1) == [], "ours may come yet"
        for at_s in (181, 182, 183):
            (found,) = lookup.read(book, TABLE, [row], at_s * S)
            assert found.row is None and "at other terms" in found.doubt


def test_prices_tell_two_orders_of_the_same_size_apart() -> None:
    book, lookup = Book(TABLE), Lookup(180 * S)
    first, second = ambiguous(book, 1), ambiguous(book, 2)
    second.px = 105
    found = lookup.read(book, TABLE, [ROW], 1)
    assert [(f.order, f.row) for f in found] == [(first, ROW)]
    both = [ROW, replace(ROW, order_id="other", px=105)]
    assert {(f.order.order_no, f.row and f.row.px) for f in lookup.read(book, TABLE, both, 2)} == {
        (1, 100), (2, 105),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "row", "fits"),
    [
        (OrderType.LIMIT, {}, True),
        (OrderType.LIMIT, {"order_type": None, "px": 7}, True),  # it does not tell
        (OrderType.LIMIT, {"px": 101}, False),
        (OrderType.LIMIT, {"order_type": OrderType.MARKET}, False),
        (OrderType.MARKET, {"px": 103}, True),  # its protection
        (OrderType.MARKET, {"order_type": OrderType.MARKET, "px": 0}, True),
        (OrderType.MARKET, {"order_type": OrderType.SL, "trigger_px": 95}, False),
        (OrderType.SL, {"order_type": OrderType.SL, "trigger_px": 95}, True),
        (OrderType.SL, {"order_type": OrderType.SL, "trigger_px": 90}, False),
        (OrderType.SL, {"order_type": OrderType.SL, "px": 99, "trigger_px": 95}, False),
        (OrderType.SLM, {"order_type": OrderType.SL, "px": 99, "trigger_px": 95}, True),
        (OrderType.SLM, {"order_type": OrderType.SLM, "px": 0, "trigger_px": 94}, False),
        (OrderType.SLM, {"px": 97}, True),  # triggered
        (OrderType.SLM, {"px": 95}, True),
        (OrderType.SLM, {"px": 94}, False),  # none that a stop at 95 becomes
        (OrderType.SLM, {"order_type": OrderType.SL, "px": 94, "trigger_px": 95}, False),
        (OrderType.SLM, {"side": Side.SELL, "px": 94}, True),
        (OrderType.SLM, {"side": Side.SELL, "px": 96}, False),
    ],
)
def test_what_may_be_shown_of_an_order(kind: OrderType, row: dict[str, Any], fits: bool) -> None:
    order = ambiguous(Book(TABLE), 1)
    order.order_type, order.trigger_px, order.side = kind, 95, row.get("side", Side.BUY)
    assert as_asked(order, replace(ROW, **row)) is fits


def test_before_the_days_first_word_of_ours_the_account_tells_who_placed_a_row() -> None:
    """The broker's risk desk closes what we close, of the same size, before any order of ours was shown."""
    rms, mine = replace(ROW, placed_by="RMS", account="ME"), replace(ROW, placed_by="ME", account="ME")
    untold = replace(ROW, placed_by="RMS")
    for row in (rms, untold):
        book, lookup = Book(TABLE), Lookup(180 * S)
        ambiguous(book, 1)
        assert lookup.read(book, TABLE, [row], 1) == [], "neither it nor a proof that it is not there"
        for at_s in (181, 182):
            assert "placed by RMS" in lookup.read(book, TABLE, [row], at_s * S)[0].doubt
        assert lookup.read(book, TABLE, [row], 183 * S, user="ME") == []
        assert lookup.read(book, TABLE, [row], 184 * S, user="ME")[0] == Finding(book.orders[1])
    book, lookup = Book(TABLE), Lookup(180 * S)
    ambiguous(book, 1)
    assert lookup.read(book, TABLE, [mine], 1)[0].row is mine
    assert lookup.read(book, TABLE, [rms], 2, user="RMS")[0].row is rms


def test_of_an_earlier_run_a_row_of_another_quantity_is_left_to_a_person() -> None:
    """A power cut takes the last records: that of a change, too, which has left all the same."""
    book, lookup = Book(TABLE), Lookup(180 * S)
    order, larger = ambiguous(book, 1), replace(ROW, order_id="larger", quantity=20)
    assert not could_be_ours(larger, book, TABLE)
    order.inherited = True
    assert could_be_ours(larger, book, TABLE)
    assert lookup.read(book, TABLE, [larger], 1) == []
    for at_s in (181, 182, 183):
        assert "at other terms" in lookup.read(book, TABLE, [larger], at_s * S)[0].doubt
    assert lookup.read(book, TABLE, [larger, ROW], 184 * S)[0].row is ROW
    for stamp, ours in (("2027-01-15 13:30:15", True), ("2027-01-15 13:30:16", False)):
        later = replace(larger, order_timestamp=stamp)  # nobody waits so long for an answer
        assert could_be_ours(later, book, TABLE) is ours
    before = replace(larger, order_timestamp="2027-01-15 13:29:54")
    assert lookup.read(book, TABLE, [before], 185 * S) == [], "entered before it was sent: another one"
    assert lookup.read(book, TABLE, [before], 186 * S) == [Finding(order)]
