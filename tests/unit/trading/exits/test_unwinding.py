"""A broken group is closed until nothing is left of it, once, and beside the exits of the same position."""

from __future__ import annotations

import pytest
from group_tools import again, fill, group_world, legs, posts, reject
from gtt_tools import Gtts
from orders_world import PX, Answer, World, error, filled, form, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order


def broken(world: World, first: int = 1, quantity: int | None = None) -> World:
    """The protective buy of a group has filled, in whole or in part, and its other leg was rejected."""
    legs(world, first)
    world.run(0.3)
    fill(world, first + 1, quantity)
    if quantity is None:
        reject(world, first)
    return world


def closings(world: World) -> list[Order]:
    """What the engine sent to close the leg."""
    made = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    return [o for o in made if o.order_type in (OrderType.MARKET, OrderType.LIMIT)]


def finish(world: World, order: Order, quantity: int | None = None) -> None:
    """The broker fills it."""
    row = world.broker.rows[order.order_id]
    quantity = row["quantity"] if quantity is None else quantity
    row |= {"filled_quantity": quantity, "average_price": PX / 100, "status": "COMPLETE"}
    world.update(row)
    world.run(0.5)


def over(world: World) -> bool:
    return not world.stage.keeper.groups.alive


def protected(world: World, seq: int = 2) -> Order:
    """Exits on what the strategy holds in the first share: the stop that stands for them."""
    world.send(seq, kind=IntentKind.EXITS, trigger_px=PX - 100, px=0, qty=0, order_type=0, side=0, validity=0)
    world.run(0.5)
    return next(o for o in world.stage.book.live() if o.order_type == OrderType.SLM)


