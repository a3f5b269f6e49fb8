"""What a trigger has placed, while the list of triggers names it and the order book does not show it yet."""

from __future__ import annotations

from gtt_tools import overnight
from orders_world import Queue, World

from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.lifecycle import WORKING


def fired() -> tuple[World, str]:
    """An exit of a plan has fired; its order is named by the list alone."""
    world, gtts = overnight()
    order_id = gtts.fire(100)
    hide(world, order_id)
    world.stage.reader.want_triggers()
    world.run(3.0)
    assert world.stage.book.by_id(order_id) is not None
    return world, order_id


def hide(world: World, order_id: str) -> None:
    """The order book, and it alone, does not show the order."""

    def read(request: HttpRequest) -> HttpResponse:
        shown = world.broker.rows
        world.broker.rows = {name: row for name, row in shown.items() if name != order_id}
        answer = world.broker.read(request)
        world.broker.rows = shown
        return answer

    world.broker.on_read = read


def restarted(world: World) -> World:
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), intents=Queue(), more={"restarted": True},
    )  # fmt: skip


def test_it_has_not_vanished_and_a_restart_does_not_wait_for_it() -> None:
    world, order_id = fired()
    world.run(30.0)
    order = world.stage.book.by_id(order_id)
    assert "ORDER_VANISHED" not in world.codes() and order.status in WORKING
    again = restarted(world).start()
    again.run(30.0)
    taken = again.stage.book.by_id(order_id)
    assert taken.order_no == order.order_no and taken.status in WORKING
    assert not {"ORDER_VANISHED", "NOT_RECONCILED"} & set(again.codes())


def test_after_the_horizon_it_has() -> None:
    world, order_id = fired()
    world.run(200.0, 0.5)
    assert any(a.startswith("ORDER_VANISHED") and f"({order_id}," in a for a in world.alerts)


def test_a_restart_long_after_tells_of_it() -> None:
    world, _ = fired()
    world.run(200.0, 0.5)
    again = restarted(world)
    again.stage.start()
    again.run(20.0)
    assert not again.stage.active and "NOT_RECONCILED" in again.codes()
