"""A strategy changes and cancels its own orders, not those with which the engine guards its position."""

from __future__ import annotations

import pytest
from exits_tools import armed, exits, holding
from orders_world import PX, World, limits

from kite_hft.layout import IntentKind, OrderStatus, OrderType
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig

CHANGES = [
    {"kind": IntentKind.CANCEL},
    {"kind": IntentKind.MODIFY, "px": PX - 200, "qty": 0, "order_type": 0},
    {"kind": IntentKind.MODIFY, "px": 0, "qty": 5, "order_type": 0},
]


@pytest.mark.parametrize("words", CHANGES)
def test_the_stop_of_a_plan_is_the_engines(words: dict[str, int]) -> None:
    """A strategy is told of its stop as of all that happens to its position."""
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    stood = (stop.quantity, stop.px, stop.trigger_px)
    world.send(9, target_seq=stop.strategy_seq, **words)
    world.run(2.0)
    assert world.reason(9) == "UNKNOWN_ORDER" and stop.status in WORKING
    assert (stop.quantity, stop.px, stop.trigger_px) == stood


def test_so_is_what_closes_everything() -> None:
    world = holding()
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(1.0)
    (closing,) = world.stage.book.live()
    placed = len(world.broker.calls("POST"))
    world.send(9, kind=IntentKind.CANCEL, target_seq=closing.strategy_seq)
    world.run(1.0)
    assert not world.broker.calls("DELETE") and len(world.broker.calls("POST")) == placed


def test_an_entry_does_not_become_of_a_type_that_is_not_enabled() -> None:
    world = World(config=OrdersConfig(limits(), RiskLimits(order_types=(OrderType.LIMIT,)))).start()
    world.send(1)
    world.run(1.0)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, order_type=OrderType.MARKET, px=0, qty=0)
    world.run(1.0)
    assert world.reason(2) == "BAD_INTENT" and world.status(1) is not OrderStatus.CANCELLED
