"""Exits of which nothing is left to close: they go with a kill, and with an engine that stops."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, error, filled

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.recovery.adopting import opens


def stop_and_target(world: World) -> tuple[Any, Any]:
    """10 held, and a strategy's own stop of 6 and sale of 4 above the price."""
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, qty=6, px=PX - 110, trigger_px=PX - 100, order_type=OrderType.SL)
    world.row()["status"] = "TRIGGER PENDING"
    world.update(world.row())
    world.send(3, side=Side.SELL, qty=4, px=PX + 60)
    return world.order(2), world.order(3)


def sold_beside(world: World) -> None:
    """The strategy sells the 10 a second time, which is judged as an opening: its exits stay."""
    world.send(9, side=Side.SELL)
    filled(world, 10)
    assert world.quantity() == 0


@pytest.mark.parametrize(
    ("held", "entry", "gone"),
    [
        (10, 0, []),
        (3, 0, ["target"]),  # its rest would open; a stop protects what is left
        (0, 10, ["target"]),  # a sale above the price protects nothing of an entry that still fills
        (0, 0, ["stop", "target"]),
        (-5, 0, ["stop", "target"]),
    ],
)
def test_which_exits_would_open_something(held: int, entry: int, gone: list[str]) -> None:
    world = World().start()
    stop, target = stop_and_target(world)
    position = world.stage.book.position(stop)
    position.quantity, position.open_buy = held, entry
    book = world.stage.book
    named = {"stop": stop, "target": target}
    assert [name for name, order in named.items() if opens(book, order)] == gone
    stop.status = OrderStatus.OPEN  # it has triggered, and works in the market
    if not held:
        assert opens(book, stop)


def test_exits_that_closed_nothing_go_with_a_kill_and_stops_with_the_last_entry() -> None:
    killed = [""]
    world = World(more={"killed": lambda: killed[0]}).start()
    stop, target = stop_and_target(world)
    sold_beside(world)
    world.send(10, px=PX - 50)
    hold = [True]
    refuse = error(400, "InputException", "not now")
    entry_id = world.order(10).order_id
    world.broker.on_call = lambda request: (
        refuse if hold[0] and request.path.endswith(entry_id) else world.broker.accept(request)
    )
    killed[0] = "enough"
    world.run(3.0)
    assert target.status is OrderStatus.CANCELLED and stop.status in WORKING, "the entry may still fill"
    hold[0] = False
    world.run(8.0)
    assert world.status(10) is OrderStatus.CANCELLED and stop.status is OrderStatus.CANCELLED


def test_an_engine_that_stops_leaves_no_exit_behind_that_would_open_something() -> None:
    world = World().start()
    stop, target = stop_and_target(world)
    sold_beside(world)
    world.send(10, px=PX - 50)
    world.run(2.0)
    assert stop.status in WORKING and target.status in WORKING, (
        "as long as the strategy lives they are its own"
    )
    world.stage.begin_stop(world.clock.mono, "cancel")
    assert not world.stage.idle
    for _ in range(200):
        world.run(0.05)
        if world.stage.idle:
            break
    assert world.stage.idle
    ended = {o.status for o in (stop, target, world.order(10))}
    assert ended == {OrderStatus.CANCELLED} and not world.stage.book.live_count()


def test_one_that_stops_leaves_exits_of_what_is_held() -> None:
    world = World().start()
    stop, target = stop_and_target(world)
    world.stage.begin_stop(world.clock.mono, "cancel")
    world.run(2.0)
    assert world.stage.idle and stop.status in WORKING and target.status in WORKING
