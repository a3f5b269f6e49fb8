"""The order stage when the broker, the network or the disk fails: nothing doubled, nothing lost."""

from __future__ import annotations

from orders_world import PX, World, error, filled, lost

from kite_hft.layout import IntentKind, OrderStatus, Side
from kite_hft.trading.broker import HttpResponse, TransportError
from kite_hft.trading.lifecycle import WORKING


def test_no_byte_left_means_refused_not_ambiguous() -> None:
    world = World().start()
    world.broker.on_call = lambda request: TransportError("connection refused", sent=False)
    world.send(1)
    assert world.kinds(1) == ["SENT", "REFUSED"] and world.reason(1) == "NOT_CONNECTED"


def test_time_out_then_found_by_tag() -> None:
    world = World().start()
    lost(world, entered=True)
    assert world.status(1) is OrderStatus.AMBIGUOUS
    world.run(0.5)
    assert world.status(1) is OrderStatus.OPEN
    assert world.kinds(1) == ["SENT", "AMBIGUOUS", "ACCEPTED"]
    totals = world.stage.report()["orders"]
    assert (totals["ambiguous"], totals["resolved"]) == (1, 1)
    assert len(world.broker.calls("POST")) == 1


def test_time_out_then_found_without_its_tag() -> None:
    world = World().start()
    lost(world, entered=True, then=lambda: world.row().update(tag=None, tags=["mktp", "mktp:2.00"]))
    world.run(0.5)
    assert world.status(1) is OrderStatus.OPEN


def test_two_rows_could_be_it_so_it_stays_frozen() -> None:
    world = World().start()

    def double() -> None:
        world.row().update(tag=None, tags=[])
        world.broker.rows["other"] = world.row() | {"order_id": "other"}

    lost(world, entered=True, then=double)
    world.run(400, step_s=0.5)
    assert world.status(1) is OrderStatus.AMBIGUOUS
    assert any("stays ambiguous" in alert for alert in world.alerts)


def test_time_out_then_absent_only_past_the_horizon_and_never_sent_again() -> None:
    world = World().start()
    lost(world, entered=False)
    world.run(179, step_s=0.5)
    assert world.status(1) is OrderStatus.AMBIGUOUS
    world.run(10, step_s=0.5)
    assert world.status(1) is OrderStatus.ABSENT
    assert world.kinds(1) == ["SENT", "AMBIGUOUS", "REJECTED"] and world.reason(1) == "ABSENT"
    assert len(world.broker.calls("POST")) == 1


def test_an_unreadable_book_is_no_proof_of_absence() -> None:
    world = World().start()
    lost(world, entered=False)
    world.broker.on_read = lambda request: HttpResponse(200, b'{"status": "success"}')
    world.run(400, step_s=0.5)
    assert world.status(1) is OrderStatus.AMBIGUOUS


def test_absent_order_that_turns_up_revives_and_halts() -> None:
    world = World().start()
    hidden: dict[str, dict[str, object]] = {}

    def hide() -> None:
        hidden.update(world.broker.rows)
        world.broker.rows.clear()

    lost(world, entered=True, then=hide)
    world.run(200, step_s=0.5)
    assert world.status(1) is OrderStatus.ABSENT
    world.broker.rows.update(hidden)
    filled(world, 4)
    assert world.status(1) is OrderStatus.OPEN and world.quantity() == 4
    assert "proved absent" in world.stage.outbox.halted


def test_ambiguous_freezes_entries_on_its_side_only() -> None:
    world = World().start()
    lost(world, entered=False)
    world.send(2)
    assert world.reason(2) == "FROZEN"
    world.send(3, side=Side.SELL)
    assert world.reason(3) == "SELF_TRADE", "it may rest in the market"
    world.send(4, side=Side.SELL, px=PX + 5)
    assert world.status(4) in WORKING
    world.send(5, slot=1)
    assert world.status(5) in WORKING


def test_ambiguous_answers_of_http() -> None:
    for answer in (
        error(400, "OrderException", "Order request timed out. Please check the order book and confirm"),
        error(503, "NetworkException", "gateway"),
        HttpResponse(502, b"<html>"),
        HttpResponse(200, b"{"),
        HttpResponse(200, b'{"status": "success", "data": {}}'),
    ):
        world = World().start()
        world.broker.on_call = lambda request, answer=answer: answer
        world.send(1)
        assert world.status(1) is OrderStatus.AMBIGUOUS, answer


def test_429_refuses_and_cools_down() -> None:
    world = World().start()
    world.broker.on_call = lambda request: error(429, "NetworkException", "Too many requests")
    world.send(1)
    assert world.status(1) is OrderStatus.REJECTED
    world.broker.on_call = None
    world.wish(2)
    world.run(0.9)
    assert world.status(2) is OrderStatus.NEW
    world.run(0.3)
    assert world.reason(2) == "THROTTLE_DEADLINE"
    world.run(9)
    world.send(3)
    assert world.status(3) in WORKING


def test_dead_session_stops_all_calls() -> None:
    world = World().start()
    world.broker.on_call = lambda request: error(403, "TokenException", "Incorrect `api_key`")
    world.send(1)
    world.send(2)
    assert world.reason(1) == "BROKER" and world.reason(2) == "TOKEN_DEAD"


def test_two_broker_orders_for_one_intent_halt() -> None:
    world = World().start()
    world.send(1)
    world.broker.rows["second"] = world.row() | {"order_id": "second"}
    world.run(3)
    assert "is named second as well" in world.stage.outbox.halted


def test_ambiguous_modification_counts_the_worse_until_the_book_tells() -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    world.broker.on_read = lambda request: HttpResponse(500, b"")
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=50, px=0)
    assert world.order(1).quantity == 10 and world.stage.book.worst_case(0) == 50
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=60, px=0)
    assert world.reason(3) == "ORDER_NOT_OPEN"
    world.broker.on_read = None
    world.run(10)
    assert world.stage.book.worst_case(0) == 50, "it may arrive late"
    world.broker.rows[world.order(1).order_id]["quantity"] = 50
    world.run(3)
    assert world.order(1).quantity == 50 and world.stage.desk.settled(world.order(1))


def test_refused_modification_leaves_the_order_as_it_was() -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: error(400, "InputException", "no")
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=50, px=0)
    assert world.reason(2) == "BROKER" and world.stage.book.worst_case(0) == 10


def test_journal_failure_stops_orders_but_not_cancels() -> None:
    world = World().start()
    world.send(1)
    world.journal.fail = True
    world.send(2)
    assert world.reason(2) == "JOURNAL_FAILED" and len(world.broker.calls("POST")) == 1
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    assert len(world.broker.calls("DELETE")) == 1


def test_external_position_counts_and_orphan_halts() -> None:
    world = World()
    world.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
         "quantity": 990, "average_price": 99.0, "multiplier": 1}
    ]  # fmt: skip
    world.start()
    world.send(1, qty=11)
    assert world.reason(1) == "MAX_EXPOSURE"
    world.send(2, qty=10)
    assert world.status(2) in WORKING
    row = world.row()
    world.update(row | {"order_id": "x", "tag": world.tags.tag(77), "tags": []})
    assert "not in the journal" in world.stage.outbox.halted
