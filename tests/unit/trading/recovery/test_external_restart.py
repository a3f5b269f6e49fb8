"""What others hold beside ours closes nothing of ours: only what they do closes, and no more than that."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, filled, ok

from kite_hft.layout import OrderStatus, Product, Side
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.order import EXTERNAL


def by_hand(quantity: int) -> dict[str, Any]:
    """A position of before the day."""
    return {
        "exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
        "quantity": quantity, "average_price": 90.0,
    }  # fmt: skip


def stranger(world: World, order_id: str, side: str, quantity: int, **more: Any) -> dict[str, Any]:
    """Somebody else's order stands filled in the order book; returns its row."""
    row = {
        "order_id": order_id, "status": "COMPLETE", "exchange": "NSE", "tradingsymbol": "SHARE0",
        "instrument_token": 1000 * 256 + 1, "quantity": quantity, "transaction_type": side,
        "order_type": "MARKET", "product": "MIS", "filled_quantity": quantity, "pending_quantity": 0,
        "average_price": 102.0, "price": 0, "trigger_price": 0, "tag": None, "tags": [],
        "order_timestamp": "2027-01-15 13:30:00",
    } | more  # fmt: skip
    world.broker.rows[order_id] = row
    return row


def again(world: World) -> World:
    """Another process of the run."""
    world.broker.ready.clear()
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        more={"restarted": True},
    )  # fmt: skip


def external(world: World) -> int:
    return world.quantity(strategy=EXTERNAL)


def beside(quantity: int = 15) -> World:
    """So many are held by hand, a strategy is short ten and its stop rests."""
    world = World()
    world.broker.held = [by_hand(quantity)]
    world.start()
    world.send(1, side=Side.SELL)
    filled(world, 10)
    world.send(2, px=PX - 200)
    world.run(20.0)
    assert (world.quantity(), external(world)) == (-10, quantity) and world.status(2) in WORKING
    return world


def test_what_stood_beside_ours_closes_nothing_after_a_restart() -> None:
    world = beside()
    for _ in range(2):
        world = again(world).start()
        world.run(20.0)
        assert (world.quantity(), external(world)) == (-10, 15)
        assert "BROKER_ACTED" not in world.codes() and world.status(2) in WORKING


@pytest.mark.parametrize(("quantity", "left"), [(4, -6), (10, 0), (25, 0)])
@pytest.mark.parametrize("stands", [0, 15])
def test_what_somebody_bought_while_nobody_looked_closes_ours(quantity: int, left: int, stands: int) -> None:
    world = beside(stands)
    stranger(world, "9001", "BUY", quantity)
    fresh = again(world).start()
    fresh.run(3.0)
    assert (fresh.quantity(), external(fresh)) == (left, stands + quantity - 10 - left)
    assert "BROKER_ACTED" in fresh.codes() and fresh.status(2) is OrderStatus.CANCELLED
    last = again(fresh).start()
    assert (last.quantity(), external(last)) == (left, stands + quantity - 10 - left), "once"
    assert "BROKER_ACTED" not in last.codes()


def test_what_somebody_sold_of_his_own_while_nobody_looked_closes_nothing() -> None:
    world = beside()
    stranger(world, "9001", "SELL", 15)
    fresh = again(world).start()
    assert (fresh.quantity(), external(fresh)) == (-10, 0) and fresh.status(2) in WORKING
    stranger(fresh, "9002", "BUY", 6)
    last = again(fresh).start()
    assert (last.quantity(), external(last)) == (-4, 0), "it is held against what stood last"


def test_a_fill_by_hand_closes_no_more_than_itself_and_at_its_own_price() -> None:
    world = beside()
    world.update(stranger(world, "9001", "BUY", 1))
    assert (world.quantity(), external(world)) == (-9, 15)
    assert world.trade_rows[-1]["quantity"] == 1 and world.trade_rows[-1]["value"] == "102.00"
    world.run(20.0)
    assert (world.quantity(), external(world)) == (-9, 15) and world.codes().count("BROKER_ACTED") == 1
    fresh = again(world).start()
    assert (fresh.quantity(), external(fresh)) == (-9, 15) and "BROKER_ACTED" not in fresh.codes()


def test_a_change_that_no_update_told_of_closes_no_more_than_itself() -> None:
    world = beside()
    world.broker.held = [by_hand(18)]
    world.run(20.0)
    assert (world.quantity(), external(world)) == (-7, 15)
    assert world.trade_rows[-1]["quantity"] == 3 and world.trade_rows[-1]["value"] == "300.00"


def test_what_was_bought_by_hand_before_ours_is_remembered_without_a_read_of_the_positions() -> None:
    world = World().start()
    world.update(stranger(world, "9001", "BUY", 15))
    world.send(1, side=Side.SELL)
    filled(world, 10)
    fresh = again(world).start()
    assert (fresh.quantity(), external(fresh)) == (-10, 15) and "BROKER_ACTED" not in fresh.codes()


