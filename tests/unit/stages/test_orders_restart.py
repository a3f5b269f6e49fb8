"""The order process dies and comes again in the same run, or a new run goes on after a killed one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orders_world import PX, S, World, error, filled, intent_row, limits, lost

from kite_hft.layout import EventKind, IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.numbering import next_seqs


def restarted(world: World, **more: Any) -> World:
    """The process was killed; another one of the same run, with the same queues and clock."""
    world.broker.ready.clear()
    fresh = World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        intents=world.intents, texts=world.texts, events=world.events, counters=world.counters,
        more={"restarted": True, "counted": dict(world.stage.outbox.totals)} | more,
    )  # fmt: skip
    fresh.quote()
    return fresh


def next_run(world: World) -> World:
    """The engine was killed; a new run of the same day goes on."""
    world.broker.ready.clear()
    return World(
        broker=world.broker, history=list(world.journal.records), tags=Tags("abc", 8),
        more={"continues": ("101500",)},
    )  # fmt: skip


def test_active_again_as_fast_as_the_windows_allow() -> None:
    world = World().start()
    world.clock.advance(2 * S)
    again = restarted(world)
    again.stage.start()
    for _ in range(7):
        again.clock.advance(1_000_000)
        again.step()
    assert again.stage.active, "six reads in six milliseconds: nothing but the broker's windows binds them"


def test_what_waits_in_the_queue_stays_there_until_active() -> None:
    world = World().start()
    again = restarted(world)
    again.stage.start()
    again.wish(1)
    again.step()
    assert not again.stage.active and len(again.intents.rows) == 1
    again.run(1.0)
    assert again.status(1) in WORKING and not again.intents.rows


def test_an_intent_leaves_its_queue_only_with_a_record() -> None:
    world = World().start()
    seen: list[int] = []
    append = world.journal.append
    world.journal.append = lambda *a: (seen.append(len(world.intents.rows)), append(*a))[1]  # type: ignore[method-assign]
    world.send(1)
    assert seen[0] == 1 and not world.intents.rows


def test_taken_and_journalled_but_not_committed_is_not_taken_twice() -> None:
    world = World().start()
    world.send(1)
    world.intents.rows.append(intent_row(1, created_ns=world.clock.mono))  # the commit never happened
    again = restarted(world).start()
    assert len(again.broker.calls("POST")) == 1 and not again.intents.rows
    totals = again.stage.outbox.totals
    assert (totals["intents"], totals["refused"], totals["sent"]) == (1, 0, 1)


def test_a_later_number_in_the_journal_makes_no_duplicate_of_an_earlier_one() -> None:
    """Lanes are not in order: an exit may have its record when the entry before it has none."""
    world = World().start()
    world.send(5)
    world.intents.rows.append(intent_row(4, created_ns=world.clock.mono))
    again = restarted(world)
    again.intents.rows[0]["created_ns"] = again.clock.mono
    again.start()
    assert again.order(4).order_id


def waiting_world() -> World:
    """Eight sent; of four more three entries wait, and the exit of a position of 10 waits in front."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(3.0)
    for seq in range(2, 10):
        world.wish(seq, qty=1, px=PX - 10)
    world.quote()
    world.step()
    world.wish(10, qty=1, px=PX - 10)
    for seq in (11, 12, 13):
        world.wish(seq, side=Side.SELL, qty=2, px=PX + 5)
    world.step()
    return world


def test_waiting_openings_are_refused_and_waiting_exits_taken_up_again() -> None:
    world = waiting_world()
    waiting = [r.data() for r in world.journal.records if r.kind is Kind.WAITING]
    assert {(w["seq"], w["reducing"]) for w in waiting} == {(10, False), (13, True)}
    assert not world.intents.rows
    again = restarted(world).start()
    assert again.reason(10) == "RESTARTED"
    assert again.order(13).order_id and len(again.broker.calls("POST")) == 12
    assert again.stage.outbox.totals["intents"] == 13


def test_calls_of_the_dead_process_count_in_the_windows() -> None:
    world = waiting_world()
    again = restarted(world)
    reads, now_ns = len(again.broker.calls("GET")), again.clock.mono
    again.stage.start()
    free_ns = again.stage.desk.egress.budget.entry_free_ns
    assert now_ns < free_ns <= now_ns + 1_260_000_000, "ten calls have left in this second"
    for _ in range(8):
        again.clock.advance(1_000_000)
        again.quote()
        again.step()
    assert len(again.broker.calls("GET")) == reads, "nor does a read fit"
    again.run(3.0)
    assert again.stage.active


def test_a_429_outlives_the_process() -> None:
    world = World().start()
    world.broker.on_call = lambda request: error(429, "NetworkException", "Too many requests")
    world.send(1)
    world.broker.on_call = None
    again = restarted(world).start()
    again.wish(2)
    again.step()
    assert again.status(2) is OrderStatus.NEW


