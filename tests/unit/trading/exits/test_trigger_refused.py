"""Triggers of plans whose change or deletion the broker refuses again and again."""

from __future__ import annotations

from typing import Any

import pytest
from gtt_tools import GTT, Answer, Gtts, entry, overnight
from orders_world import PX, S, World, error, filled

from kite_hft.layout import IntentKind, Product
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.intents import ENGINE_SEQ

EXITS = {"kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0}


def refusing(world: World, gtts: Gtts, method: str) -> list[str]:
    """The broker refuses all calls of a kind about triggers; those calls."""
    calls: list[str] = []

    def call(request: HttpRequest) -> Answer:
        if request.method == method and request.path.startswith("/gtt/"):
            calls.append(request.path)
            return error(400, "InputException", "blocked")
        return gtts.call(request)

    world.broker.on_call = call
    return calls


def unknown(world: World, *, cleared: bool = False) -> list[dict[str, Any]]:
    told = [f for f in world.alert_fields if f["code"] == "TRIGGER_UNKNOWN"]
    return [f for f in told if bool(f.get("cleared")) is cleared]


def closing(world: World) -> list[Any]:
    return [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]


def grown(world: World) -> None:
    """Five more are held: the trigger has to follow."""
    world.send(3, product=Product.CNC, qty=5)
    filled(world, 5)


def test_a_refused_change_is_asked_for_ever_more_seldom_and_told_once() -> None:
    world, gtts = overnight()
    calls = refusing(world, gtts, "PUT")
    grown(world)
    world.run(120.0)
    assert 4 <= len(calls) <= 10
    (told,) = unknown(world)
    assert "could not be changed 3 times" in told["text"] and "blocked" in told["text"]
    assert not unknown(world, cleared=True)
    world.broker.on_call = gtts.call
    world.run(35.0)
    assert gtts.rows[100]["orders"][0]["quantity"] == 15
    assert len(unknown(world, cleared=True)) == 1


def test_a_refused_change_that_is_not_wanted_any_more_is_forgotten() -> None:
    world, gtts = overnight()
    calls = refusing(world, gtts, "PUT")
    grown(world)
    world.run(20.0)
    assert unknown(world) and not unknown(world, cleared=True)
    world.send(4, product=Product.CNC, qty=5, side=2, px=PX)
    filled(world, 5)
    world.run(1.0)
    assert len(unknown(world, cleared=True)) == 1
    asked = len(calls)
    world.run(60.0)
    assert len(calls) == asked


def test_its_deletion_does_not_wait_for_the_pause_of_a_change() -> None:
    world, gtts = overnight()
    refusing(world, gtts, "PUT")
    grown(world)
    world.run(20.0)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(0.5)
    assert gtts.rows[100]["status"] == "deleted"


def test_what_a_strategy_asks_for_anew_does_not_wait() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    calls = refusing(world, gtts, "PUT")
    for seq in range(2, 5):
        world.send(seq, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90 - 5 * seq, qty=0, order_type=0)
        world.run(3.0)
    assert len(calls) == 3 and GTT["qty"] == 10


@pytest.mark.parametrize("whose", ["its own", "that of earlier exits", "the same, and orders now"])
def test_at_its_time_a_position_is_closed_though_its_trigger_is_not_deleted(whose: str) -> None:
    if whose == "its own":
        world = World().start()
        gtts = Gtts(world)
        world.send(1, product=Product.CNC)
        filled(world, 10)
    else:
        world, gtts = overnight()
    refusing(world, gtts, "DELETE")
    words = EXITS | {"product": Product.CNC, "trigger_px": PX - 100, "px": PX + 200}
    words |= {"flags": 0} if "orders" in whose else {}
    world.send(3, deadline_ns=world.clock.mono + 5 * S, **words)
    world.run(4.0)
    assert list(gtts.rows) == [100] and not unknown(world, cleared=True)
    assert not closing(world)
    world.run(20.0)
    assert [order.quantity for order in closing(world)] == [10]
    (told,) = unknown(world)
    assert "not deleted, and its position closed" in told["text"] or "could not be deleted" in told["text"]
