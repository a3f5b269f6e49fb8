"""An order of a trigger that passed for a stranger's is ours: what is left of that in the books."""

from __future__ import annotations

from typing import Any

import pytest
from gtt_tools import Gtts, Lagging, again, closing, entry, fired
from orders_world import PX, World, error, filled

from kite_hft.layout import IntentKind, Product, Side
from kite_hft.trading.order import EXTERNAL

FUTURE: dict[str, Any] = {"slot": 3, "product": Product.NRML}


def by_hand(world: World, quantity: int) -> None:
    """A person buys futures."""
    row: dict[str, Any] = {
        "order_id": "9900", "status": "COMPLETE", "exchange": "NFO", "tag": None, "tags": [],
        "tradingsymbol": "SHARE3", "transaction_type": "BUY", "instrument_token": 1003 * 256 + 2,
        "quantity": quantity, "order_type": "LIMIT", "product": "NRML", "filled_quantity": quantity,
        "pending_quantity": 0, "average_price": PX / 100, "price": PX / 100, "trigger_price": 0,
        "order_timestamp": "2027-01-15 13:30:00",
    }  # fmt: skip
    world.broker.rows["9900"] = row
    world.update(row)
    world.run(5.0)


def after(world: World, lag: Lagging) -> World:
    """Another process of the run."""
    other = again(world)
    lag.world = other
    return other


@pytest.mark.parametrize("restarted", ["", "while it lags", "as it tells"])
@pytest.mark.parametrize("held", [30, 75, 150])
def test_what_a_person_held_is_not_netted_with_the_position_that_it_opens(held: int, restarted: str) -> None:
    world = World().start()
    gtts = Gtts(world)
    by_hand(world, held)
    assert world.stage.book.standing(EXTERNAL, 3, Product.NRML).quantity == held
    entry(world, 2, side=Side.SELL, qty=75, **FUTURE)
    _order_id, lag = fired(world, gtts, 75)
    if restarted == "while it lags":
        world = after(world, lag).start()
    lag.ends()
    if restarted == "as it tells":
        world = after(world, lag).start()
    world.run(40.0)
    both = world.quantity(1, 3, Product.NRML), world.stage.book.standing(EXTERNAL, 3, Product.NRML).quantity
    assert both == (-75, held), world.alerts
    third = again(world).start()
    third.run(5.0)
    assert third.quantity(1, 3, Product.NRML) == -75, third.alerts
    assert "BROKER_ACTED" not in world.codes() + third.codes()


@pytest.mark.parametrize("lags", [True, False])
def test_what_it_filled_while_no_process_ran_is_not_counted_twice(lags: bool) -> None:
    world, gtts = closing()
    order_id, lag = fired(world, gtts, 4)
    assert world.quantity(product=Product.CNC) == 6
    row = world.broker.rows[order_id]
    row |= {"filled_quantity": 10, "pending_quantity": 0, "status": "COMPLETE"}
    world = after(world, lag)
    if not lags:
        lag.ends()
    world.start()
    world.run(3.0)
    assert world.quantity(product=Product.CNC) == 0
    lag.ends()
    for _ in range(400):
        world.run(0.1)
        assert world.quantity(product=Product.CNC) == 0, world.alerts
    order = world.stage.book.by_id(order_id)
    assert order is not None and (order.strategy, order.filled) == (1, 10)
    assert world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity == 0


def test_a_start_that_learns_of_it_tells_of_no_position_of_others() -> None:
    world, gtts = closing()
    _order_id, lag = fired(world, gtts, 10)
    lag.ends()
    world = after(world, lag).start()
    world.run(5.0)
    assert world.quantity(product=Product.CNC) == 0 and "EXTERNAL_POSITION" not in world.codes(), world.alerts


def test_exits_at_the_broker_do_not_shrink_for_a_trigger_that_may_have_fired() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world, 1, side=Side.SELL, qty=75, **FUTURE)
    world.send(2, qty=150, **FUTURE)
    words = {"flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0, "px": 0}
    world.send(3, kind=IntentKind.EXITS, trigger_px=PX - 200, **words, **FUTURE)
    filled(world, 150)
    world.run(3.0)
    Lagging(world, gtts)
    world.broker.rows.pop(gtts.fire(100))  # the order book lags, too
    world.broker.on_read = lambda request: (
        error(503, "GeneralException", "try later") if "gtt" in request.path else world.broker.read(request)
    )
    world.send(5, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, slot=3)
    world.run(5.0)
    assert (gtts.rows[101]["status"], gtts.rows[101]["orders"][0]["quantity"]) == ("active", 150)
