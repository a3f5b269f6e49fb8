"""An exit that waited does not leave where another one, which came to life meanwhile, closes the same."""

from __future__ import annotations

from gtt_tools import Gtts
from orders_world import PX, S, World, filled

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.trading.lifecycle import WORKING

NRML = {"product": Product.NRML}


def holding(quantity: int = 10) -> tuple[World, Gtts]:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, qty=quantity, **NRML)
    filled(world, quantity)
    return world, gtts


def held_up(world: World) -> None:
    """Nothing leaves any more, as in a cool-down of the broker's that has no end."""
    throttle = world.stage.desk.throttle
    throttle._cool_until_ns = throttle.last_ns = world.clock.mono + 3600 * S


def goes_on(world: World) -> None:
    throttle = world.stage.desk.throttle
    throttle._cool_until_ns = throttle.last_ns = 0
    world.run(1.0)


def own_trigger(world: World, gtts: Gtts, quantity: int = 10) -> None:
    words = {"side": Side.SELL, "px": PX - 105, "trigger_px": PX - 100, "qty": quantity}
    world.send(2, kind=IntentKind.GTT, **NRML, **words)
    world.run(0.5)
    assert gtts.calls == ["POST"]


def fires(world: World, gtts: Gtts) -> None:
    gtts.fire(100)
    world.stage.reader.want_triggers()
    world.run(3.0)


def selling(world: World) -> int:
    """So much may still be sold of what the strategy holds."""
    live = world.stage.book.live_orders.values()
    return sum(order.open_quantity for order in live if order.side == Side.SELL)


def test_its_own_trigger_has_fired() -> None:
    world, gtts = holding()
    own_trigger(world, gtts)
    held_up(world)
    world.send(3, side=Side.SELL, px=PX + 5, **NRML)
    assert world.status(3) is OrderStatus.NEW and not world.order(3).opening
    fires(world, gtts)
    child = world.order(2)
    assert child.status is OrderStatus.OPEN and not child.opening, "what it placed closes what is held"
    goes_on(world)
    assert world.status(3) is OrderStatus.REFUSED and world.reason(3) == "FROZEN"
    assert "10 held, 10 under way before it" in world.order(3).message and selling(world) == 10


def test_what_both_have_room_for_leaves() -> None:
    world, gtts = holding()
    own_trigger(world, gtts, 6)
    held_up(world)
    world.send(3, side=Side.SELL, px=PX + 5, qty=4, **NRML)
    fires(world, gtts)
    goes_on(world)
    assert world.status(3) in WORKING and selling(world) == 10


def test_of_several_that_wait_only_what_is_too_much_stays() -> None:
    world, gtts = holding()
    own_trigger(world, gtts, 6)
    held_up(world)
    world.send(3, side=Side.SELL, px=PX + 5, qty=6, **NRML)
    world.send(4, side=Side.SELL, px=PX + 10, qty=4, **NRML)
    fires(world, gtts)
    goes_on(world)
    assert world.status(3) is OrderStatus.REFUSED and world.status(4) in WORKING and selling(world) == 10


def test_one_that_was_thought_absent_lives() -> None:
    world = World().start()
    world.send(5)
    filled(world, 10)
    rows: dict[str, dict[str, object]] = {}

    def call(request):  # type: ignore[no-untyped-def]
        from kite_hft.trading.broker import TransportError

        order_id = world.broker.enter(request)
        rows[order_id] = world.broker.rows.pop(order_id)
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.send(6, side=Side.SELL, px=PX + 50)
    world.broker.on_call = None
    world.run(200, step_s=0.5)
    assert world.status(6) is OrderStatus.ABSENT
    held_up(world)
    world.send(7, side=Side.SELL, px=PX + 5)
    assert world.status(7) is OrderStatus.NEW
    world.broker.rows.update(rows)
    for row in rows.values():
        world.update(row)
    assert world.status(6) is OrderStatus.OPEN and "proved absent" in world.stage.outbox.halted
    goes_on(world)
    assert world.status(7) is OrderStatus.REFUSED and selling(world) == 10