def test_the_orders_of_the_day_are_counted_over_a_restart() -> None:
    """The broker's book may show fewer: refused calls count to the day's cap as well."""
    few = OrdersConfig(replace(limits(), orders_per_day=10), reject_storm=1000)
    world = World(config=few).start()
    world.broker.on_call = lambda request: error(400, "InputException", "no")
    for seq in range(1, 10):
        world.send(seq)
        world.run(1.5)
    world.broker.on_call = None
    assert not world.broker.rows and world.stage.desk.throttle.placed_today == 9
    again = World(
        config=few, broker=world.broker, clock=world.clock, journal=world.journal,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    assert again.stage.desk.throttle.placed_today == 9
    again.send(20)
    assert again.reason(20) == "DAY_CAP"


def test_strategies_are_told_what_they_missed_and_nothing_twice() -> None:
    world = World().start()
    world.send(1)
    world.send(2, slot=1)
    world.send(3, qty=0)
    world.events.push = lambda records: len(records)  # type: ignore[method-assign]
    filled(world, 10)  # journalled, and its event is lost with the process
    del world.events.push
    world.events.rows.clear()
    again = restarted(world).start()
    news = [e for e in again.told if e["kind"] == EventKind.SNAPSHOT]
    assert [(e["strategy_seq"], e["status"], e["filled_qty"], e["position"]) for e in news] == [
        (2, OrderStatus.COMPLETE, 10, 10), (0, 0, 0, 10),
    ]  # fmt: skip
    assert again.stage.outbox.totals["events_dropped"] == 0


def test_a_refusal_that_was_not_told_is_told() -> None:
    world = World().start()
    push = world.events.push
    world.events.push = lambda records: len(records)  # type: ignore[method-assign]
    world.send(1, qty=0)
    world.events.push = push  # type: ignore[method-assign]
    again = restarted(world).start()
    assert again.kinds(1) == ["REFUSED"] and again.reason(1) == "BAD_INTENT"
    third = restarted(again).start()
    assert third.kinds(1) == []


def test_in_flight_is_ambiguous_told_and_never_sent_again() -> None:
    world = World().start()
    world.broker.on_call = lambda request: None
    world.send(1)
    world.broker.on_call = None
    again = restarted(world).start()
    assert again.status(1) is OrderStatus.AMBIGUOUS and again.kinds(1) == ["AMBIGUOUS"]
    assert "AMBIGUOUS_ORDER" in again.codes()
    assert (again.stage.outbox.totals["sent"], again.stage.outbox.totals["ambiguous"]) == (1, 1)
    assert len(again.broker.calls("POST")) == 1


def test_an_unanswered_cancel_is_seen_through() -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: None
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.broker.on_call = None
    again = restarted(world).start()
    again.run(3.0)
    assert again.status(1) is OrderStatus.CANCELLED


def test_a_lost_cancel_is_sent_again_when_the_book_shows_the_order_working() -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: TransportError("reset", sent=True)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.broker.on_call = None
    world.run(4.0)
    assert world.status(1) is OrderStatus.CANCELLED and len(world.broker.calls("DELETE")) == 2
    assert {"code": "CANCEL_FAILED", "key": "1"}.items() <= world.alert_fields[-1].items()
    assert world.alert_fields[-1]["cleared"] and world.stage.idle


def test_latches_outlive_the_process() -> None:
    world = World().start()
    world.do("halt", reason="kill switch")
    world.do("market_halt", on=True)
    again = restarted(world).start()
    assert again.stage.outbox.halted == "kill switch" and again.stage.states.market_halted


def test_rows_for_people_are_completed_and_not_repeated() -> None:
    from kite_hft.trading.ports import Written

    world = World().start()
    world.send(1)
    filled(world, 10)
    none = restarted(world, written=Written())
    none.stage.start()
    assert [(r["order_no"], r["quantity"], r["value"]) for r in none.trade_rows] == [(1, 10, "1000.00")]
    assert [r["status"] for r in none.order_rows] == ["COMPLETE"]
    part = restarted(world, written=Written({1: "COMPLETE"}, {1: (4, 40_000)}))
    part.stage.start()
    assert [(r["quantity"], r["value"]) for r in part.trade_rows] == [(6, "600.00")] and not part.order_rows
    whole = restarted(world, written=Written({1: "COMPLETE"}, {1: (10, 100_000)}))
    whole.stage.start()
    assert not whole.trade_rows and not whole.order_rows


def test_a_worker_that_was_started_again_is_told_everything_of_its_strategies() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, px=PX - 10)
    world.send(1, strategy=2)
    world.told.clear()
    world.events.room = 0
    world.send(3)
    assert world.stage.outbox.hung == {1}
    world.events.room = 10**9
    world.do("worker_restarted", worker=0)
    world.step()
    told = {(e["strategy"], e["strategy_seq"], e["kind"]) for e in world.told}
    assert {(1, 0, EventKind.SNAPSHOT), (1, 1, EventKind.SNAPSHOT), (1, 2, EventKind.SNAPSHOT)} <= told
    assert not any(e["strategy"] == 2 for e in world.told)
    assert not world.stage.outbox.hung


