"""An entry that waited is judged once more when its turn comes: its room may be gone by then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, S, World, filled, limits

from kite_hft.layout import IntentFlag, OrderStatus, Product, Side
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.gate.facts import Facts, Holding
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig


def world_with(more: dict[str, Any] | None = None, conduct: Conduct | None = None, **risk: Any) -> World:
    table = limits() if conduct is None else replace(limits(), per_contract=conduct)
    config = OrdersConfig(table, entry_wait_s=20.0, risk=RiskLimits(**risk))
    return World(config=config, more=more or {}).start()


def hold_up(world: World) -> None:
    """No entry may leave for a while, as after an answer 429; books are read."""
    world.stage.desk.throttle._cool_until_ns = world.clock.mono + 3 * S // 2


def waiting(world: World, seq: int, **more: Any) -> None:
    hold_up(world)
    world.send(seq, **more)
    order = world.order(seq, int(more.get("strategy", 1)))
    assert order.status is OrderStatus.NEW, "it has passed, and waits"


def by_hand(world: World, symbol: int) -> None:
    """Somebody buys 50 in the broker's app, and the engine reads of it."""
    world.broker.rows["88"] = {
        "order_id": "88", "status": "COMPLETE", "exchange": "NSE", "tag": None, "tags": [],
        "tradingsymbol": f"SHARE{symbol}", "instrument_token": (1000 + symbol) * 256 + 1,
        "transaction_type": "BUY", "quantity": 50, "filled_quantity": 50, "pending_quantity": 0,
        "order_type": "LIMIT", "product": "MIS", "average_price": 100.0, "price": 100.0, "trigger_price": 0,
        "order_timestamp": "2027-01-15 13:30:00",
    }  # fmt: skip
    world.stage.reader.polls.orders_wanted = True


def turn_comes(world: World, px: int = PX) -> None:
    for _ in range(40):
        world.clock.advance(50_000_000)
        world.quote(px)
        world.step()


def test_nothing_happened_and_it_leaves_though_it_fills_every_limit_by_itself() -> None:
    world = world_with(
        max_working_orders=1, max_positions=1, max_position_size=1_000.0, max_exposure=1_000.0,
        max_order_value=1_000.0, max_gross_notional=1_000.0, period_orders=1,
    )  # fmt: skip
    waiting(world, 1)
    turn_comes(world)
    assert world.status(1) in WORKING


@pytest.mark.parametrize(
    ("risk", "reason"),
    [
        ({"max_order_value": 1_040.0}, "MAX_ORDER_VALUE"),
        ({"max_position_size": 1_040.0}, "MAX_EXPOSURE"),
        ({"max_exposure": 1_040.0}, "MAX_EXPOSURE"),
    ],
)
def test_a_price_that_leapt(risk: dict[str, float], reason: str) -> None:
    world = world_with(price_collar_percent=20.0, **risk)
    waiting(world, 1)
    turn_comes(world, PX + 500)
    assert world.reason(1) == reason and not world.broker.calls("POST")


def stranger_buys(world: World) -> None:
    by_hand(world, 0)


def stranger_elsewhere(world: World) -> None:
    by_hand(world, 1)


@pytest.mark.parametrize(
    ("risk", "meanwhile", "reason"),
    [
        ({"max_position_size": 3_000.0}, stranger_buys, "MAX_EXPOSURE"),
        ({"max_exposure": 3_000.0}, stranger_elsewhere, "MAX_EXPOSURE"),
        ({"max_positions": 1}, stranger_elsewhere, "MAX_POSITIONS"),
    ],
)
def test_orders_made_by_hand_have_taken_its_room(
    risk: dict[str, Any], meanwhile: Callable[[World], None], reason: str
) -> None:
    world = world_with(**risk)
    waiting(world, 1)
    meanwhile(world)
    turn_comes(world)
    assert world.reason(1) == reason and not world.broker.calls("POST")


def test_what_somebody_holds_in_its_own_instrument_takes_no_place_among_instruments() -> None:
    world = world_with(max_positions=1)
    waiting(world, 1)
    stranger_buys(world)
    turn_comes(world)
    assert world.status(1) in WORKING


def test_exits_that_came_meanwhile_have_filled_the_number_of_working_orders() -> None:
    world = world_with(max_working_orders=3)
    world.send(1)
    filled(world, 10)
    waiting(world, 2)
    for seq in (3, 4, 5):
        world.send(seq, side=Side.SELL, qty=2, px=PX + 50, flags=IntentFlag.EXIT)
    turn_comes(world)
    assert world.reason(2) == "MAX_WORKING_ORDERS"


def test_an_exit_that_came_meanwhile_would_trade_with_it() -> None:
    world = world_with()
    world.send(1)
    filled(world, 10)
    waiting(world, 2, strategy=2, px=PX + 10)
    world.send(3, side=Side.SELL, px=PX + 5, flags=IntentFlag.EXIT)
    turn_comes(world)
    assert world.status(3) in WORKING, "what reduces passes"
    assert world.stage.book.by_strategy(2, 2).status is OrderStatus.REFUSED
    assert "SELF_TRADE" in world.stage.outbox.refused


def test_many_that_wait_do_not_pass_the_ratio_of_messages_to_trades_together() -> None:
    """Each was judged when few messages had left."""
    world = world_with(conduct=Conduct(5, 2.0, 5.0, 100, 200))
    for seq in range(1, 13):
        hold_up(world)
        world.wish(seq, px=PX - 5 * seq)
    world.quote()
    world.step(2)
    assert not world.broker.calls("POST")
    for _ in range(4):
        turn_comes(world)
    assert len(world.broker.calls("POST")) == 5
    assert world.stage.outbox.refused["ORDER_TO_TRADE"] == 7


def test_shares_that_were_sold_by_hand_are_not_sold_again() -> None:
    used = [0]
    facts = Facts(holding=lambda slot: Holding(settled=10, t1=0, used=used[0], authorised=10))
    sale = {"side": Side.SELL, "product": Product.CNC}
    world = world_with({"facts": facts})
    waiting(world, 1, **sale)
    turn_comes(world)
    assert world.status(1) in WORKING, "what waits is no sale beside itself"
    world = world_with({"facts": facts})
    waiting(world, 1, **sale)
    used[0] = 5
    turn_comes(world)
    assert world.reason(1) == "NO_HOLDINGS"


@pytest.mark.parametrize(("leap", "leaves"), [(0, 3), (200, 0)])
def test_slices_are_judged_as_the_one_order_that_they_are(leap: int, leaves: int) -> None:
    """4,500 are 1,800, 1,800 and 900."""
    world = world_with(
        max_order_quantity=10_000, max_order_value=455_000.0, max_position_size=1e9, max_exposure=1e9,
        max_working_orders=3, period_value=1e9, period_quantity=10**6, max_gross_notional=1e9,
    )  # fmt: skip
    hold_up(world)
    world.send(1, slot=3, qty=4_500, product=Product.NRML)
    turn_comes(world, PX + leap)
    assert len(world.broker.calls("POST")) == leaves


def test_an_exit_that_waits_is_bound_by_none_of_it() -> None:
    world = world_with(max_order_value=1_040.0, price_collar_percent=20.0)
    world.send(1)
    filled(world, 10)
    budget, now_ns = world.stage.desk.egress.budget, world.clock.mono
    while budget.urgent_free_ns <= now_ns:
        budget.left(now_ns)
    world.send(2, side=Side.SELL, px=PX + 600, flags=IntentFlag.EXIT)
    assert world.status(2) is OrderStatus.NEW
    turn_comes(world, PX + 500)
    assert world.status(2) in WORKING
