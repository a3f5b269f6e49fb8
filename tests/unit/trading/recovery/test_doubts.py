"""Ambiguous exits, orders that vanish, and a person's word on both."""

from __future__ import annotations

from typing import Any

import pytest
from group_tools import again
from orders_world import PX, World, filled, lost

from kite_hft.layout import IntentKind, OrderStatus, Severity, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.recovery.doubts import VANISHED_READS

EXIT = {"side": Side.SELL}
MORE = {"restarted": True}


def holding(quantity: int = 10) -> World:
    world = World().start()
    world.send(1, qty=quantity)
    filled(world, quantity)
    world.run(3.0)
    return world


def lose_exit(world: World, seq: int = 2, quantity: int = 6, *, entered: bool = False) -> None:
    def call(request: HttpRequest) -> TransportError:
        if entered:
            world.broker.enter(request)
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.send(seq, qty=quantity, px=PX + 5, **EXIT)
    world.broker.on_call = None


def answers(world: World) -> list[dict[str, Any]]:
    return [record.data() for record in world.journal.records if record.kind is Kind.COMMAND]


def resolve(world: World, name: str, how: str, order_id: str = "") -> str:
    """The refusal; "": the word was taken."""
    before = len(answers(world))
    world.do("resolve", ask="q", name=name, how=how, order_id=order_id, by="me")
    world.run(1.0)
    assert len(answers(world)) == before + 1
    return str(answers(world)[-1]["refused"])


def test_an_exit_without_an_answer_is_critical_within_a_second() -> None:
    world = holding()
    world.broker.on_call = lambda request: None
    world.send(2, qty=6, px=PX + 5, **EXIT)
    world.run(1.0)
    told = [a for a in world.alert_fields if a["code"] == "AMBIGUOUS_ORDER"]
    assert told and told[0]["severity"] == Severity.CRITICAL


def test_an_entry_without_an_answer_is_not_so_urgent() -> None:
    world = World().start()
    world.broker.on_call = lambda request: None
    world.send(1)
    world.run(1.5)
    assert "AMBIGUOUS_ORDER" not in world.codes()
    world.run(1.0)
    assert "AMBIGUOUS_ORDER" in world.codes()


def test_book_and_positions_are_read_at_once_and_two_agreeing_reads_permit_the_rest() -> None:
    world = holding()
    lose_exit(world)
    assert world.status(2) is OrderStatus.AMBIGUOUS
    at = len(world.broker.sent)
    world.send(3, qty=4, px=PX + 5, **EXIT)
    assert world.reason(3) == "FROZEN", "the positions have not been read yet"
    world.run(4.0)
    paths = [request.path for request in world.broker.sent[at:]]
    assert paths.count("/portfolio/positions") >= 2 and paths.count("/orders") >= 2
    world.send(4, qty=5, px=PX + 5, **EXIT)
    assert world.reason(4) == "FROZEN", "the worst case: the lost exit closes six of ten"
    world.send(5, qty=4, px=PX + 5, **EXIT)
    assert world.status(5) in WORKING


def test_positions_that_do_not_agree_permit_nothing() -> None:
    world = holding()
    shown = iter(range(100))

    def read(request: HttpRequest) -> HttpResponse:
        if request.path.endswith("positions"):
            world.broker.held = [{
                "exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1,
                "product": "MIS", "quantity": next(shown), "average_price": 99.0, "multiplier": 1,
            }]  # fmt: skip
        return world.broker.read(request)

    world.broker.on_read = read
    lose_exit(world)
    world.run(4.0)
    world.send(3, qty=4, px=PX + 5, **EXIT)
    assert world.reason(3) == "FROZEN"


def test_a_broker_that_cannot_be_read_holds_no_reduction_up_for_ever() -> None:
    world = holding()
    world.broker.on_read = lambda request: HttpResponse(503, b"")
    lose_exit(world)
    world.run(4.0)
    world.send(3, qty=4, px=PX + 5, **EXIT)
    assert world.reason(3) == "FROZEN"
    world.run(2.0)
    world.send(4, qty=4, px=PX + 5, **EXIT)
    assert world.status(4) in WORKING


def test_the_other_side_and_other_instruments_are_not_held_up() -> None:
    world = holding()
    lose_exit(world)
    world.send(3, slot=1)
    assert world.status(3) in WORKING


def test_a_hidden_fill_of_a_lost_exit_is_nobody_elses() -> None:
    """The positions show it before the book does: it must not be taken from the strategy twice."""
    world = holding()
    known = set(world.broker.rows)

    def read(request: HttpRequest) -> HttpResponse:
        every = world.broker.rows
        if request.path == "/orders":
            world.broker.rows = {order_id: row for order_id, row in every.items() if order_id in known}
        answer = world.broker.read(request)
        world.broker.rows = every
        return answer

    world.broker.on_read = read
    lose_exit(world, entered=True)
    world.row().update({"filled_quantity": 6, "status": "COMPLETE", "average_price": PX / 100})
    world.run(20.0)
    assert world.status(2) is OrderStatus.AMBIGUOUS and world.quantity() == 10
    assert "BROKER_ACTED" not in world.codes()
    world.broker.on_read = None
    world.run(5.0)
    assert world.status(2) is OrderStatus.COMPLETE and world.quantity() == 4


