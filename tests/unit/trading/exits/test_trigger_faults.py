"""Triggers when calls, records and the broker's list go wrong, as simulated days have shown it."""

from __future__ import annotations

from typing import Any

import pytest
from gtt_tools import Gtts, entry, overnight
from journal_tools import after
from orders_world import PX, World, error, filled, form, limits

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import JournalError, Kind
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.exits.trigger import trigger_of
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000)
EXITS: dict[str, Any] = {
    "kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0,
}  # fmt: skip


def no_record_of(world: World, kind: Kind) -> None:
    """The journal takes no record of this kind."""
    append = world.journal.append

    def failing(of: Kind, time_ns: int, payload: bytes) -> int:
        if of is kind:
            raise JournalError("journal write failed: No space left on device")
        return append(of, time_ns, payload)

    world.journal.append = failing  # type: ignore[method-assign]


def test_none_leaves_without_its_record() -> None:
    world = World().start()
    gtts = Gtts(world)
    no_record_of(world, Kind.GTT)
    entry(world)
    world.run(2.0)
    assert not gtts.calls and not world.stage.keeper.triggers.standing
    assert world.kinds(1) == ["REFUSED"] and world.reason(1) == "JOURNAL_FAILED"


def test_none_is_changed_without_a_record_and_deleted_all_the_same() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    no_record_of(world, Kind.GTT)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(1.0)
    assert gtts.calls == ["POST"]
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.run(1.0)
    assert gtts.calls == ["POST", "DELETE"]


def test_a_cancel_that_the_broker_refused_is_asked_for_again() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    calls: list[str] = []

    def busy(request: HttpRequest) -> Any:
        if request.method == "DELETE" and len(calls) < 2:
            calls.append(request.path)
            return error(429, "NetworkException", "Too many requests")
        return gtts.call(request)

    world.broker.on_call = busy
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(20.0)
    assert len(calls) == 2 and gtts.rows[100]["status"] == "deleted" and world.kinds(1)[-1] == "CANCELLED"


def test_a_change_after_a_cancel_does_not_bring_it_back() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.quote()
    world.wish(2, kind=IntentKind.CANCEL, target_seq=1)
    world.wish(3, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(2.0)
    assert gtts.rows[100]["status"] == "deleted" and world.reason(3) == "ORDER_NOT_OPEN"


def test_what_fired_before_its_cancel_arrived_is_cancelled() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    order_id = gtts.fire(100)
    world.broker.on_call = lambda request: (
        error(400, "GeneralException", "Trigger cannot be deleted as it is already triggered.")
        if request.path.startswith("/gtt")
        else gtts.call(request)
    )
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(6.0)
    assert any(request.path.endswith(order_id) for request in world.broker.calls("DELETE"))


def test_an_order_is_not_taken_in_when_its_record_could_not_be_written() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    gtts.fire(100)
    append = world.journal.append
    no_record_of(world, Kind.GTT)
    world.stage.reader.want_triggers()
    world.run(3.0)
    assert not [order for order in world.stage.book.orders.values() if order.order_id == "77100"]
    world.journal.append = append  # type: ignore[method-assign]
    world.run(5.0)
    child = world.stage.book.by_id("77100")
    assert (child is not None and '"child":"77100"' in world.journal.records[-1].payload.decode()) or any(
        b'"child":"77100"' in record.payload for record in world.journal.records
    )


def test_nor_is_it_a_strangers_then_and_closes_nothing_of_another_strategys() -> None:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    gtts = Gtts(world)
    entry(world, product=Product.NRML, slot=3, qty=75)
    world.send(1, strategy=2, slot=3, qty=75, side=Side.SELL, product=Product.NRML)
    filled(world, 75)
    order_id = gtts.fire(100)
    row = world.broker.rows[order_id]
    row |= {"exchange": "NFO", "status": "COMPLETE", "filled_quantity": 75, "average_price": (PX - 95) / 100}
    no_record_of(world, Kind.GTT)
    world.update(row)
    world.run(60.0, 0.5)
    assert world.quantity(2, 3, Product.NRML) == -75 and not world.stage.book.cuts
    other = after(world).start()
    other.run(10.0, 0.5)
    assert other.quantity(1, 3, Product.NRML) == 75 and other.quantity(2, 3, Product.NRML) == -75
    assert not other.stage.outbox.totals["external_orders"]


def test_an_order_is_no_strangers_while_a_placing_is_unanswered() -> None:
    """The list says nothing of a trigger whose call is under way: its order may be that one's."""
    world, gtts = overnight()
    triggers = world.stage.keeper.triggers
    trigger = triggers.standing[1, 2]
    gtts.fire(100)
    triggers.claims.open["77100"] = world.clock.mono
    trigger.busy = True
    triggers.fold(world.stage.reader.triggers, world.clock.mono + 1, world.clock.mono + 2)
    assert "77100" in triggers.claims.open and not triggers.claims._strangers
    trigger.busy = False
    triggers.fold([], world.clock.mono + 1, world.clock.mono + 2)
    assert "77100" in triggers.claims.open, "one read without the trigger proves nothing: it may have fired"
    triggers.fold([], world.clock.mono + 3, world.clock.mono + 4)
    assert "77100" in triggers.claims._strangers


def test_one_that_is_to_be_deleted_is_deleted_after_a_restart() -> None:
    legs = [[1, 10, PX - 95, PX - 100]]
    words = {"strategy": 1, "seq": 1, "slot": 0, "product": 1, "for_exits": False, "legs": legs}
    assert trigger_of(words | {"id": "100", "do": "delete"}).wanted is None
    assert trigger_of(words | {"id": "100", "do": "delete"}).unsure
    assert trigger_of(words | {"id": "100", "do": "modify"}).wanted is not None


def test_a_cancel_that_waited_when_the_process_died_is_seen_through() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.quote()
    world.wish(2, kind=IntentKind.CANCEL, target_seq=1)
    world.broker.on_call = lambda request: TransportError("connection refused", sent=False)
    world.step()
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=[r for r in world.journal.records if b'"do":"delete"' not in r.payload],
        more={"restarted": True},
    )  # fmt: skip
    world.broker.on_call = gtts.call
    again.start()
    again.run(6.0)
    assert gtts.rows[100]["status"] == "deleted"


