"""What waits for its exits to give way opens nothing when those have filled meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, error, filled, form, limits

from kite_hft.layout import IntentKind, OrderStatus, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.ports import OrdersConfig


def stopped(quantity: int = 10, **more: Any) -> tuple[World, str]:
    """A position with its stop at the broker, and the stop's order id."""
    world = World(**more).start()
    world.send(1, qty=quantity)
    filled(world, quantity)
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 100, px=0, qty=0, order_type=0, side=0, validity=0)
    world.run(0.3)
    return world, list(world.broker.rows)[-1]


def too_late(world: World, stop: str, quantity: int) -> None:
    """Whoever wants to change the stop hears that it has just filled so much."""

    def call(request: HttpRequest) -> HttpResponse:
        if request.method in ("DELETE", "PUT") and request.path.endswith(stop):
            whole = quantity == world.broker.rows[stop]["quantity"]
            world.broker.rows[stop] |= {
                "status": "COMPLETE" if whole else "CANCELLED",
                "filled_quantity": quantity,
                "average_price": 99.0,
            }
            return error(400, "OrderException", "Order cannot be changed as it is being processed")
        return world.broker.accept(request)

    world.broker.on_call = call


def sold(world: World) -> list[tuple[int, str]]:
    """Sales at the broker that are alive or done: (quantity, status)."""
    rows = [row for row in world.broker.rows.values() if row["transaction_type"] == "SELL"]
    return [(row["quantity"], row["status"]) for row in rows]


@pytest.mark.parametrize("quantity", [10, 6])
def test_an_exit_that_was_held_opens_nothing_when_its_stop_has_filled(quantity: int) -> None:
    world, stop = stopped()
    too_late(world, stop, 10)
    world.send(3, side=Side.SELL, px=PX, qty=quantity)  # without the strategy saying that it is an exit
    world.run(6.0)
    assert (world.kinds(3), world.reason(3)) == (["REFUSED"], "FROZEN")
    assert world.quantity() == 0 and sold(world) == [(10, "COMPLETE")]


def test_what_is_left_after_the_stop_has_filled_a_part_may_still_be_closed() -> None:
    world, stop = stopped()
    too_late(world, stop, 4)
    world.send(3, side=Side.SELL, px=PX, qty=6)
    world.run(6.0)
    assert world.order(3).status is OrderStatus.OPEN and not world.order(3).opening
    assert world.quantity() == 6


def test_an_order_that_was_to_turn_the_position_does_not_turn_what_is_gone() -> None:
    risk = RiskLimits(max_order_value=1e8, max_position_size=1e8, max_exposure=1e8)
    world, stop = stopped(config=OrdersConfig(limits(), risk))
    too_late(world, stop, 10)
    world.send(3, side=Side.SELL, px=PX, qty=15)
    assert world.stage.keeper.plans.giving.held
    world.run(6.0)
    assert world.reason(3) == "FROZEN" and sold(world) == [(10, "COMPLETE")]


def test_a_larger_exit_that_was_held_opens_nothing_when_its_stop_has_filled() -> None:
    world, stop = stopped()
    world.send(3, side=Side.SELL, px=PX + 100, qty=4)
    world.run(3.0)
    assert world.order(3).status is OrderStatus.OPEN and world.broker.rows[stop]["quantity"] == 6
    too_late(world, stop, 6)
    world.send(4, kind=IntentKind.MODIFY, target_seq=3, qty=10, px=0, order_type=0)
    world.run(6.0)
    assert world.reason(4) == "FROZEN" and world.order(3).quantity == 4
    assert [
        form(r)["quantity"] for r in world.broker.calls("PUT") if r.path.endswith(world.order(3).order_id)
    ] == []
    assert world.quantity() == 4


