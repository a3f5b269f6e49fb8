"""What a process that starts takes up: calls in the windows and cool-downs, whatever the wall clock did."""

from __future__ import annotations

from typing import Any

import pytest
from group_tools import WIDE, legs, margins
from gtt_tools import Gtts, entry
from orders_world import PX, S, World, error, filled, limits

from kite_hft.clock import ManualClock
from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.trading.broker import TransportError
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.recovery.resuming import limited_ns
from kite_hft.trading.sending.evidence import RECOVERED, Left


def again(world: World, clock: ManualClock, **more: Any) -> World:
    """Another process of the same run."""
    world.broker.ready.clear()
    return World(
        broker=world.broker, clock=clock, journal=world.journal, history=list(world.journal.records),
        more={"restarted": True, "boot": "b"} | more,
    )  # fmt: skip


@pytest.mark.parametrize("step_s", [0, -3600, 3600])
def test_a_call_whose_row_was_lost_is_found_although_the_clock_was_stepped(step_s: int) -> None:
    rows: list[Left] = []
    world = World(more={"on_call": rows.append, "boot": "b"}).start()
    world.send(1)
    world.run(3.0)
    world.clock.real += step_s * S
    world.send(2, px=PX - 5)
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    lost_tag = world.order(2).tag
    kept = [row._replace(boot="b") for row in rows if row.call != "CANCEL" and row.name != lost_tag]
    found: list[Left] = []
    world.clock.advance(S // 10)
    fresh = again(world, world.clock, on_call=found.append, calls_left=kept)
    fresh.stage.start()
    lost = {(row.call, row.name, row.part) for row in found}
    ours = world.order(1).order_id
    assert lost == {(RECOVERED, world.order(2).tag, "entry"), (RECOVERED, ours, "urgent")}
    assert all(0 <= world.clock.mono - row.mono_ns <= S for row in found)


def test_a_call_that_never_left_is_no_call() -> None:
    world = World().start()
    world.broker.on_call = lambda request: TransportError("no connection", sent=False)
    world.send(1)
    found: list[Left] = []
    again(world, world.clock, on_call=found.append).stage.start()
    assert world.status(1) is OrderStatus.REFUSED and not found


def test_a_call_counts_as_late_as_it_may_have_left() -> None:
    """The process may have stood still between the record and the bytes, and was killed before it could write
    a row: of what nothing has answered the start of the next process is the latest time."""
    world = World().start()
    world.send(1)
    answered_ns = world.clock.mono
    world.broker.hold = True
    world.clock.advance(S)
    world.send(2, px=PX - 5)
    world.clock.advance(2 * S)
    found: list[Left] = []
    world.broker.hold = False
    second = again(world, world.clock, on_call=found.append)
    second.stage.start()
    began_ns = world.clock.mono
    assert [row.mono_ns for row in found] == [answered_ns, began_ns]
    assert found[1].real_ns == world.clock.real_ns()
    first, last = (row.mono_ns for row in found)
    world.clock.advance(5 * S)
    later: list[Left] = []
    again(world, world.clock, on_call=later.append).stage.start()
    assert [row.mono_ns for row in later] == [first, last], "the second had left when the third began"


def test_calls_beside_orders_whose_rows_a_crash_took_are_known_by_their_records() -> None:
    rows: list[Left] = []
    world = World(config=OrdersConfig(limits(), WIDE), more={"on_call": rows.append}).start()
    gtts = Gtts(world)
    entry(world)
    margins(world, 500.0)
    legs(world, 2)
    world.run(1.0)
    beside = [row for row in rows if row.call in ("GTT", "MARGIN")]
    assert [row.call for row in beside] == ["GTT", "MARGIN"] and gtts.calls == ["POST"]
    found: list[Left] = []
    more = {"on_call": found.append, "calls_left": [row for row in rows if row is not beside[0]]}
    fresh = again(world, world.clock, **more)
    fresh.stage.start()
    assert [(row.call, row.part, row.name) for row in found] == [(RECOVERED, "read", beside[0].name)]
    found.clear()
    more["calls_left"] = rows
    fresh = again(world, world.clock, **more)
    fresh.stage.start()
    assert not found


def test_one_of_them_that_never_left_is_no_call() -> None:
    world = World().start()
    Gtts(world)
    world.broker.on_call = lambda request: TransportError("no connection", sent=False)
    entry(world)
    assert world.kinds(1) == ["REJECTED"]
    found: list[Left] = []
    again(world, world.clock, on_call=found.append).stage.start()
    assert not found


def test_the_sums_of_a_period_know_triggers_and_changes_after_a_restart() -> None:
    world = World().start()
    Gtts(world)
    world.send(1)
    entry(world, 2, px=PX - 200, trigger_px=PX - 150)
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=25, px=0)
    world.send(4, px=PX - 10, qty=3)
    world.send(5, kind=IntentKind.MODIFY, target_seq=4, qty=1, px=0)
    world.send(6, kind=IntentKind.CANCEL, target_seq=2)
    world.run(1.0)
    tally, now_ns = world.stage.gate.tally, world.clock.mono
    sums = tally.of_strategy(1, now_ns)
    was = (sums.orders, sums.quantity, sums.value_paise, tally.gross_paise)
    assert sums.quantity == 10 + 10 + 15 + 3
    fresh = again(world, world.clock)
    fresh.stage.start()
    tally = fresh.stage.gate.tally
    sums = tally.of_strategy(1, now_ns)
    assert (sums.orders, sums.quantity, sums.value_paise, tally.gross_paise) == was
    assert tally.same(1, 0, Side.BUY, 10, now_ns) == 2, "the trigger was an order, the change none"


