"""Killed at any record and started again: nothing is lost, doubled or forgotten."""

from __future__ import annotations

import pytest
from orders_world import PX, S, ScriptedBroker, World, error, instruments, ok

from kite_hft.layout import IntentKind, OrderStatus, Side
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.lifecycle import LIVE, WORKING
from kite_hft.trading.recovery.replay import RecoveryError, replay


def again(world: World, upto: int | None = None) -> World:
    """A new process on the same journal (cut after `upto` records) and the same broker."""
    kept = world.journal.records[:upto]
    fresh = World(broker=world.broker, history=kept)
    fresh.clock.mono, fresh.clock.real = 50 * S, world.clock.real
    fresh.journal.records = list(kept)
    world.broker.on_call = world.broker.on_read = None
    world.broker.ready.clear()
    return fresh


def a_day(world: World) -> None:
    """Orders in every state: filled, partly filled, cancelled, refused, rejected, modified, lost."""
    world.send(1)
    row = world.row()
    row |= {"filled_quantity": 10, "average_price": 100.0, "status": "COMPLETE"}
    world.update(row)
    world.send(2, slot=1, qty=20)
    row = world.row()
    row |= {"filled_quantity": 5, "average_price": 99.5}
    world.update(row)
    world.send(3, qty=0)
    world.send(4, px=PX - 100)
    world.send(5, kind=IntentKind.CANCEL, target_seq=4)
    world.run(3)
    world.send(6, px=PX - 200)
    world.send(7, kind=IntentKind.MODIFY, target_seq=6, qty=15, px=0)
    world.broker.on_call = lambda request: error(400, "MarginException", "no")
    world.send(8, side=Side.SELL)
    world.broker.on_call = lambda request: (world.broker.enter(request), HttpResponse(504, b""))[1]
    world.send(9, side=Side.SELL, px=PX + 100)
    world.broker.on_call = None


def placed_tags(broker: ScriptedBroker) -> list[str]:
    return [row["tag"] for row in broker.rows.values()]


def test_restart_rebuilds_the_book() -> None:
    world = World().start()
    a_day(world)
    world.run(1)
    fresh = again(world)
    fresh.start()
    for seq in (1, 2, 4, 6, 8, 9):
        ours, theirs = fresh.order(seq), world.order(seq)
        for name in ("status", "order_id", "filled", "filled_units", "quantity", "px", "tag", "opening"):
            assert getattr(ours, name) == getattr(theirs, name), (seq, name)
    assert fresh.stage.report()["positions"] == world.stage.report()["positions"]
    fresh.send(1)
    assert fresh.stage.report()["orders"]["refused"] == {"DUPLICATE_INTENT": 1}
    fresh.send(10, px=PX - 50)
    assert fresh.order(10).order_no == world.stage.desk.last_order_no + 1


def test_killed_after_any_record_no_order_is_lost_or_doubled() -> None:
    first = World().start()
    a_day(first)
    for upto in range(len(first.journal.records) + 1):
        world = World().start()
        a_day(world)
        calls = len(world.broker.calls("POST"))
        fresh = again(world, upto)
        fresh.stage.start()
        fresh.run(5)
        assert fresh.stage.active
        assert len(fresh.broker.calls("POST")) == calls, "an order was sent again"
        tags = {order.tag for order in fresh.stage.book.orders.values()}
        live = {row["tag"] for row in fresh.broker.rows.values() if row["status"] == "OPEN"}
        assert live <= tags, "a live order is not in the book"
        unknown = [t for t in placed_tags(fresh.broker) if fresh.stage.book.by_tags((t,)) is None]
        journalled = {r.data()["tag"] for r in world.journal.records[:upto] if r.kind is Kind.INTENT}
        if set(placed_tags(fresh.broker)) - journalled:
            assert "not in the journal" in fresh.stage.outbox.halted
        else:
            assert not unknown and not fresh.stage.outbox.halted
        for order in fresh.stage.book.live():
            if order.status is OrderStatus.AMBIGUOUS:
                assert order.tag not in placed_tags(fresh.broker)
                continue
            row = fresh.broker.rows[order.order_id]
            assert (order.filled, order.quantity) == (row["filled_quantity"], row["quantity"])


