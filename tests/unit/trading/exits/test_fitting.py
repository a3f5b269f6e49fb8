"""The orders of a plan add up to the position, also when they may not be modified any more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exits_tools import at, exits, guard, holding
from orders_world import PX, World, error, filled, form, limits

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig


def entering(quantity: int) -> tuple[World, str]:
    """An entry that will fill in parts, and its order id."""
    world = World().start()
    world.send(1, qty=quantity)
    return world, next(iter(world.broker.rows))


def part(world: World, entry: str, quantity: int, seconds: float = 0.5) -> None:
    """So much of the entry has filled; the book is read, and the stop can follow."""
    row = world.broker.rows[entry]
    row |= {"filled_quantity": quantity, "average_price": PX / 100}
    row["status"] = "COMPLETE" if quantity == row["quantity"] else "OPEN"
    world.update(row)
    world.run(seconds)


def protect(world: World) -> None:
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 100, px=0, qty=0, order_type=0, side=0, validity=0)
    world.run(0.5)


def stops(world: World) -> list[Order]:
    return [o for o in world.stage.book.live() if o.side == Side.SELL]


def test_a_stop_that_may_not_be_modified_any_more_gets_another_beside_it() -> None:
    world, entry = entering(60)
    part(world, entry, 1)
    protect(world)
    cap = world.config.limits.modifications_per_order
    for quantity in range(2, 61):
        part(world, entry, quantity, 0.3)
        covered = sum(order.pending for order in stops(world))
        assert covered == quantity == world.quantity()
    first, second, third = stops(world)
    # The last one of each is left for what must happen.
    assert (first.modifications, second.modifications) == (cap - 1, cap - 1)
    assert (first.quantity, second.quantity, third.quantity) == (cap, cap, 60 - 2 * cap)
    assert not world.broker.calls("DELETE") and "EXIT_REFUSED" not in world.codes()


def test_what_a_stop_cannot_take_in_for_seconds_is_covered_beside_it() -> None:
    world, entry = entering(10)
    part(world, entry, 2)
    protect(world)

    def call(request: HttpRequest) -> HttpResponse | None:
        return None if request.method == "PUT" else world.broker.accept(request)

    world.broker.on_call = call
    part(world, entry, 4)  # the stop is to follow, and no answer comes
    part(world, entry, 10, 1.0)
    assert len(stops(world)) == 1
    world.run(2.0)
    stuck, beside = stops(world)
    assert (stuck.quantity, stuck.quantity_max, beside.quantity) == (2, 4, 6)
    assert beside.status is not OrderStatus.REFUSED and len(world.broker.calls("PUT")) == 1


def test_slices_that_are_refused_one_by_one_are_not_sent_again_at_once() -> None:
    """Each refusal makes the next attempt wait: a storm of refused orders helps nobody."""
    risk = RiskLimits(
        max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000
    )
    world = World(config=OrdersConfig(limits(), risk)).start()
    for seq in (1, 2):
        world.send(seq, slot=3, product=Product.NRML, qty=1800)
        filled(world, 1800)
    turned_down: list[int] = []

    def call(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return world.broker.accept(request)
        turned_down.append(len(turned_down))
        return (
            error(400, "InputException", "not allowed")
            if len(turned_down) % 2
            else world.broker.accept(request)
        )

    world.broker.on_call = call
    words = {"slot": 3, "product": Product.NRML, "px": 0, "qty": 0, "order_type": 0, "side": 0, "validity": 0}
    world.send(3, kind=IntentKind.EXITS, trigger_px=PX - 100, **words)
    world.run(0.4)
    assert len(turned_down) == 2  # one slice was taken, one refused: the rest waits its turn
    world.run(1.0)
    assert len(turned_down) > 2


def test_slices_that_others_cancel_together_are_one_cancel_however_they_are_told() -> None:
    """Each is placed anew at once, and nobody is told; slices of what followed are a second time."""
    risk = RiskLimits(
        max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000
    )
    world = World(config=OrdersConfig(limits(), risk)).start()
    for seq in (1, 2):
        world.send(seq, slot=3, product=Product.NRML, qty=1800)
        filled(world, 1800)
    words = {"slot": 3, "product": Product.NRML, "px": 0, "qty": 0, "order_type": 0, "side": 0, "validity": 0}
    world.send(3, kind=IntentKind.EXITS, trigger_px=PX - 100, **words)
    world.run(0.4)

    def stand() -> list[Order]:
        for order in stops(world):
            world.broker.rows[order.order_id]["status"] = "TRIGGER PENDING"
            world.update(world.broker.rows[order.order_id])
        world.run(0.1)
        return stops(world)

    def cancelled(order: Order) -> None:
        world.broker.rows[order.order_id]["status"] = "CANCELLED"
        world.update(world.broker.rows[order.order_id])
        world.run(0.2)

    slices = stand()
    assert [order.quantity for order in slices] == [1800, 1800]
    for order in slices:
        cancelled(order)
        assert sum(stop.quantity for stop in stops(world)) == 3600, "its successor leaves at once"
    assert "EXIT_REFUSED" not in world.codes()
    for order in stand():
        cancelled(order)
    assert world.codes().count("EXIT_REFUSED") == 1


@pytest.mark.parametrize(("catch_all", "kind"), [(True, OrderType.SL), (False, OrderType.SLM)])
def test_where_refusals_prove_nothing_an_absent_market_stop_is_followed_by_a_limit_stop(
    catch_all: bool, kind: OrderType
) -> None:
    config = OrdersConfig(limits(), absence_horizon_s=5.0, loopback=True)
    world = holding(adapter=replace(KITE, catch_all=catch_all), config=config)
    world.broker.on_call = lambda request: (
        HttpResponse(400, b"{}")
        if form(request).get("order_type") == "SL-M"
        else world.broker.accept(request)
    )
    exits(world, trigger_px=PX - 100)
    at(world, PX, 3.0)
    assert guard(world).status is OrderStatus.AMBIGUOUS
    world.broker.on_call = None
    at(world, PX, 30.0)
    assert guard(world).order_type == kind