def test_what_one_order_cannot_carry_is_no_trigger() -> None:
    """A trigger places one order, and the exchange takes none above the freeze quantity."""
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    gtts = Gtts(world)
    entry(world, slot=3, product=Product.NRML, qty=3600)
    assert world.reason(1) == "MAX_ORDER_QUANTITY" and not gtts.calls
    world.send(2, slot=3, product=Product.NRML, qty=1800)
    filled(world, 1800)
    world.send(3, slot=3, product=Product.NRML, qty=900)
    filled(world, 900)
    world.send(4, slot=3, product=Product.NRML, px=0, trigger_px=PX - 100, **EXITS)
    world.run(1.0)
    stops = world.stage.book.live_orders.values()
    assert not gtts.calls and sorted(order.quantity for order in stops) == [900, 1800]


def test_a_refused_trigger_leaves_no_position_bare() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    world.broker.on_call = lambda request: (
        error(400, "InputException", "The last price must lie between")
        if request.path.startswith("/gtt")
        else gtts.call(request)
    )
    world.send(2, product=Product.CNC, px=PX + 200, trigger_px=PX - 100, **EXITS)
    world.run(2.0)
    stop = next(iter(world.stage.book.live_orders.values()))
    assert (stop.side, stop.quantity, stop.order_type) == (Side.SELL, 10, OrderType.SLM)
    assert "TRIGGER_FAILED" in world.codes()


def test_one_that_is_not_to_be_seen_leaves_no_position_bare() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    world.broker.on_call = lambda request: (
        TransportError("timed out", sent=True) if request.path.startswith("/gtt") else gtts.call(request)
    )
    world.send(2, product=Product.CNC, px=0, trigger_px=PX - 100, **EXITS)
    world.run(8.0)
    assert [order.quantity for order in world.stage.book.live_orders.values()] == [10]
    assert (1, 2) in world.stage.keeper.triggers.standing  # it may still arrive


def test_new_exits_wait_until_the_trigger_of_the_old_ones_is_gone() -> None:
    world, gtts = overnight()
    world.broker.on_call = lambda request: (
        TransportError("timed out", sent=True) if request.method == "DELETE" else gtts.call(request)
    )
    world.send(3, product=Product.CNC, trigger_px=PX - 150, px=PX + 150, **EXITS)
    world.run(0.5)
    assert gtts.calls.count("POST") == 1
    world.broker.on_call = gtts.call
    world.run(8.0)
    assert gtts.calls.count("POST") == 2 and gtts.rows[100]["status"] == "deleted"


def test_no_trigger_is_placed_beside_an_order_that_may_fill() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    world.send(2, product=Product.CNC, px=0, trigger_px=PX - 100, **(EXITS | {"flags": 0}))
    world.run(0.5)
    stop = next(iter(world.stage.book.live_orders.values()))
    world.broker.on_call = lambda request: (
        TransportError("timed out", sent=True) if request.method == "DELETE" else gtts.call(request)
    )
    world.send(3, product=Product.CNC, px=0, trigger_px=PX - 100, **EXITS)
    world.run(1.0)
    assert stop.status is not OrderStatus.CANCELLED and not gtts.calls


def test_an_entry_at_the_broker_protects_nothing() -> None:
    """It may never fire: the stop covers the whole position all the same."""
    world = World().start()
    Gtts(world)
    world.send(1, product=Product.NRML, slot=3, qty=75)
    filled(world, 75)
    entry(world, 2, slot=3, product=Product.NRML, side=Side.SELL, qty=75, px=PX + 195, trigger_px=PX + 200)
    words = EXITS | {"flags": 0, "slot": 3, "product": Product.NRML}
    world.send(3, px=0, trigger_px=PX - 100, **words)
    world.run(1.0)
    assert [order.quantity for order in world.stage.book.live_orders.values()] == [75]


def test_an_earlier_one_of_the_same_terms_does_not_hide_it() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(1.0)
    gtts.lost = True
    entry(world, 3)
    world.run(6.0)
    assert gtts.rows[100]["status"] == "deleted"
    assert world.stage.keeper.triggers.standing[1, 3].trigger_id == "101"


