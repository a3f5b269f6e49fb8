"""A strategy that sends exits without end takes no other one's, and none of the engine's."""

from __future__ import annotations

from dataclasses import replace

from orders_world import PX, World, filled, limits

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000)


def test_the_last_placements_of_the_day_are_the_engines() -> None:
    rules = replace(limits(), orders_per_day=40, entry_share_of_day=0.5)
    world = World(config=OrdersConfig(rules, WIDE)).start()
    world.send(1)
    filled(world, 10)
    for seq in range(2, 200, 2):
        world.send(seq, side=Side.SELL, px=PX + 100)
        world.run(1.0)
        if world.kinds(seq) == ["REFUSED"]:
            break
        world.send(seq + 1, kind=IntentKind.CANCEL, target_seq=seq)
        while world.status(seq) is not OrderStatus.CANCELLED:
            world.run(1.0)
    assert world.reason(seq) == "DAY_CAP" and "of the engine" in world.stage.outbox.refused_for["DAY_CAP"]
    assert len(world.broker.calls("POST")) == 30
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(3.0)
    (closing,) = world.stage.book.live()
    assert closing.status in WORKING and not closing.opening
    filled(world, 10)
    assert world.quantity() == 0


def test_the_last_places_of_the_line_are_for_others() -> None:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    world.send(1, qty=2000)
    filled(world, 2000)
    world.send(1, slot=1, strategy=2)
    filled(world, 10)
    throttle = world.stage.desk.throttle
    throttle._cool_until_ns = throttle.last_ns = world.clock.mono + 3600 * 10**9
    for seq in range(2, 1100):
        world.wish(seq, side=Side.SELL, qty=1, px=PX + 100)
    world.quote()
    world.step(30)
    assert world.reason(1099) == "THROTTLE_QUEUE_FULL" and len(throttle) == 256
    world.wish(2, slot=1, side=Side.SELL, strategy=2)
    world.step(3)
    assert world.stage.book.by_strategy(2, 2).status is OrderStatus.NEW
    assert len(throttle) == 257 and Product.MIS in {o.product for o in world.stage.book.live()}
