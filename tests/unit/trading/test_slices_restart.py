"""Orders in slices, where the order process dies between any two records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from orders_world import PX, S, ScriptedBroker, World, filled, intent, limits

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import as_exit
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.records import encode_json
from kite_hft.trading.recovery.resuming import failed_payload
from kite_hft.trading.recovery.waiting import waiting_payload

FREEZE = 1800
WIDE = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000)
EXIT = {"slot": 3, "qty": 4500, "product": Product.NRML, "side": Side.SELL}


def another(world: World, upto: int) -> World:
    """A process of the run after one that died behind its record number `upto`: no later call was made."""
    records = world.journal.records = world.journal.records[:upto]
    left = {record.data()["tag"] for record in records if record.kind is Kind.INTENT}
    broker = ScriptedBroker()
    broker.rows = {name: dict(row) for name, row in world.broker.rows.items() if row["tag"] in left}
    again = World(
        broker=broker, clock=world.clock, journal=world.journal, history=list(records),
        intents=world.intents, config=world.config, more={"restarted": True},
    )  # fmt: skip
    again.quote()
    return again


def holding() -> World:
    """4,500 are held: an order to sell them leaves in three slices."""
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    for seq, quantity in ((1, FREEZE), (2, 4500 - FREEZE)):
        world.send(seq, slot=3, qty=quantity, product=Product.NRML)
        world.run(2.0)
        for row in list(world.broker.rows.values()):
            if row["status"] != "COMPLETE":
                row |= {"filled_quantity": row["quantity"], "average_price": PX / 100, "status": "COMPLETE"}
                world.update(row)
    assert world.quantity(slot=3, product=Product.NRML) == 4500
    return world


def sold(world: World) -> tuple[int, int]:
    """What is to be sold by orders in the book, and by those that the broker has."""
    ours = [order for order in world.stage.book.orders.values() if order.side == Side.SELL]
    assert not any(order.opening for order in ours)
    there = [row["quantity"] for row in world.broker.rows.values() if row["transaction_type"] == "SELL"]
    return sum(order.quantity for order in ours), sum(there)


def records_of(kind: str) -> range:
    """Where a process may die: behind each record that its slices make it write."""
    world = holding() if kind == "exit" else World(config=OrdersConfig(limits(), WIDE)).start()
    before = len(world.journal.records)
    world.send(3, slot=3, qty=4500, product=Product.NRML, side=Side.SELL if kind == "exit" else Side.BUY)
    return range(before, len(world.journal.records) + 1)


@pytest.mark.parametrize("upto", records_of("exit"))
def test_of_an_exit_in_slices_all_leaves_wherever_the_process_dies(upto: int) -> None:
    world = holding()
    words = {"slot": 3, "qty": 4500, "product": Product.NRML, "side": Side.SELL}
    world.send(3, **words)
    world.wish(3, **words)  # it stands in the queue yet
    again = another(world, upto).start()
    again.run(3.0)
    assert sold(again) == (4500, 4500)


@pytest.mark.parametrize("upto", records_of("entry")[1:])
def test_of_an_entry_in_slices_none_leaves_late(upto: int) -> None:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    words = {"slot": 3, "qty": 4500, "product": Product.NRML}
    world.send(3, **words)
    world.wish(3, **words)
    again = another(world, upto)
    there = len(again.broker.rows)
    again.start()
    again.run(3.0)
    refused = [r.data() for r in again.journal.records if r.kind is Kind.REFUSED]
    assert {data["reason"] for data in refused} <= {"RESTARTED"}
    rest = sum(data["qty"] for data in refused)
    assert sum(row["quantity"] for row in again.broker.rows.values()) + rest == 4500
    assert len(again.broker.rows) == there
    assert not again.intents.rows


def test_nor_where_the_process_dies_that_takes_one_up_which_waited_whole() -> None:
    world = holding()
    words = intent(3, slot=3, qty=4500, product=Product.NRML, side=Side.SELL)
    waits = waiting_payload(as_exit(words), 0, reducing=True)
    world.journal.append(Kind.WAITING, world.clock.real, encode_json(waits))
    whole = len(world.journal.records)
    second = another(world, whole).start()
    second.run(3.0)
    assert sold(second) == (4500, 4500)
    records, rows = list(second.journal.records), second.broker.rows
    for upto in range(whole, len(records) + 1):
        second.journal.records, second.broker.rows = list(records), rows
        third = another(second, upto).start()
        third.run(3.0)
        assert sold(third) == (4500, 4500), upto
        again = list(third.journal.records)
        for later in range(upto, len(again) + 1):
            third.journal.records = list(again)
            fourth = another(third, later).start()
            fourth.run(3.0)
            assert sold(fourth) == (4500, 4500), (upto, later)


def test_a_doubt_about_slices_without_a_record_outlives_the_process_that_records_them() -> None:
    """The journal had failed: the intent may have been refused, and told so. Its rest is not taken up."""
    world = holding()
    before = len(world.journal.records)
    world.send(3, **EXIT)
    world.journal.records = world.journal.records[: before + 1]  # of three slices the first one has a record
    world.journal.append(Kind.STATE, world.clock.real, encode_json(failed_payload("disk")))
    failed = len(world.journal.records)
    second = another(world, failed).start()
    assert sold(second) == (0, 0)
    records, rows = list(second.journal.records), second.broker.rows
    for upto in range(failed, len(records) + 1):
        second.journal.records, second.broker.rows = list(records), rows
        third = another(second, upto).start()
        third.run(3.0)
        assert sold(third) == (0, 0), upto


def test_a_cancel_reaches_every_slice_where_the_process_dies_between_two_of_them() -> None:
    world = holding()
    world.stage.desk.throttle.pop = lambda now_ns: None  # type: ignore[method-assign]
    world.send(3, **EXIT)
    cancel = {"kind": IntentKind.CANCEL, "slot": 3, "target_seq": 3}
    before = len(world.journal.records)
    world.send(4, **cancel)
    records = list(world.journal.records)
    assert [r.kind for r in records[before:]] == [*[Kind.WITHDRAWN] * 3, Kind.WAITING]
    for upto in range(before, len(records)):
        world.journal.records = list(records)
        world.wish(4, **cancel)  # it stands in the queue yet
        again = another(world, upto).start()
        again.run(3.0)
        live = [order.quantity for order in again.stage.book.live()]
        assert not live and not again.intents.rows, (upto - before, live)


def test_slices_whose_first_was_refused_can_be_cancelled_after_a_restart() -> None:
    world = World(config=OrdersConfig(limits(), replace(WIDE, max_working_orders=3), entry_wait_s=20)).start()
    world.send(1, px=PX)
    filled(world, 10)
    world.stage.desk.throttle._cool_until_ns = world.clock.mono + 3 * S // 2
    world.send(2, slot=3, qty=4500, product=Product.NRML)
    world.send(3, side=Side.SELL, px=PX + 20)  # takes the room of the first slice
    world.run(2.0)
    first, *others = world.stage.book.family(world.order(2))
    assert first.status is OrderStatus.REFUSED and len(others) == 2
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal, config=world.config,
        history=list(world.journal.records), more={"restarted": True},
    )  # fmt: skip
    again.quote()
    again.start()
    again.send(4, kind=IntentKind.CANCEL, slot=3, target_seq=2)
    again.run(2.0)
    ends = [row["status"] for row in again.broker.rows.values() if row["quantity"] in (1800, 900)]
    assert ends == ["CANCELLED"] * 2, again.told
    again.send(5, kind=IntentKind.CANCEL, slot=3, target_seq=2)
    assert again.reason(5) == "ORDER_NOT_OPEN"