def test_a_trigger_that_only_closes_counts_in_no_sum() -> None:
    world = World().start()
    Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    entry(world, 2, side=Side.SELL)
    fresh = again(world, world.clock)
    fresh.stage.start()
    assert fresh.stage.gate.tally.of_strategy(1, world.clock.mono).quantity == 10


def test_a_cancel_of_an_adopted_order_is_known_by_its_id() -> None:
    world = World().start()
    row = {
        "order_id": "77", "status": "OPEN", "exchange": "NSE", "tradingsymbol": "SHARE0", "quantity": 5,
        "instrument_token": 1000 * 256 + 1, "transaction_type": "BUY", "order_type": "LIMIT",
        "product": "MIS", "filled_quantity": 0, "pending_quantity": 5, "average_price": 0, "price": 99.0,
        "trigger_price": 0,
        "tag": world.tags.tag(99), "tags": [world.tags.tag(99)], "order_timestamp": "2027-01-15 13:30:00",
    }  # fmt: skip
    world.broker.rows["77"] = row
    world.stage._look_up()
    world.run(1.0)
    world.stage.begin_stop(world.clock.mono)
    world.run(1.0)
    assert world.broker.calls("DELETE")
    found: list[Left] = []
    again(world, world.clock, on_call=found.append).stage.start()
    assert [row.name for row in found] == ["77"]


@pytest.mark.parametrize("step_s", [0, -3600, 3600])
def test_a_cool_down_goes_on_after_a_restart_and_no_longer_than_it_would_have(step_s: int) -> None:
    world = World(more={"boot": "b"}).start()
    world.broker.on_call = lambda request: error(429, "NetworkException", "Too many requests")
    world.send(1)
    world.broker.on_call = None
    world.clock.real += step_s * S
    fresh = again(world, world.clock).start()
    fresh.send(2)
    assert fresh.status(2) is OrderStatus.NEW, "the cool-down still stands"
    fresh.run(world.config.limits.cooldown_after_429_s)
    fresh.send(3, px=PX - 5)
    assert fresh.status(3) in WORKING


def test_of_another_boot_the_wall_clock_tells_and_never_of_the_future() -> None:
    assert limited_ns(Recovered(), "b", 0, 9 * S) is None
    found = Recovered(limited=(1000 * S, "a", 5 * S))
    assert limited_ns(found, "a", 997 * S, 9 * S) == 5 * S
    assert limited_ns(found, "b", 997 * S, 9 * S) == 3 * S
    assert limited_ns(found, "", 900 * S, 9 * S) == limited_ns(found, "b", 900 * S, 9 * S) == 9 * S
