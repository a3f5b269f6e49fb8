"""Orders that exist and end REJECTED: restricted lists, freeze quantity, bands, funds, stock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_tools import EQUITY, OPTION

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.account import Account, Holding
from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.exchange.orders import NewOrder
from kite_hft.sim.exchange.risk import RiskView, rejection
from kite_hft.trading.market_rules import MarketRules

RULES = default_market_rules()
BUY = NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, Product.MIS, 10, px=10_000)
SELL = replace(BUY, side=Side.SELL)


def verdict(
    order: NewOrder,
    rules: MarketRules = RULES,
    held: int = 0,
    others: int = 0,
    cash: int = 10**9,
    required: int = 0,
) -> str | None:
    account = Account(cash)
    if held:
        account.carry_in(order.instrument, order.product, held, 10_000)
    view = RiskView(account, rules, (8_000, 12_000), others, "ME", required)
    found = rejection(order, order.px, order.quantity, view)
    return None if found is None else found[1]


def test_a_good_order_passes() -> None:
    assert verdict(BUY) is None and verdict(SELL) is None


@pytest.mark.parametrize(("px", "fine"), [(7_995, False), (8_000, True), (12_000, True), (12_005, False)])
def test_band(px: int, fine: bool) -> None:
    assert (verdict(replace(BUY, px=px)) is None) == fine


@pytest.mark.parametrize(("quantity", "fine"), [(1800, True), (1875, False)])
def test_freeze(quantity: int, fine: bool) -> None:
    order = replace(BUY, instrument=OPTION, product=Product.NRML, quantity=quantity)
    assert (verdict(order) is None) == fine


def test_funds() -> None:
    for order in (BUY, SELL):
        assert verdict(order, cash=100_000, required=100_000) is None
        assert verdict(order, cash=-1, required=0) is None  # what takes nothing passes without money
    assert (
        verdict(SELL, cash=99_999, required=100_000)
        == verdict(BUY, cash=99_999, required=100_000)
        == (
            "RMS:Margin Exceeds,Required:1000.00, Available:999.99 for entity account-ME "
            "across exchange across segment across product "
        )
    )


@pytest.mark.parametrize("product", [Product.CNC, Product.MTF])
def test_delivery_sales_need_the_shares(product: Product) -> None:
    sell = replace(SELL, product=product)
    assert verdict(sell, held=10) is None
    assert "Check holdings" in (verdict(sell, held=9) or "")
    assert "Check holdings" in (verdict(sell, held=10, others=1) or "")


def test_t1_shares_of_trade_to_trade_series_are_not_sold() -> None:
    account = Account(0)
    account.holdings[0] = Holding(EQUITY, 5, t1_quantity=5)
    sell = replace(SELL, product=Product.CNC)
    view = RiskView(account, RULES, (0, 0), 0, "ME", 0)
    assert rejection(sell, 10_000, 10, view) is None
    blocked = replace(view, rules=RULES.with_list("trade_to_trade", ["NSE:SBIN"]))
    assert rejection(sell, 10_000, 10, blocked) is not None
    assert rejection(sell, 10_000, 5, blocked) is None


@pytest.mark.parametrize(
    ("name", "order", "held", "blocked"),
    [
        ("mis_blocked", BUY, 0, True), ("mis_blocked", replace(BUY, product=Product.CNC), 0, False),
        ("mis_blocked", SELL, 10, False), ("mis_blocked", SELL, 9, True), ("mis_blocked", BUY, -10, False),
        ("trade_to_trade", BUY, 0, True), ("sme", BUY, 0, True), ("asm", BUY, 0, True), ("gsm", BUY, 0, True),
        ("suspended", SELL, 10, True), ("suspended", replace(BUY, product=Product.CNC), 0, True),
        ("asm", replace(BUY, variety="co", product=Product.MIS), 0, True),
    ],
)  # fmt: skip
def test_restricted_lists_let_reductions_pass(name: str, order: NewOrder, held: int, blocked: bool) -> None:
    found = verdict(order, RULES.with_list(name, ["NSE:SBIN"]), held)
    assert ((found or "").startswith(f"RMS:Rule: Blocked by list {name}")) == blocked


def test_in_a_ban_period_derivatives_are_only_reduced() -> None:
    option = replace(OPTION, name="SBIN")
    rules = RULES.with_list("fo_ban", ["SBIN"])
    sell = replace(SELL, instrument=option, product=Product.NRML, quantity=75, px=9_000)
    assert verdict(sell, rules) is not None
    assert verdict(sell, rules, held=75) is None
    assert verdict(replace(sell, side=Side.BUY), rules, held=75) is not None