def test_what_an_adopted_order_bought_while_nobody_looked_closes_ours() -> None:
    world = World()
    world.broker.held = [by_hand(15)]
    tag = Tags("abc", 6).tag(5)
    rests = {"status": "OPEN", "filled_quantity": 0, "pending_quantity": 10, "tag": tag, "tags": [tag]}
    row = stranger(world, "77", "BUY", 10, order_type="LIMIT", price=95.0, **rests)
    world.start()
    world.send(1, side=Side.SELL)
    filled(world, 10)
    assert (world.quantity(), external(world)) == (-10, 15)
    row |= {"filled_quantity": 4, "pending_quantity": 6}
    fresh = again(world).start()
    assert (fresh.quantity(), external(fresh)) == (-6, 15)


def squared_off() -> World:
    """Five of the account's are left, and the broker's own order has closed two of them."""
    world = World()
    world.broker.held = [by_hand(15)]
    world.start()
    world.send(1, side=Side.SELL)
    world.row().update(placed_by="ME")
    filled(world, 10, placed_by="ME")
    world.send(2, px=PX - 200)
    world.row().update(placed_by="ME")
    world.update(stranger(world, "9001", "SELL", 2, placed_by="RMS"))
    assert (world.quantity(), external(world)) == (-10, 13), "three are held"
    return world


def test_the_brokers_square_off_that_leaves_the_account_flat_leaves_nothing_of_ours() -> None:
    world = squared_off()
    world.update(stranger(world, "9002", "SELL", 3, placed_by="RMS"))
    assert (world.quantity(), external(world)) == (0, 0)
    assert world.trade_rows[-1]["value"] == "1020.00"
    world.run(3.0)
    assert world.status(2) is OrderStatus.CANCELLED


@pytest.mark.parametrize(("by", "left"), [("RMS", (0, 0)), ("ME", (-10, 10))])
def test_so_does_one_that_nobody_looked_at(by: str, left: tuple[int, int]) -> None:
    world = squared_off()
    stranger(world, "9002", "SELL", 3, placed_by=by)
    fresh = again(world).start()
    assert (fresh.quantity(), external(fresh)) == left
    fresh.run(3.0)
    assert (fresh.status(2) is OrderStatus.CANCELLED) == (by == "RMS")
    assert [cut.square_off for cut in fresh.stage.book.cuts] == [True] * (by == "RMS")
    last = again(fresh).start()
    assert (last.quantity(), external(last)) == left and "BROKER_ACTED" not in last.codes()


def test_a_square_off_of_earlier_closes_nothing_after_a_restart() -> None:
    world = World()
    world.broker.held = [by_hand(12)]
    world.start()
    world.send(1, side=Side.SELL)
    world.row().update(placed_by="ME")
    filled(world, 10, placed_by="ME")
    world.update(stranger(world, "9001", "SELL", 1, placed_by="RMS"))
    world.send(2, side=Side.SELL, qty=1)
    filled(world, 1, placed_by="ME")
    fresh = again(world).start()
    assert (fresh.quantity(), external(fresh)) == (-11, 11), "flat, by orders of ours"


def long_ten(known: bool) -> World:
    """Ten bought at 100, and the process has died. known: somebody's order rested by then."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    if known:
        resting = {"status": "OPEN", "filled_quantity": 0, "average_price": 0, "price": 98.0}
        world.update(stranger(world, "999", "SELL", 15, **resting))
    world.run(1.0)
    return again(world)


@pytest.mark.parametrize(
    ("known", "price", "bought", "held", "px", "realised"),
    [
        (False, 99.5, 0, 0, PX, -500),
        (False, 99.5, 2, 0, PX, -500),  # whoever sold twelve bought two as well
        (False, 0, 0, 0, PX - 200, -2000),  # told without its price: at the last one
        (True, 99.5, 0, 0, PX - 200, -2000),  # how much of it is news nobody knows: at the last one
        (True, 99.5, 0, 0, 0, 0),  # and no price either
        (False, 99.5, 0, 4, PX, -300),  # six of the ten: the average is that of the rest
        (False, 99.5, 0, -5, PX, -500),  # fifteen
        (True, 99.5, 0, -5, PX, -700),  # the account is short at 99.30 now
    ],
)
def test_what_others_closed_while_nobody_looked_is_won_or_lost(
    known: bool, price: float, bought: int, held: int, px: int, realised: int
) -> None:
    fresh = long_ten(known)
    stranger(fresh, "999", "SELL", 10 - held + bought, average_price=price)
    if bought:
        stranger(fresh, "998", "BUY", bought, average_price=97.0)
    average = {0: 0.0, 4: PX / 100, -5: 99.3}[held]
    fresh.broker.on_read = lambda request: (
        ok({"net": [by_hand(held) | {"average_price": average}], "day": []})
        if "positions" in request.path
        else fresh.broker.read(request)
    )
    fresh.stage.start()
    if px:
        fresh.quote(px)
    fresh.run(3.0, fresh=False)
    assert fresh.stage.active and fresh.quantity() == max(held, 0)
    assert fresh.stage.book.standing(1, 0, Product.MIS).realised_units == realised


def test_what_the_account_loses_without_a_row_is_lost_at_the_last_price() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(1.0)
    world.broker.on_read = lambda request: (
        ok({"net": [by_hand(0)], "day": []}) if "positions" in request.path else world.broker.read(request)
    )
    for _ in range(60):
        world.clock.advance(10_000_000_000)
        world.quote(PX - 100)
        world.run(0.5, fresh=False)
    assert world.quantity() == 0
    assert world.stage.book.standing(1, 0, Product.MIS).realised_units == -1000