def test_a_closing_that_is_refused_is_tried_until_it_is_taken_and_people_know() -> None:
    world = group_world()
    refusing = False

    def call(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/margins"):
            return ok({"initial": {"total": 1}, "final": {"total": 1}})
        if refusing and form(request).get("transaction_type") == "SELL":
            return error(429, "NetworkException", "Too many requests")
        return world.broker.accept(request)

    world.broker.on_call = call
    legs(world)
    world.run(0.3)
    refusing = True
    fill(world, 2)  # the other leg is refused as well: that breaks the group
    world.run(20.0)
    assert not over(world) and world.quantity() == 75 and len(closings(world)) >= 3
    assert {"GROUP_BROKEN", "EXIT_REFUSED"} <= set(world.codes())
    assert not any("could not be closed" in text for text in world.alerts)
    refusing = False
    while not world.stage.book.live_count():
        world.run(0.1)
    finish(world, closings(world)[-1])
    assert over(world) and world.quantity() == 0
    assert ("EXIT_REFUSED", "NSE:SHARE0 MIS of strategy 1") in [
        (f["code"], f["key"]) for f in world.alert_fields if f.get("cleared")
    ]
    assert "what had filled was closed again" in world.alerts[-1]


def test_people_are_told_when_a_group_breaks_and_a_closing_that_rests_is_priced_anew() -> None:
    world = broken(group_world())
    assert "being closed again" in next(text for text in world.alerts if text.startswith("GROUP_BROKEN"))
    (first,) = closings(world)
    world.run(world.config.reprice_s + 0.5)
    assert world.broker.rows[first.order_id]["status"] == "CANCELLED"
    world.update(world.broker.rows[first.order_id])
    world.run(0.3)
    assert [o.pending for o in closings(world)] == [0, 75] and posts(world)[-2:] == ["SELL", "SELL"]
    finish(world, closings(world)[-1])
    assert over(world) and world.quantity() == 0


def test_only_what_is_not_closed_yet_is_closed_after_a_partial_fill() -> None:
    world = broken(group_world())
    (first,) = closings(world)
    row = world.broker.rows[first.order_id]
    row |= {"filled_quantity": 30, "average_price": PX / 100, "status": "CANCELLED"}
    world.update(row)
    world.run(0.3)
    assert [(o.quantity, o.filled) for o in closings(world)] == [(75, 30), (45, 0)]


@pytest.mark.parametrize("filled_meanwhile", [75, 30, 0])
def test_a_restart_closes_nothing_twice(filled_meanwhile: int) -> None:
    world = group_world()
    world.send(1, qty=75)
    filled(world, 75)  # the strategy's own, to be kept
    broken(world, 2)
    (first,) = closings(world)
    row = world.broker.rows[first.order_id]
    row |= {"filled_quantity": filled_meanwhile, "average_price": PX / 100}
    row["status"] = "COMPLETE" if filled_meanwhile == 75 else "OPEN"
    other = again(world)
    for _ in range(8):
        for made in list(world.broker.rows.values()):
            other.update(made)
        other.run(0.5)
    if filled_meanwhile < 75:
        finish(other, closings(other)[-1])
    assert other.quantity() == 75 and over(other)
    sold = sum(r["filled_quantity"] for r in world.broker.rows.values() if r["transaction_type"] == "SELL")
    assert sold == 75


def test_a_second_death_changes_nothing() -> None:
    world = broken(group_world())
    third = again(again(world))
    third.run(2.0)
    for row in list(third.broker.rows.values()):
        third.update(row)
    third.run(2.0)
    assert sum(o.pending for o in closings(third)) == 75
    finish(third, closings(third)[-1])
    assert third.quantity() == 0 and over(third)


def test_a_number_that_a_group_names_is_no_other_orders() -> None:
    world = broken(group_world())
    number = closings(world)[0].strategy_seq
    groups = [r.data() for r in world.journal.records if r.kind is Kind.GROUP]
    assert groups[-1]["closing"] == [[number], []] or groups[-1]["closing"] == [[], [number]]
    # The process died between the record of the group and that of the order.
    last = max(r.seq for r in world.journal.records if r.kind is Kind.GROUP)
    del world.journal.records[last:]
    world.broker.rows.pop(closings(world)[0].order_id)
    other = again(world)
    other.run(1.0)
    assert [o.strategy_seq > number for o in closings(other)] == [True]


def test_a_closing_that_waits_when_the_process_dies_is_sent_once() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    world.broker.rows[world.order(1).order_id] |= {"status": "REJECTED", "status_message": "RMS"}
    world.clock.advance(10**7)
    for _ in range(10):  # the broker's windows are full
        world.stage.desk.egress.budget.left(world.clock.mono)
    world.update(world.broker.rows[world.order(1).order_id])
    assert [o.status for o in closings(world)] == [OrderStatus.NEW]
    other = again(world)
    assert [(o.quantity, o.pending) for o in closings(other)] == [(75, 75)] and not over(other)


def test_the_stop_of_the_same_position_makes_room_and_covers_what_stays() -> None:
    world = group_world()
    world.send(1, qty=75)
    filled(world, 75)
    stop = protected(world)
    broken(world, 3)
    world.run(2.5)
    (closing,) = closings(world)
    assert (closing.quantity, closing.status) == (75, OrderStatus.OPEN)
    assert (stop.quantity, stop.trigger_px) == (75, PX - 100)
    position = world.stage.book.standing(1, 0, Product.MIS)
    assert position.open_sell == position.quantity == 150
    world.run(1.0)
    assert closing.order_type == OrderType.MARKET  # nobody makes a stop of it
    assert "EXIT_REFUSED" not in world.codes()
    finish(world, closing)
    world.run(1.0)
    assert over(world) and (stop.quantity, stop.pending, world.quantity()) == (75, 75, 75)


def test_exits_that_stand_beside_a_closing_know_it_after_a_restart() -> None:
    world = group_world()
    world.send(1, qty=75)
    filled(world, 75)
    stop = protected(world)
    broken(world, 3)
    world.run(0.5)
    (closing,) = closings(world)
    other = again(world)
    other.run(0.2)
    live = [(o.order_no, o.order_type, o.pending) for o in other.stage.book.live()]
    assert live == [(stop.order_no, OrderType.SLM, 75), (closing.order_no, OrderType.MARKET, 75)]
    assert not other.stage.desk.cancelling and not other.stage.desk.modifying


def test_a_position_is_covered_again_while_its_closing_is_not_taken() -> None:
    world = group_world()
    world.send(1, qty=75)
    filled(world, 75)
    stop = protected(world)
    legs(world, 3)
    world.run(0.3)
    accept = world.broker.on_call

    def call(request: HttpRequest) -> HttpResponse:
        if form(request).get("order_type") in ("MARKET", "LIMIT") and request.method == "POST":
            return error(400, "InputException", "not now")
        assert accept is not None
        answer = accept(request)
        assert isinstance(answer, HttpResponse)
        return answer

    world.broker.on_call = call
    fill(world, 4)
    world.run(20.0)
    assert len(closings(world)) >= 3 and not over(world)
    assert stop.quantity == world.quantity() == 150


def test_a_resting_order_of_the_strategys_own_makes_room() -> None:
    """It may never fill: what is undone does not wait behind it."""
    world = broken(group_world(), quantity=74)
    world.send(9, side=Side.SELL, qty=74, px=PX + 100, flags=1)
    reject(world, 2)
    world.run(0.2)
    row = world.broker.rows[world.order(9).order_id]
    assert row["status"] == "CANCELLED"
    world.update(row)
    world.run(0.3)
    (closing,) = closings(world)
    assert (closing.quantity, closing.order_type) == (74, OrderType.MARKET)
    finish(world, closing)
    assert over(world) and world.quantity() == 0 and "EXIT_REFUSED" not in world.codes()


def test_and_closes_what_is_left_beside_it() -> None:
    """Of the strategy's own 75, and the 75 of the leg, it would have sold all."""
    world = group_world()
    world.send(1, qty=75)
    filled(world, 75)
    legs(world, 3)
    world.run(0.3)
    fill(world, 4)
    world.send(9, side=Side.SELL, qty=150, px=PX + 100, flags=1)
    reject(world, 3)
    world.run(3.0)
    (closing,) = closings(world)
    assert (world.order(9).quantity, world.order(9).pending, closing.quantity) == (75, 75, 75)
    finish(world, closing)
    assert over(world) and world.quantity() == 75


def test_where_there_is_room_for_both_it_stays_as_it_is() -> None:
    world = group_world()
    world.send(1, qty=75)
    filled(world, 75)
    world.send(2, side=Side.SELL, qty=75, px=PX + 100, flags=1)
    broken(world, 3)
    assert [order.quantity for order in closings(world)] == [75] and world.order(2).pending == 75
    assert not world.broker.calls("DELETE") and not world.broker.calls("PUT")


def test_a_sale_of_the_strategys_own_that_is_on_its_way_gets_seconds_to_fill() -> None:
    world = broken(group_world(), quantity=74)
    world.send(9, side=Side.SELL, qty=74, px=0, order_type=OrderType.MARKET, flags=1)
    reject(world, 2)
    world.run(2.0)
    assert not closings(world) and not world.broker.calls("DELETE")
    fill(world, 9)
    assert over(world) and world.quantity() == 0 and not closings(world)


def test_one_that_does_not_go_is_told_as_what_keeps_it_open() -> None:
    world = broken(group_world(), quantity=74)
    world.send(9, side=Side.SELL, qty=74, px=PX + 100, flags=1)
    accept = world.broker.on_call

    def call(request: HttpRequest) -> Answer:
        assert accept is not None
        refused = request.method == "DELETE" and world.order(9).order_id in request.path
        return error(400, "OrderException", "not now") if refused else accept(request)

    world.broker.on_call = call
    reject(world, 2)
    world.run(5.0)
    assert not closings(world) and "EXIT_REFUSED" in world.codes()
    assert any("74 held, 74 under way" in text for text in world.alerts)


def test_exits_at_the_broker_make_room_before_it_is_closed() -> None:
    """A trigger that fires beside the closing would close the same."""
    world = group_world()
    gtts, margin = Gtts(world), world.broker.on_call

    def call(request: HttpRequest) -> Answer:
        if request.path.startswith("/margins"):
            return ok({"initial": {"total": 1}, "final": {"total": 1}})
        return None if request.method == "PUT" else gtts.call(request)  # a change is not answered yet

    assert margin is not None
    world.broker.on_call = call
    words = {"group": 9, "legs": 2, "qty": 75}
    world.quote()
    world.wish(1, leg=1, slot=3, side=Side.SELL, product=Product.NRML, **words)
    world.wish(2, leg=2, slot=0, product=Product.CNC, **words)
    world.run(0.3)
    fill(world, 2, 75)
    world.send(3, kind=IntentKind.EXITS, product=Product.CNC, trigger_px=PX - 100, px=0, qty=0, order_type=0,
               side=0, validity=0, flags=2)  # fmt: skip
    world.run(0.3)
    assert gtts.rows[100]["status"] == "active"
    world.broker.on_call = lambda request: None if request.method == "DELETE" else call(request)
    reject(world, 1)
    world.run(1.0)
    assert not closings(world), "the trigger may still fire"
    world.run(3.0)
    assert [order.quantity for order in closings(world)] == [75], "for seconds only"


def test_what_no_order_can_name_is_told_and_ends_it() -> None:
    world = group_world(group_leg_s=2.0)
    world.quote()
    words = {"group": 9, "legs": 2, "product": Product.NRML, "qty": 150}
    world.wish(1, leg=1, slot=3, side=Side.BUY, **words)
    world.wish(2, leg=2, slot=0, side=Side.SELL, **words | {"product": Product.MIS})
    world.run(0.3)
    fill(world, 1, 100)
    world.run(2.5)
    world.update(world.row() | {"status": "CANCELLED"})
    world.run(0.3)
    assert [o.quantity for o in closings(world)] == [75]
    finish(world, closings(world)[-1])
    assert over(world) and world.alerts[-1].endswith("25 NFO:SHARE3 could not be closed")
    assert "ODD_LOT" in world.codes()


def test_what_a_leg_had_closed_is_not_opened_again_and_people_are_told() -> None:
    world = group_world()
    world.send(1, side=Side.SELL, qty=50)
    filled(world, 50)
    broken(world, 2)  # its purchase of 75 has turned the short of 50
    (closing,) = closings(world)
    assert closing.quantity == 25
    finish(world, closing)
    assert over(world) and world.quantity() == 0
    assert world.alerts[-1].endswith("50 NSE:SHARE0 had closed what was held, which is not opened again")


def test_what_the_end_of_the_day_closes_is_left_to_it() -> None:
    world = group_world()
    world.stage.keeper.groups.unwinder.closing = lambda key: key[1] == 0
    broken(world)
    world.run(2.0)
    assert not closings(world) and not over(world)
    assert world.stage.keeper.groups.claims((1, 0, int(Product.MIS))) == 0


def test_while_everything_is_closed_a_broken_group_places_nothing() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    world.stage.keeper.groups.suspended = True
    reject(world, 1)
    world.run(1.0)
    assert not closings(world) and not over(world)
    world.stage.keeper.groups.suspended = False
    world.run(0.3)
    assert len(closings(world)) == 1


def test_where_fills_are_kept_people_are_told_before_what_lives_is_gone() -> None:
    world = group_world(group_partial="keep", group_leg_s=2.0)
    legs(world)
    world.run(0.3)
    fill(world, 2, 40)
    world.broker.on_call = lambda request: None  # the cancel of the rest has no answer
    world.run(2.2)
    assert "what lives is cancelled, what has filled stays" in world.alerts[-1] and not over(world)
    world.update(world.row() | {"status": "CANCELLED"})
    world.run(0.3)
    assert over(world) and not closings(world) and world.quantity() == 40


def test_a_restart_leaves_a_closing_that_rests_where_it_is() -> None:
    world = broken(group_world())
    (closing,) = closings(world)
    other = again(world)
    assert not other.stage.desk.cancelling and not other.broker.calls("DELETE")
    assert [(o.order_no, o.pending) for o in closings(other)] == [(closing.order_no, 75)]