def slow_to_leave(world: World) -> None:
    """Calls beside orders wait until the test lets them go."""
    budget = world.stage.desk.egress.budget
    world.patched = budget.read_free_ns  # type: ignore[attr-defined]
    budget.read_free_ns = lambda kind, now_ns: now_ns + 1_000_000_000  # type: ignore[method-assign]


def let_go(world: World) -> None:
    world.stage.desk.egress.budget.read_free_ns = world.patched  # type: ignore[attr-defined,method-assign]
    world.run(1.0)


def test_one_that_has_waited_does_not_leave_a_failed_journal() -> None:
    world = World().start()
    gtts = Gtts(world)
    slow_to_leave(world)
    entry(world)
    world.journal.fail = True
    world.stage.outbox.journal(Kind.STATE, {})
    let_go(world)
    assert not gtts.calls and not world.stage.keeper.triggers.standing
    assert world.kinds(1) == ["REJECTED"] and world.reason(1) == "JOURNAL_FAILED"


def test_what_has_waited_is_judged_again_before_it_leaves() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    slow_to_leave(world)
    entry(world, 2, px=PX - 195, trigger_px=PX - 200)
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(0.3)
    world.stage.halt("a person", world.clock.mono)
    let_go(world)
    assert gtts.calls == ["POST"]
    assert world.reason(2) == "HALTED" and world.reason(3) == "HALTED"
    (trigger,) = world.stage.keeper.triggers.standing.values()
    assert trigger.wanted == trigger.legs and trigger.legs[0].px == PX - 95
    world.send(4, kind=IntentKind.CANCEL, target_seq=1)
    world.run(1.0)
    assert gtts.calls == ["POST", "DELETE"]


def test_a_change_that_was_unanswered_when_the_process_died_is_read_from_the_list() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    gtts.lost = True
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(0.05, 0.01)
    assert gtts.calls == ["POST", "PUT"]
    history = list(world.journal.records)
    later = World(
        broker=world.broker, clock=world.clock, history=history, tags=world.tags, more={"restarted": True}
    )
    later.stage.start()
    assert later.stage.keeper.triggers.standing[1, 1].unsure
    later.run(5.0)
    assert later.stage.keeper.triggers.standing[1, 1].legs[0].px == PX - 90


def test_one_whose_change_was_lost_with_the_journals_end_is_not_absent_while_it_waits() -> None:
    """Neither its number nor its new quantity has a record: the list shows one with its sides and prices."""
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=5, px=0, order_type=0)
    world.run(1.0)
    assert gtts.calls == ["POST", "PUT"] and gtts.rows[100]["orders"][0]["quantity"] == 5
    first = next(at for at, record in enumerate(world.journal.records) if record.kind is Kind.GTT)
    later = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records[: first + 1]),
        tags=world.tags, more={"restarted": True},
    ).start()  # fmt: skip
    later.run(400.0, 0.5)
    assert (1, 1) in later.stage.keeper.triggers.standing and gtts.calls == ["POST", "PUT"]
    assert any("100 could be it" in alert for alert in later.alerts)
    gtts.rows[100]["status"] = "deleted"  # a person has deleted it
    world.broker.triggers = list(gtts.rows.values())
    later.run(400.0, 0.5)
    assert not later.stage.keeper.triggers.standing


@pytest.mark.parametrize("restarted", [False, True])
def test_one_that_has_ended_answers_for_no_later_placing_of_the_same_terms(restarted: bool) -> None:
    """Its row stays in the broker's list. A placing without an answer is still on its way then."""
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(1.0)
    assert [row["status"] for row in gtts.rows.values()] == ["deleted"]
    if restarted:
        world = after(world).start()
        gtts.world = world
        world.broker.on_call = gtts.call
    arrived = gtts.call

    def late(request: HttpRequest) -> TransportError:
        return TransportError("timed out", sent=True)

    world.broker.on_call = late
    entry(world, 3)
    world.run(3.0)
    (waiting,) = world.stage.keeper.triggers.standing.values()
    assert waiting.unsure and not waiting.trigger_id, "the old row says nothing of it"
    world.broker.on_call = arrived
    placed = form(world.broker.calls("POST")[-1])
    gtts.rows[200] = gtts.row(200, placed)
    world.broker.triggers = list(gtts.rows.values())
    world.run(3.0)
    assert waiting.trigger_id == "200" and not waiting.unsure


def test_of_two_equal_ones_without_an_answer_one_row_names_one() -> None:
    """The newer: the other should have stood in the list for long."""
    world = World().start()
    gtts = Gtts(world)
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    entry(world, strategy=1)
    world.broker.on_call, gtts.lost = gtts.call, True
    world.broker.on_read = lambda request: error(503, "NetworkException", "later")
    entry(world, strategy=2)
    world.broker.on_read = None
    world.run(2.5)
    first, second = world.stage.keeper.triggers.standing.values()
    assert (first.strategy, second.strategy) == (1, 2) and second.trigger_id == "100"
    assert first.unsure and not first.trigger_id