def test_a_person_says_that_it_is_absent() -> None:
    world = World().start()
    lost(world, entered=False)
    assert resolve(world, "1", "absent") == ""
    assert world.status(1) is OrderStatus.ABSENT and world.reason(1) == "ABSENT"
    assert len(world.broker.calls("POST")) == 1
    world.send(2)
    assert world.status(2) in WORKING
    resolved = [r.data() for r in world.journal.records if r.kind is Kind.RESOLVED]
    assert resolved == [{"no": 1, "how": "absent", "order_id": "", "by": "me"}]


def test_a_word_that_the_book_contradicts_is_refused() -> None:
    world = World().start()
    world.broker.on_read = lambda request: HttpResponse(503, b"")
    lost(world, entered=True)
    world.do("resolve", ask="q", name="1", how="absent", by="me")
    world.broker.on_read = None
    world.run(2.0)
    assert "nothing about it is open" in answers(world)[-1]["refused"]
    assert world.status(1) is OrderStatus.OPEN


def test_words_about_what_is_not_open_are_refused_at_once() -> None:
    world = World().start()
    world.send(1)
    assert "order 1 is PENDING: nothing" in resolve(world, "1", "absent")
    assert "no order" in resolve(world, "9", "absent")
    assert "neither" in resolve(world, "1", "perhaps")


def test_a_book_that_cannot_be_read_answers_nobody() -> None:
    world = World().start()
    lost(world, entered=False)
    world.broker.on_read = lambda request: HttpResponse(503, b"")
    world.do("resolve", ask="q", name="1", how="absent", by="me")
    world.run(12.0)
    assert "could not be read" in answers(world)[-1]["refused"]
    assert world.status(1) is OrderStatus.AMBIGUOUS


def doubtful() -> tuple[World, str, str]:
    """Order 1 is lost and two rows without tags could be it."""
    world = World().start()

    def double() -> None:
        world.row().update(tag=None, tags=[])
        world.broker.rows["other"] = world.row() | {"order_id": "other"}

    lost(world, entered=True, then=double)
    world.run(2.0)
    assert world.status(1) is OrderStatus.AMBIGUOUS
    return world, *world.broker.rows


def test_a_person_chooses_among_candidates() -> None:
    world, mine, other = doubtful()
    assert "name the one" in resolve(world, "1", "present")
    assert "has no order 777" in resolve(world, "1", "present", "777")
    assert resolve(world, "1", "present", other) == ""
    assert (world.status(1), world.order(1).order_id) == (OrderStatus.OPEN, "other")
    assert mine in world.stage._reconciler.externals.orders


@pytest.mark.parametrize("run", [7, 8])
def test_only_after_a_power_cut_may_an_order_stand_at_another_quantity(run: int) -> None:
    """In a later process of the same run (7) its journal is whole: no change of it has left."""
    world = World().start()
    lost(world, entered=True, then=lambda: world.row().update(tag=None, tags=[], quantity=20))
    after = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), tags=Tags("abc", run),
        more={"restarted": run == 7},
    ).start()  # fmt: skip
    (row,) = world.broker.rows
    assert after.order(1).inherited == (run == 8)
    assert (row in after.stage._reconciler.externals.orders) == (run == 7)
    assert "name the one" in resolve(after, "1", "present") and after.status(1) is OrderStatus.AMBIGUOUS
    named = resolve(after, "1", "present", row)
    assert (named == "") == (run == 8) and (after.order(1).order_id == row) == (run == 8)


def test_a_person_cannot_take_another_kind_of_order_for_ours() -> None:
    world, _mine, _other = doubtful()
    world.broker.rows["x"] = world.row() | {"order_id": "x", "tag": "manual", "tags": ["manual"]}
    assert "not what order 1 asked for" in resolve(world, "1", "present", "x")


def test_a_working_order_that_the_book_does_not_show_any_more_is_told_and_counted() -> None:
    world = World().start()
    world.send(1)
    world.run(3.0)
    hidden = dict(world.broker.rows)
    world.broker.rows.clear()
    world.run(2.0 * (VANISHED_READS - 1))
    assert "ORDER_VANISHED" not in world.codes()
    world.run(5.0)
    assert world.codes().count("ORDER_VANISHED") == 1
    assert world.stage.report()["recovery"]["vanished"] == 1 and world.status(1) is OrderStatus.OPEN
    world.broker.rows.update(hidden)
    world.run(3.0)
    assert world.alert_fields[-1].get("cleared")


def test_a_person_ends_an_order_that_has_vanished() -> None:
    world = World().start()
    world.send(1)
    world.run(3.0)
    assert "is OPEN" in resolve(world, "1", "absent")
    world.broker.rows.clear()
    world.run(12.0)
    assert resolve(world, "1", "absent") == ""
    assert world.status(1) is OrderStatus.CANCELLED


