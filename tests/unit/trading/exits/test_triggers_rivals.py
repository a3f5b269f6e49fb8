"""Orders without a name, and triggers that may have placed them: none is taken wrongly, none blocks exits."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from gtt_tools import (
    LEAVES_OUT,
    Gtts,
    Unlisted,
    again,
    bid,
    entry,
    fell,
    fired_late,
    others,
    overnight,
    sells,
    shown,
    stop,
    ten,
)
from orders_world import PX, World, error, filled

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.sessions import ist_text
from kite_hft.trading.broker import (
    Broker,
    HttpRequest,
    HttpResponse,
    TransportError,
    TriggerLeg,
    TriggerReport,
)
from kite_hft.trading.order import EXTERNAL

Answer = HttpResponse | TransportError
OVER = {"status": "CANCELLED", "pending_quantity": 0, "cancelled_quantity": 10}


def never_arrives(world: World, gtts: Gtts) -> None:
    """The placing of a trigger gets lost on its way, and is not answered."""

    def call(request: HttpRequest) -> Answer:
        if request.path.startswith("/gtt/triggers") and request.method == "POST":
            return TransportError("timed out", sent=True)
        return gtts.call(request)

    world.broker.on_call = call


def by_hand(world: World, **more: Any) -> dict[str, Any]:
    """A person enters an order with the terms of the trigger."""
    row = world.broker.rows["byhand"] = {
        "order_id": "byhand", "status": "OPEN", "exchange": "NSE", "tag": None, "tags": [],
        "tradingsymbol": "SHARE0", "transaction_type": "BUY", "instrument_token": 1000 * 256 + 1,
        "quantity": 10, "order_type": "LIMIT", "product": "CNC", "filled_quantity": 0, "pending_quantity": 10,
        "average_price": 0, "price": (PX - 95) / 100, "trigger_price": 0,
        "order_timestamp": ist_text(world.clock.real_ns()), **more,
    }  # fmt: skip
    world.update(row)
    return row


def twins() -> tuple[World, Gtts, str]:
    """A stop has fired beside a person's order of the same terms, and nobody knows which is which."""
    world, gtts = stop()
    order_id = gtts.fire(100)
    world.broker.rows["byhand"] = world.broker.rows[order_id] | {"order_id": "byhand"}
    for name in (order_id, "byhand"):
        world.update(world.broker.rows[name])
    fell(world, 12.0)
    assert "TRIGGER_UNKNOWN" in world.codes()
    return world, gtts, order_id


def is_a_strangers(world: World) -> bool:
    world.run(20.0)
    order = world.stage.book.by_id("byhand")
    ours = order is not None and order.strategy != EXTERNAL
    lives = world.broker.rows["byhand"]["status"] == "OPEN"
    return lives and not ours and "EXTERNAL_ORDER" in world.codes()


def test_where_the_list_shows_what_has_fired_terms_prove_nothing() -> None:
    world = World().start()
    never_arrives(world, Gtts(world))
    entry(world, 2)
    world.run(20.0)
    by_hand(world)
    assert is_a_strangers(world)


@pytest.mark.parametrize("adapter", [KITE, LEAVES_OUT])
def test_a_person_who_does_himself_what_never_arrived_is_left_alone(adapter: Broker) -> None:
    world = World(adapter=adapter).start()
    never_arrives(world, Gtts(world))
    entry(world, 2)
    world.run(220.0, 0.5)
    assert world.reason(2) == "ABSENT"
    by_hand(world)
    assert is_a_strangers(world)


def test_a_person_who_does_himself_what_has_gone_is_left_alone_where_the_list_tells() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world, 2)
    world.stage.reader.want_triggers()
    world.run(3.0)
    gtts.rows.clear()
    world.broker.triggers = []
    world.stage.reader.want_triggers()
    world.run(10.0)
    assert world.reason(2) == "ABSENT"
    by_hand(world)
    assert is_a_strangers(world)


