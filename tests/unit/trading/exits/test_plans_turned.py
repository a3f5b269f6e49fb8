"""A position that others have turned the other way round: exits from before do not count as its exits."""

from __future__ import annotations

from exits_tools import armed, at, exits, guard, holding
from orders_world import PX, World

from kite_hft.layout import OrderStatus, Product
from kite_hft.trading.book import Cut
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError


def turned(world: World) -> None:
    """Somebody has sold 12 of 10."""
    row = {"instrument_token": 256001, "product": "MIS", "exchange": "NSE", "tradingsymbol": "SHARE0"}
    world.broker.held = [row | {"quantity": -2}]
    world.stage.book.cut(Cut(1, 0, int(Product.MIS), -12, -12 * PX))
    world.run(0.3)


def test_an_exit_whose_fate_is_unknown_covers_nothing_of_a_position_that_turned() -> None:
    """Its stop got no answer; the position is short now, has a stop of its own, and the other one goes when
    it is found: it would make the short larger."""
    world = holding()

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method != "POST":
            return world.broker.accept(request)
        world.broker.enter(request, "TRIGGER PENDING")
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.broker.on_read = lambda request: TransportError("timed out", sent=True)  # it is not found
    exits(world, trigger_px=PX - 100)
    old, order_id = guard(world), list(world.broker.rows)[-1]
    turned(world)
    world.broker.on_call = None
    exits(world, 3, trigger_px=PX + 100)
    at(world, PX)
    new = guard(world)
    assert (new.side, new.quantity, old.status) == (1, 2, OrderStatus.AMBIGUOUS)
    world.broker.on_read = None
    world.run(3.0)
    assert world.broker.rows[order_id]["status"] == "CANCELLED"
    assert world.stage.book.live_orders.keys() == {new.order_no}


def test_nor_does_one_that_cannot_be_cancelled() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    old = armed(world)
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)  # the cancel
    turned(world)
    world.broker.on_call = None
    exits(world, 3, trigger_px=PX + 100)
    at(world, PX)
    assert [o.quantity for o in world.stage.book.live_orders.values() if o.side == 1] == [2]
    world.run(3.0)
    assert old.status is OrderStatus.CANCELLED


def test_after_a_restart_neither() -> None:
    """The plan that a new process finds is of the short position, and the old stop lives."""
    world = holding()
    exits(world, trigger_px=PX - 100)
    old = armed(world)
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    turned(world)
    exits(world, 3, trigger_px=PX + 100)
    world.broker.on_call = None
    world.broker.ready.clear()
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    at(other, PX, 3.0)
    live = {order.order_no: (order.side, order.quantity) for order in other.stage.book.live_orders.values()}
    assert list(live.values()) == [(1, 2)] and old.order_no not in live
