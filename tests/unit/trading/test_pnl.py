"""Profit and loss after charges: parts add up, partial fills pay once, foreign hands are told apart."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.settings import load_yaml
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.costs import ChargesError, Schedule, schedule_from_mapping
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.pnl import CostBook, account, breakdown, parts
from kite_hft.trading.positions import Cut

SHARE = Instrument(0, 779521, 3045, "SBIN", "NSE", "NSE", "EQ", 5, 1)
FUTURE = Instrument(1, 40_001 * 256 + 2, 40_001, "XFUT", "NFO", "NFO-FUT", "FUT", 5, 50, multiplier=1)
TABLE = InstrumentTable((SHARE, FUTURE))
SCHEDULE = schedule_from_mapping(
    load_yaml(Path("config/rules/charges_zerodha_2026-04-01.yaml")), dt.date(2026, 11, 20)
)


class Desk:
    """A book with one way to trade."""

    def __init__(self, schedule: Schedule | None = SCHEDULE) -> None:
        self.book = Book(TABLE)
        self.costs = CostBook(self.book, TABLE, schedule)
        self.no = 0

    def order(
        self, side: Side, quantity: int, product: Product = Product.MIS, slot: int = 0, strategy: int = 1
    ) -> Order:
        self.no += 1
        order = Order(
            self.no, strategy, self.no, slot, side, OrderType.LIMIT, product, Validity.DAY, 0, quantity,
            0, 0, f"t{self.no}", status=OrderStatus.OPEN,
        )  # fmt: skip
        self.book.add(order)
        return order

    def fill(self, order: Order, filled: int, price: float) -> None:
        row = TABLE[order.slot]
        status = OrderStatus.COMPLETE if filled == order.quantity else OrderStatus.OPEN
        report = OrderReport(
            f"id{order.order_no}", status, status.name, "", row.exchange, row.symbol, row.token,
            Side(order.side), OrderType.LIMIT, Product(order.product), order.quantity, filled,
            order.quantity - filled, 0, price, 0, 0,
        )  # fmt: skip
        self.book.fold(order, report, 1)

    def trade(self, side: Side, quantity: int, price: float, **more: int) -> Order:
        order = self.order(side, quantity, **more)  # type: ignore[arg-type]
        self.fill(order, quantity, price)
        return order

    def pnl(self, px: int = 0) -> dict[str, int]:
        return account(self.book, TABLE, self.costs, lambda slot: px).as_dict()


def cost(side: Side, value: int, product: Product = Product.MIS, row: Instrument = SHARE) -> int:
    return SCHEDULE.charges(row, product, side, value).total_paise


def test_realised_and_unrealised_after_charges() -> None:
    desk = Desk()
    desk.trade(Side.BUY, 10, 100.0)
    desk.trade(Side.SELL, 4, 110.0)
    charges = cost(Side.BUY, 100_000) + cost(Side.SELL, 44_000)
    assert desk.pnl(12_000) == {
        "gross": 4_000 + 12_000, "charges": charges, "net": 16_000 - charges,
        "realised": 4_000, "unrealised": 12_000,
    }  # fmt: skip
    assert desk.pnl()["unrealised"] == 0  # without a price: at cost


def test_partial_fills_pay_the_cap_once() -> None:
    whole, pieces = Desk(), Desk()
    whole.trade(Side.BUY, 1_000, 1_000.0, slot=1, product=Product.NRML)
    order = pieces.order(Side.BUY, 1_000, Product.NRML, slot=1)
    told = 0
    for filled in (100, 250, 600, 1_000):
        pieces.fill(order, filled, 1_000.0)
        told += pieces.costs.of_fill(order.order_no)
    expected = cost(Side.BUY, 100_000_000, Product.NRML, FUTURE)
    assert whole.pnl()["charges"] == pieces.pnl()["charges"] == told == expected
    assert expected < 4 * cost(Side.BUY, 25_000_000, Product.NRML, FUTURE) - 3 * 2_000
    assert pieces.costs.of_fill(order.order_no) == 0


def test_a_corrected_value_corrects_its_charges() -> None:
    desk = Desk()
    order = desk.trade(Side.SELL, 100, 100.0)
    before = desk.pnl()["charges"]
    desk.book._revalue(order, 2_000_000)
    assert desk.pnl()["charges"] == cost(Side.SELL, 2_000_000) > before


def test_what_a_replayed_journal_accounted_was_told_before() -> None:
    desk = Desk()
    order = desk.order(Side.BUY, 10)
    desk.fill(order, 4, 100.0)
    desk.costs.begin()
    assert desk.costs.of_fill(order.order_no) == 0
    desk.fill(order, 10, 100.0)
    assert desk.costs.of_fill(order.order_no) == cost(Side.BUY, 100_000) - cost(Side.BUY, 40_000)


def test_by_strategy_and_by_product_add_up_to_the_whole() -> None:
    desk = Desk()
    desk.trade(Side.BUY, 10, 100.0, strategy=1)
    desk.trade(Side.SELL, 10, 101.0, strategy=1)
    desk.trade(Side.SELL, 50, 200.0, strategy=2, slot=1, product=Product.NRML)
    desk.trade(Side.BUY, 5, 100.0, strategy=2, product=Product.CNC)
    found = breakdown(desk.book, TABLE, desk.costs, lambda slot: 10_500 if slot == 0 else 19_900)
    assert set(found["by_strategy"]) == {"1", "2"} and set(found["by_product"]) == {"MIS", "NRML", "CNC"}
    for name in ("gross", "charges", "net", "realised", "unrealised"):
        for split in ("by_strategy", "by_product"):
            assert sum(part[name] for part in found[split].values()) == found[name]
        assert found["gross"] == found["realised"] + found["unrealised"]
        assert found["net"] == found["gross"] - found["charges"]
    assert found["by_strategy"]["1"]["gross"] == found["by_strategy"]["1"]["realised"] == 1_000
    assert found["by_product"]["NRML"]["gross"] == 5_000


def test_the_depository_is_paid_once_a_day_and_share() -> None:
    desk = Desk()
    desk.trade(Side.SELL, 5, 100.0, product=Product.CNC, strategy=1)
    desk.trade(Side.SELL, 5, 100.0, product=Product.CNC, strategy=2)
    sold = cost(Side.SELL, 50_000, Product.CNC)
    assert desk.pnl()["charges"] == 2 * sold + 1_534
    desk.trade(Side.BUY, 10, 100.0, product=Product.CNC, strategy=2)  # nothing left the account
    assert desk.pnl()["charges"] == 2 * sold + cost(Side.BUY, 100_000, Product.CNC)


def test_a_short_in_mis_pays_no_depository() -> None:
    desk = Desk()
    desk.trade(Side.SELL, 5, 100.0)
    assert desk.pnl()["charges"] == cost(Side.SELL, 50_000)


def test_the_broker_closing_our_position_counts_with_his_fee() -> None:
    desk = Desk()
    desk.trade(Side.BUY, 10, 100.0)
    desk.trade(Side.BUY, 10, 100.0, strategy=2)
    desk.book.cut(Cut(1, 0, Product.MIS, -10, -95_000, "rms", square_off=True))
    desk.book.cut(Cut(2, 0, Product.MIS, -4, -38_000, "rms", square_off=True))  # the same order
    desk.book.cut(Cut(2, 0, Product.MIS, -5, -47_500, "hand"))  # a person's: no fee
    desk.book.cut(Cut(2, 0, Product.MIS, -1, -9_500))  # by nobody knows which order
    expected = 2 * cost(Side.BUY, 100_000) + cost(Side.SELL, 133_000) + cost(Side.SELL, 47_500) + 5_900
    for px in (9_000, 12_000):  # closed: the price no longer matters
        found = desk.pnl(px)
        assert (found["gross"], found["realised"], found["charges"]) == (-10_000, -10_000, expected)
    by = breakdown(desk.book, TABLE, desk.costs, lambda slot: 9_000)["by_strategy"]
    assert set(by) == {"1", "2"}
    assert by["1"]["charges"] == cost(Side.BUY, 100_000) + cost(Side.SELL, 95_000) + 5_900


def test_foreign_trades_elsewhere_and_the_opening_position_are_not_ours() -> None:
    desk = Desk()
    desk.book.set_external(0, Product.MIS, 100, 100 * 5_000)
    desk.trade(Side.BUY, 10, 100.0, strategy=EXTERNAL, slot=1, product=Product.NRML)
    assert desk.pnl(10_000) == dict.fromkeys(("gross", "charges", "net", "realised", "unrealised"), 0)
    desk.trade(Side.BUY, 10, 100.0)
    assert desk.pnl(10_100)["gross"] == 1_000


def test_without_a_schedule_net_is_gross() -> None:
    desk = Desk(None)
    desk.trade(Side.BUY, 10, 100.0)
    found = desk.pnl(11_000)
    assert found["charges"] == 0 and found["net"] == found["gross"] == 10_000


def test_an_unknown_class_is_refused_at_the_start() -> None:
    odd = InstrumentTable((Instrument(0, 257, 1, "GSEC", "NSE", "NSE", "GB", 1, 1),))
    with pytest.raises(ChargesError, match="NSE:GSEC: charges of kind 'GB' are not known"):
        CostBook(Book(odd), odd, SCHEDULE)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Side), st.integers(1, 50), st.integers(1, 40_000),
            st.sampled_from([1, 2, EXTERNAL]), st.sampled_from([Product.MIS, Product.CNC]), st.booleans(),
        ),
        max_size=25,
    ),
    st.integers(0, 40_000),
)  # fmt: skip
def test_charges_do_not_depend_on_when_they_are_asked(
    trades: list[tuple[Side, int, int, int, Product, bool]], px: int
) -> None:
    asked, left = Desk(), Desk()
    for side, quantity, price, strategy, product, now in trades:
        for desk in (asked, left):
            desk.trade(side, quantity, price / 100, strategy=strategy, product=product)
        if now:
            asked.pnl(px)
    assert asked.pnl(px) == left.pnl(px)
    own = [o for o in left.book.orders.values() if o.strategy != EXTERNAL]
    value = sum((1 if o.side == Side.SELL else -1) * o.filled_units for o in own)
    held = sum(p.quantity for p, _ in parts(left.book, TABLE, left.costs, lambda slot: px))
    if px:
        assert left.pnl(px)["gross"] == value + held * px  # cash flow + what is held
    orders = sum(left.costs.of_order(o.order_no) for o in own)
    assert left.pnl(px)["charges"] in (orders, orders + 1_534)