def test_what_had_fired_after_all_is_cancelled_by_a_later_process_too() -> None:
    world, _gtts, order_id, late = fired_late()
    world.broker.rows[order_id] = late
    shown(world, order_id, 4)
    world.run(10.0)
    records = world.journal.records
    at = next(i for i, r in enumerate(records) if r.kind is Kind.GTT and r.data().get("late"))
    world.journal.records = records[: at + 1]  # it died before the cancel left
    world.broker.rows[order_id] |= {"status": "OPEN", "pending_quantity": 6, "cancelled_quantity": 0}
    other = again(world).start()
    other.run(20.0)
    assert other.status(2) is OrderStatus.CANCELLED and other.broker.rows[order_id]["status"] == "CANCELLED"


@pytest.mark.parametrize("adapter", [KITE, LEAVES_OUT])
def test_an_order_that_was_rejected_holds_no_closing_up(adapter: Broker) -> None:
    world, gtts = overnight(adapter)
    world.run(3.0)
    order_id = gtts.fire(100)
    row, read = world.broker.rows[order_id], world.broker.read
    row |= {"status": "REJECTED", "pending_quantity": 0, "status_message": "RMS: no holdings authorised"}

    def call(request: HttpRequest) -> Answer:
        changes = request.path.startswith("/gtt") and request.method != "POST"
        return error(400, "InputException", "the trigger is not active") if changes else gtts.call(request)

    world.broker.on_call = call
    world.broker.on_read = lambda request: (
        error(500, "GeneralException", "x") if request.path.startswith("/gtt") else read(request)
    )
    world.update(row)
    fell(world, 120.0)
    assert sells(world) >= 2, "the list cannot be read, and the position is closed all the same"


@pytest.mark.parametrize("restarted", [False, True])
def test_two_that_fit_and_are_cancelled_without_a_fill_hold_nothing_up(restarted: bool) -> None:
    world, gtts, order_id = twins()
    for name in (order_id, "byhand"):
        world.broker.rows[name] |= OVER
        world.update(world.broker.rows[name])
    if restarted:
        world = again(world).start()
        gtts.world = world
        Unlisted(world, gtts)
    fell(world, 60.0)
    assert sells(world) > 2, "exits close the position"


def test_of_two_that_have_filled_either_is_as_good() -> None:
    world, _gtts, order_id = twins()
    for name in (order_id, "byhand"):
        shown(world, name, 10)
    fell(world, 20.0)
    assert sells(world) == 2 and not world.stage.keeper.triggers.standing
    assert world.quantity(product=Product.CNC) == 0 and others(world) == -10, "the other one is somebody's"


def test_each_gets_the_order_that_only_it_can_have_placed() -> None:
    world, gtts = bid()
    entry(world, 3)
    world.stage.reader.want_triggers()
    world.run(3.0)
    gtts.lost = True
    more: dict[str, Any] = {"qty": 5, "px": 0, "trigger_px": 0, "order_type": 0}
    world.wish(4, kind=IntentKind.MODIFY, target_seq=2, **more)
    world.step(2)
    gtts.lost = False
    five, ten = gtts.fire(100), gtts.fire(101)
    shown(world, ten, 10)
    shown(world, five, 5)
    world.run(15.0)
    assert others(world) == 0 and world.quantity(product=Product.CNC) == 15, world.alerts
    found = {name: world.stage.book.by_id(name) for name in (five, ten)}
    assert {name: order and order.strategy_seq for name, order in found.items()} == {five: 2, ten: 3}


def test_one_that_was_thought_absent_does_not_take_the_order_of_the_one_in_its_stead() -> None:
    """One read, asked for after the order was heard of, shows the newer one as waiting still."""
    world, gtts = bid()
    gtts.rows[100]["status"] = "deleted"
    world.stage.reader.want_triggers()
    world.run(10.0)
    assert world.reason(2) == "ABSENT"
    entry(world, 3)
    world.stage.reader.want_triggers()
    world.run(3.0)
    order_id = gtts.fire(101)
    gtts.rows[101]["status"] = "active"
    shown(world, order_id, 4)
    world.run(2.5)
    gtts.rows[101]["status"] = "triggered"
    world.run(20.0)
    order = world.stage.book.by_id(order_id)
    assert order is not None and order.strategy_seq == 3 and order.status is OrderStatus.OPEN, world.alerts
    assert world.broker.rows[order_id]["status"] == "OPEN" and others(world) == 0


