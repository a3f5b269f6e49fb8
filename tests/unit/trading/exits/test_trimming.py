"""A strategy's own triggers never close more than what is held."""

from __future__ import annotations

import pytest
from gtt_tools import Gtts, entry
from orders_world import PX, World, error, filled

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

NRML = Product.NRML


def held(quantity: int = 10, side: Side = Side.BUY) -> tuple[World, Gtts]:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, side=side, qty=quantity, product=NRML)
    filled(world, quantity)
    return world, gtts


def goes(world: World, seq: int, quantity: int, side: Side = Side.SELL) -> None:
    """So much of the position goes another way."""
    world.send(seq, side=side, qty=quantity, product=NRML)
    filled(world, quantity)
    world.run(2.0)


def waiting(gtts: Gtts) -> list[int]:
    rows = [row for row in gtts.rows.values() if row["status"] == "active"]
    return [row["orders"][0]["quantity"] for row in rows]


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_an_exit_shrinks_with_its_position_and_goes_with_it(side: Side) -> None:
    world, gtts = held(side=side)
    away = Side.SELL if side == Side.BUY else Side.BUY
    off = -100 if side == Side.BUY else 100
    entry(world, 2, side=away, product=NRML, px=PX + off, trigger_px=PX + off)
    assert waiting(gtts) == [10]
    goes(world, 3, 4, away)
    assert waiting(gtts) == [6] and world.kinds(2)[-1] == "UPDATED"
    goes(world, 4, 6, away)
    assert waiting(gtts) == [] and world.kinds(2)[-1] == "CANCELLED"


def test_several_share_what_is_held_oldest_first() -> None:
    world, gtts = held()
    entry(world, 2, side=Side.SELL, product=NRML, qty=6)
    entry(world, 3, side=Side.SELL, product=NRML, qty=4, px=PX + 100, trigger_px=PX + 100)
    assert waiting(gtts) == [6, 4]
    goes(world, 4, 3)
    assert waiting(gtts) == [6, 1]


def test_one_that_is_to_open_is_left_alone() -> None:
    world, gtts = held()
    entry(world, 2, side=Side.SELL, product=NRML)
    entry(world, 3, side=Side.SELL, product=NRML, qty=15)
    goes(world, 4, 10)
    assert waiting(gtts) == [15] and gtts.calls == ["POST", "POST", "DELETE"]


def test_it_follows_its_position_after_a_restart() -> None:
    world, gtts = held()
    entry(world, 2, side=Side.SELL, product=NRML)
    later = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), tags=world.tags,
        more={"restarted": True},
    )  # fmt: skip
    later.stage.start()
    later.run(5.0)
    goes(later, 3, 4)
    assert waiting(gtts) == [6]


def test_it_is_deleted_though_the_broker_refuses_it_at_first_and_after_a_restart() -> None:
    world, gtts = held()
    entry(world, 2, side=Side.SELL, product=NRML)
    refusing = [True]

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method == "DELETE" and refusing[0]:
            return error(429, "NetworkException", "Too many requests")
        return gtts.call(request)

    world.broker.on_call = call
    goes(world, 3, 10)
    assert waiting(gtts) == [10]
    history = list(world.journal.records)
    later = World(
        broker=world.broker, clock=world.clock, history=history, tags=world.tags, more={"restarted": True}
    )
    later.stage.start()
    later.run(5.0)
    assert later.stage.active and waiting(gtts) == [10]
    refusing[0] = False
    later.run(60.0)
    assert waiting(gtts) == []


@pytest.mark.parametrize("gone", [4, 10])
def test_what_one_has_placed_when_its_position_was_gone_is_cancelled(gone: int) -> None:
    world, gtts = held()
    entry(world, 2, side=Side.SELL, product=NRML)
    world.broker.triggers = [dict(row) for row in gtts.rows.values()]  # the list lags
    order_id = gtts.fire(100)

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method != "POST" and request.path.startswith("/gtt"):
            return error(400, "GeneralException", "Trigger has fired already")
        return gtts.call(request)

    world.broker.on_call = call
    world.update(world.broker.rows[order_id])
    world.send(3, side=Side.SELL, qty=gone, product=NRML)
    filled(world, gone)
    world.broker.triggers = list(gtts.rows.values())
    world.run(8.0)
    assert world.status(2) is OrderStatus.CANCELLED and world.quantity(product=NRML) == 10 - gone


