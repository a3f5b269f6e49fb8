"""What strategies are told anew once they take events again."""

from __future__ import annotations

from orders_world import World, limits

from kite_hft.layout import EventKind, OrderStatus, Product
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=10_000)


def test_an_order_in_slices_is_told_when_any_of_them_has_ended_lately() -> None:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    world.send(1, slot=3, qty=1800 + 75, product=Product.NRML)
    first, second = world.broker.rows.values()
    world.update(first | {"status": "CANCELLED"})
    first["status"] = "CANCELLED"
    world.run(70.0)
    world.events.room = 0  # nobody takes events
    world.update(second | {"status": "CANCELLED"})
    second["status"] = "CANCELLED"
    world.run(1.0)
    assert 1 in world.stage.outbox.hung
    world.events.room, told = 10**9, len(world.told)
    world.run(6.0)
    (event,) = [e for e in world.told[told:] if e["strategy_seq"] == 1]
    assert (event["kind"], event["status"]) == (EventKind.SNAPSHOT, OrderStatus.CANCELLED)
