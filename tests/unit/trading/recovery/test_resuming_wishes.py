"""What somebody wanted of an order outlives the process that was told: cancels, above all."""

from __future__ import annotations

from typing import Any

import pytest
from gtt_tools import Gtts, entry
from orders_world import PX, World, error, filled, limits, lost, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_working_orders=50, max_exposure=1e8)


def again(world: World, records: list[Record] | None = None, **more: Any) -> World:
    """The process died behind `records` (all that there are) and is started again in its run."""
    world.broker.ready.clear()
    world.broker.hold = False
    if records is not None:
        world.journal.records = list(records)
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        config=world.config, more={"restarted": True}, **more,
    )  # fmt: skip


def hand(world: World, quantity: int, side: str = "SELL", **more: Any) -> dict[str, Any]:
    """A person's order at market has filled, and stands in the broker's book."""
    row = {
        "order_id": "99", "status": "COMPLETE", "exchange": "NSE", "tradingsymbol": "SHARE0",
        "instrument_token": 1000 * 256 + 1, "transaction_type": side, "order_type": "MARKET",
        "product": "MIS", "quantity": quantity, "filled_quantity": quantity, "pending_quantity": 0,
        "average_price": PX / 100, "price": 0, "trigger_price": 0, "tag": None, "tags": [],
        "order_timestamp": "2027-01-15 13:30:00",
    } | more  # fmt: skip
    world.broker.rows[row["order_id"]] = row
    return row


def open_rows(world: World) -> list[str]:
    return [row["tag"] for row in world.broker.rows.values() if row["status"] == "OPEN"]


def test_exits_beyond_what_somebody_has_left_go_although_the_process_dies_behind_the_record() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 100)
    world.broker.on_call = lambda request: None  # the cancel never arrives
    world.update(hand(world, 10))
    records = world.journal.records
    at = next(i for i, r in enumerate(records) if r.kind is Kind.EXTERNAL and r.data().get("cuts"))
    world.broker.on_call = None
    fresh = again(world, records[: at + 1])
    fresh.start()
    fresh.run(5.0)
    assert fresh.quantity() == 0 and not open_rows(world), "it would have opened a short position"
    third = again(fresh)
    third.start()
    assert third.quantity() == 0 and third.status(2) is OrderStatus.CANCELLED


def test_so_does_one_of_unknown_fate_that_turns_up_after_the_restart() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    world.send(2, side=Side.SELL, px=PX + 100)
    late = world.broker.calls("POST")[-1]
    world.update(hand(world, 12))
    assert world.status(2) is OrderStatus.AMBIGUOUS and world.quantity() == 0
    world.broker.on_call = None
    fresh = again(world)
    fresh.start()
    world.broker.enter(late)
    fresh.run(5.0)
    assert fresh.status(2) is OrderStatus.CANCELLED and not open_rows(world)


def resting(n: int) -> World:
    """So many entries rest."""
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    for seq in range(1, n + 1):
        world.send(seq, px=PX - 5 * seq, qty=seq)
        world.run(0.2)
    assert len(open_rows(world)) == n
    return world


def test_what_a_person_wanted_cancelled_goes_although_the_process_dies_meanwhile() -> None:
    world = resting(16)
    world.do("cancel_all", reason="enough", by="me")
    world.step(2)
    assert 0 < len(open_rows(world)) < 16, "the others wait for their turn"
    fresh = again(world)
    fresh.start()
    fresh.run(5.0)
    assert not open_rows(world)
    fresh.send(17, px=PX - 50)
    fresh.run(2.0)
    assert len(open_rows(world)) == 1, "what comes behind it is its own affair"
    third = again(fresh)
    third.start()
    third.run(2.0)
    assert len(open_rows(world)) == 1


def test_one_of_unknown_fate_among_them_goes_when_it_turns_up() -> None:
    world = World().start()
    lost(world, entered=False)
    late = world.broker.calls("POST")[-1]
    world.do("cancel_all", reason="enough", by="me")
    fresh = again(world)
    fresh.start()
    world.broker.enter(late)
    fresh.run(5.0)
    assert fresh.status(1) is OrderStatus.CANCELLED


def test_so_does_a_trigger_whose_placing_was_not_answered() -> None:
    world = World().start()
    gtts = Gtts(world)
    gtts.lost = True
    world.broker.on_read = lambda request: world.broker.read(request) if "gtt" not in request.path else None
    entry(world)
    world.do("cancel_all", reason="enough", by="me")
    world.run(0.5)
    gtts.lost, world.broker.on_read = False, None
    assert gtts.calls == ["POST"]
    fresh = again(world)
    fresh.start()
    fresh.run(5.0)
    assert gtts.calls == ["POST", "DELETE"]


