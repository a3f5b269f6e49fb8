"""Triggers of exits whose position others have closed, made smaller, or turned the other way round."""

from __future__ import annotations

from typing import Any

import pytest
from gtt_tools import Gtts, overnight
from orders_world import PX, World, error, filled, form

from kite_hft.layout import IntentKind, Product, Side
from kite_hft.trading.book import Cut
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order


def taken(world: World, quantity: int) -> None:
    """Somebody has sold so many of ours."""
    row = {"instrument_token": 256001, "product": "CNC", "exchange": "NSE", "tradingsymbol": "SHARE0"}
    world.broker.held = [row | {"quantity": -quantity}]
    world.stage.book.cut(Cut(1, 0, int(Product.CNC), -quantity, -quantity * PX))


def exits(world: World, seq: int, **more: Any) -> None:
    words = {"kind": IntentKind.EXITS, "order_type": 0, "side": 0, "qty": 0, "px": 0, "validity": 0}
    world.send(seq, product=Product.CNC, **(words | more))


def engines(world: World) -> list[Order]:
    """Live orders that the engine has placed, or one of its triggers."""
    return [o for o in world.stage.book.live_orders.values() if o.strategy_seq >= ENGINE_SEQ]


def never_changed(gtts: Gtts) -> None:
    """The broker refuses to change or delete a trigger."""

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method in ("PUT", "DELETE") and request.path.startswith("/gtt"):
            return error(500, "GeneralException", "?")
        return gtts.call(request)

    gtts.world.broker.on_call = call


def test_a_trigger_goes_with_its_position_although_an_entry_still_waits() -> None:
    """It would open a short when the price falls; the plan waits for what the entry makes."""
    world, gtts = overnight()
    world.send(3, product=Product.CNC, px=PX - 500)  # the strategy would buy lower down
    taken(world, 10)
    world.run(1.0)
    assert gtts.rows[100]["status"] == "deleted"
    filled(world, 10, PX - 500)
    world.run(11.0)
    assert [row["status"] for row in gtts.rows.values()] == ["deleted", "active"]
    assert [o["quantity"] for o in gtts.rows[101]["orders"]] == [10, 10]


def test_an_order_that_turns_the_position_is_no_entry_of_the_plan() -> None:
    """It closes the position with its first fill and opens the other side with its second: the plan is over
    with the first, and its stop does not stand on the wrong side of the price."""
    world, gtts = overnight()
    world.send(3, side=Side.SELL, qty=15, product=Product.CNC)
    order = world.stage.book.by_strategy(1, 3)
    if order is None or order.order_id == "":  # it has to wait until the trigger has gone
        world.run(1.0)
    order = world.order(3)
    row = world.broker.rows[order.order_id]
    row |= {"filled_quantity": 10, "average_price": PX / 100}
    world.update(row)
    world.run(0.3)
    assert world.quantity(product=Product.CNC) == 0 and world.kinds(2)[-1] == "COMPLETE"
    filled(world, 15)
    world.run(3.0)
    assert world.quantity(product=Product.CNC) == -5 and not engines(world)
    assert [row["status"] for row in gtts.rows.values()] == ["deleted"]


def test_what_fires_when_nothing_is_held_any_more_is_cancelled() -> None:
    world, gtts = overnight()
    never_changed(gtts)
    taken(world, 10)
    world.run(0.3)
    order_id = gtts.fire(100)
    world.run(4.0)
    assert world.broker.rows[order_id]["status"] == "CANCELLED" and not engines(world)
    assert world.kinds(2)[-1] == "COMPLETE"


def test_what_fires_for_more_than_is_held_is_made_smaller() -> None:
    """Ten were to be sold, and somebody has sold six of them just before."""
    world, gtts = overnight()
    never_changed(gtts)
    order_id = gtts.fire(100)
    taken(world, 6)
    world.run(2.0)
    assert world.broker.rows[order_id]["quantity"] == 4 and [o.quantity for o in engines(world)] == [4]
    assert len([r for r in world.broker.calls("POST") if r.path == "/orders/regular"]) == 1


def test_what_fires_on_the_other_side_leaves_the_new_exits_where_they_are() -> None:
    """The position is short by now, with exits of its own: they do not begin to close it, and what the old
    trigger has placed is cancelled."""
    world, gtts = overnight()
    never_changed(gtts)
    taken(world, 12)
    world.run(0.3)
    exits(world, 3, trigger_px=PX + 100)
    world.run(0.3)
    order_id = gtts.fire(100)
    world.run(4.0)
    assert world.broker.rows[order_id]["status"] == "CANCELLED"
    assert [(o.side, o.quantity, o.trigger_px) for o in engines(world)] == [(Side.BUY, 2, PX + 100)]


@pytest.mark.parametrize("flags", [0, 2], ids=["by an order", "by a trigger"])
def test_one_of_the_other_side_that_does_not_go_leaves_no_position_bare(flags: int) -> None:
    world, gtts = overnight()
    never_changed(gtts)
    taken(world, 12)
    world.run(0.3)
    exits(world, 3, trigger_px=PX + 100, flags=flags)
    world.run(0.5)
    if flags:
        assert [(o["transaction_type"], o["quantity"]) for o in gtts.rows[101]["orders"]] == [("BUY", 2)]
    else:
        assert [(o.side, o.quantity) for o in engines(world)] == [(Side.BUY, 2)]


def test_nor_does_what_a_strategy_closes_by_itself_wait_for_it() -> None:
    world, gtts = overnight()
    never_changed(gtts)
    taken(world, 12)
    world.run(0.3)
    world.send(3, product=Product.CNC, qty=2)
    last = form(world.broker.calls("POST")[-1])
    assert (last["transaction_type"], last["quantity"]) == ("BUY", "2")
    world.send(4, kind=IntentKind.GTT, product=Product.CNC, qty=2, px=PX + 200, trigger_px=PX + 200)
    world.run(0.3)
    assert world.kinds(4) == ["ACCEPTED"]
