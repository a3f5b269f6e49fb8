"""A position with exits of its own, for tests of what becomes of them."""

from __future__ import annotations

from typing import Any

from orders_world import S, World, filled

from kite_hft.layout import IntentKind, Side
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order


def holding(quantity: int = 10, side: Side = Side.BUY, **more: Any) -> World:
    world = World(**more).start()
    world.send(1, qty=quantity, side=side)
    filled(world, quantity)
    return world


def exits(world: World, seq: int = 2, **more: Any) -> None:
    base = {"kind": IntentKind.EXITS, "order_type": 0, "side": 0, "qty": 0, "px": 0, "validity": 0}
    world.send(seq, **(base | more))
    world.step(2)


def at(world: World, px: int, seconds: float = 0.3) -> None:
    """The price stands at `px` for so long."""
    for _ in range(round(seconds / 0.05)):
        world.clock.advance(S // 20)
        world.quote(px)
        world.step()


def guard(world: World) -> Order:
    """The newest order that the engine placed."""
    return [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ][-1]


def armed(world: World) -> Order:
    """The guard rests at the exchange, waiting for its trigger."""
    world.update(world.row() | {"status": "TRIGGER PENDING"})
    world.row()["status"] = "TRIGGER PENDING"
    return guard(world)
