"""The broker's list of triggers lags behind what has been placed, and behind what has fired."""

from __future__ import annotations

from typing import Any

import pytest
from gtt_tools import Gtts, Lagging, again, closing, entry, fired, overnight, shown
from orders_world import PX, Queue, World, error, filled

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.order import EXTERNAL

Answer = HttpResponse | TransportError
EXITS: dict[str, Any] = {
    "kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0,
    "product": Product.CNC, "px": 0, "trigger_px": PX - 100,
}  # fmt: skip


@pytest.mark.parametrize("quantity", [4, 10])
@pytest.mark.parametrize("whose", ["exits", "own"])
def test_fills_that_were_taken_for_a_strangers_are_not_counted_twice(whose: str, quantity: int) -> None:
    world, gtts = overnight() if whose == "exits" else closing()
    order_id, lag = fired(world, gtts, quantity)
    assert world.quantity(product=Product.CNC) == 10 - quantity
    lag.ends()
    for _ in range(60):
        world.run(0.5)
        assert world.quantity(product=Product.CNC) == 10 - quantity, world.alerts
    order = world.stage.book.by_id(order_id)
    assert order is not None and (order.strategy, order.filled) == (1, quantity)
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), intents=Queue(), more={"restarted": True},
    ).start()  # fmt: skip
    again.run(20.0)
    assert again.quantity(product=Product.CNC) == 10 - quantity, again.alerts
    shown(again, order_id, 10)
    again.run(20.0)
    assert again.quantity(product=Product.CNC) == 0, again.alerts
    assert again.stage.book.by_id(order_id).status is OrderStatus.COMPLETE
    assert not any("positions" in text for text in again.alerts), again.alerts


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("quantity", [4, 10])
@pytest.mark.parametrize("opens", [False, True])
def test_fills_that_were_taken_for_a_strangers_become_the_strategys_own(
    opens: bool, quantity: int, restarted: bool
) -> None:
    if opens:
        world = World().start()
        gtts = Gtts(world)
        entry(world, 2)
    else:
        world, gtts = closing()
    order_id, lag = fired(world, gtts, quantity)
    others = world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity
    assert (world.quantity(product=Product.CNC), others) == ((0, quantity) if opens else (10 - quantity, 0))
    if restarted:
        world = again(world)
        lag.world = world
        world.start()
    lag.ends()
    world.run(30.0)
    assert world.quantity(product=Product.CNC) == (quantity if opens else 10 - quantity), world.alerts
    assert world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity == 0
    order = world.stage.book.by_id(order_id)
    assert order is not None and order.filled == quantity
    assert sum(row["quantity"] for row in world.trade_rows if row["order_no"] == order.order_no) == quantity
    third = again(world).start()
    assert (
        third.stage.book.positions[1, 0, Product.CNC].net_units
        == world.stage.book.positions[1, 0, Product.CNC].net_units
    )
    assert third.quantity(product=Product.CNC) == world.quantity(product=Product.CNC), third.alerts


def test_what_they_closed_of_another_strategy_is_given_back() -> None:
    world = World().start()
    gtts = Gtts(world)
    future = {"slot": 3, "qty": 75, "product": Product.NRML}
    world.send(1, strategy=2, **future)
    filled(world, 75)
    entry(world, 2, side=Side.SELL, **future)
    lag = Lagging(world, gtts)
    order_id = gtts.fire(100)
    world.update(world.broker.rows[order_id])
    world.run(5.0)
    shown(world, order_id, 75)
    assert world.quantity(2, 3, Product.NRML) == 0, "a stranger's order has closed it, as it seems"
    lag.ends()
    world.run(30.0)
    assert (world.quantity(2, 3, Product.NRML), world.quantity(1, 3, Product.NRML)) == (75, -75), world.alerts
    assert world.stage.book.standing(EXTERNAL, 3, Product.NRML).quantity == 0


@pytest.mark.parametrize("quantity", [4, 6])
@pytest.mark.parametrize("whose", ["opening", "own"])
def test_what_a_start_hears_of_its_order_before_any_book_was_read_counts(whose: str, quantity: int) -> None:
    if whose == "own":
        world, gtts = closing()
    else:
        world = World().start()
        gtts = Gtts(world)
        entry(world, 2)
    gtts.rows[100]["orders"][0]["quantity"] = 6  # a change whose answer nobody has read
    order_id = gtts.fire(100)
    held = {"opening": quantity, "own": 10 - quantity}[whose]
    other = again(world)
    other.broker.on_call = None
    other.stage.start()
    other.step()
    shown(other, order_id, quantity)
    assert "EXTERNAL_ORDER" in other.codes(), "nobody knows yet whose it is"
    for _ in range(60):
        other.run(0.5)
    assert other.quantity(product=Product.CNC) == held, other.alerts
    assert other.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity == 0
    order = other.stage.book.by_id(order_id)
    assert order is not None and (order.strategy, order.filled) == (1, quantity)


def bought() -> tuple[World, Gtts, Lagging]:
    """Ten are held, and the list shows nothing that is placed from now on."""
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    return world, gtts, Lagging(world, gtts)


