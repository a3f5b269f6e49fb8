"""The broker takes no more orders today: what lies there already is not cancelled for a new one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exits_tools import armed, at, exits, holding
from orders_world import PX, World, error, filled, limits

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig


def last_but_one() -> OrdersConfig:
    """An entry and its stop, and the day is over."""
    return OrdersConfig(replace(limits(), orders_per_day=2, entry_share_of_day=0.5))


def stopped(**more: int) -> tuple[World, Order]:
    world = holding(config=last_but_one())
    exits(world, **(more or {"trigger_px": PX - 100}))
    return world, armed(world)


def test_a_stop_that_may_not_be_modified_any_more_stays_where_it_is() -> None:
    world, stop = stopped(trail_px=100, step_px=5)
    cap = world.config.limits.modifications_per_order
    for step in range(1, cap + 5):
        at(world, PX + 5 * step, 1.5)
    assert stop.modifications == cap - 3 and stop.status is OrderStatus.TRIGGER_PENDING
    assert not world.broker.calls("DELETE")
    assert "none can follow today: it stays as it is" in world.alerts[-1]


def test_a_target_that_the_broker_does_not_turn_back_stays_and_is_asked_for_again() -> None:
    world, stop = stopped(trigger_px=PX - 100, px=PX + 100)
    at(world, PX + 100, 1.0)
    accept, refusing = world.broker.accept, True

    def call(request: HttpRequest) -> HttpResponse:
        return error(400, "InputException", "not now") if refusing else accept(request)

    world.broker.on_call = call
    world.update(world.row() | {"status": "OPEN"})
    at(world, PX, 5.0)
    assert stop.order_type == OrderType.LIMIT and not world.broker.calls("DELETE")
    assert "EXIT_REFUSED" in world.codes()
    refusing = False
    at(world, PX, 20.0)
    assert stop.order_type == OrderType.SLM


def test_one_that_is_too_much_goes_all_the_same() -> None:
    """It would open a position."""
    world, stop = stopped()
    world.broker.on_call = lambda request: (
        error(400, "InputException", "no") if request.method == "PUT" else world.broker.accept(request)
    )
    row = {"instrument_token": 256001, "product": "MIS", "exchange": "NSE", "tradingsymbol": "SHARE0"}
    stranger = world.row(0) | {
        "order_id": "991",
        "transaction_type": "SELL",
        "quantity": 4,
        "tags": [],
        **row,
    }
    stranger |= {"filled_quantity": 4, "pending_quantity": 0, "status": "COMPLETE", "tag": None}
    world.broker.rows["991"] = stranger
    world.update(stranger)
    at(world, PX, 6.0)
    assert world.quantity() == 6 and world.broker.rows[stop.order_id]["status"] == "CANCELLED"


@pytest.mark.parametrize("wrong", [False, True])
def test_closing_everything_leaves_the_stop(wrong: bool) -> None:
    world, stop = stopped()
    if wrong:
        world.stage.book.position(stop).quantity = -2  # others have turned it
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(5.0)
    assert (world.broker.rows[stop.order_id]["status"] == "CANCELLED") is wrong


def test_a_closing_order_that_rests_keeps_its_place() -> None:
    world = holding(config=last_but_one())
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(10.0)
    assert [r["status"] for r in world.broker.rows.values()] == ["COMPLETE", "OPEN"]
    assert world.row()["transaction_type"] == Side.SELL.name
    filled(world, 10)
    world.run(3.0)
    assert world.quantity() == 0 and not world.stage.flattening


def test_a_stop_does_not_give_way_to_an_order_that_cannot_be_placed() -> None:
    world, _stop = stopped()
    world.send(3, side=Side.SELL, px=PX, qty=10)
    world.run(5.0)
    assert world.kinds(3) == ["REFUSED"] and world.reason(3) == "DAY_CAP"
    assert not world.broker.calls("DELETE")


def test_a_stop_whose_change_is_unproven_stays_until_that_is_known() -> None:
    world, stop = stopped(trail_px=100, step_px=5)
    world.broker.on_call = lambda request: (
        TransportError("timed out", sent=True) if request.method == "PUT" else world.broker.accept(request)
    )
    at(world, PX + 50, 20.0)
    assert world.broker.calls("PUT") and stop.unproven is not None
    assert not world.broker.calls("DELETE")
