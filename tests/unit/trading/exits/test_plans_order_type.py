"""Exits whose resting order the broker does not make another type."""

from __future__ import annotations

from exits_tools import armed, at, exits, guard, holding
from orders_world import PX, error, form

from kite_hft.layout import OrderType


def test_an_order_that_may_not_become_a_market_stop_becomes_a_limit_stop() -> None:
    """The exits before these rested as SL; those that follow know nothing of it."""
    world = holding()
    exits(world, trigger_px=PX - 100, order_type=OrderType.SL)
    order = armed(world)
    world.broker.on_call = lambda request: (
        error(400, "InputException", "SL-M orders are not allowed")
        if form(request).get("order_type") == "SL-M"
        else world.broker.accept(request)
    )
    exits(world, 3, trigger_px=PX - 50)
    at(world, PX, 5.0)
    assert guard(world) is order and (order.order_type, order.trigger_px) == (OrderType.SL, PX - 50)
    assert sum(b"SL-M" in request.body for request in world.broker.calls("PUT")) == 1


def test_a_change_too_many_says_nothing_of_the_order_type() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100, order_type=OrderType.SL)
    armed(world)
    world.broker.on_call = lambda request: error(429, "NetworkException", "Too many requests")
    exits(world, 3, trigger_px=PX - 50)
    at(world, PX, 1.0)
    world.broker.on_call = None
    at(world, PX, 30.0)
    assert (guard(world).order_type, guard(world).trigger_px) == (OrderType.SLM, PX - 50)
