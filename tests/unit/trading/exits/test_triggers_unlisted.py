"""The broker's list does not show triggers that have fired (Upstox): their orders tell, by their terms."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from gtt_tools import (
    LEAVES_OUT,
    Gtts,
    Unlisted,
    again,
    bid,
    closing,
    entry,
    fell,
    fired_late,
    others,
    sells,
    shown,
    stop,
)
from orders_world import World

from kite_hft.layout import IntentKind, OrderStatus, Product


@pytest.mark.parametrize("told", [True, False])
def test_exits_that_have_fired_close_once(told: bool) -> None:
    world, gtts = stop()
    order_id = gtts.fire(100)
    if told:
        shown(world, order_id, 10)
    else:  # the update is lost: the order book has it
        row = world.broker.rows[order_id]
        row |= {"filled_quantity": 10, "pending_quantity": 0, "average_price": 99.05, "status": "COMPLETE"}
    fell(world, 30.0)
    assert sells(world) == 1, world.alerts
    assert world.quantity(product=Product.CNC) == 0 and others(world) == 0
    order = world.stage.book.by_id(order_id)
    assert order is not None and (order.strategy, order.status) == (1, OrderStatus.COMPLETE)
    assert "EXTERNAL_ORDER" not in world.codes() and not world.stage.keeper.plans.plans


def test_an_entry_that_has_fired_is_its_strategys() -> None:
    world, gtts = bid()
    order_id = gtts.fire(100)
    shown(world, order_id, 4)
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 4 and others(world) == 0
    shown(world, order_id, 10)
    world.run(2.0)
    assert world.quantity(product=Product.CNC) == 10 and others(world) == 0, world.alerts
    assert "REJECTED" not in world.kinds(2) and world.status(2) is OrderStatus.COMPLETE


def test_one_whose_order_was_cancelled_has_fired_too() -> None:
    world, gtts = bid()
    order_id = gtts.fire(100)
    world.update(world.broker.rows[order_id])
    world.broker.rows[order_id] |= {"status": "CANCELLED", "pending_quantity": 0, "cancelled_quantity": 10}
    world.update(world.broker.rows[order_id])
    world.run(10.0)
    assert world.status(2) is OrderStatus.CANCELLED and world.reason(2) != "ABSENT"


@pytest.mark.parametrize("whose", ["exits", "own", "opening"])
def test_a_restart_between_the_firing_and_the_list(whose: str) -> None:
    world, gtts = {"exits": stop, "own": partial(closing, LEAVES_OUT), "opening": bid}[whose]()
    Unlisted(world, gtts)
    order_id = gtts.fire(100)
    shown(world, order_id, 10)
    other = again(world).start()
    other.run(20.0)
    assert other.quantity(product=Product.CNC) == (10 if whose == "opening" else 0), other.alerts
    assert others(other) == 0 and sells(other) == (whose != "opening")
    order = other.stage.book.by_id(order_id)
    assert order is not None and (order.strategy, order.filled) == (1, 10)
    third = again(other).start()
    assert third.quantity(product=Product.CNC) == other.quantity(product=Product.CNC)


def test_of_two_orders_that_could_be_its_own_a_person_has_to_tell() -> None:
    world, gtts = stop()
    order_id = gtts.fire(100)
    twin = world.broker.rows["by hand"] = world.broker.rows[order_id] | {"order_id": "by hand"}
    world.update(world.broker.rows[order_id])
    world.update(twin)
    fell(world, 60.0)
    assert sells(world) == 2, "nothing is placed beside what may close the position"
    (text,) = {text for text in world.alerts if text.startswith("TRIGGER_UNKNOWN")}
    assert "by hand" in text and order_id in text
    assert (1, 2) in world.stage.keeper.triggers.standing


def test_of_two_equal_ones_the_list_shows_which_has_not_fired() -> None:
    world, gtts = bid()
    entry(world, 3)
    world.stage.reader.want_triggers()
    world.run(3.0)
    order_id = gtts.fire(100)
    shown(world, order_id, 10)
    world.run(10.0)
    assert world.status(2) is OrderStatus.COMPLETE and world.quantity(product=Product.CNC) == 10
    assert (1, 3) in world.stage.keeper.triggers.standing and world.kinds(3) == ["ACCEPTED"]


@pytest.mark.parametrize("strategy", [1, 2])
def test_of_two_equal_ones_that_are_gone_each_gets_one_order(strategy: int) -> None:
    """One order comes late: of two strategies nobody is told a guess, in one position either is as good."""
    world, gtts = bid()
    entry(world, 3, strategy=strategy)
    world.stage.reader.want_triggers()
    world.run(3.0)
    first, second = gtts.fire(100), gtts.fire(101)
    late = world.broker.rows.pop(second)
    shown(world, first, 10)
    world.run(10.0)
    if strategy == 2:
        assert {(1, 2), (2, 3)} <= world.stage.keeper.triggers.standing.keys()
        assert "TRIGGER_UNKNOWN" in world.codes()
        before = len(world.broker.calls("GET"))
        world.run(300.0, 0.25)
        assert len(world.broker.calls("GET")) - before < 160, "a person has to tell: nobody asks all the time"
    world.broker.rows[second] = late
    shown(world, second, 10)
    world.run(10.0)
    held = sum(world.stage.book.standing(one, 0, Product.CNC).quantity for one in {1, strategy})
    assert held == 20 and others(world) == 0, world.alerts
    assert not world.stage.keeper.triggers.standing
    cleared = {fields["key"] for fields in world.alert_fields if fields.get("cleared")}
    assert "(1, 2) order" in cleared or strategy == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_the_order_of_one_that_was_thought_absent_is_no_strangers(restarted: bool) -> None:
    world, _gtts, order_id, late = fired_late()
    if restarted:
        world = again(world).start()
    world.broker.rows[order_id] = late
    shown(world, order_id, 4)
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 4 and others(world) == 0, world.alerts
    assert world.status(2) is OrderStatus.CANCELLED, "its strategy was told that there is nothing"
    assert "TRIGGER_ADOPTED" in world.codes() and "EXTERNAL_ORDER" not in world.codes()
    third = again(world).start()
    assert third.quantity(product=Product.CNC) == 4 and third.status(2) is OrderStatus.CANCELLED


def test_past_the_horizon_such_an_order_is_somebody_elses() -> None:
    world, _gtts, order_id, late = fired_late()
    world.run(190.0, 0.5)
    world.broker.rows[order_id] = late
    shown(world, order_id, 10)
    world.run(5.0)
    assert "EXTERNAL_ORDER" in world.codes() and others(world) == 10


def test_the_one_that_was_placed_in_its_stead_is_not_forgotten() -> None:
    world, gtts = stop()
    row = gtts.rows[100]
    gtts.rows[100] = row | {"status": "deleted"}
    world.run(1.0)
    world.stage.reader.want_triggers()
    world.run(20.0)
    assert gtts.calls == ["POST", "POST"] and sells(world) == 0
    gtts.rows[100] = row
    order_id = gtts.fire(100)
    gtts.rows[100] = row | {"status": "deleted"}
    shown(world, order_id, 4)
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 6, world.alerts
    assert gtts.rows[101]["status"] == "deleted", "what has fired closes the rest"
    other = again(world).start()
    assert other.quantity(product=Product.CNC) == 6 and not other.stage.keeper.triggers.standing


def test_one_that_a_person_has_deleted_is_absent() -> None:
    world, gtts = bid()
    gtts.rows[100]["status"] = "deleted"
    world.stage.reader.want_triggers()
    world.run(10.0)
    assert world.reason(2) == "ABSENT" and not world.stage.keeper.triggers.standing


def test_an_order_at_another_price_is_not_taken_for_its_own() -> None:
    world, gtts = bid()
    order_id = gtts.fire(100)
    world.broker.rows[order_id] |= {"price": 99.0}
    shown(world, order_id, 10)
    world.run(10.0)
    assert world.reason(2) == "ABSENT" and others(world) == 10


@pytest.mark.parametrize("kind", [IntentKind.CANCEL, IntentKind.MODIFY])
def test_a_call_that_came_too_late_for_it(kind: IntentKind) -> None:
    world, gtts = bid()
    order_id = gtts.fire(100)
    more: dict[str, Any] = {"qty": 4, "px": 0} if kind is IntentKind.MODIFY else {}
    world.send(3, kind=kind, target_seq=2, **more)
    shown(world, order_id, 4)
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 4 and others(world) == 0, world.alerts
    expected = OrderStatus.CANCELLED if kind is IntentKind.CANCEL else OrderStatus.OPEN
    assert world.status(2) is expected


def unanswered() -> tuple[World, Gtts]:
    """A trigger that buys ten is placed, and that is not answered."""
    world = World(adapter=LEAVES_OUT).start()
    gtts = Gtts(world)
    Unlisted(world, gtts)
    gtts.lost = True
    entry(world, 2)
    return world, gtts


def test_one_that_no_list_has_ever_shown_and_whose_placing_was_not_answered() -> None:
    world, gtts = unanswered()
    order_id = gtts.fire(100)
    shown(world, order_id, 10)
    world.run(15.0)
    assert world.quantity(product=Product.CNC) == 10 and others(world) == 0, world.alerts
    assert world.kinds(2)[-1] == "COMPLETE"


def test_one_that_a_read_has_passed_over_fires_before_the_next() -> None:
    """Its placing was not answered, and its order is heard of after the list."""
    world, gtts = unanswered()
    trigger, row = world.stage.keeper.triggers.standing[1, 2], gtts.rows.pop(100)
    world.run(181.0, 0.5)
    while trigger.late_misses < 1:
        world.run(0.1)
    gtts.rows[100] = row
    order_id = gtts.fire(100)
    late = world.broker.rows.pop(order_id)
    while trigger.late_misses < 2:
        world.run(0.1)
    world.broker.rows[order_id] = late
    shown(world, order_id, 10)
    world.run(15.0)
    assert world.quantity(product=Product.CNC) == 10 and others(world) == 0, world.alerts
    assert world.kinds(2)[-1] == "COMPLETE"


def test_an_older_order_of_the_same_terms_is_not_its_own() -> None:
    world = World(adapter=LEAVES_OUT).start()
    gtts = Gtts(world)
    Unlisted(world, gtts)
    entry(world, 2)
    order_id = gtts.fire(100)
    row = world.broker.rows[order_id]
    world.broker.rows["by hand"] = row | {"order_id": "by hand"}
    del world.broker.rows[order_id]
    gtts.rows[100]["status"] = "active"
    world.update(world.broker.rows["by hand"])
    entry(world, 3)
    world.run(10.0)
    gtts.rows[101]["status"] = "deleted"
    world.stage.reader.want_triggers()
    world.run(10.0)
    assert world.reason(3) == "ABSENT" and (1, 2) in world.stage.keeper.triggers.standing
