"""A change of an order in slices that has to wait is judged, when its turn comes, by its own slice."""

from __future__ import annotations

from dataclasses import replace

from orders_world import PX, S, World, limits

from kite_hft.layout import IntentKind, Product, Side
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000)
DERIVATIVE = {"slot": 3, "product": Product.NRML}


def resting_exit() -> World:
    """4,500 are held, and a sale of them rests in three slices."""
    world = World(config=OrdersConfig(limits(), WIDE, entry_wait_s=20.0)).start()
    world.send(1, qty=4500, **DERIVATIVE)
    world.run(2.0)
    for row in list(world.broker.rows.values()):
        row |= {"filled_quantity": row["quantity"], "average_price": PX / 100, "status": "COMPLETE"}
        world.update(row)
    world.send(2, side=Side.SELL, qty=4500, px=PX + 100, **DERIVATIVE)
    world.run(2.0)
    assert [order.status in WORKING for order in slices(world)] == [True] * 3
    return world


def slices(world: World) -> list:  # type: ignore[type-arg]
    return world.stage.book.family(world.order(2))


def test_all_slices_are_changed_though_the_first_one_has_its_new_price_already() -> None:
    world = resting_exit()
    throttle = world.stage.desk.throttle
    throttle.cool_down(world.clock.mono)  # urgent calls leave singly
    throttle.last_ns = world.clock.mono
    world.send(3, kind=IntentKind.MODIFY, target_seq=2, qty=0, px=PX + 5, **DERIVATIVE)
    world.run(10.0)
    assert [order.px for order in slices(world)] == [PX + 5] * 3
    assert "REFUSED" not in world.kinds(3)


def test_the_others_are_changed_though_the_first_one_has_filled_meanwhile() -> None:
    world = resting_exit()
    throttle = world.stage.desk.throttle
    throttle.cool_down(world.clock.mono)
    throttle.last_ns = world.clock.mono
    world.send(3, kind=IntentKind.MODIFY, target_seq=2, qty=0, px=PX + 5, **DERIVATIVE)
    first = next(row for row in world.broker.rows.values() if row["transaction_type"] == "SELL")
    first |= {"filled_quantity": first["quantity"], "average_price": 101.0, "status": "COMPLETE"}
    world.update(first)
    world.clock.advance(S)
    world.run(10.0)
    assert [order.px for order in slices(world)][1:] == [PX + 5] * 2


def test_a_price_is_judged_for_all_slices_that_live() -> None:
    """Each of them is worth a third of what its strategy changes."""
    risk = replace(WIDE, max_order_value=455_000.0)
    world = World(config=OrdersConfig(limits(), risk, entry_wait_s=20.0)).start()
    world.send(1, qty=4500, **DERIVATIVE)
    world.run(2.0)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=0, px=PX + 5, **DERIVATIVE)
    world.run(2.0)
    assert "REFUSED" not in world.kinds(2)
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=0, px=PX + 200, **DERIVATIVE)
    world.run(2.0)
    assert world.reason(3) == "MAX_ORDER_VALUE"
    assert {order.px for order in world.stage.book.live()} == {PX + 5}
