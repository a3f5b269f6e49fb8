"""Fills that come before the answer which explains them."""

from __future__ import annotations

from orders_world import World

from kite_hft.layout import IntentKind
from kite_hft.trading.broker import HttpRequest


def test_a_fill_beyond_the_terms_that_we_know_leaves_nothing_pending_and_nothing_negative() -> None:
    """The broker took the larger quantity; its update is here before its answer."""
    world = World().start()
    world.send(1, qty=10)

    def taken_and_unanswered(request: HttpRequest) -> None:
        world.broker.accept(request)

    world.broker.on_call = taken_and_unanswered
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=0)
    world.update(world.row() | {"quantity": 20, "filled_quantity": 15, "average_price": 100})
    order = world.order(1)
    assert (order.filled, order.pending, order.open_quantity) == (15, 0, 5)
    assert [int(event["pending_qty"]) for event in world.told][-1] == 0
    order.quantity_max = 0  # as when the modification is given up
    assert order.open_quantity == 0
