"""Cash, positions carried in, conversion to the paisa, what may be delivered."""

from __future__ import annotations

import pytest
from sim_tools import EQUITY, NOW

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.account import Account, Holding
from kite_hft.sim.exchange.orders import Trade


def trade(side: Side, quantity: int, px: int, product: Product = Product.MIS) -> Trade:
    return Trade("1", "2", "3", EQUITY, side, product, quantity, px, quantity * px, NOW)


def test_cash_and_position_are_the_sum_of_trades() -> None:
    account = Account(1_000_000)
    account.book(trade(Side.BUY, 10, 10_000))
    account.book(trade(Side.SELL, 4, 10_100))
    position = account.positions[0, Product.MIS]
    assert account.cash_paise == 1_000_000 - 100_000 + 40_400
    assert (position.net, position.buy_paise, position.sell_paise) == (6, 100_000, 40_400)
    assert account.totals() == {
        "cash_paise": 940_400, "reserved_paise": 0, "fees_paise": 0, "positions": {"NSE:SBIN:MIS": 6},
    }  # fmt: skip


def test_a_position_carried_in_costs_no_cash_today() -> None:
    account = Account(1_000_000)
    account.carry_in(EQUITY, Product.NRML, -30, 10_050)
    position = account.positions[0, Product.NRML]
    assert (position.net, position.day_net, position.overnight_paise) == (-30, 0, -301_500)
    assert account.cash_paise == 1_000_000 and account.net_all(0) == -30


@pytest.mark.parametrize("quantity", [1, 3, 7])
def test_conversion_moves_the_average_and_loses_no_paisa(quantity: int) -> None:
    account = Account(10**9)
    for n, px in ((4, 10_000), (3, 10_005)):
        account.book(trade(Side.BUY, n, px))
    old, new = account.positions[0, Product.MIS], account.position(EQUITY, Product.CNC)
    old.move(new, Side.BUY, "day", quantity)
    assert (old.net, new.net) == (7 - quantity, quantity)
    assert old.buy_paise + new.buy_paise == 4 * 10_000 + 3 * 10_005
    assert old.buy_units + new.buy_units == 70_015
    assert abs(new.buy_paise - 70_015 * quantity / 7) < 1


def test_conversion_of_what_was_carried_in_averages_its_price() -> None:
    account = Account(10**9)
    account.carry_in(EQUITY, Product.MTF, 10, 10_000)
    account.carry_in(EQUITY, Product.CNC, 10, 12_000)
    old, new = account.positions[0, Product.MTF], account.positions[0, Product.CNC]
    old.move(new, Side.BUY, "overnight", 10)
    assert (old.net, new.net, new.overnight_px, new.overnight_paise) == (0, 20, 11_000, 220_000)
    short = account.position(EQUITY, Product.NRML)
    account.carry_in(EQUITY, Product.MIS, -6, 10_000)
    account.positions[0, Product.MIS].move(short, Side.SELL, "overnight", 4)
    assert (account.positions[0, Product.MIS].net, short.net) == (-2, -4)


def test_what_may_be_delivered_and_what_needs_authorisation() -> None:
    account = Account(10**9)
    assert account.deliverable(0) == 0 and account.unauthorised(0, 5) == 0
    account.holdings[0] = Holding(EQUITY, 10, t1_quantity=5)
    assert (account.deliverable(0), account.deliverable(0, with_t1=False)) == (15, 10)
    account.book(trade(Side.BUY, 3, 10_000, Product.CNC))
    assert account.deliverable(0) == 18
    assert account.unauthorised(0, 3) == 0  # the three of today go first
    assert account.unauthorised(0, 4) == 1
    assert account.unauthorised(0, 18) == 10  # T1 shares are not at the depository yet
    account.holdings[0].authorised = 8
    assert account.unauthorised(0, 12) == 1
    account.holdings[0].authorised = None  # a standing instruction
    assert account.unauthorised(0, 18) == 0


def test_fees_are_noted_and_leave_the_cash_alone() -> None:
    account = Account(1_000)
    account.note_fee(NOW, "7", 5_000)
    assert account.cash_paise == 1_000 and account.totals()["fees_paise"] == 5_000
