"""The journal against the broker's books: what agrees is silent, each difference is one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from history_tools import INFY, SBIN

from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, PositionReport, TriggerLeg, TriggerReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import Order
from kite_hft.trading.reconciling import (
    Reconciled,
    compare_charges,
    compare_orders,
    compare_positions,
    overnight,
    overnight_words,
)

TABLE = InstrumentTable((SBIN, INFY))


def ours(**more: Any) -> Order:
    fields: dict[str, Any] = {
        "status": OrderStatus.COMPLETE,
        "order_id": "7",
        "filled": 3,
        "filled_units": 300_00,
    }
    return Order(
        1, 1, 1, 0, int(Side.BUY), int(OrderType.LIMIT), int(Product.MIS), int(Validity.DAY), 0, 3, 100_00, 0,
        "tag", **(fields | more),
    )  # fmt: skip


def theirs(**more: Any) -> OrderReport:
    row = OrderReport(
        "7", OrderStatus.COMPLETE, "COMPLETE", "", "NSE", "SBIN", SBIN.token, Side.BUY, OrderType.LIMIT,
        Product.MIS, 3, 3, 0, 0, 100.0, 100_00, 0,
    )  # fmt: skip
    return replace(row, **more)


@pytest.mark.parametrize(
    ("order", "row", "words"),
    [
        ({}, {}, ""),
        ({}, {"average_price": 100.001}, ""),  # rounded by the broker
        ({}, {"filled_quantity": 2}, "3 filled by the journal, 2 there"),
        ({}, {"average_price": 100.05}, "another average"),
        ({"status": OrderStatus.OPEN}, {}, "OPEN by the journal, COMPLETE there"),
        ({}, {"status": OrderStatus.OPEN, "status_text": "OPEN"}, "COMPLETE by the journal, OPEN there"),
        ({}, {"status": None, "status_text": "UPDATE"}, ""),
        ({"order_id": "8"}, {}, "not in the broker's book"),
        ({"order_id": "", "status": OrderStatus.AMBIGUOUS}, {}, "never found out"),
        ({"order_id": "", "status": OrderStatus.REFUSED, "filled": 0}, {}, ""),
    ],
)
def test_orders(order: dict[str, Any], row: dict[str, Any], words: str) -> None:
    out = Reconciled()
    compare_orders([(ours(**order), SBIN)], [theirs(**row)], out)
    assert len(out.differences) == bool(words) and words in "".join(out.differences)
    known = order.get("order_id", "7") == "7"
    assert (out.orders, len(out.strangers)) == ((1, 0) if known else (0, 1))


def position(symbol: str, quantity: int, product: Product | None = Product.MIS) -> PositionReport:
    return PositionReport("NSE", symbol, 1, product, quantity, 100.0, 0, 0, 0.0, 0.0)


def book_of(*held: tuple[int, int, Product, int]) -> Book:
    book = Book(TABLE)
    for strategy, slot, product, quantity in held:
        book.position_of(strategy, slot, int(product)).quantity = quantity
    return book


def test_positions_are_compared_over_all_strategies_and_what_the_account_held() -> None:
    book = book_of((1, 0, Product.MIS, 5), (2, 0, Product.MIS, -2))
    out, mis, cnc = Reconciled(), int(Product.MIS), int(Product.CNC)
    rows = [position("SBIN", 13), position("SBIN", 7, Product.CNC), position("INFY", 0), position("TCS", 4)]
    compare_positions(book, TABLE, rows, out, {(0, mis): 10, (0, cnc): 7, (1, mis): 0})
    assert out.differences == [] and len(out.not_compared) == 1 and "NSE:TCS +4" in out.not_compared[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "+5 by the journal, +0 at the broker"),
        ([position("SBIN", 4)], "+5 by the journal, +4 at the broker"),
        ([position("SBIN", 5), position("INFY", -1)], "NSE:INFY MIS: +0 by the journal, -1"),
    ],
)
def test_positions_that_differ(rows: list[PositionReport], words: str) -> None:
    out = Reconciled()
    compare_positions(book_of((1, 0, Product.MIS, 5)), TABLE, rows, out, {})
    assert words in "; ".join(out.differences)


@pytest.mark.parametrize(
    ("a", "b", "same"), [(493, 493, True), (493, 593, True), (493, 594, False), (10**6, 1_004_000, True),
                         (10**6, 1_006_000, False)],
)  # fmt: skip
def test_charges(a: int, b: int, same: bool) -> None:
    out = Reconciled()
    compare_charges(a, b, out)
    assert (out.differences == []) is same and (out.our_charges, out.their_charges) == (a, b)


def trigger(side: Side, *quantities: int, **more: Any) -> TriggerReport:
    legs = tuple(TriggerLeg(90_00, side, Product.CNC, q, 89_00, **more) for q in quantities)
    return TriggerReport("1", "active", True, SBIN.token, legs)


@pytest.mark.parametrize(
    ("triggers", "protected"),
    [
        ([], 0),
        ([trigger(Side.SELL, 5)], 5),
        ([trigger(Side.SELL, 5, 5)], 5),  # stop and target: one of them fires
        ([trigger(Side.SELL, 2), trigger(Side.SELL, 2)], 4),
        ([trigger(Side.SELL, 9)], 5),
        ([trigger(Side.BUY, 5)], 0),
        ([replace(trigger(Side.SELL, 5), active=False)], 0),
        ([replace(trigger(Side.SELL, 5), token=1)], 0),
        ([trigger(Side.SELL, 5, order_id="9")], 0),  # it has fired
    ],
)
def test_what_protects_overnight(triggers: list[TriggerReport], protected: int) -> None:
    rows = overnight(book_of((1, 0, Product.CNC, 5)), TABLE, triggers)
    assert [(r["instrument"], r["quantity"], r["protected"]) for r in rows] == [("NSE:SBIN", 5, protected)]


def test_words_of_the_night() -> None:
    book = book_of((1, 0, Product.CNC, 5), (1, 1, Product.MIS, -3), (2, 1, Product.CNC, 0))
    stays, intraday = overnight_words(overnight(book, TABLE, [trigger(Side.SELL, 5)]))
    assert stays == "NSE:SBIN +5 CNC: stays; a trigger at the broker protects all of it"
    assert intraday.startswith("NSE:INFY -3 MIS: an intraday position that is still open")
    (naked, _), (unknown, _) = (overnight_words(overnight(book, TABLE, t)) for t in ([], None))
    assert "no trigger at the broker protects it" in naked and "could not be asked" in unknown
