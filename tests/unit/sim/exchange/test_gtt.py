"""Triggers: what they take, when they fire, how they end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_tools import COMMODITY, EQUITY, INDEX, NOW, OPTION, SECOND, TABLE, book_of, exchange_at, settle

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.account import Holding
from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.gtt import GttOrder, GttSpec, check_spec, reached
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.exchange.rules import ExchangeParams

RULES = default_market_rules().gtt
DAY = 86_400 * SECOND
BUY = GttOrder(Side.BUY, Product.CNC, OrderType.LIMIT, 2, 9_900)
SELL = GttOrder(Side.SELL, Product.CNC, OrderType.LIMIT, 2, 9_900)
SINGLE = GttSpec("single", EQUITY, (9_900,), 10_000, (BUY,))
TWO_LEG = GttSpec("two-leg", EQUITY, (9_800, 10_200), 10_000, (SELL, replace(SELL, px=10_190)))


def tick(exchange: Exchange, last: int, at: int) -> None:
    exchange.on_ticks(book_of(0, last - 5, last, 10, last=last, volume=2000), at)


@pytest.mark.parametrize("spec", [SINGLE, TWO_LEG, replace(SINGLE, instrument=OPTION, orders=(
    replace(BUY, product=Product.NRML, quantity=75),))])  # fmt: skip
def test_good_triggers_pass(spec: GttSpec) -> None:
    check_spec(spec, RULES)


def single(**order: object) -> GttSpec:
    return replace(SINGLE, orders=(replace(BUY, **order),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (replace(SINGLE, kind="three-leg"), "type"),
        (replace(SINGLE, trigger_px=(9_900, 9_950)), "1 trigger values"),
        (replace(TWO_LEG, orders=(SELL,)), "2 orders"),
        (replace(SINGLE, instrument=INDEX), "index"),
        (replace(SINGLE, last_px=0), "last_price"),
        (replace(SINGLE, trigger_px=(9_901,)), "tick size"),
        (replace(SINGLE, trigger_px=(10_000,)), "already met"),
        (single(px=0), "tick size"),
        (single(order_type=OrderType.MARKET), "Only LIMIT"),
        (single(product=Product.MIS), "product"),
        (single(quantity=0), "lot size"),
        (replace(TWO_LEG, trigger_px=(10_200, 9_800)), "lower value first"),
        (replace(TWO_LEG, last_px=9_700), "lower value first"),
        (replace(TWO_LEG, orders=(BUY, BUY)), "F&O only"),
    ],
)
def test_refused(spec: GttSpec, text: str) -> None:
    with pytest.raises(Refusal, match=text) as refusal:
        check_spec(spec, RULES)
    assert refusal.value.status == 400


def test_two_leg_buys_are_for_derivatives() -> None:
    order = GttOrder(Side.BUY, Product.NRML, OrderType.LIMIT, 1, 12_000_000)
    spec = GttSpec("two-leg", COMMODITY, (11_900_000, 12_100_000), 12_000_000, (order, order))
    check_spec(spec, RULES)


@pytest.mark.parametrize(
    ("spec", "last", "leg"),
    [
        (SINGLE, 9_905, None), (SINGLE, 9_900, 0), (SINGLE, 9_000, 0),
        (replace(SINGLE, trigger_px=(10_100,)), 10_095, None),
        (replace(SINGLE, trigger_px=(10_100,)), 10_100, 0),
        (TWO_LEG, 10_000, None), (TWO_LEG, 9_800, 0), (TWO_LEG, 10_300, 1),
    ],
)  # fmt: skip
def test_reached_or_crossed(spec: GttSpec, last: int, leg: int | None) -> None:
    assert reached(spec, last) == leg


def test_it_fires_once_and_its_order_goes_the_normal_way() -> None:
    exchange = exchange_at()
    gtt_id = exchange.gtts.place(SINGLE, NOW)
    tick(exchange, 9_905, NOW + SECOND)
    assert exchange.gtts.get(gtt_id).status == "active" and not exchange.orders
    tick(exchange, 9_890, NOW + 2 * SECOND)
    gtt = exchange.gtts.get(gtt_id)
    (order,) = exchange.orders.values()
    result = gtt.results[0]
    assert result is not None and gtt.status == "triggered"
    assert (result.status, result.order_id, result.triggered_px) == ("success", order.order_id, 9_890)
    assert (order.gtt_id, order.tags, order.request.px) == (gtt_id, [], 9_900)
    assert exchange.desk.placed_today(NOW) == 1  # it counts, the trigger did not
    tick(exchange, 9_880, NOW + 3 * SECOND)
    assert len(exchange.orders) == 1
    assert order.now.status == "COMPLETE"


def test_of_two_legs_one_fires_and_the_other_is_gone() -> None:
    holding = Holding(EQUITY, 10, authorised=10)
    exchange = Exchange(TABLE, 10**8, params=ExchangeParams(latency_ns=(0, 0)), opening_holdings=[holding])
    tick(exchange, 10_000, NOW)
    gtt_id = exchange.gtts.place(TWO_LEG, NOW)
    tick(exchange, 10_200, NOW + SECOND)
    tick(exchange, 9_000, NOW + 2 * SECOND)
    gtt = exchange.gtts.get(gtt_id)
    assert gtt.results[0] is None and gtt.results[1] is not None
    assert [order.request.px for order in exchange.orders.values()] == [10_190]
    assert exchange.gtts.active == 0


def test_a_fired_order_may_be_refused_or_rejected() -> None:
    exchange = exchange_at(cash_paise=100)
    gtt_id = exchange.gtts.place(SINGLE, NOW)
    tick(exchange, 9_900, NOW + SECOND)
    settle(exchange, NOW + SECOND)
    result = exchange.gtts.get(gtt_id).results[0]
    assert result is not None and result.status == "failed" and result.order_id
    assert result.rejection_reason.startswith("Insufficient funds")
    exchange = Exchange(TABLE, 10**8, opening_holdings=[Holding(EQUITY, 10)])
    tick(exchange, 10_000, NOW)
    gtt_id = exchange.gtts.place(replace(SINGLE, orders=(SELL,)), NOW)
    tick(exchange, 9_900, NOW + SECOND)
    result = exchange.gtts.get(gtt_id).results[0]
    assert result is not None and (result.status, result.order_id) == ("failed", "")
    assert "authorisation" in result.rejection_reason and not exchange.orders


def test_no_trigger_fires_while_the_market_is_halted() -> None:
    exchange = exchange_at()
    exchange.gtts.place(SINGLE, NOW)
    exchange.halt(True, NOW)
    tick(exchange, 9_800, NOW + SECOND)
    assert exchange.gtts.active == 1
    exchange.halt(False, NOW + SECOND)
    tick(exchange, 9_800, NOW + 2 * SECOND)
    assert exchange.gtts.active == 0


def test_modify_replaces_the_terms_and_delete_ends_it() -> None:
    exchange = exchange_at()
    gtt_id = exchange.gtts.place(SINGLE, NOW)
    assert exchange.gtts.modify(gtt_id, replace(SINGLE, trigger_px=(9_500,)), NOW + SECOND) == gtt_id
    tick(exchange, 9_900, NOW + 2 * SECOND)
    assert exchange.gtts.get(gtt_id).status == "active"
    with pytest.raises(Refusal, match="cannot be changed"):
        exchange.gtts.modify(gtt_id, TWO_LEG, NOW)
    assert exchange.gtts.cancel(gtt_id, NOW + 3 * SECOND) == gtt_id
    assert exchange.gtts.get(gtt_id).status == "deleted"
    for act in (lambda: exchange.gtts.cancel(gtt_id, NOW), lambda: exchange.gtts.modify(gtt_id, SINGLE, NOW)):
        with pytest.raises(Refusal, match="already deleted"):
            act()
    with pytest.raises(Refusal, match="not found") as refusal:
        exchange.gtts.get(1)
    assert refusal.value.status == 404


def test_a_year_seven_days_and_five_hundred() -> None:
    exchange = exchange_at()
    first = exchange.gtts.place(SINGLE, NOW)
    for _ in range(499):
        exchange.gtts.place(SINGLE, NOW)
    with pytest.raises(Refusal, match="500"):
        exchange.gtts.place(SINGLE, NOW)
    exchange.step(NOW + 365 * DAY - 1)
    assert exchange.gtts.active == 500
    exchange.step(NOW + 365 * DAY)
    assert exchange.gtts.get(first).status == "expired" and exchange.gtts.active == 0
    exchange.step(NOW + 372 * DAY)
    assert len(exchange.gtts.rows()) == 500
    exchange.step(NOW + 372 * DAY + 1)
    assert exchange.gtts.rows() == []


def test_a_trigger_for_an_order_that_no_order_may_be_is_refused_at_once() -> None:
    overnight = replace(SINGLE, orders=(replace(BUY, product=Product.NRML),))
    with pytest.raises(Refusal, match="NRML is not allowed"):
        exchange_at().gtts.place(overnight, NOW)


def test_corporate_actions_cancel_and_lost_instruments_disable() -> None:
    exchange = exchange_at()
    gtt_id = exchange.gtts.place(SINGLE, NOW)
    exchange.set_close(0, 5_000)
    assert exchange.gtts.get(gtt_id).status == "cancelled"
    gtt_id = exchange.gtts.place(SINGLE, NOW)
    assert exchange.gtts.disable(0, NOW) == 1
    assert exchange.gtts.get(gtt_id).status == "disabled"
    tick(exchange, 9_000, NOW + SECOND)
    assert not exchange.orders