def both(quantity: int = 10, trigger_quantity: int = 4) -> tuple[World, Gtts, str]:
    """A position of 10, an exit of the strategy's own for all of it, and a trigger beside it for a part.
    Also the exit's order id.
    """
    world, gtts = held()
    world.send(2, side=Side.SELL, product=NRML, qty=quantity, px=PX + 200)
    order_id = list(world.broker.rows)[-1]
    world.broker.rows[order_id] |= {"status": "OPEN"}
    world.run(3.0)
    entry(world, 3, side=Side.SELL, product=NRML, qty=trigger_quantity)
    assert waiting(gtts) == [trigger_quantity] and not world.order(2).opening
    return world, gtts, order_id


def test_an_exit_beside_a_trigger_that_has_fired_closes_what_is_left() -> None:
    """Both were to close the same. Left as it was, the exit would open 4 the other way."""
    world, gtts, order_id = both()
    fired = gtts.fire(100)
    world.run(8.0)
    assert world.broker.rows[order_id]["quantity"] == 6 and world.order(2).quantity == 6
    world.broker.rows[fired] |= {"status": "COMPLETE", "filled_quantity": 4, "average_price": 99.0}
    world.run(8.0)
    assert world.quantity(product=NRML) == 6 and world.order(2).status is OrderStatus.OPEN
    assert world.broker.rows[order_id]["quantity"] == 6


def test_an_exit_goes_when_a_trigger_closes_everything() -> None:
    world, gtts, order_id = both(trigger_quantity=10)
    gtts.fire(100)
    world.run(8.0)
    assert world.broker.rows[order_id]["status"] == "CANCELLED"


def test_an_exit_that_cannot_be_made_smaller_is_cancelled() -> None:
    world, gtts, order_id = both()

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method == "PUT":
            return error(400, "InputException", "Maximum allowed order modifications exceeded.")
        return gtts.call(request)

    world.broker.on_call = call
    gtts.fire(100)
    world.run(8.0)
    assert world.broker.rows[order_id]["status"] == "CANCELLED"


def test_an_exit_is_made_smaller_after_a_restart() -> None:
    world, gtts, order_id = both()
    fired = gtts.fire(100)
    world.broker.on_call = lambda request: TransportError("no answer", sent=False)
    world.run(3.0)
    assert world.broker.rows[order_id]["quantity"] == 10
    later = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), tags=world.tags,
        more={"restarted": True},
    )  # fmt: skip
    world.broker.on_call = gtts.call
    world.broker.rows[fired] |= {"status": "COMPLETE", "filled_quantity": 4, "average_price": 99.0}
    later.stage.start()
    later.run(20.0)
    assert later.stage.active and world.broker.rows[order_id]["quantity"] == 6


def test_an_exit_stays_beside_a_trigger_that_fired_although_its_strategy_had_cancelled_it() -> None:
    """What it has placed is cancelled: it takes no room away."""
    world, gtts, order_id = both(trigger_quantity=10)

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method == "DELETE" and request.path.startswith("/gtt"):
            return error(400, "InputException", "it has triggered")
        return gtts.call(request)

    world.broker.on_call = call
    fired = gtts.fire(100)
    world.send(4, kind=IntentKind.CANCEL, target_seq=3)
    world.run(8.0)
    assert world.broker.rows[fired]["status"] == "CANCELLED"
    assert world.broker.rows[order_id]["status"] == "OPEN" and world.broker.rows[order_id]["quantity"] == 10


def test_an_exit_is_made_smaller_by_one_trigger_after_the_other() -> None:
    world, gtts = held(30)
    world.send(2, side=Side.SELL, product=NRML, qty=30, px=PX + 200)
    order_id = list(world.broker.rows)[-1]
    world.broker.rows[order_id] |= {"status": "OPEN"}
    world.run(3.0)
    for seq in (3, 4):
        entry(world, seq, side=Side.SELL, product=NRML, qty=10)
    for number, left in ((100, 20), (101, 10)):
        fired = gtts.fire(number)
        world.run(8.0)
        world.broker.rows[fired] |= {"status": "COMPLETE", "filled_quantity": 10, "average_price": 99.0}
        world.run(60.0)
        assert world.broker.rows[order_id]["quantity"] == left == world.quantity(product=NRML)
        assert world.broker.rows[order_id]["status"] == "OPEN"


def test_an_exit_of_which_a_change_is_unproven_is_cancelled() -> None:
    """It cannot be made smaller until that is known, and may close all of it until then."""
    world, gtts, order_id = both()
    world.broker.on_call = lambda request: (
        TransportError("timed out", sent=True) if request.method == "PUT" else gtts.call(request)
    )
    world.send(4, kind=IntentKind.MODIFY, target_seq=2, px=PX + 300, qty=0, order_type=0)
    world.run(1.0)
    assert world.order(2).unproven is not None
    gtts.fire(100)
    world.run(10.0)
    assert world.broker.rows[order_id]["status"] == "CANCELLED"
