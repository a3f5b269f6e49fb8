"""Orders that no journal of ours has sent: what they fill is taken from our positions, once."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, filled

from kite_hft.layout import OrderStatus, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import TransportError
from kite_hft.trading.intents import Tags
from kite_hft.trading.order import EXTERNAL


def other(world: World, tag: str | None = None, **more: Any) -> dict[str, Any]:
    """An order of somebody else, or of an earlier run, in the broker's book: it rests."""
    row = {
        "order_id": "77", "status": "OPEN", "exchange": "NSE", "tradingsymbol": "SHARE0", "quantity": 10,
        "instrument_token": 1000 * 256 + 1, "transaction_type": "SELL", "order_type": "LIMIT",
        "product": "MIS", "filled_quantity": 0, "pending_quantity": 10, "average_price": 0, "price": 101.0,
        "trigger_price": 0, "tag": tag, "tags": [tag] if tag else [],
        "order_timestamp": "2027-01-15 13:30:00",
    } | more  # fmt: skip
    world.broker.rows[row["order_id"]] = row
    return row


def fills(row: dict[str, Any], quantity: int = 10) -> dict[str, Any]:
    status = "COMPLETE" if quantity == row["quantity"] else "OPEN"
    row |= {"filled_quantity": quantity, "average_price": 101.0, "status": status}
    return row


def again(world: World) -> World:
    """Another process of the run."""
    world.broker.ready.clear()
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        more={"restarted": True},
    )  # fmt: skip


def external(world: World) -> int:
    return world.stage.book.standing(EXTERNAL, 0, 3).quantity


def adopting() -> tuple[World, dict[str, Any]]:
    """Ten are held, and an adopted order of an earlier run that sells ten rests, as does an exit of ours."""
    world = World()
    row = other(world, Tags("abc", 6).tag(5))
    world.start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 200)
    return world, row


@pytest.mark.parametrize("how", ["an update", "a read of the book"])
def test_what_an_adopted_order_sells_is_held_no_more(how: str) -> None:
    world, row = adopting()
    fills(row, 4)
    if how == "an update":
        world.update(row)
    else:
        world.run(3.0)
    assert (world.quantity(), external(world)) == (6, 0)
    world.run(3.0)
    assert world.status(2) is OrderStatus.CANCELLED, "it would have sold four that nobody holds"
    assert "BROKER_ACTED" in world.codes()
    world.update(fills(row))
    world.run(20.0)
    assert (world.quantity(), external(world)) == (0, 0)
    fresh = again(world)
    fresh.start()
    assert (fresh.quantity(), external(fresh)) == (0, 0)


def test_it_counts_once_where_the_positions_tell_of_it_first() -> None:
    world, row = adopting()
    world.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
         "quantity": -4, "overnight_quantity": 0, "average_price": 101.0}
    ]  # fmt: skip
    world.run(200.0, step_s=0.5)
    assert (world.quantity(), external(world)) == (6, 0), "for as long as a book has ever lagged"
    world.broker.held = []
    world.update(fills(row, 4))
    assert (world.quantity(), external(world)) == (6, 0)
    world.run(20.0)
    assert (world.quantity(), external(world)) == (6, 0)


@pytest.mark.parametrize("quantity", [4, 10])
def test_one_of_an_earlier_run_that_is_first_heard_of_when_it_has_filled_is_looked_for_at_once(
    quantity: int,
) -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.update(fills(other(world, Tags("abc", 6).tag(5)), quantity))
    world.run(6.0)
    assert (world.quantity(), external(world)) == (10 - quantity, 0)


@pytest.mark.parametrize("start", [True, False])
def test_the_price_of_its_fills_may_come_later(start: bool) -> None:
    world = World()
    row = other(world, Tags("abc", 6).tag(5))
    if start:
        row |= {"filled_quantity": 4, "average_price": 0}
    world.start()
    world.update(row | {"filled_quantity": 4, "average_price": 0})
    world.run(40.0)
    world.update(row | {"filled_quantity": 4, "average_price": 101.0})
    world.update(fills(row))
    world.run(20.0)
    assert external(world) == -10


def test_what_it_buys_beside_ours_is_nobodys() -> None:
    world = World()
    row = other(world, Tags("abc", 6).tag(5), transaction_type="BUY")
    world.start()
    world.send(1)
    filled(world, 10)
    world.update(fills(row))
    assert (world.quantity(), external(world)) == (10, 10)


def like_ours(world: World) -> dict[str, Any]:
    """A person's order of the same terms was there, and known, before ours was lost on its way."""
    row = other(world, price=101.0)
    world.update(row)
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    world.send(2, side=Side.SELL, px=PX + 100)
    world.broker.on_call = None
    assert world.status(2) is OrderStatus.AMBIGUOUS
    return row