def test_an_order_that_the_book_has_not_shown_yet_has_not_vanished() -> None:
    """The answer named it, the book lags: known of Kite for 83 s."""
    world = World().start()
    world.broker.on_read = lambda request: world.broker.read(request)
    world.send(1)
    hidden = dict(world.broker.rows)
    world.broker.rows.clear()
    world.run(100.0, step_s=0.5)
    assert "ORDER_VANISHED" not in world.codes() and world.status(1) is OrderStatus.PENDING
    world.run(100.0, step_s=0.5)
    assert "ORDER_VANISHED" in world.codes()
    world.broker.rows.update(hidden)


def test_tags_that_are_kept_make_a_row_without_one_no_proof() -> None:
    """A stranger's order like ours comes while ours is late: it must not be taken for ours."""
    world = World().start()
    world.send(1, slot=1)
    world.run(3.0)  # its tag came back
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    world.send(2)
    world.broker.on_call = None
    world.broker.rows["theirs"] = world.row() | {
        "order_id": "theirs", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "tag": None,
        "tags": [], "quantity": 10, "transaction_type": "BUY", "order_timestamp": "2027-01-15 13:30:10",
    }  # fmt: skip
    world.run(170.0, step_s=0.5)
    assert world.status(2) is OrderStatus.AMBIGUOUS
    assert not any("doubt" in a["key"] for a in world.alert_fields)
    world.run(20.0, step_s=0.5)
    assert world.status(2) is OrderStatus.AMBIGUOUS
    assert any("doubt" in a["key"] for a in world.alert_fields), "past the horizon a person has to look"
    assert resolve(world, "2", "absent") == ""
    ended = {(a["code"], a["key"]) for a in world.alert_fields if a.get("cleared")}
    assert {("AMBIGUOUS_ORDER", "2"), ("AMBIGUOUS_ORDER", "2 doubt")} <= ended, "nothing is left to look at"


def test_an_order_that_its_terms_alone_have_found_does_not_tell_who_we_are() -> None:
    world = World().start()

    def lost(request: HttpRequest) -> TransportError:
        world.broker.enter(request)
        world.row().update(tag=None, tags=[], placed_by="ME", account_id="ME")
        return TransportError("timed out", sent=True)

    world.broker.on_call = lost
    world.send(1)
    world.run(3.0)
    assert world.order(1).order_id == world.row()["order_id"]
    world.row().update(filled_quantity=4, average_price=100.0)
    world.run(3.0)
    assert world.order(1).filled == 4 and world.stage._reconciler.externals.user == ""
    again = World(broker=world.broker, clock=world.clock, history=world.journal.records, more=MORE).start()
    assert again.stage._reconciler.externals.user == ""
    again.broker.on_call = None
    again.send(2, px=PX - 5)
    again.row().update(placed_by="ME", account_id="ME", filled_quantity=3, average_price=100.0)
    again.run(3.0)
    assert again.stage._reconciler.externals.user == "ME"
    last = World(
        broker=again.broker, clock=again.clock, history=[*world.journal.records, *again.journal.records],
        more=MORE,
    ).start()  # fmt: skip
    assert last.stage._reconciler.externals.user == "ME"


def said_to_be_gone(**more: Any) -> tuple[World, dict[str, Any]]:
    """Ten are held, and a person has ended the stop, which no read of the book has shown any more; he was
    wrong. Returns the row that the broker hides.
    """
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 100)
    world.run(3.0)
    row = world.broker.rows.pop(world.order(2).order_id)
    world.run(12.0)
    assert resolve(world, "2", "absent") == "" and world.status(2) is OrderStatus.CANCELLED
    return world, row | more


@pytest.mark.parametrize("how", ["an update", "a read of the book"])
def test_an_order_that_a_person_took_for_gone_and_that_works_is_followed_and_halts(how: str) -> None:
    """What it may still sell counts: another exit beside it would sell what nobody holds."""
    world, row = said_to_be_gone()
    world.broker.rows[row["order_id"]] = row
    if how == "an update":
        world.update(row)
    else:
        world.run(16.0)
    assert world.status(2) in WORKING and world.order(2).open_quantity == 10
    halted = world.stage.outbox.halted
    assert "order 2 was said to be gone" in halted and row["order_id"] in halted
    after = again(world)
    assert after.status(2) in WORKING and after.stage.outbox.halted == halted
    after.send(3, kind=IntentKind.CANCEL, target_seq=2)
    after.run(3.0)
    assert after.status(2) is OrderStatus.CANCELLED


def test_one_that_the_next_process_finds_at_work_is_followed_too() -> None:
    world, row = said_to_be_gone()
    world.broker.rows[row["order_id"]] = row
    after = again(world)
    assert after.status(2) in WORKING and "order 2 was said to be gone" in after.stage.outbox.halted


@pytest.mark.parametrize("status", ["CANCELLED", "REJECTED"])
def test_one_that_turns_up_as_ended_is_what_the_person_said(status: str) -> None:
    world, row = said_to_be_gone(status=status)
    world.broker.rows[row["order_id"]] = row
    world.run(16.0)
    assert world.status(2) is OrderStatus.CANCELLED and not world.stage.outbox.halted
