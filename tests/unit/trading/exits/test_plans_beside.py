"""What a strategy sells beside its exits: never more than the position, whoever was first."""

from __future__ import annotations

from exits_tools import armed, exits, holding
from orders_world import PX

from kite_hft.layout import IntentKind, OrderStatus, Product, Side


def test_a_sale_beyond_the_position_waits_until_the_stop_is_gone() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    world.send(3, side=Side.SELL, qty=15, px=PX + 10)
    world.step(4)
    assert world.broker.calls("DELETE") and world.stage.book.by_strategy(1, 3) is None
    world.update(world.broker.rows[stop.order_id])
    world.step(4)
    assert world.order(3).open_quantity == 15 and stop.status is OrderStatus.CANCELLED


def test_nothing_gives_way_to_a_turn_that_the_gate_refuses_anyway() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    world.stage.halt("test", world.clock.mono)
    world.send(3, side=Side.SELL, qty=15, px=PX + 10)
    world.step(4)
    assert world.reason(3) == "HALTED" and not world.broker.calls("DELETE") and stop.quantity == 10


def test_a_larger_exit_of_the_strategys_own_waits_as_a_new_one_does() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    world.send(3, side=Side.SELL, qty=4, px=PX + 10)
    world.run(0.5)
    assert stop.quantity == 6
    world.send(4, kind=IntentKind.MODIFY, target_seq=3, qty=7, px=0, order_type=0)
    position = world.stage.book.standing(1, 0, Product.MIS)
    assert position.open_sell <= 10
    for _ in range(12):
        world.run(0.05)
        assert position.open_sell <= 10
    assert (world.order(3).quantity, stop.quantity) == (7, 3)


def test_an_intent_that_came_twice_is_no_second_sale() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    armed(world)
    world.send(3, side=Side.SELL, qty=4, px=PX + 10)
    world.send(3, side=Side.SELL, qty=4, px=PX + 10)
    world.run(0.5)
    assert world.reason(3) != "FROZEN" and world.stage.outbox.refused["DUPLICATE_INTENT"] == 1
    assert len([o for o in world.stage.book.orders.values() if o.side == Side.SELL]) == 2