def test_what_a_known_stranger_fills_beside_an_order_of_unknown_fate_is_his_and_counts_once() -> None:
    world = World().start()
    world.send(1, qty=30)
    filled(world, 30)
    row = like_ours(world)
    world.update(fills(row))
    assert world.quantity() == 20
    world.run(200.0, step_s=0.5)
    assert world.status(2) is OrderStatus.ABSENT
    assert (world.quantity(), external(world)) == (20, 0)


def test_a_known_stranger_is_not_taken_for_ours_after_a_restart() -> None:
    world = World().start()
    world.send(1, qty=30)
    filled(world, 30)
    row = like_ours(world)
    world.update(fills(row))
    for ours in world.broker.rows.values():
        ours |= {"tag": None, "tags": []}  # so that one without a tag might be ours
    fresh = again(world)
    fresh.start()
    fresh.run(200.0, step_s=0.5)
    assert fresh.status(2) is OrderStatus.ABSENT, "it has never arrived"
    assert (fresh.quantity(), external(fresh)) == (20, 0)


def test_an_order_that_the_disk_has_lost_halts_once() -> None:
    """A person has looked, and let the engine go on: another start of the run does not halt anew."""
    world = World()
    other(world, world.tags.tag(99))
    world.start()
    assert "not in the journal" in world.stage.outbox.halted
    world.do("resume", by="me")
    assert not world.stage.outbox.halted
    fresh = again(world)
    fresh.start()
    assert not fresh.stage.outbox.halted and fresh.stage.book.live_count() == 1
    fresh.send(1)
    assert fresh.order(1).order_no > 99, "and its number is not used again"


def test_the_cut_and_the_cancels_that_follow_from_it_are_one_record() -> None:
    world, row = adopting()
    world.update(fills(row, 4))
    cut = next(r.data() for r in world.journal.records if r.kind is Kind.EXTERNAL and r.data().get("cuts"))
    assert cut["cancels"] == [world.order(2).order_no]


def squared_off(world: World, quantity: int) -> dict[str, Any]:
    """Somebody sells `quantity`, and sees more in the account than we do."""
    row = other(world, quantity=quantity, pending_quantity=0)
    world.update(fills(row, quantity))
    return row


@pytest.mark.parametrize("known", [0, 10])
@pytest.mark.parametrize("how", ["an update", "a read of the book"])
def test_a_fill_of_ours_that_is_heard_of_after_somebody_has_closed_it_is_held_no_more(
    known: int, how: str
) -> None:
    """A stop for it would open a position."""
    world = World().start()
    if known:
        world.send(1, qty=known)
        filled(world, known)
    world.send(2, qty=5)
    ours = world.row()
    ours |= {"filled_quantity": 5, "average_price": PX / 100, "status": "COMPLETE"}
    squared_off(world, known + 5)
    assert (world.quantity(), external(world)) == (0, -5)
    if how == "an update":
        world.update(ours)
    world.run(3.0)
    assert world.status(2) is OrderStatus.COMPLETE
    assert (world.quantity(), external(world)) == (0, 0) and "BROKER_ACTED" in world.codes()
    assert sum(-cut.units for cut in world.stage.book.cuts) == (known + 5) * 10_100, "at his price"
    world.run(40.0)
    assert (world.quantity(), external(world)) == (0, 0)
    fresh = again(world)
    fresh.start()
    assert (fresh.quantity(), external(fresh)) == (0, 0)


def test_it_is_closed_in_the_parts_in_which_it_is_told() -> None:
    world = World().start()
    world.send(1, qty=5)
    ours = world.row()
    row = other(world, quantity=5)
    world.update(fills(row, 2))
    world.update(fills(row, 5))
    assert (world.quantity(), external(world)) == (0, -5)
    for quantity in (3, 5):
        ours |= {"filled_quantity": quantity, "average_price": PX / 100}
        world.update(ours | {"status": "COMPLETE" if quantity == 5 else "OPEN"})
        assert (world.quantity(), external(world)) == (0, quantity - 5)


def test_what_fills_long_after_somebody_has_sold_short_is_ours() -> None:
    """The positions showed his short, and no fill of ours."""
    world = World().start()
    world.send(1, qty=5)
    squared_off(world, 5)
    world.run(40.0)
    filled_ours = world.broker.rows[world.order(1).order_id]
    filled_ours |= {"filled_quantity": 5, "average_price": PX / 100, "status": "COMPLETE"}
    world.update(filled_ours)
    assert (world.quantity(), external(world)) == (5, -5)


def test_an_order_that_left_after_it_is_ours_too() -> None:
    world = World().start()
    squared_off(world, 5)
    world.send(1, qty=5)
    filled(world, 5)
    assert (world.quantity(), external(world)) == (5, -5)
