"""The journal takes a part of what is written: what was told to be over stays so after a restart."""

from __future__ import annotations

from typing import Any

import pytest
from exits_tools import armed, exits, guard, holding
from journal_tools import after, note, of_kind, takes_no
from orders_world import PX, World, filled

from kite_hft.layout import IntentFlag, IntentKind, OrderStatus, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import WORKING

EXIT: dict[str, Any] = {"side": Side.SELL, "flags": IntentFlag.EXIT, "px": PX + 5}


def crowded(world: World) -> None:
    """The broker's windows are full: what comes now waits."""
    for _ in range(10):
        world.stage.desk.egress.budget.left(world.clock.mono)


def test_what_was_refused_without_a_record_is_not_said_to_wait() -> None:
    world = holding()
    takes_no(world, Kind.INTENT, Kind.REFUSED)
    world.send(2, qty=5, **EXIT)
    assert world.reason(2) == "JOURNAL_FAILED" and not of_kind(world, Kind.WAITING)
    sent = len(world.broker.calls("POST"))
    other = after(world).start()
    other.run(1.0)
    assert len(other.broker.calls("POST")) == sent


def test_what_was_withdrawn_without_a_record_is_not_said_to_wait() -> None:
    world = holding()
    crowded(world)
    takes_no(world, Kind.WITHDRAWN)
    world.quote()
    world.wish(2, qty=5, **EXIT)
    world.wish(3, kind=IntentKind.CANCEL, target_seq=2)
    world.step()
    assert world.status(2) is OrderStatus.CANCELLED
    assert not any(data["kind"] == IntentKind.PLACE for data in of_kind(world, Kind.WAITING))
    sent = len(world.broker.calls("POST"))
    other = after(world).start()
    other.run(1.0)
    assert len(other.broker.calls("POST")) == sent


def test_what_waited_when_the_journal_failed_is_refused_by_the_next_process() -> None:
    """Its refusal may have been told, and not written."""
    world = holding()
    crowded(world)
    world.send(2, qty=5, **EXIT)
    assert [data["seq"] for data in of_kind(world, Kind.WAITING)] == [2]
    takes_no(world, Kind.INTENT, Kind.REFUSED)
    world.run(2.0)
    assert world.reason(2) == "JOURNAL_FAILED" and not of_kind(world, Kind.REFUSED)
    note(world)
    sent = len(world.broker.calls("POST"))
    other = after(world).start()
    other.run(1.0)
    assert len(other.broker.calls("POST")) == sent and other.reason(2) == "JOURNAL_FAILED"
    assert other.stage.recovery()["journal"]["waiting_refused"] == 1
    third = after(other).start()
    third.run(1.0)
    assert len(third.broker.calls("POST")) == sent and not third.kinds(2)


def test_it_is_not_taken_up_by_a_later_process_either() -> None:
    """The one that was to refuse it died before it could."""
    world = holding()
    crowded(world)
    world.send(2, qty=5, **EXIT)
    note(world)
    after(world)  # it never got so far
    sent = len(world.broker.calls("POST"))
    third = after(world).start()
    third.run(1.0)
    assert len(third.broker.calls("POST")) == sent and third.reason(2) == "JOURNAL_FAILED"


def test_what_comes_to_wait_after_the_failure_is_taken_up_as_ever() -> None:
    world = holding()
    note(world)
    other = after(world).start()
    crowded(other)
    other.send(2, qty=5, **EXIT)
    third = after(other).start()
    third.run(1.0)
    assert third.status(2) in WORKING


def test_the_cancel_that_waited_is_seen_through_all_the_same() -> None:
    world = holding()
    world.send(2, px=PX - 10)
    crowded(world)
    world.send(3, kind=IntentKind.CANCEL, target_seq=2)
    assert world.status(2) in WORKING
    note(world)
    other = after(world).start()
    other.run(3.0)
    assert other.status(2) is OrderStatus.CANCELLED