@pytest.mark.parametrize(
    "wish", [{}, {"kind": IntentKind.MODIFY, "target_seq": 3, "qty": 10, "px": 0, "order_type": 0}]
)
def test_a_held_exit_that_a_restart_takes_up_opens_nothing(wish: dict[str, Any]) -> None:
    world, stop = stopped()
    if wish:
        world.send(3, side=Side.SELL, px=PX + 100, qty=4)
        world.run(3.0)
    quantity = world.broker.rows[stop]["quantity"]
    world.broker.hold = True  # no answer: the exit is held while its stop gives way
    world.quote()
    world.wish(4, **{"side": Side.SELL, "px": PX} | wish)
    world.step(3)
    assert world.stage.keeper.plans.giving.held
    world.broker.rows[stop] |= {
        "status": "COMPLETE", "quantity": quantity, "filled_quantity": quantity, "average_price": 99.0,
    }  # fmt: skip
    world.broker.hold = False
    world.broker.ready.clear()
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    other.run(5.0)
    assert other.reason(4) == "FROZEN"
    live = sum(order.open_quantity for order in other.stage.book.live())
    assert other.quantity() == live == (4 if wish else 0)


def test_what_has_had_its_room_does_not_wait_a_second_time() -> None:
    """Sent back again and again it would never leave, and write a record each time."""
    world, _stop = stopped(20)
    world.broker.hold = True
    world.quote()
    world.wish(3, side=Side.SELL, px=PX, qty=5)
    world.step(3)
    giving = world.stage.keeper.plans.giving
    assert [held.quantity for held in giving.held] == [5]
    giving._covered, giving._left = lambda key: 15, lambda key: 20  # the stop has given way to it
    giving.claims = lambda key: 3  # and something else is about to be closed
    giving.let_go(world.clock.mono)
    assert not giving.held


def test_what_waits_is_refused_when_everything_is_closed() -> None:
    world, _stop = stopped()
    world.broker.hold = True
    world.quote()
    world.wish(3, side=Side.SELL, px=PX, qty=6)
    world.step(3)
    assert world.stage.keeper.plans.giving.held
    world.stage.keeper.plans.suspended = True
    world.run(0.3)
    assert not world.stage.keeper.plans.giving.held and world.reason(3) == "FROZEN"


@pytest.mark.parametrize("wrong", [{"kind": 9}, {"px": PX + 1}, {"validity": 7}, {"order_type": 9}])
def test_what_is_wrong_in_itself_is_refused_at_once_and_keeps_no_exit_from_closing(
    wrong: dict[str, Any],
) -> None:
    """Held for its stop it would take the room of a good exit, which would count as an opening then."""
    world, stop = stopped()
    world.send(3, **{"side": Side.SELL, "px": PX, "qty": 10} | wrong)
    assert world.kinds(3) == ["REFUSED"] and not world.stage.keeper.plans.giving.held
    world.send(4, side=Side.SELL, px=PX, qty=10)
    assert len(world.stage.keeper.plans.giving.held) == 1
    world.run(6.0)
    assert world.order(4).status is OrderStatus.OPEN and not world.order(4).opening
    assert world.broker.rows[stop]["status"] == "CANCELLED"


def test_an_exit_above_what_an_entry_may_be_waits_for_its_stop_too() -> None:
    """Exits are not held to that limit; that its stop stands there makes it look like an entry."""
    wide = {"max_order_value": 1e8, "max_position_size": 1e8, "max_exposure": 1e8}
    world = World(config=OrdersConfig(limits(), RiskLimits(max_order_quantity=10, **wide))).start()
    for seq in (1, 2):
        world.send(seq, qty=10)
        filled(world, 10)
    world.send(3, kind=IntentKind.EXITS, trigger_px=PX - 100, px=0, qty=0, order_type=0, side=0, validity=0)
    world.run(0.3)
    stop = list(world.broker.rows)[-1]
    world.send(4, side=Side.SELL, px=PX, qty=20)
    assert len(world.stage.keeper.plans.giving.held) == 1
    world.run(6.0)
    assert world.order(4).status is OrderStatus.OPEN and not world.order(4).opening
    assert world.broker.rows[stop]["status"] == "CANCELLED"
