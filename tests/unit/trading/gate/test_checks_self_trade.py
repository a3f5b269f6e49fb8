"""With which live orders of ours a new one could trade: as they stand, and as they are about to be."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, intent

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.gate.checks_conduct import in_doubt, meets, self_trade
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.order import Order
from kite_hft.trading.unproven import Unproven
from kite_hft.verify.risk.bench import Bench

BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, SL, SLM = OrderType.MARKET, OrderType.LIMIT, OrderType.SL, OrderType.SLM
OPEN, WAITS = OrderStatus.OPEN, OrderStatus.TRIGGER_PENDING
FAR = PX + 500
"""Where an order rests that nothing here reaches."""


def rests(kind: OrderType = LIMIT, status: OrderStatus = OPEN, **more: Any) -> Order:
    words: dict[str, Any] = {
        "order_no": 1, "strategy": 1, "strategy_seq": 1, "slot": 0, "side": SELL, "order_type": kind,
        "product": 3, "validity": 1, "flags": 0, "quantity": 10, "px": FAR, "trigger_px": 0, "tag": "",
        "status": status,
    }  # fmt: skip
    return Order(**(words | more))


def test_a_purchase_meets_what_is_sold_at_its_price_or_below_and_a_sale_the_other_way_round() -> None:
    for px, side, at_px, both in (
        (PX, BUY, PX, True), (PX + 1, BUY, PX, True), (PX - 1, BUY, PX, False),
        (PX, SELL, PX, True), (PX - 1, SELL, PX, True), (PX + 1, SELL, PX, False),
        (None, BUY, PX, True), (None, SELL, PX, True), (1, BUY, 0, True), (10**9, SELL, 0, True),
    ):  # fmt: skip
        assert meets(px, side, rests(px=at_px)) is both, (px, side, at_px)


@pytest.mark.parametrize("unproven", [False, True])
@pytest.mark.parametrize(
    ("order", "terms", "both"),
    [
        (rests(), (10, PX, 0, LIMIT), True),
        (rests(), (10, PX + 1, 0, LIMIT), False),
        (rests(), (10, 0, 0, MARKET), True),
        (rests(), (10, PX, PX + 5, SL), False),  # it would wait outside of the market
        (rests(), (10, 0, PX + 5, SLM), False),
        (rests(SL, WAITS), (10, PX, 0, LIMIT), True),
        (rests(SL, WAITS), (10, PX, PX + 5, SL), False),  # it waits on, at another trigger
        (rests(SLM, WAITS, px=0), (10, PX, PX + 5, SL), False),
        (rests(SLM, WAITS, px=0), (10, 0, 0, MARKET), True),
        (rests(SL, OPEN), (10, PX, PX + 5, SL), True),  # it has triggered: it rests at its price
        (rests(SL, OPEN), (10, PX + 1, PX + 5, SL), False),
    ],
)
def test_what_an_order_is_about_to_become_is_met_as_well(
    order: Order, terms: tuple[int, int, int, int], both: bool, unproven: bool
) -> None:
    order.asked, order.unproven = (None, Unproven(terms, 0)) if unproven else (terms, None)
    assert in_doubt(order) == terms
    assert meets(PX, BUY, order) is both


def test_what_is_asked_for_now_takes_the_place_of_what_was_not_proved() -> None:
    order = rests()
    assert in_doubt(order) is None and not meets(PX, BUY, order)
    order.unproven = Unproven((10, PX, 0, LIMIT), 0)
    order.asked = (10, FAR, 0, LIMIT)
    assert in_doubt(order) == order.asked and not meets(PX, BUY, order)


def test_what_it_still_is_counts_until_the_change_is_known() -> None:
    order = rests(px=PX)
    order.asked = (10, 0, FAR, SLM)
    assert meets(PX, BUY, order), "a limit that is being made a stop is in the market"


def test_whom_it_would_meet_and_where_is_told() -> None:
    for kind, px, asked, text in (
        (LIMIT, PX, None, "BUY at 10000 would meet order 1 of strategy 1 at 10000"),
        (MARKET, 0, None, "BUY at the market would meet order 1 of strategy 1 at 10000"),
        (LIMIT, PX, (10, FAR, 0, LIMIT),
         "BUY at 10000 would meet order 1 of strategy 1 at 10000 (a change of it is under way)"),
        (LIMIT, PX - 5, None, None),
    ):  # fmt: skip
        bench = Bench()
        order = rests(px=PX)
        order.asked = asked
        bench.stage.book.add(order)
        wish = intent(1, strategy=2, order_type=kind, px=px)
        context = bench.stage.gate.context(wish, 0, bench.clock.mono)
        assert self_trade(wish, context, RiskLimits()) == text