def test_a_stop_that_waited_is_not_placed_for_a_plan_that_was_dropped() -> None:
    """The process died between the record of the drop and that of the stop that was taken back."""
    world = holding()
    crowded(world)
    exits(world, trigger_px=PX - 100)
    assert guard(world).status is OrderStatus.NEW
    assert [data["seq"] >= ENGINE_SEQ for data in of_kind(world, Kind.WAITING)] == [True]
    takes_no(world, Kind.WITHDRAWN)
    exits(world, 3)
    assert guard(world).status is OrderStatus.CANCELLED
    sent = len(world.broker.calls("POST"))
    other = after(world).start()
    other.run(2.0)
    assert len(other.broker.calls("POST")) == sent and not other.stage.book.live_count()


def test_a_stop_that_waited_is_placed_once_for_a_plan_that_stands() -> None:
    world = holding()
    crowded(world)
    exits(world, trigger_px=PX - 100)
    other = after(world).start()
    other.run(2.0)
    live = other.stage.book.live()
    assert [(order.quantity, order.trigger_px) for order in live] == [(10, PX - 100)]
    assert len(other.broker.calls("POST")) == 2


def test_a_strategys_exit_in_slices_is_taken_up_slice_by_slice() -> None:
    world = World().start()
    future = {"slot": 3, "qty": 3600, "px": 0, "order_type": 1, "product": 2}
    wide = world.config.risk
    for name in ("max_position_size", "max_order_value", "max_order_quantity", "max_exposure"):
        object.__setattr__(wide, name, 10**9)
    world.send(1, **future)
    for row in list(world.broker.rows.values()):
        row |= {"filled_quantity": row["quantity"], "average_price": PX / 100, "status": "COMPLETE"}
        world.update(row)
    assert world.quantity(slot=3, product=2) == 3600
    world.run(3.0)
    crowded(world)
    world.send(2, side=Side.SELL, flags=IntentFlag.EXIT, **future)
    waits = of_kind(world, Kind.WAITING)
    assert [data["intent"]["qty"] for data in waits[2:]] == [1800, 1800], "the first two are of the entry"
    sent = len(world.broker.calls("POST"))
    other = after(world).start()
    other.run(3.0)
    assert len(other.broker.calls("POST")) == sent + 2


@pytest.mark.parametrize("words", [{"trigger_px": PX - 200}, {}], ids=["others", "none"])
def test_exits_that_have_no_record_are_refused_and_what_stood_stands(words: dict[str, int]) -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    takes_no(world, Kind.PLAN)
    exits(world, 3, **words)
    assert world.kinds(3) == ["REFUSED"] and world.reason(3) == "JOURNAL_FAILED"
    assert "CANCELLED" not in world.kinds(2)
    world.run(0.5)
    assert stop.status is OrderStatus.TRIGGER_PENDING and not world.broker.calls("DELETE")
    other = after(world).start()
    other.run(1.0)
    (plan,) = other.stage.keeper.plans.plans.values()
    assert plan.stop_px == PX - 100 and guard(other).trigger_px == PX - 100


def test_the_end_of_a_plan_is_written_when_the_journal_takes_it_again() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    armed(world)
    takes_no(world, Kind.PLAN)
    filled(world, 10, PX - 100)
    world.run(0.5)
    assert not world.stage.keeper.plans.plans
    assert not [data for data in of_kind(world, Kind.PLAN) if data.get("ended")]
    takes_no(world)
    world.run(0.3)
    assert of_kind(world, Kind.PLAN)[-1]["ended"] == "flat"
    written = len(of_kind(world, Kind.PLAN))
    world.run(1.0)
    assert len(of_kind(world, Kind.PLAN)) == written, "once"
    assert not after(world).start().stage.keeper.plans.plans