def stops(world: World) -> list[dict[str, Any]]:
    rows = world.broker.rows.values()
    return [r for r in rows if r["transaction_type"] == "SELL" and r["status"] != "CANCELLED"]


def test_one_that_the_list_has_never_shown_is_not_placed_a_second_time() -> None:
    world, gtts, lag = bought()
    world.send(2, **EXITS)
    world.run(30.0)
    assert gtts.calls == ["POST"], "the broker has named it"
    assert [row["quantity"] for row in stops(world)] == [10], "until it is seen an order protects"
    lag.ends()
    world.run(30.0)
    assert gtts.calls == ["POST"] and not stops(world)
    assert [row["status"] for row in gtts.rows.values()] == ["active"]


def test_a_strategy_is_not_told_that_its_own_is_absent_before_it_could_be_seen() -> None:
    world, _gtts, lag = bought()
    entry(world, 2, side=Side.SELL)
    world.stage.reader.want_triggers()
    world.run(30.0)
    lag.ends()
    world.run(30.0)
    assert world.kinds(2) == ["ACCEPTED"] and (1, 2) in world.stage.keeper.triggers.standing


def test_one_that_is_not_there_past_the_horizon_is_placed_anew() -> None:
    world, gtts, lag = bought()
    world.send(2, **EXITS)
    world.run(0.3)
    gtts.rows.clear()
    world.broker.triggers = []
    lag.ends()
    world.run(60.0)
    assert len(stops(world)) == 1 and not gtts.rows
    world.run(150.0)
    assert not stops(world) and [row["status"] for row in gtts.rows.values()] == ["active"]


@pytest.mark.parametrize("named", [False, True])
def test_the_order_that_protects_meanwhile_stays_over_a_restart(named: bool) -> None:
    world, _gtts, lag = bought()

    def call(request: HttpRequest) -> Answer:
        if request.path.startswith("/gtt/triggers") and not named:
            return TransportError("timed out", sent=True)
        return lag.call(request)

    world.broker.on_call = call
    world.send(2, **EXITS)
    world.run(25.0)
    (stop,) = stops(world)
    stop["status"] = "TRIGGER PENDING"
    world.update(stop)
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), intents=Queue(), more={"restarted": True},
    ).start()  # fmt: skip
    again.run(20.0)
    assert not [r for r in world.broker.calls("DELETE") if r.path.startswith("/orders")]
    assert [row["status"] for row in stops(again)] == ["TRIGGER PENDING"]


def test_what_a_strategy_sells_by_itself_does_not_wait_for_the_list() -> None:
    world, _gtts, _lag = bought()
    world.send(2, **EXITS)
    world.run(25.0)
    world.send(3, product=Product.CNC, side=Side.SELL, qty=4, px=PX + 100)
    world.run(4.0)
    assert "REFUSED" not in world.kinds(3)
    assert sorted(row["quantity"] for row in stops(world)) == [4, 6]


def test_the_closing_of_its_position_waits_until_it_is_deleted() -> None:
    world, gtts, lag = bought()

    def call(request: HttpRequest) -> Answer | None:
        return None if request.method == "DELETE" else lag.call(request)

    world.send(2, **(EXITS | {"deadline_ns": world.clock.mono + 25_000_000_000}))
    world.run(24.0)
    (stop,) = stops(world)
    world.broker.on_call = call
    world.run(2.0)
    assert stop["order_type"] == "SL-M", "the trigger may fire yet"
    world.run(20.0)
    assert stop["order_type"] in ("MARKET", "LIMIT") and gtts.rows[100]["status"] == "active"
    assert "TRIGGER_UNKNOWN" in world.codes()


def test_a_stop_does_not_grow_into_what_a_fired_trigger_may_have_closed() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    entry(world, 2, side=Side.SELL, qty=4)
    world.send(3, **(EXITS | {"flags": 0, "trigger_px": PX - 200}))
    world.send(4, side=Side.SELL, qty=4, px=PX + 50, product=Product.CNC)
    world.run(3.0)
    stop = next(row for row in world.broker.rows.values() if row["trigger_price"])
    assert stop["quantity"] == 6
    Lagging(world, gtts)
    order_id = gtts.fire(100)
    row = world.broker.rows.pop(order_id)  # the order book lags
    world.broker.on_read = lambda request: (
        error(503, "GeneralException", "try later") if "gtt" in request.path else world.broker.read(request)
    )
    world.send(5, kind=IntentKind.MODIFY, target_seq=2, px=PX - 90, qty=0)
    world.run(0.2)
    world.send(6, kind=IntentKind.CANCEL, target_seq=4)
    world.run(3.0)
    assert world.status(4) is OrderStatus.CANCELLED and stop["quantity"] == 6, world.alerts
    world.broker.rows[order_id] = row
    world.run(3.0)
    assert stop["quantity"] == 6, "the trigger's order closes the rest"
    world.broker.on_read = None
    world.run(3.0)
    assert stop["quantity"] == 6
    row["status"] = "CANCELLED"
    world.update(row)
    world.run(3.0)
    assert stop["quantity"] == 10
