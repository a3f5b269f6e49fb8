"""Intents that belong together: judged, paid and sent as one, or undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from group_tools import WIDE, again, fill, group_world, legs, margins, posts, reject
from journal_tools import after, of_kind, takes_no
from orders_world import PX, Answer, S, World, error, filled, limits, ok

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Cut
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.exits.group import Group, Leg, Stage
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import LIVE
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig


def test_margin_first_then_the_protective_buy_then_the_rest() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    paths = [r.path.split("?")[0] for r in world.broker.calls("POST")]
    assert paths == ["/margins/basket", "/orders/regular"]
    assert posts(world) == ["BUY"] and world.status(1) is OrderStatus.NEW
    fill(world, 2)
    assert posts(world) == ["BUY", "SELL"]
    fill(world, 1)
    assert not world.stage.keeper.groups.alive
    ends = [r.data().get("ended") for r in world.journal.records if r.kind is Kind.GROUP]
    assert ends == [None, "done"]


def test_the_deadline_of_its_intents_binds_the_first_leg_alone() -> None:
    """The others wait for those before them, which may rest: `exits.group_leg_s` is for that."""
    world = group_world()
    legs(world, deadline_ns=world.clock.mono + 2 * S)
    world.run(3.0)
    fill(world, 2)
    assert posts(world) == ["BUY", "SELL"], "the protective buy has rested for three seconds"
    fill(world, 1)
    assert not world.stage.keeper.groups.alive and "GROUP_BROKEN" not in world.codes()
    late = group_world()
    legs(late, deadline_ns=late.clock.mono)
    late.run(0.3)
    assert not posts(late) and late.reason(2) == "THROTTLE_DEADLINE" and not late.stage.keeper.groups.alive


def test_a_group_that_costs_more_than_there_is_is_refused_whole() -> None:
    world = group_world(1_000.51)  # the account has 1,000.50
    legs(world)
    world.run(0.3)
    assert not posts(world) and not world.stage.book.live_count()
    assert world.reason(1) == world.reason(2) == "MARGIN"


def test_no_answer_about_margin_is_no() -> None:
    world = group_world()
    world.broker.on_call = lambda request: error(500, "GeneralException", "?")
    legs(world)
    world.run(0.3)
    assert not posts(world) and world.reason(1) == "MARGIN"


def test_one_question_about_margin_too_many_holds_no_orders_up() -> None:
    world = group_world()
    world.broker.on_call = lambda request: (
        error(429, "NetworkException", "Too many requests")
        if request.path.startswith("/margins")
        else world.broker.accept(request)
    )
    legs(world)
    world.run(0.3)
    assert world.reason(1) == "MARGIN" and "RATE_LIMITED" not in world.codes()
    world.send(5)
    assert world.status(5) is OrderStatus.PENDING


def test_one_refused_leg_refuses_all() -> None:
    world = group_world()
    legs(world, qty=76)  # no multiple of the future's lot
    world.run(0.3)
    assert not world.broker.calls("POST")
    assert (world.reason(1), world.reason(2)) == ("LOT_MULTIPLE", "GROUP")
    assert not world.stage.book.live_count()


def test_legs_are_judged_together() -> None:
    risk = RiskLimits(max_order_value=1e8, max_position_size=1e8, max_exposure=12_000.0)
    world = World(config=OrdersConfig(limits(), risk)).start()
    margins(world, 1.0)
    legs(world)  # 7,500 each
    world.run(0.3)
    assert not world.broker.calls("POST")
    assert {world.reason(1), world.reason(2)} == {"MAX_EXPOSURE", "GROUP"}


def test_legs_that_do_not_come_are_waited_for_and_no_longer() -> None:
    world = group_world()
    world.quote()
    world.wish(1, group=9, leg=1, legs=2)
    world.run(0.5)
    assert not world.kinds(1)
    world.run(1.0)
    assert world.reason(1) == "GROUP" and not world.broker.calls("POST")
    assert not world.stage.keeper.groups.alive


@pytest.mark.parametrize("words", [{"leg": 3, "legs": 2}, {"leg": 1, "legs": 1}, {"leg": 1, "legs": 99}])
def test_legs_that_cannot_be(words: dict[str, int]) -> None:
    world = group_world()
    world.send(1, group=9, **words)
    assert world.reason(1) == "GROUP"


def test_a_rejected_leg_unwinds_what_has_filled() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    reject(world, 1)
    closing = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [(o.side, o.quantity, o.order_type, o.slot) for o in closing] == [
        (Side.SELL, 75, OrderType.MARKET, 0)
    ]
    row = world.row()
    world.update(row | {"filled_quantity": 75, "average_price": 100, "status": "COMPLETE"})
    world.run(0.5)
    assert world.quantity() == 0 and "GROUP_BROKEN" in world.codes()
    assert not world.stage.keeper.groups.alive


def test_a_leg_that_rests_too_long_breaks_the_group() -> None:
    world = group_world(group_leg_s=2.0)
    legs(world)
    world.run(0.3)
    world.run(2.5)
    assert world.status(1) is OrderStatus.REFUSED and world.reason(1) == "GROUP"
    assert len(world.broker.calls("DELETE")) == 1
    world.update(world.row() | {"status": "CANCELLED"})
    world.run(0.5)
    assert not world.stage.keeper.groups.alive and posts(world) == ["BUY"]


def test_a_partial_group_is_kept_where_the_settings_say_so() -> None:
    world = group_world(group_leg_s=2.0, group_partial="keep")
    legs(world)
    world.run(0.3)
    fill(world, 2)
    world.run(2.5)
    world.update(world.broker.rows[world.order(1).order_id] | {"status": "CANCELLED"})
    world.run(0.5)
    assert world.quantity() == 75 and "GROUP_BROKEN" in world.codes()
    assert not world.stage.keeper.groups.alive


def test_nothing_is_built_on_a_leg_whose_fate_is_unknown() -> None:
    from kite_hft.trading.broker import TransportError

    world = group_world(group_leg_s=2.0)
    legs(world)

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.path.startswith("/margins"):
            return ok({"initial": {"total": 1}, "final": {"total": 1}})
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.run(4.0)
    assert world.status(2) is OrderStatus.AMBIGUOUS and world.status(1) is OrderStatus.NEW
    assert len(posts(world)) == 1


def test_a_group_that_a_dead_process_left_half_done_is_unwound() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    other = again(world)
    other.run(0.5)
    cancelled = world.broker.rows[other.order(1).order_id]
    assert cancelled["status"] == "CANCELLED"
    other.update(cancelled)
    other.run(0.5)
    closing = [o for o in other.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [(o.side, o.quantity) for o in closing] == [(Side.SELL, 75)]
    assert S


def halved(**more: Any) -> World:
    """The first leg of a group is out, its second waits."""
    world = group_world(**more)
    legs(world)
    world.run(0.3)
    assert posts(world) == ["BUY"] and world.status(1) is OrderStatus.NEW
    return world


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda world: world.stage.states.reduce("daily loss", ""), "REDUCING"),
        (lambda world: world.stage.states.hold(1, "a person"), "REDUCING"),
        (lambda world: world.stage.halt("a person", world.clock.mono), "HALTED"),
        (lambda world: world.stage.begin_stop(world.clock.mono, "keep"), "HALTED"),
    ],
)
def test_a_leg_that_may_not_open_any_more_breaks_the_group(what: Callable[[World], Any], reason: str) -> None:
    world = halved()
    what(world)
    fill(world, 2)
    assert world.reason(1) == reason and "GROUP_BROKEN" in world.codes()
    assert posts(world) == ["BUY", "SELL"] and world.row()["tradingsymbol"] == "SHARE0"  # it is closed again


def test_a_leg_waits_for_a_price_to_be_judged_by() -> None:
    world = halved()
    world.stale_slots.add(3)
    fill(world, 2)
    world.run(3.0)
    assert posts(world) == ["BUY"] and "GROUP_BROKEN" not in world.codes()
    world.stale_slots.clear()
    world.run(0.5)
    assert posts(world) == ["BUY", "SELL"] and world.row()["tradingsymbol"] == "SHARE3"


def test_it_waits_for_a_price_no_longer_than_a_leg_may_rest() -> None:
    world = halved(group_leg_s=4.0)
    world.stale_slots.add(3)
    fill(world, 2)
    world.run(4.5)
    assert world.reason(1) == "NO_SNAPSHOT" and "GROUP_BROKEN" in world.codes()
    assert posts(world) == ["BUY", "SELL"] and world.row()["tradingsymbol"] == "SHARE0"


def test_a_market_that_stands_still_lets_no_leg_follow_and_a_moving_one_does() -> None:
    world = halved()
    world.do("market_halt", on=True)
    fill(world, 2)
    world.run(2.0)
    assert posts(world) == ["BUY"] and "GROUP_BROKEN" not in world.codes()
    world.do("market_halt", on=False)
    world.run(0.5)
    assert posts(world) == ["BUY", "SELL"] and world.row()["tradingsymbol"] == "SHARE3"


def test_a_leg_that_was_to_reduce_opens_nothing_once_that_is_closed() -> None:
    world = group_world()
    world.send(1, slot=3, product=Product.NRML, qty=75)
    filled(world, 75)
    legs(world, 2)  # sells the future that is held
    world.run(0.3)
    assert not world.order(2).opening and world.status(2) is OrderStatus.NEW
    cut = Cut(1, 3, int(Product.NRML), -75, -75 * PX)
    world.stage.book.cut(cut)  # the broker has closed it
    fill(world, 3)
    assert world.reason(2) == "FROZEN" and world.row()["tradingsymbol"] == "SHARE0"


def test_what_is_refused_before_anything_has_left_is_no_broken_group() -> None:
    world = group_world()
    world.broker.hold = True
    legs(world)
    world.run(0.3)
    world.stage.halt("a person", world.clock.mono)
    world.broker.hold = False
    world.run(0.3)
    assert (world.reason(1), world.reason(2)) == ("GROUP", "HALTED")
    assert not posts(world) and "GROUP_BROKEN" not in world.codes()
    assert not world.stage.keeper.groups.alive


def test_legs_that_still_waited_when_their_group_was_given_up_are_refused() -> None:
    """The group's record was written, and the process died before its legs had left their queue."""
    world = group_world()
    legs(world)
    world.run(0.1)
    kinds = [record.kind for record in world.journal.records]
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records)[: kinds.index(Kind.GROUP) + 1], config=world.config,
        more={"restarted": True},
    )  # fmt: skip
    world.broker.ready.clear()
    legs(other)
    other.start()
    other.run(3.0)
    assert (other.reason(1), other.reason(2)) == ("GROUP", "GROUP")
    assert not other.stage.keeper.groups.alive


