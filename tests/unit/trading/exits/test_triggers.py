"""Triggers that lie at the broker: entries of strategies, exits of positions held overnight."""

from __future__ import annotations

from typing import Any

import pytest
from gtt_tools import GTT, Answer, Gtts, entry, overnight
from orders_world import PX, S, World, error, filled, limits

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig


def test_an_entry_lies_at_the_broker_and_its_order_is_the_strategys() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    assert gtts.rows[100]["condition"]["trigger_values"] == [99.0] and gtts.rows[100]["type"] == "single"
    assert world.kinds(1) == ["ACCEPTED"] and not world.stage.book.live_count()
    order_id = gtts.fire(100)
    world.update(world.broker.rows[order_id])  # the order comes before the list says whose it is
    world.run(4.0)
    order = world.order(1)
    assert order.order_id == order_id and order.opening and not world.stage.outbox.totals["external_orders"]
    filled(world, 10, PX - 95)
    assert world.quantity(product=Product.CNC) == 10
    assert world.kinds(1)[-2:] == ["FILL", "COMPLETE"]


def test_an_entry_is_judged_as_the_order_that_it_becomes() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world, product=Product.MIS)
    assert world.reason(1) == "PRODUCT_NOT_ALLOWED"
    entry(world, 2, qty=100_000)
    assert world.reason(2) == "MAX_ORDER_QUANTITY"
    entry(world, 3, px=PX - 1_000)
    assert world.reason(3) == "PRICE_COLLAR"
    entry(world, 4, trigger_px=PX)
    assert world.reason(4) == "BAD_INTENT"
    world.stage.halt("test", world.clock.mono)
    entry(world, 5)
    assert world.reason(5) == "HALTED" and not gtts.calls


def test_one_without_an_answer_is_looked_up_and_never_sent_again() -> None:
    world = World().start()
    gtts = Gtts(world)
    gtts.lost = True
    entry(world)
    world.run(4.0)
    assert gtts.calls == ["POST"] and world.kinds(1) == ["ACCEPTED"]
    assert world.stage.keeper.triggers.standing[1, 1].trigger_id == "100"


def test_one_that_was_never_there_is_absent_after_two_reads_past_the_horizon() -> None:
    world = World().start()
    gtts = Gtts(world)
    gtts.lost = True
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    entry(world)
    world.run(170.0, 0.5)
    assert not world.kinds(1) and "TRIGGER_UNKNOWN" in world.codes()  # it may arrive late
    world.run(20.0, 0.5)
    assert world.kinds(1) == ["REJECTED"] and world.reason(1) == "ABSENT"
    assert not gtts.rows and not world.stage.keeper.triggers.standing


def test_a_refused_one_and_one_that_fails_to_place() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.broker.on_call = lambda request: error(400, "InputException", "Trigger already met")
    entry(world)
    assert world.kinds(1) == ["REJECTED"] and world.reason(1) == "BROKER"
    world.broker.on_call = gtts.call
    entry(world, 2)
    gtts.fire(100, failed="RMS: margin")
    world.stage.reader.want_triggers()
    world.run(4.0)
    assert world.kinds(2)[-1] == "REJECTED" and "TRIGGER_FAILED" in world.codes()


def test_cancelled_and_changed_by_its_strategy() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(0.3)
    assert gtts.rows[100]["orders"][0]["price"] == 99.1 and world.kinds(1)[-1] == "UPDATED"
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.run(0.3)
    assert gtts.rows[100]["status"] == "deleted" and world.kinds(1)[-1] == "CANCELLED"
    assert gtts.calls == ["POST", "PUT", "DELETE"]


def test_a_killed_account_sends_no_entry() -> None:
    killed = [""]
    world = World(more={"killed": lambda: killed[0]}).start()
    gtts = Gtts(world)
    world.quote()
    world.wish(1, **GTT)
    world.stage.intake.take(world.clock.mono)  # judged, and still in the queue of calls
    killed[0] = "test"
    world.run(0.3)
    assert not gtts.calls and world.reason(1) == "KILLED"