def test_a_later_trigger_of_the_strategy_stays() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.do("cancel_all", reason="enough", by="me")
    entry(world)
    fresh = again(world)
    fresh.start()
    fresh.run(5.0)
    assert gtts.calls == ["POST"]


def test_what_a_trigger_has_placed_beyond_what_is_held_goes_although_the_process_dies_behind_the_record() -> (
    None
):
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    entry(world, 2, side=Side.SELL)
    fired = gtts.fire(100)
    world.broker.on_call = lambda request: error(400, "InputException", "it has fired")
    world.update(hand(world, 6, product="CNC"))
    world.run(5.0)
    records = world.journal.records
    at = next(i for i, r in enumerate(records) if r.kind is Kind.GTT and r.data().get("child"))
    assert world.broker.rows[fired]["status"] == "OPEN", "its cancel was refused"
    world.broker.on_call = None
    fresh = again(world, records[: at + 1])
    fresh.start()
    fresh.run(5.0)
    assert world.broker.rows[fired]["status"] == "CANCELLED", "ten would be sold, and four are held"


def absent(world: World) -> HttpRequest:
    """Order 1 is lost, its strategy cancels it, and it is proved absent; its request."""
    lost(world, entered=False)
    late = world.broker.calls("POST")[-1]
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(190.0, step_s=0.5)
    assert world.status(1) is OrderStatus.ABSENT
    return late


def test_an_order_that_lives_after_all_goes_if_it_was_to_be_cancelled() -> None:
    world = World().start()
    late = absent(world)
    world.broker.enter(late)
    world.do("watchdog", naked_paise=0, read=True)
    world.run(5.0)
    assert world.status(1) is OrderStatus.CANCELLED and not open_rows(world)
    assert "HALTED" in world.codes()


def test_it_does_so_after_a_restart_too() -> None:
    world = World().start()
    late = absent(world)
    fresh = again(world)
    world.broker.enter(late)
    fresh.start()
    fresh.run(5.0)
    assert fresh.status(1) is OrderStatus.CANCELLED and not open_rows(world)


def test_one_that_nobody_wanted_cancelled_is_followed() -> None:
    world = World().start()
    lost(world, entered=False)
    late = world.broker.calls("POST")[-1]
    world.run(190.0, step_s=0.5)
    fresh = again(world)
    world.broker.enter(late)
    fresh.start()
    fresh.run(5.0)
    assert fresh.status(1) is OrderStatus.OPEN and "HALTED" in fresh.codes()


def test_an_id_that_two_orders_were_given_halts_and_hinders_no_later_start() -> None:
    world = World().start()
    world.send(1)
    twice = world.order(1).order_id
    world.broker.on_call = lambda request: ok({"order_id": twice})
    world.send(2, slot=1)
    assert "HALTED" in world.codes()
    world.broker.on_call = None
    fresh = again(world)
    fresh.stage.start()
    fresh.run(3.0)
    assert "as well" in fresh.stage.outbox.halted and fresh.status(1) is not OrderStatus.AMBIGUOUS


def test_a_young_order_that_a_lagging_book_lacks_has_not_vanished() -> None:
    world = World().start()
    world.send(1, product=Product.MIS)
    rows = dict(world.broker.rows)
    world.broker.rows.clear()
    fresh = again(world)
    fresh.start()
    fresh.run(30.0, step_s=0.5)
    assert "ORDER_VANISHED" not in fresh.codes()
    world.broker.rows.update(rows)
    fresh.run(5.0)
    assert fresh.status(1) is OrderStatus.OPEN
    world.broker.rows.clear()
    fresh.run(10.0)
    assert "ORDER_VANISHED" in fresh.codes()


@pytest.mark.parametrize("entries", [0, 2])
def test_what_was_cancelled_when_a_process_died_concerns_no_later_one(entries: int) -> None:
    """A stop protects what is held; when that is gone it opens something, and nobody meant it."""
    world = resting(entries)
    world.send(7)
    filled(world, 10)
    world.send(8, side=Side.SELL, order_type=OrderType.SL, px=PX - 60, trigger_px=PX - 50)
    world.do("cancel_all", reason="enough", by="me")
    world.run(5.0)
    assert world.status(8) in WORKING and len(open_rows(world)) == 1
    fresh = again(world)
    fresh.stage.start()
    assert fresh.stage._killing.clears_to == 0