def test_a_group_that_had_filled_is_whole_although_its_end_was_not_written() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    takes_no(world, Kind.GROUP)
    fill(world, 1)
    assert not world.stage.keeper.groups.alive
    other = after(world).start()
    other.run(3.0)
    assert other.quantity() == 75 and other.quantity(slot=3, product=Product.NRML) == -75
    assert "GROUP_BROKEN" not in other.codes() and len(posts(other)) == 2
    end = of_kind(other, Kind.GROUP)[-1]
    assert end["ended"] == "done" and "broken" not in end


def test_so_is_one_whose_last_leg_filled_while_nobody_looked() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    row = world.broker.rows[world.order(1).order_id]
    row |= {"filled_quantity": 75, "average_price": PX / 100, "status": "COMPLETE"}
    other = again(world)
    other.run(2.0)
    assert len(posts(other)) == 2 and of_kind(other, Kind.GROUP)[-1]["ended"] == "done"


def test_not_so_one_that_was_broken_before() -> None:
    """Its last leg came too late, and people know that it is undone."""
    world = group_world(group_leg_s=2.0)
    legs(world)
    world.run(0.3)
    fill(world, 2)
    world.broker.hold = True
    world.run(2.5)
    assert of_kind(world, Kind.GROUP)[-1]["broken"]
    row = world.broker.rows[world.order(1).order_id]
    row |= {"filled_quantity": 75, "average_price": PX / 100, "status": "COMPLETE"}
    world.broker.hold = False
    other = again(world)
    other.run(2.0)
    assert posts(other)[:3] == ["BUY", "SELL", "BUY"], "the last leg is closed first"


