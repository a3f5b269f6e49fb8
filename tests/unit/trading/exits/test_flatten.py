"""Closing everything beside a trigger of ours at the broker that may have fired meanwhile."""

from __future__ import annotations

from gtt_tools import Answer, Gtts, overnight
from orders_world import World, error

from kite_hft.layout import Product
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.intents import ENGINE_SEQ

GONE = "Trigger cannot be deleted as it is already triggered."


def fired_and_filled(unread_s: float) -> tuple[World, Gtts]:
    """10 shares whose stop at the broker has filled, untold: for a while the list cannot be read."""
    world, gtts = overnight()
    row = world.broker.rows[gtts.fire(100)]
    row |= {"status": "COMPLETE", "filled_quantity": 10, "pending_quantity": 0, "average_price": 99.0}
    readable_ns = world.clock.mono + round(unread_s * 1e9)

    def call(request: HttpRequest) -> Answer:
        return error(400, "GeneralException", GONE) if "/gtt/" in request.path else gtts.call(request)

    def read(request: HttpRequest) -> Answer:
        if request.path == "/gtt/triggers" and world.clock.mono < readable_ns:
            return TransportError("timed out", sent=True)
        return world.broker.read(request)

    world.broker.on_call, world.broker.on_read = call, read
    return world, gtts


def closing(world: World) -> list[int]:
    """Quantities of the engine's own closing orders: none is the trigger's."""
    own = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    return [order.quantity for order in own if not order.order_id.startswith("77")]


def test_what_a_trigger_has_closed_is_not_closed_once_more() -> None:
    world, _gtts = fired_and_filled(8.0)
    world.do("stop_policy", policy="flatten")
    world.stage.begin_stop(world.clock.mono)
    world.run(7.0)
    assert not closing(world) and world.quantity(product=Product.CNC) == 10, "nobody knows of the fill yet"
    world.run(20.0)
    assert not closing(world) and world.quantity(product=Product.CNC) == 0 and world.stage.idle


def test_a_list_that_cannot_be_read_holds_nothing_up_for_long() -> None:
    world, _gtts = fired_and_filled(60.0)
    world.broker.rows["77100"] |= {"status": "CANCELLED", "filled_quantity": 0}
    world.do("stop_policy", policy="flatten")
    world.stage.begin_stop(world.clock.mono)
    world.run(14.0)
    assert not closing(world)
    world.run(3.0)
    assert closing(world) == [10]
    assert "TRIGGER_UNKNOWN" in world.codes()