def test_what_is_owed_gives_way_to_what_was_said_since() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    armed(world)
    takes_no(world, Kind.PLAN)
    world.stage.keeper.plans.plans[1, 0, 3].level_px = PX - 90
    world.stage.keeper.plans._journal(world.stage.keeper.plans.plans[1, 0, 3])
    takes_no(world)
    exits(world, 3, trigger_px=PX - 200)
    world.run(0.5)
    assert of_kind(world, Kind.PLAN)[-1]["stop"] == PX - 200


@pytest.mark.parametrize("steps", [0, 1])
def test_an_exit_that_came_twice_is_still_taken_up(steps: int) -> None:
    world = holding()
    crowded(world)
    world.quote()
    world.wish(2, qty=5, **EXIT)
    world.step(steps)
    world.wish(2, qty=5, **EXIT)
    world.step()
    assert [data["reason"] for data in of_kind(world, Kind.REFUSED)] == ["DUPLICATE_INTENT"]
    assert [data["seq"] for data in of_kind(world, Kind.WAITING)] == [2]
    other = after(world).start()
    other.run(1.0)
    assert other.status(2) in WORKING


def test_one_that_came_twice_after_it_was_sent_does_not_wait() -> None:
    world = holding()
    world.send(2, qty=5, **EXIT)
    world.send(2, qty=5, **EXIT)
    assert not of_kind(world, Kind.WAITING)
    sent = len(world.broker.calls("POST"))
    other = after(world).start()
    other.run(1.0)
    assert len(other.broker.calls("POST")) == sent


def test_an_order_of_which_only_an_execution_was_written_is_known_by_it() -> None:
    world = World().start()
    takes_no(world, Kind.ANSWER, Kind.REPORT)
    world.send(1)
    order_id = world.order(1).order_id
    row = world.row()  # the broker has dropped its tag
    row |= {"filled_quantity": 10, "average_price": PX / 100, "status": "COMPLETE", "tag": None, "tags": []}
    world.broker.trades = [
        {
            "trade_id": "7", "order_id": order_id, "exchange": "NSE", "tradingsymbol": "SHARE0",
            "instrument_token": row["instrument_token"], "transaction_type": "BUY", "product": "MIS",
            "quantity": 10, "average_price": PX / 100, "fill_timestamp": "2027-01-15 13:30:01",
        }
    ]  # fmt: skip
    world.update(row)
    world.run(3.0)
    assert [data["no"] for data in of_kind(world, Kind.TRADE)] == [1] and not of_kind(world, Kind.REPORT)
    other = after(world).start()
    other.run(1.0)
    assert other.status(1) is OrderStatus.COMPLETE and other.order(1).order_id == order_id
    assert other.quantity() == 10 and not other.stage.outbox.totals["external_orders"]


@pytest.mark.parametrize("began", [True, False], ids=["its side is written", "it is not"])
def test_a_plan_that_ended_beside_a_dead_journal_guards_nothing_that_comes_after_it(began: bool) -> None:
    """The broker's books tell: its stop is COMPLETE, and nothing is held."""
    world = holding()
    exits(world, trigger_px=PX - 100)
    armed(world)
    if not began:
        del world.journal.records[[r.kind for r in world.journal.records].index(Kind.PLAN) + 1]
    takes_no(world, *Kind)
    filled(world, 10, PX - 100)
    world.run(0.5)
    assert not world.stage.keeper.plans.plans and world.quantity() == 0
    note(world)
    other = after(world)
    other.start()
    assert not other.stage.keeper.plans.plans and other.kinds(2)[-1] in ("COMPLETE", "CANCELLED")
    assert of_kind(other, Kind.PLAN)[-1]["ended"] == "flat"


def test_the_entry_that_is_taken_in_first_after_a_restart_does_not_inherit_an_ended_plan() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    armed(world)
    takes_no(world, Kind.PLAN)
    filled(world, 10, PX - 100)
    world.run(0.5)
    world.wish(5)
    other = after(world).start()
    filled(other, 10)
    other.run(1.0)
    assert other.quantity() == 10
    assert not other.stage.keeper.plans.plans and not other.stage.book.live_count()