def test_not_so_one_of_which_a_slice_is_missing() -> None:
    order = Order(1, 1, 1, 0, Side.BUY, OrderType.LIMIT, Product.MIS, 1, 0, 75, PX, 0, "", filled=75)
    leg = Leg(1, [order], 150)
    assert not Group(1, 9, 1, 0, Stage.BROKEN, legs=[leg]).whole
    leg.quantity = 75
    assert Group(1, 9, 1, 0, Stage.BROKEN, legs=[leg]).whole
    leg.closing = [7]
    assert not Group(1, 9, 1, 0, Stage.BROKEN, legs=[leg]).whole


def test_no_group_begins_in_a_position_in_which_another_is_being_undone() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    reject(world, 1)
    assert world.stage.keeper.groups.alive
    legs(world, 5, group=10)
    world.run(0.3)
    assert world.reason(5) == world.reason(6) == "GROUP"
    assert any("group 9 is being undone" in r.data().get("text", "") for r in world.journal.records)
    finish = world.row() | {"status": "COMPLETE", "filled_quantity": 75, "average_price": PX / 100}
    world.broker.rows[finish["order_id"]] = finish
    world.update(finish)
    world.run(0.3)
    legs(world, 9, group=12)
    world.run(0.3)
    assert posts(world)[-1] == "BUY"


