"""What orders and positions take from the account, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_tools import COMMODITY, EQUITY, INDEX, NOW, OPTION, SECOND, TABLE, book_of, exchange_at, settle

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import NewOrder, Order
from kite_hft.trading.instruments import InstrumentTable

CASH = 10_000_000
SPOT_PX = 2_500_000  # 25,000 rupees
CALL = replace(OPTION, name="NIFTY", strike_px=2_500_000)
LOT = 75


def trade(
    exchange: Exchange, row: object, side: Side, quantity: int, px: int, product: Product, at: int
) -> Order:
    request = NewOrder(row, side, OrderType.LIMIT, product, quantity, px=px)  # type: ignore[arg-type]
    order = exchange.orders[exchange.place(request, NOW + at * SECOND)]
    settle(exchange, NOW + at * SECOND)
    return order


def free(exchange: Exchange) -> int:
    return exchange.account.available_paise


def derivatives(cash_paise: int = 100 * CASH) -> Exchange:
    """An option on an index that is listed, at 50.00, and gold at 120,000 rupees a lot of 100."""
    rows = (EQUITY, CALL, replace(INDEX, name="NIFTY"), TABLE[3], COMMODITY)
    exchange = Exchange(InstrumentTable(rows), cash_paise, 0, exchange_at().params)
    exchange.on_ticks(book_of(2, SPOT_PX, SPOT_PX, 1), NOW)
    exchange.on_ticks(book_of(1, 5_000, 5_005, 7_500), NOW)
    exchange.on_ticks(book_of(4, 12_000_000, 12_000_100, 50, step=100), NOW)
    return exchange


@pytest.mark.parametrize(
    ("product", "blocked"), [(Product.CNC, 100_050), (Product.MIS, 20_010), (Product.MTF, 25_013)]
)
def test_shares_take_their_value_or_a_part_of_it(product: Product, blocked: int) -> None:
    exchange = exchange_at(cash_paise=CASH, quantity=50)
    waiting = trade(exchange, EQUITY, Side.BUY, 10, 9_900, product, 0)
    share = {Product.CNC: 1, Product.MIS: 5, Product.MTF: 4}[product]
    assert waiting.now.status == "OPEN" and free(exchange) == CASH - 99_000 // share
    exchange.cancel(waiting.order_id, NOW + SECOND)
    settle(exchange, NOW + SECOND)
    assert free(exchange) == CASH
    trade(exchange, EQUITY, Side.BUY, 10, 10_005, product, 2)  # at 100.05
    assert free(exchange) == CASH - blocked
    assert exchange.account.cash_paise == CASH - 100_050  # the plain ledger


@pytest.mark.parametrize(("first", "px", "second", "other"), [
    (Side.BUY, 10_005, Side.SELL, 10_000), (Side.SELL, 10_000, Side.BUY, 10_005),
])  # fmt: skip
def test_a_round_trip_leaves_its_profit_and_loss(first: Side, px: int, second: Side, other: int) -> None:
    exchange = exchange_at(cash_paise=CASH, quantity=50)
    trade(exchange, EQUITY, first, 10, px, Product.MIS, 0)
    assert free(exchange) == CASH - px * 10 // 5, "a short blocks a fifth as a long does"
    trade(exchange, EQUITY, second, 4, other, Product.MIS, 2)
    assert free(exchange) == CASH - 4 * 5 - px * 6 // 5
    trade(exchange, EQUITY, second, 6, other, Product.MIS, 4)
    assert free(exchange) == exchange.account.cash_paise == CASH - 10 * 5


def test_an_exit_needs_no_money_and_what_goes_beyond_it_does() -> None:
    exchange = exchange_at(cash_paise=20_010, quantity=50)
    trade(exchange, EQUITY, Side.BUY, 10, 10_005, Product.MIS, 0)
    assert free(exchange) == 0
    resting = trade(exchange, EQUITY, Side.SELL, 10, 10_500, Product.MIS, 2)
    assert resting.now.status == "OPEN" and resting.reserved_paise == 0
    turning = trade(exchange, EQUITY, Side.SELL, 11, 10_500, Product.MIS, 4)
    assert turning.now.status == "REJECTED" and "Required margin is 21.00 " in (turning.now.message or "")


def test_a_bought_option_takes_its_premium_and_a_sold_one_span_and_exposure() -> None:
    exchange = derivatives()
    start = free(exchange)
    trade(exchange, CALL, Side.BUY, LOT, 5_005, Product.NRML, 0)
    assert free(exchange) == start - LOT * 5_005
    trade(exchange, CALL, Side.SELL, LOT, 5_000, Product.NRML, 2)
    assert free(exchange) == start - LOT * 5
    trade(exchange, CALL, Side.SELL, LOT, 5_000, Product.NRML, 4)
    # 9 % scan of the index at the money and 2 % exposure; the premium stays.
    margin = LOT * SPOT_PX * 11 // 100
    assert free(exchange) == start - LOT * 5 + LOT * 5_000 - margin


def test_a_future_takes_span_and_exposure_and_its_profit_comes_back() -> None:
    exchange = derivatives()
    start = free(exchange)
    trade(exchange, COMMODITY, Side.BUY, 2, 12_000_100, Product.NRML, 0)
    now_worth = 2 * 100 * 12_000_000  # margin is of the last price
    assert free(exchange) == start - now_worth * 9 // 100
    trade(exchange, COMMODITY, Side.SELL, 2, 12_000_000, Product.NRML, 2)
    assert free(exchange) == start - 2 * 100 * 100


def test_a_carried_position_blocks_margin_and_pays_only_its_result() -> None:
    exchange = Exchange(TABLE, CASH, 0, exchange_at().params, opening_positions=[(0, Product.MTF, 10, 9_000)])
    exchange.on_ticks(book_of(0, 10_000, 10_005, 50), NOW)
    assert free(exchange) == CASH - 90_000 // 4
    trade(exchange, EQUITY, Side.SELL, 10, 10_000, Product.MTF, 0)
    assert free(exchange) == CASH + 10_000
