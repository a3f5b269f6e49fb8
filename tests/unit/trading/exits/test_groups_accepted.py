"""Groups of which the next leg goes when the last one was accepted."""

from __future__ import annotations

from group_tools import group_world, legs, posts, reject
from orders_world import Answer, World, form

from kite_hft.layout import OrderStatus
from kite_hft.trading.broker import HttpRequest


def test_accepted_is_enough_where_the_settings_say_so() -> None:
    world = group_world(group_next="accepted")
    legs(world)
    world.run(0.5)
    world.update(world.row())  # the exchange has it
    world.run(0.3)
    assert posts(world) == ["BUY", "SELL"]


def looked_at(side: str) -> World:
    """Accepted is enough; orders of `side` get a name, and the risk desk has not looked at them yet."""
    world = group_world(group_next="accepted")
    accept = world.broker.on_call
    assert accept is not None

    def call(request: HttpRequest) -> Answer:
        answer = accept(request)
        if request.path == "/orders/regular" and form(request)["transaction_type"] == side:
            world.row()["status"] = "OPEN PENDING"
        return answer

    world.broker.on_call = call
    legs(world)
    world.run(2.5)
    return world


def test_accepted_is_what_the_exchange_has_taken() -> None:
    world = looked_at("BUY")
    assert posts(world) == ["BUY"]
    reject(world, 2)
    world.run(2.0)
    assert posts(world) == ["BUY"] and world.reason(1) == "GROUP"
    assert not world.stage.keeper.groups.alive


def test_an_accepted_leg_that_ends_while_the_next_one_is_out_breaks_the_group() -> None:
    world = looked_at("SELL")
    assert posts(world) == ["BUY", "SELL"]
    row = world.broker.rows[world.order(2).order_id]
    row |= {"status": "CANCELLED"}
    world.update(row)
    world.run(2.0)
    assert world.status(1) is OrderStatus.CANCELLED and "GROUP_BROKEN" in world.codes()
    assert not world.stage.keeper.groups.alive