def test_no_leg_opens_beside_an_order_whose_fate_became_unknown_with_the_same_answers() -> None:
    world = group_world()
    accept = world.broker.on_call
    assert accept is not None

    def call(request: HttpRequest) -> Answer:
        if request.path == "/orders/regular" and not world.broker.rows:
            return TransportError("timed out", sent=True)
        return accept(request)

    world.broker.on_call = call
    world.quote()
    world.wish(1)
    legs(world, 2)
    world.broker.hold = True
    world.run(0.1)  # the order is out, and so is the question what the group takes
    world.broker.ready.reverse()  # the answer to that comes first
    world.broker.hold = False
    world.run(0.1)
    assert world.status(1) is OrderStatus.AMBIGUOUS
    assert world.reason(3) == "FROZEN" and len(posts(world)) == 1


@pytest.mark.parametrize(("room", "passes"), [(5, True), (4, False)])
def test_legs_and_their_slices_take_the_room_of_as_many_orders(room: int, passes: bool) -> None:
    world = World(config=OrdersConfig(limits(), replace(WIDE, max_working_orders=room))).start()
    margins(world, 500.0)
    world.send(1, slot=1, px=PX - 20)
    legs(world, 2, qty=3675)
    world.run(0.5)
    orders = [order for seq in (2, 3) if (first := world.stage.book.by_strategy(1, seq))
              for order in world.stage.book.family(first)]  # fmt: skip
    if passes:
        assert sum(order.status in LIVE for order in orders) == 4
    else:
        assert world.reason(2) == "MAX_WORKING_ORDERS" and world.reason(3) == "GROUP"
        assert world.stage.book.live_count() == 1
