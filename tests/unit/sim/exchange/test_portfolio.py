"""Conversion, authorisation, and what may be sold for delivery."""

from __future__ import annotations

import pytest
from sim_tools import EQUITY, NOW, OPTION, SECOND, TABLE, book_of, exchange_at, settle

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.account import Holding
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import NewOrder, Refusal
from kite_hft.sim.exchange.rules import ExchangeParams

P = Product


def bought(quantity: int = 10, product: Product = P.MIS) -> Exchange:
    exchange = exchange_at(quantity=100)
    exchange.place(NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, product, quantity, px=10_005), NOW)
    settle(exchange)
    return exchange


def sale(quantity: int, product: Product = P.CNC) -> NewOrder:
    return NewOrder(EQUITY, Side.SELL, OrderType.LIMIT, product, quantity, px=10_000)


def owner(*, authorised: int | None = 0, rules: object = None, t1: int = 5) -> Exchange:
    params = {} if rules is None else {"market": rules}
    exchange = Exchange(
        TABLE, 10**8, params=ExchangeParams(latency_ns=(0, 0), **params),  # type: ignore[arg-type]
        opening_holdings=[Holding(EQUITY, 10, t1_quantity=t1, authorised=authorised)],
    )  # fmt: skip
    exchange.on_ticks(book_of(0, 10_000, 10_005, 100), NOW)
    return exchange


def test_a_position_moves_to_another_product() -> None:
    exchange = bought()
    cash = exchange.account.cash_paise
    exchange.convert("NSE:SBIN", P.MIS, P.CNC, Side.BUY, "day", 4, NOW + 2 * SECOND)
    assert (exchange.account.net(0, P.MIS), exchange.account.net(0, P.CNC)) == (6, 4)
    assert exchange.account.cash_paise == cash


def test_what_was_carried_in_is_converted_as_such() -> None:
    exchange = Exchange(TABLE, 10**8, opening_positions=[(0, P.MTF, 10, 9_000)])
    with pytest.raises(Refusal, match="10 wanted, 0 open"):
        exchange.convert("NSE:SBIN", P.MTF, P.CNC, Side.BUY, "day", 10, NOW)
    exchange.convert("NSE:SBIN", P.MTF, P.CNC, Side.BUY, "overnight", 10, NOW)
    assert exchange.account.positions[0, P.CNC].overnight_quantity == 10


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("NSE:NONE", P.MIS, P.CNC, Side.BUY, "day", 1), "tradingsymbol"),
        (("NSE:SBIN", P.MIS, P.CNC, Side.BUY, "week", 1), "position_type"),
        (("NSE:SBIN", P.MIS, P.CNC, Side.BUY, "day", 0), "quantity"),
        (("NSE:SBIN", P.MIS, P.MIS, Side.BUY, "day", 1), "the same"),
        (("NSE:SBIN", P.MIS, P.NRML, Side.BUY, "day", 1), "new_product"),
        (("NSE:SBIN", P.MIS, P.CNC, Side.SELL, "day", 1), "short position"),
        (("NSE:SBIN", P.CNC, P.MIS, Side.BUY, "day", 1), "not there"),
        (("NSE:SBIN", P.MIS, P.CNC, Side.BUY, "day", 11), "11 wanted, 10 open"),
    ],
)
def test_what_cannot_be_converted(arguments: tuple[object, ...], text: str) -> None:
    with pytest.raises(Refusal, match=text):
        bought().convert(*arguments, NOW + 2 * SECOND)  # type: ignore[arg-type]


def test_conversion_needs_money() -> None:
    exchange = bought()
    exchange.reject_next_margin(1)
    for _ in (1, 2):
        with pytest.raises(Refusal) as refusal:
            exchange.convert("NSE:SBIN", P.MIS, P.CNC, Side.BUY, "day", 4, NOW + 2 * SECOND)
        assert refusal.value.error_type == "MarginException" and exchange.account.net(0, P.CNC) == 0
        # Four at 100.05 are paid whole in CNC; a fifth of that was blocked before.
        exchange.account.cash_paise -= exchange.account.available_paise - (40_020 - 8_004 - 1)
    exchange.account.cash_paise += 1
    exchange.convert("NSE:SBIN", P.MIS, P.CNC, Side.BUY, "day", 4, NOW + 2 * SECOND)
    assert exchange.account.net(0, P.CNC) == 4 and exchange.account.available_paise == 0


def test_settled_shares_need_authorisation_of_the_day() -> None:
    exchange = owner()
    with pytest.raises(Refusal) as refusal:
        exchange.place(sale(1), NOW)
    assert (refusal.value.status, refusal.value.error_type) == (428, "HoldingException")
    assert not exchange.orders
    assert exchange.authorise([0], NOW) == 1
    exchange.place(sale(10), NOW + SECOND)
    settle(exchange, NOW + SECOND)
    assert exchange.account.net(0, P.CNC) == -10
    assert exchange.account.holdings[0].authorised_ns == NOW
    assert exchange.authorise(None, NOW) == 1 and exchange.authorise([3], NOW) == 0


def test_working_sales_count_against_the_authorisation() -> None:
    exchange = owner(authorised=6)
    exchange.place(NewOrder(EQUITY, Side.SELL, OrderType.LIMIT, P.CNC, 6, px=11_000), NOW)
    settle(exchange)
    with pytest.raises(Refusal):
        exchange.place(sale(1), NOW + SECOND)


def test_settled_and_t1_shares_may_be_sold_and_no_more() -> None:
    exchange = owner(authorised=None)
    first = exchange.orders[exchange.place(sale(15), NOW)]
    settle(exchange)
    second = exchange.orders[exchange.place(sale(1), NOW + 2 * SECOND)]
    settle(exchange, NOW + 2 * SECOND)
    assert (first.now.status, second.now.status) == ("COMPLETE", "REJECTED")
    assert second.now.message is not None and "Insufficient stock holding" in second.now.message


def test_trade_to_trade_shares_are_not_sold_before_they_settle() -> None:
    rules = ExchangeParams().market.with_list("trade_to_trade", ["NSE:SBIN"])
    exchange = owner(authorised=None, rules=rules)
    order = exchange.orders[exchange.place(sale(11), NOW)]
    settle(exchange)
    assert order.now.status == "REJECTED"
    order = exchange.orders[exchange.place(sale(10), NOW + 2 * SECOND)]
    settle(exchange, NOW + 2 * SECOND)
    assert order.now.status == "COMPLETE"


@pytest.mark.parametrize(
    ("product", "status"), [(P.MIS, "COMPLETE"), (P.CNC, "REJECTED"), (P.MTF, "REJECTED")]
)
def test_shares_are_sold_short_in_mis_only(product: Product, status: str) -> None:
    exchange = exchange_at()
    order = exchange.orders[exchange.place(sale(1, product), NOW)]
    settle(exchange)
    assert order.now.status == status


def test_derivatives_are_sold_short_overnight() -> None:
    exchange = exchange_at()
    exchange.on_ticks(book_of(1, 5_000, 5_005, 750), NOW)
    request = NewOrder(OPTION, Side.SELL, OrderType.LIMIT, P.NRML, 75, px=5_000)
    order = exchange.orders[exchange.place(request, NOW)]
    settle(exchange)
    assert order.now.status == "COMPLETE"