def test_exits_keep_their_stop_in_a_cool_down() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    words = {"kind": IntentKind.EXITS, "order_type": 0, "side": 0, "qty": 0, "validity": 0}
    world.send(2, product=Product.CNC, trigger_px=PX - 100, px=0, flags=0, **words)
    world.run(1.0)
    world.stage.desk.throttle.cool_down(world.clock.mono)
    world.send(3, product=Product.CNC, trigger_px=PX - 100, px=0, flags=2, **words)
    world.run(5.0)
    orders = [row for row in world.broker.rows.values() if row["transaction_type"] == "SELL"]
    assert any(row["status"] not in ("CANCELLED", "COMPLETE") for row in orders) or any(
        row["status"] == "active" for row in gtts.rows.values()
    )


@pytest.mark.parametrize("own", ["COMPLETE", "OPEN", "REJECTED"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_twin_without_a_fill_releases_the_position(own: str, restarted: bool) -> None:
    world, gtts, order_id = twins()
    over, left = ("byhand", order_id) if own != "REJECTED" else (order_id, "byhand")
    world.broker.rows[over] |= OVER
    world.update(world.broker.rows[over])
    if own == "COMPLETE":
        shown(world, order_id, 10)
    if restarted:
        fell(world, 5.0)
        world = again(world).start()
        gtts.world = world
        Unlisted(world, gtts)
    fell(world, 60.0)
    assert not world.stage.keeper.triggers.claims.open and not world.stage.keeper.triggers.standing
    order = world.stage.book.by_id(left)
    assert order is not None and order.strategy == 1, world.alerts


def test_one_that_no_list_has_shown_blocks_no_exits_for_a_persons_order() -> None:
    """Its placing was not answered, and two that may be it wait."""
    world, gtts = ten(LEAVES_OUT)
    Unlisted(world, gtts)
    words = {"kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0}
    gtts.lost = True
    world.send(2, product=Product.CNC, trigger_px=PX - 100, px=0, **words)
    world.run(0.5)
    gtts.lost = False
    gtts.rows[101] = deepcopy(gtts.rows[100]) | {"id": 101}
    world.run(10.0)
    price = gtts.rows[100]["orders"][0]["price"]
    row = by_hand(world, transaction_type="SELL", price=price)
    world.run(30.0)
    row |= OVER | {"filled_quantity": 4, "cancelled_quantity": 6, "average_price": price}
    world.update(row)
    fell(world, 60.0)
    assert sells(world) > 1 and not world.stage.keeper.triggers.claims.open, world.alerts


def test_an_order_that_a_push_has_named_is_not_given_to_another_one() -> None:
    """The deletion of the first hangs while both fire, and of the second the push is lost."""
    world, gtts = bid()
    entry(world, 3)
    world.stage.reader.want_triggers()
    world.run(3.0)
    first, second = gtts.fire(100), gtts.fire(101)
    triggers = world.stage.keeper.triggers
    triggers.standing[1, 2].busy = True
    for order_id in (first, second):
        world.update(world.broker.rows[order_id])
    leg = TriggerLeg(PX - 100, Side.BUY, Product.CNC, 10, PX - 95, first)
    triggers.told(TriggerReport("100", "COMPLETED", False, 1000 * 256 + 1, (leg,)), world.clock.mono)
    world.run(8.0)
    triggers.standing[1, 2].busy = False
    world.run(20.0)
    found = {name: world.stage.book.by_id(name) for name in (first, second)}
    assert {name: order and order.strategy_seq for name, order in found.items()} == {first: 2, second: 3}