def test_an_intent_without_an_answer_comes_back_ambiguous_and_frozen() -> None:
    world = World().start()
    world.broker.on_call = lambda request: None
    world.send(1)
    fresh = again(world)
    fresh.start()
    assert fresh.status(1) is OrderStatus.AMBIGUOUS
    fresh.send(2)
    assert fresh.reason(2) == "FROZEN"
    fresh.run(170, step_s=0.5)
    assert fresh.status(1) is OrderStatus.AMBIGUOUS  # the horizon counts from the new start
    fresh.run(20, step_s=0.5)
    assert fresh.status(1) is OrderStatus.ABSENT
    third = again(fresh)
    third.start()
    assert third.status(1) is OrderStatus.ABSENT


def test_unanswered_modification_counts_the_worse_until_the_horizon() -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: None
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=50, px=0)
    fresh = again(world)
    fresh.stage.start()
    assert fresh.stage.book.worst_case(0) == 50
    fresh.run(170, step_s=0.5)
    assert fresh.stage.book.worst_case(0) == 50
    fresh.run(20, step_s=0.5)
    assert fresh.stage.book.worst_case(0) == 10 and fresh.order(1).quantity == 10


def test_a_halt_outlives_the_process() -> None:
    world = World().start()
    world.stage.halt("kill switch", world.clock.mono)
    fresh = again(world)
    fresh.start()
    assert fresh.stage.outbox.halted == "kill switch"
    fresh.send(1)
    assert fresh.reason(1) == "HALTED"


def test_a_run_of_its_own_adopts_live_orders_of_an_earlier_one_without_a_halt() -> None:
    world = World().start()
    world.send(1)
    other = World(broker=world.broker)
    other.tags = type(other.tags)("abc", 8)
    other.__post_init__()
    other.start()
    assert not other.stage.outbox.halted and any("adopted" in text for text in other.alerts)
    assert other.stage.book.worst_case(0) == 10
    assert next(other.stage.book.live()).status in WORKING


def test_fills_between_the_reads_of_the_start_read_positions_again() -> None:
    world = World().start()
    world.send(1)
    fresh = again(world)
    fills = iter([0, 4])

    def read(request: HttpRequest) -> HttpResponse:
        if request.path == "/orders":
            filled = next(fills, 4)
            fresh.row().update(filled_quantity=filled, average_price=100.0 if filled else 0)
        if request.path == "/portfolio/positions":
            held = {
                "exchange": "NSE",
                "tradingsymbol": "SHARE0",
                "instrument_token": 256_001,
                "product": "MIS",
            }
            quantity = fresh.row()["filled_quantity"]
            return ok({"net": [held | {"quantity": quantity, "average_price": 100.0}]})
        return fresh.broker.read(request)

    fresh.broker.on_read = read
    fresh.start()
    assert sum(r.path == "/portfolio/positions" for r in fresh.broker.sent[-9:]) == 2
    assert fresh.stage.book.worst_case(0) == 10 and fresh.quantity() == 4


def test_a_journal_that_does_not_fit_stops_the_start() -> None:
    world = World().start()
    world.send(1)
    for kind, payload in (
        (Kind.ANSWER, b'{"no":77,"call":"place","strategy":1,"outcome":"confirmed","order_id":"1"}'),
        (Kind.INTENT, b"{}"),
        (Kind.REPORT, b"[]"),
    ):
        fresh = again(world)
        fresh.history.append(Record(99, kind, 0, payload))
        with pytest.raises(RecoveryError, match="journal record 99"):
            fresh.stage.start()


def test_refused_numbers_are_remembered() -> None:
    world = World().start()
    world.send(5, qty=0)
    fresh = again(world)
    fresh.start()
    fresh.send(5)
    fresh.send(6)
    assert fresh.stage.report()["orders"]["refused"] == {"DUPLICATE_INTENT": 1}
    assert fresh.status(6) in LIVE


def test_a_journal_of_another_instrument_list_is_refused_by_name() -> None:
    world = World().start()
    world.send(1, slot=1)
    fewer = InstrumentTable(tuple(instruments())[:1])
    with pytest.raises(RecoveryError, match="INTENT"):
        replay(world.journal.records, Book(fewer), fewer, 0)