def test_exits_overnight_are_one_trigger_of_two_legs() -> None:
    world, gtts = overnight()
    row = gtts.rows[100]
    assert row["type"] == "two-leg" and row["condition"]["trigger_values"] == [99.0, 102.0]
    assert [(o["transaction_type"], o["quantity"], o["price"]) for o in row["orders"]] == [
        ("SELL", 10, 98.0),
        ("SELL", 10, 102.0),
    ]
    assert not world.stage.book.live_count()


def test_the_trigger_follows_the_position_and_goes_with_it() -> None:
    world, gtts = overnight()
    world.send(3, product=Product.CNC, qty=5)
    filled(world, 5)
    world.run(0.3)
    assert [o["quantity"] for o in gtts.rows[100]["orders"]] == [15, 15]
    before = len(world.broker.rows)
    world.send(4, product=Product.CNC, side=Side.SELL, qty=15, px=PX)
    world.run(1.5)
    assert gtts.rows[100]["status"] == "deleted" and len(world.broker.rows) == before + 1
    calls = [request.method for request in world.broker.sent if request.method != "GET"]
    assert calls[-2:] == ["DELETE", "POST"], "the trigger goes first"
    filled(world, 15)
    world.run(2.0)
    assert gtts.rows[100]["status"] == "deleted" and world.kinds(2)[-1] == "COMPLETE"


