"""Exits of a position that the end of the day is to close, and cannot yet."""

from __future__ import annotations

from exits_tools import at, exits, guard, holding
from orders_world import PX, REAL0, S

from kite_hft.layout import OrderType
from kite_hft.trading.broker import TransportError
from kite_hft.trading.gate.facts import Closing, Facts


def test_an_order_at_the_target_becomes_a_stop_again_while_the_closing_waits() -> None:
    due = Closing(REAL0 + 20 * S, REAL0 + 600 * S)
    world = holding(more={"facts": Facts(day_end=lambda slot, real_ns: due)})
    exits(world, trigger_px=PX - 100, px=PX + 100)
    world.update(world.row() | {"status": "TRIGGER PENDING"})
    at(world, PX + 100, 1.0)
    order = guard(world)
    assert order.order_type == OrderType.LIMIT
    world.update(world.row() | {"status": "OPEN"})
    world.broker.on_read = lambda request: TransportError("no route", sent=False)
    at(world, PX + 100, 25.0)
    assert world.stage.keeper.square_off.alive and world.stage.book.live_count() == 1
    assert order.order_type == OrderType.LIMIT, "the price is still there"
    calls = len(world.broker.calls("PUT"))
    at(world, PX, 5.0)
    assert (order.order_type, order.trigger_px, order.quantity) == (OrderType.SLM, PX - 100, 10)
    assert len(world.broker.calls("PUT")) == calls + 1 and not world.broker.calls("DELETE")
    world.broker.on_read = None
    at(world, PX, 10.0)
    assert order.status.name == "CANCELLED", "it gives way to the closing order"