def test_a_new_run_goes_on_with_orders_positions_and_the_halt() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, px=PX - 10)
    lost(world, entered=False)
    world.send(4, px=PX - 20, slot=1)
    world.do("halt", reason="crash loop")
    sent = len(world.broker.calls("POST"))
    run = next_run(world).start()
    assert run.stage.outbox.halted == "crash loop" and run.quantity() == 10
    assert run.status(2) in WORKING and run.status(4) in WORKING
    assert run.order(2).strategy_seq == 2 and len(run.broker.calls("POST")) == sent
    start = run.journal.records[0]
    assert start.kind is Kind.START and start.data()["continues"] == ["101500"]
    totals = run.stage.outbox.totals
    assert (totals["sent"], totals["accepted"]) == (0, 0), "the counters of a run are its own"
    assert {int(e["strategy_seq"]) for e in run.told if e["kind"] == EventKind.SNAPSHOT} >= {0, 2, 4}
    assert "RUN_CONTINUED" in run.codes()
    assert next_seqs([world.journal.records]) == {1: 5}


def test_an_orderly_end_ends_a_halt_too() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.do("halt", reason="kill switch")
    world.stage.begin_stop(world.clock.mono)
    world.stage.close()
    run = next_run(world).start()
    assert not run.stage.outbox.halted and run.quantity() == 10


def test_a_stale_book_read_does_not_overwrite_newer_terms() -> None:
    """The read was asked for before a modification was answered: what it says of terms is older."""
    world = World().start()
    world.send(1)
    held: list[Any] = []
    world.broker.on_read = lambda request: held.append(request)  # type: ignore[func-returns-value]
    world.run(3.0)
    assert held, "a read is under way"
    old = world.broker.read(HttpRequest("GET", "/orders"))
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=PX + 5)
    assert (world.order(1).quantity, world.order(1).px) == (20, PX + 5)
    world.broker.ready.append((world.stage._calls.last_id - 1, old))
    world.broker.on_read = None
    world.step()
    assert (world.order(1).quantity, world.order(1).px) == (20, PX + 5)


def test_an_ended_order_with_our_tag_that_the_journal_does_not_know_halts() -> None:
    world = World().start()
    world.send(1)
    row = world.row() | {"order_id": "z", "tag": world.tags.tag(55), "tags": [], "status": "REJECTED"}
    world.update(row)
    assert "not in the journal" in world.stage.outbox.halted


def test_stop_market_orders_keep_their_own_price_over_a_restart() -> None:
    world = World().start()
    world.send(1, order_type=OrderType.MARKET, px=0, product=Product.CNC)
    world.row().update(order_type="LIMIT", price=101.0)
    again = restarted(world).start()
    assert again.order(1).px == 0 and again.order(1).product == Product.CNC


def test_a_number_of_the_engines_that_a_strategy_has_used_is_none_for_the_next_process() -> None:
    """It numbers on from its own: from a stranger's it might have none left for what it has to close."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    for seq in (2**64 - 1, 2**63, 2**62):
        world.send(seq)
    assert world.stage.outbox.refused["BAD_INTENT"] == 3 and len(world.broker.calls("POST")) == 1
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), more={"restarted": True}
    ).start()  # fmt: skip
    again.stage.begin_stop(again.clock.mono, "flatten")
    again.run(0.5)
    (closing,) = [order for order in again.stage.book.orders.values() if order.side == Side.SELL]
    assert closing.quantity == 10 and 2**62 <= closing.strategy_seq < 2**62 + 10
    again.send(2)
    assert again.reason(2) == "HALTED", "its own numbers go on"


def test_after_a_power_cut_an_order_at_another_quantity_is_not_absent() -> None:
    """The record of its change is lost, the broker has dropped its tag: only a person can tell."""
    first = World().start()

    def call(request: HttpRequest) -> TransportError:
        first.broker.enter(request)
        return TransportError("timed out", sent=True)

    first.broker.on_call = call
    first.send(1)
    first.broker.on_call = None
    row = first.row()
    row |= {"tag": None, "tags": [], "quantity": 20, "pending_quantity": 20, "modified": True}
    world = next_run(first)
    world.quote()
    world.start()
    world.run(420.0)
    assert world.status(1) is OrderStatus.AMBIGUOUS and "AMBIGUOUS_ORDER" in world.codes()
    assert "EXTERNAL_ORDER" not in world.codes() and "ORDER_ABSENT" not in world.codes()
    world.do("resolve", ask="q", name="1", how="present", order_id=row["order_id"], by="me")
    world.run(10.0)
    order = world.order(1)
    assert order.status in WORKING and order.order_id == row["order_id"] and order.quantity == 20