def test_a_fired_exit_closes_the_position_and_is_priced_anew_when_it_rests() -> None:
    world, gtts = overnight()
    order_id = gtts.fire(100, leg=0)
    world.update(world.broker.rows[order_id])
    world.run(4.0)
    (order,) = world.stage.book.live_orders.values()
    assert order.order_id == order_id and order.strategy_seq >= ENGINE_SEQ and not order.opening
    for _ in range(100):
        world.clock.advance(S // 20)
        world.quote(PX - 300)
        world.step()
    assert order.px < 9_700 and order.order_type == OrderType.LIMIT
    row = world.broker.rows[order_id]
    world.update(row | {"filled_quantity": 10, "status": "COMPLETE", "average_price": 96.0})
    world.run(0.3)
    assert world.quantity(product=Product.CNC) == 0 and world.kinds(2)[-1] == "COMPLETE"
    assert gtts.calls == ["POST"]


def test_after_a_restart_the_list_tells_what_became_of_it() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    order_id = gtts.fire(100)
    row = world.broker.rows[order_id]
    row |= {"filled_quantity": 10, "status": "COMPLETE", "average_price": 99.0}
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    assert other.quantity(product=Product.CNC) == 10
    assert other.status(1) is OrderStatus.COMPLETE and not other.stage.keeper.triggers.standing
    third = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    assert third.quantity(product=Product.CNC) == 10
    assert [r.kind for r in world.journal.records].count(Kind.GTT) >= 3


def test_after_a_restart_the_number_of_a_fired_exit_is_not_given_again() -> None:
    world, gtts = overnight()
    order_id = gtts.fire(100, leg=0)
    world.update(world.broker.rows[order_id])
    world.run(4.0)
    (child,) = world.stage.book.live_orders.values()
    records = world.journal.records
    fired = [at for at, r in enumerate(records) if r.kind is Kind.GTT and "child" in r.data()]
    other = World(
        broker=world.broker, clock=world.clock, latest=world.latest, more={"restarted": True},
        history=list(records[: fired[0] + 1]),
    ).start()  # fmt: skip
    assert other.stage.intake.next_engine_seq() > child.strategy_seq >= ENGINE_SEQ


NRML: dict[str, Any] = {"product": Product.NRML, "slot": 3, "qty": 75}
SALE: dict[str, Any] = {"side": Side.SELL, "px": PX + 300, "trigger_px": PX + 305}


def limited(**more: Any) -> World:
    return World(config=OrdersConfig(limits(), risk=RiskLimits(**more))).start()


def test_entries_that_wait_at_the_broker_count_as_working_orders_and_in_the_exposure() -> None:
    world = limited(max_working_orders=2)
    Gtts(world)
    entry(world)
    entry(world, 2, slot=1)
    entry(world, 3)
    assert world.reason(3) == "MAX_WORKING_ORDERS"
    world.send(4)
    assert world.reason(4) == "MAX_WORKING_ORDERS"
    world.send(5, kind=IntentKind.CANCEL, target_seq=1)
    world.run(0.3)
    world.send(6)
    assert world.status(6) in WORKING
    world = limited(max_position_size=1_500.0)  # 15 shares
    Gtts(world)
    entry(world)
    world.send(2)
    assert world.reason(2) == "MAX_EXPOSURE"
    world.send(3, qty=5)
    assert world.status(3) in WORKING


def test_the_worth_of_an_entry_is_judged_at_its_own_price_too() -> None:
    world = limited(max_order_value=1_100.0)
    gtts = Gtts(world)
    entry(world, trigger_px=PX + 2_000, px=PX + 2_000)
    assert world.reason(1) == "MAX_ORDER_VALUE"
    entry(world, 2, trigger_px=PX + 500, px=PX + 500)
    assert world.kinds(2) == ["ACCEPTED"] and gtts.calls == ["POST"]


def test_a_change_of_an_entry_is_judged_as_a_new_one_and_an_enlarged_one_refused() -> None:
    world = limited(max_order_value=1_100.0, max_working_orders=1)
    gtts = Gtts(world)
    entry(world, trigger_px=PX + 500, px=PX + 500)
    change = {"kind": IntentKind.MODIFY, "target_seq": 1, "qty": 0, "order_type": 0}
    for seq, words, reason in (
        (2, {"px": PX + 1_500, "trigger_px": PX + 1_500}, "MAX_ORDER_VALUE"),
        (3, {"px": PX + 1_200}, "PRICE_COLLAR"),
        (4, {"px": PX + 503}, "TICK_SIZE"),
        (5, {"px": 0, "qty": 11}, "BAD_INTENT"),
    ):
        world.send(seq, **(change | words))
        world.run(0.3)
        assert world.reason(seq) == reason
    world.stage.halt("test", world.clock.mono)
    world.send(6, **(change | {"px": PX + 490}))
    assert world.reason(6) == "HALTED" and gtts.calls == ["POST"]
    world.do("resume", by="test")
    world.send(7, **(change | {"px": PX + 490}))
    world.run(0.5)
    assert gtts.calls == ["POST", "PUT"]


def latched(flat: bool = False) -> tuple[World, Gtts, list[str]]:
    """Long 75 in NRML; an entry, and an exit of the strategy's own, wait at the broker."""
    killed = [""]
    world = World(more={"killed": lambda: killed[0], "kill_flat": lambda: flat}).start()
    gtts = Gtts(world)
    world.send(1, **NRML)
    filled(world, 75)
    entry(world, 2, **NRML)
    entry(world, 3, **(NRML | SALE))
    assert world.kinds(2) == world.kinds(3) == ["ACCEPTED"]
    return world, gtts, killed


def statuses(gtts: Gtts) -> list[str]:
    return [row["status"] for row in gtts.rows.values()]


def test_a_kill_deletes_entries_and_leaves_what_closes() -> None:
    world, gtts, killed = latched()
    killed[0] = "test"
    world.run(4.0)
    assert statuses(gtts) == ["deleted", "active"] and world.kinds(2)[-1] == "CANCELLED"
    entry(world, 4, **(NRML | SALE))  # what it would close is covered: it would open
    assert world.reason(4) == "KILLED"
    world.send(5, kind=IntentKind.CANCEL, target_seq=3)
    world.run(2.0)
    entry(world, 6, **(NRML | SALE))
    world.run(2.0)
    assert world.kinds(6) == ["ACCEPTED"]  # an exit passes, killed or not


@pytest.mark.parametrize("first", ["closing", "opening"])
def test_a_kill_leaves_of_several_no_more_than_they_close_together(first: str) -> None:
    """Each by itself closes what is held; the second one to fire would open."""
    world, gtts, killed = latched()
    world.send(4, kind=IntentKind.CANCEL, target_seq=2)
    if first == "opening":
        world.send(5, kind=IntentKind.CANCEL, target_seq=3)
        world.run(2.0)
        world.stage.book.position_of(1, 3, int(Product.NRML)).quantity = 0
        entry(world, 6, **(NRML | SALE))  # asked for while nothing is held
        world.stage.book.position_of(1, 3, int(Product.NRML)).quantity = 75
    world.run(2.0)
    entry(world, 7, **(NRML | SALE))
    world.run(2.0)
    waiting = [number for number, row in gtts.rows.items() if row["status"] == "active"]
    assert len(waiting) == 2
    killed[0] = "test"
    world.run(4.0)
    assert [gtts.rows[number]["status"] for number in waiting] == ["active", "deleted"]


def test_a_kill_that_flattens_deletes_all_of_them_before_it_closes() -> None:
    world, gtts, killed = latched(flat=True)
    seen = []

    def call(request: HttpRequest) -> Answer:
        if request.method == "POST":
            seen.append(statuses(gtts))
        answer = gtts.call(request)
        if request.method == "POST":
            row = world.row()
            row |= {"filled_quantity": row["quantity"], "average_price": 100.0, "status": "COMPLETE"}
        return answer

    world.broker.on_call = call
    killed[0] = "test"
    world.run(6.0)
    assert seen == [["deleted", "deleted"]] and world.quantity(slot=3, product=Product.NRML) == 0


def test_a_trigger_that_does_not_go_holds_the_closing_up_for_seconds_only() -> None:
    world, gtts, killed = latched(flat=True)
    refuse = [True]

    def call(request: HttpRequest) -> Answer:
        if request.method == "DELETE" and refuse[0]:
            return error(400, "InputException", "not now")
        return gtts.call(request)

    world.broker.on_call = call
    killed[0] = "test"
    world.run(6.0)
    assert [o.side for o in world.stage.book.live_orders.values()] == [Side.SELL]
    assert len([r for r in world.broker.calls("DELETE")]) <= 8  # ever more seldom


def test_a_kill_leaves_no_more_of_an_exit_than_what_it_closes() -> None:
    world, gtts, killed = latched()
    world.send(4, **(NRML | {"qty": 75}))
    filled(world, 75)
    world.send(5, kind=IntentKind.CANCEL, target_seq=3)
    world.run(2.0)
    entry(world, 6, **(NRML | SALE | {"qty": 150}))
    world.run(2.0)
    world.stage.book.position_of(1, 3, int(Product.NRML)).quantity = 75  # 75 of them went another way
    killed[0] = "test"
    world.run(4.0)
    assert [row["orders"][0]["quantity"] for row in gtts.rows.values()][-1] == 75
    assert statuses(gtts)[-1] == "active"


def test_the_stop_of_a_plan_stands_beside_a_trigger_of_the_strategys_own_until_that_fires() -> None:
    world = latched()[0]
    words = {"kind": IntentKind.EXITS, "order_type": 0, "side": 0, "qty": 0, "px": 0, "validity": 0}
    world.send(4, **(NRML | words | {"trigger_px": PX - 100}))
    world.run(2.0)
    stops = [o for o in world.stage.book.live_orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [o.quantity for o in stops] == [75] and "EXIT_REFUSED" not in world.codes()
    entry(world, 5, **(NRML | SALE))  # two triggers would close it twice: judged as an opening
    world.stage.halt("test", world.clock.mono)
    entry(world, 6, **(NRML | SALE))
    assert world.kinds(5) == ["ACCEPTED"] and world.reason(6) == "HALTED"
