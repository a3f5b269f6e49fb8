"""The broker has had too many calls: what an answer of 429 to a call about a trigger does."""

from __future__ import annotations

import pytest
from gtt_tools import GTT, Gtts, again, entry, overnight
from orders_world import PX, World, error, filled

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

LIMITED = error(429, "NetworkException", "Too many requests")


def limit(world: World, gtts: Gtts, method: str = "") -> None:
    """The next calls about triggers (of a method) are refused, until `end`."""

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        about = request.path.startswith("/gtt/triggers") and method in ("", request.method)
        return LIMITED if about else gtts.call(request)

    world.broker.on_call = call


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("kind", [IntentKind.GTT, IntentKind.MODIFY, IntentKind.CANCEL])
def test_entries_wait_out_the_cool_down(kind: IntentKind, restarted: bool) -> None:
    world = World().start()
    gtts = Gtts(world)
    if kind is not IntentKind.GTT:
        entry(world, 2)
    limit(world, gtts)
    if kind is IntentKind.GTT:
        entry(world, 2)
    else:
        world.send(3, kind=kind, target_seq=2, **({"qty": 4, "px": 0} if kind is IntentKind.MODIFY else {}))
    world.run(0.2)
    assert any(text.startswith("RATE_LIMITED") and "trigger" in text for text in world.alerts)
    world.broker.on_call = gtts.call
    if restarted:
        world = again(world).start()
        gtts.world = world
    world.send(5)
    assert world.status(5) is OrderStatus.NEW, "it waits"
    world.run(10.5)
    assert world.status(5) is not OrderStatus.NEW or "REFUSED" in world.kinds(5)


def test_the_stop_of_exits_becomes_an_order() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    limit(world, gtts)
    words = {"kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0}
    world.send(2, product=Product.CNC, trigger_px=PX - 100, px=0, **words)
    world.run(2.0)
    assert not gtts.rows and {"TRIGGER_FAILED", "RATE_LIMITED"} <= set(world.codes())
    (row,) = [row for row in world.broker.rows.values() if row["transaction_type"] == "SELL"]
    assert (row["order_type"], row["quantity"]) == ("SL-M", 10)


def test_a_deletion_that_was_one_too_many_is_asked_for_again() -> None:
    world, gtts = overnight()
    limit(world, gtts, "DELETE")
    world.send(3, kind=IntentKind.EXITS, product=Product.CNC, order_type=0, side=0, qty=0, validity=0, px=0)
    world.run(1.0)
    assert "RATE_LIMITED" in world.codes() and gtts.rows[100]["status"] == "active"
    world.broker.on_call = gtts.call
    world.run(8.0)
    assert gtts.rows[100]["status"] == "deleted"


def test_a_strategys_own_is_refused_as_an_order_would_be() -> None:
    world = World().start()
    limit(world, Gtts(world))
    world.send(2, **(GTT | {"side": Side.BUY}))
    world.run(0.3)
    assert world.kinds(2) == ["REJECTED"] and world.reason(2) == "BROKER"
