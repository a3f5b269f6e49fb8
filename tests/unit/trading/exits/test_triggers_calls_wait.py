"""A call about a trigger waits for the broker's windows, for a minute or for half an hour: the list goes on
telling that it still waits, and so whose the orders are not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gtt_tools import LEAVES_OUT, Gtts, Unlisted, others, sells, shown
from orders_world import PX, World, filled, limits

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import IntentKind, Product
from kite_hft.trading.broker import Broker, RateWindow
from kite_hft.trading.ports import OrdersConfig

EXITS: dict[str, Any] = {
    "kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0,
    "product": Product.CNC,
}  # fmt: skip


def waiting(adapter: Broker) -> tuple[World, Gtts]:
    """Ten are held, their stop lies at the broker, and its deletion waits for a place in the windows."""
    window = RateWindow(calls=2, window_s=60.0, reserved=1, reads=0)
    full = replace(limits(), order_windows=(window,), triggers_are_orders=True)
    world = World(adapter=adapter, config=OrdersConfig(full)).start()
    gtts = Gtts(world)
    if not adapter.lists_fired:
        Unlisted(world, gtts)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    world.send(2, trigger_px=PX - 100, px=0, **EXITS)
    world.run(0.3)
    world.stage.reader.want_triggers()
    world.run(3.0)
    world.send(3, px=0, **EXITS)
    world.run(1.0)
    assert gtts.calls == ["POST"] and world.stage.keeper.triggers.standing[1, 2].busy, "the deletion waits"
    return world, gtts


def by_hand(world: World, gtts: Gtts) -> None:
    """A person sells the ten: an order with the side and quantity of the stop, at another price."""
    order_id = gtts.fire(100)
    gtts.rows[100]["status"] = "active"
    gtts.rows[100]["orders"][0]["result"] = None
    world.broker.rows[order_id]["price"] = 99.3
    shown(world, order_id, 10)


@pytest.mark.parametrize("adapter", [KITE, LEAVES_OUT])
def test_a_persons_order_is_told_from_its_own(adapter: Broker) -> None:
    world, gtts = waiting(adapter)
    by_hand(world, gtts)
    world.run(15.0)
    assert "DELETE" not in gtts.calls, "it still waits"
    assert world.quantity(product=Product.CNC) == 0 and others(world) == 0, world.alerts
    assert {"EXTERNAL_ORDER", "BROKER_ACTED"} <= set(world.codes())
    world.run(60.0)
    assert gtts.rows[100]["status"] == "deleted" and sells(world) == 1, "nothing is closed twice"


def test_its_own_order_is_known_while_its_deletion_waits() -> None:
    world, gtts = waiting(LEAVES_OUT)
    order_id = gtts.fire(100)
    shown(world, order_id, 10)
    world.run(80.0)
    order = world.stage.book.by_id(order_id)
    assert order is not None and order.strategy == 1, world.alerts
    assert world.quantity(product=Product.CNC) == 0 and others(world) == 0 and sells(world) == 1
    assert "EXTERNAL_ORDER" not in world.codes()
