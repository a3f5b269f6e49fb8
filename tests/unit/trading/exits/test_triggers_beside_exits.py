"""A trigger of a strategy's own, and exits that lie at the broker as one: never both of the same position."""

from __future__ import annotations

from typing import Any

from gtt_tools import Gtts, overnight
from orders_world import PX, World, filled

from kite_hft.layout import IntentKind, Product, Side
from kite_hft.strategies.base import BaseStrategy

OWN: dict[str, Any] = {
    "kind": IntentKind.GTT, "product": Product.CNC, "side": Side.SELL, "qty": 10, "px": PX - 55,
    "trigger_px": PX - 50,
}  # fmt: skip
EXITS: dict[str, Any] = {
    "kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0,
    "product": Product.CNC, "px": 0, "trigger_px": PX - 100,
}  # fmt: skip


def active(gtts: Gtts) -> list[int]:
    return [number for number, row in gtts.rows.items() if row["status"] == "active"]


def test_beside_exits_at_the_broker_no_trigger_closes_the_same() -> None:
    world, gtts = overnight()
    world.send(3, **OWN)
    world.run(2.0)
    assert (world.kinds(3), world.reason(3)) == (["REFUSED"], "FROZEN") and active(gtts) == [100]


def test_what_exits_at_the_broker_do_not_cover_may_have_a_trigger() -> None:
    world, gtts = overnight()
    world.send(3, product=Product.CNC, qty=4)
    filled(world, 4)
    gtts.lost = True  # the change to 14 is not answered: the exits still cover 14 at worst
    world.run(0.1)
    gtts.lost = False
    world.send(4, **(OWN | {"qty": 4}))
    world.run(2.0)
    assert world.reason(4) == "FROZEN"
    world.send(5, **(OWN | {"side": Side.BUY, "px": PX - 300, "trigger_px": PX - 300}))
    world.run(2.0)
    assert world.kinds(5) == ["ACCEPTED"], "one that buys more closes nothing"


def most(gtts: Gtts) -> int:
    """So much may all that waits at the broker sell, were all of it to fire while nobody looks."""
    return sum(max(leg["quantity"] for leg in gtts.rows[n]["orders"]) for n in active(gtts))


def test_nor_does_one_that_is_asked_for_before_the_exits_have_reached_the_broker() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    world.wish(2, **EXITS)
    world.wish(3, **OWN)
    world.step(2)
    world.run(2.0)
    assert world.reason(3) == "FROZEN" and world.kinds(2) == ["ACCEPTED"] and most(gtts) == 10


def test_nor_one_beside_exits_that_have_given_way_for_a_while() -> None:
    world, gtts = overnight()
    world.send(3, product=Product.CNC, side=Side.SELL, qty=5, px=PX + 100)
    world.run(2.0)
    assert most(gtts) == 5, "they give way to the sale"
    world.send(4, **(OWN | {"qty": 5}))
    world.run(2.0)
    world.send(5, kind=IntentKind.CANCEL, target_seq=3)
    world.run(3.0)
    assert world.reason(4) == "FROZEN" and most(gtts) == 10


def test_exits_do_not_lie_at_the_broker_beside_a_trigger_of_the_strategys_own() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    world.send(2, **OWN)
    world.run(1.0)
    world.send(3, **EXITS)
    world.run(1.0)
    assert world.reason(3) == "FROZEN" and active(gtts) == [100]
    world.send(4, kind=IntentKind.CANCEL, target_seq=2)
    world.run(1.0)
    world.send(5, **EXITS)
    world.run(1.0)
    assert active(gtts) == [101] and world.kinds(5) == ["ACCEPTED"]


def test_the_calls_that_ask_for_them_name_the_refusal() -> None:
    for call in (BaseStrategy.place_gtt, BaseStrategy.exits):
        assert "REFUSED with FROZEN" in (call.__doc__ or "")
