"""The order stage over Upstox: what it sends, and what it makes of the answers."""

from __future__ import annotations

import json

import pytest
from lined import Lined
from orders_world import PX, World, instruments
from upstox_rows import problem
from upstox_world import KEYS, TABLE, ScriptedUpstox, begin, exits, fill, held, told

from kite_hft.brokers.upstox.keys import KeyMissing
from kite_hft.brokers.upstox.rest import upstox
from kite_hft.clock import ManualClock
from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Severity, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse


def test_an_order_from_intent_to_position() -> None:
    world, scripted = begin()
    world.send(1)
    body = json.loads(scripted.calls("POST")[0].body)
    assert (body["instrument_token"], body["price"], body["quantity"], body["slice"]) == (
        KEYS[0],
        100,
        10,
        False,
    )
    assert body["tag"] == world.order(1).tag
    told(world, next(iter(scripted.rows.values())))
    assert world.status(1) is OrderStatus.OPEN
    fill(world, scripted, 4)
    assert world.status(1) is OrderStatus.OPEN and world.quantity() == 4
    fill(world, scripted, 10)
    assert world.status(1) is OrderStatus.COMPLETE and world.quantity() == 10
    world.run(3.0)
    assert world.stage.outbox.halted == "" and "POSITION_MISMATCH" not in world.codes()


def test_a_modification_gives_all_terms_and_a_cancel_ends_it() -> None:
    world, scripted = begin()
    world.send(1, order_type=OrderType.SL, px=PX + 10, trigger_px=PX)
    scripted.rows[world.order(1).order_id]["status"] = "trigger pending"
    world.run(1.5)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX + 20, qty=0, order_type=0)
    body = json.loads(scripted.calls("PUT")[0].body)
    assert body == {
        "order_id": world.order(1).order_id, "validity": "DAY", "order_type": "SL", "price": 100.2,
        "trigger_price": 100,
    }  # fmt: skip
    assert world.order(1).px == PX + 20
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.run(1.5)
    assert world.status(1) is OrderStatus.CANCELLED


def test_an_empty_answer_is_looked_up_and_found() -> None:
    world, scripted = begin()

    def call(request: HttpRequest) -> HttpResponse:
        scripted.enter(json.loads(request.body))
        return HttpResponse(400, b"")

    scripted.on_call = call
    world.send(1)
    assert world.status(1) is OrderStatus.AMBIGUOUS
    world.run(1.0)
    assert world.status(1) is OrderStatus.OPEN and len(scripted.calls("POST")) == 1


REFUSALS: list[tuple[HttpResponse, OrderStatus, str]] = [
    (problem(400, ("UDAPI1052", "Quantity zero")), OrderStatus.REJECTED, ""),
    (problem(429, ("UDAPI10005", "Too many")), OrderStatus.REJECTED, "RATE_LIMITED"),
    (problem(403, ("UDAPI1154", "no static IP")), OrderStatus.REJECTED, "EGRESS_REFUSED"),
    (problem(401, ("UDAPI100050", "Invalid token")), OrderStatus.REJECTED, "TOKEN_DEAD"),
    (problem(423, ("UDAPI100074", "closed")), OrderStatus.REJECTED, ""),
    (problem(400, ("UDAPI100500", "Something")), OrderStatus.AMBIGUOUS, "AMBIGUOUS_ORDER"),
    (problem(400, ("UDAPI100010", "Order not found")), OrderStatus.AMBIGUOUS, "AMBIGUOUS_ORDER"),
    (problem(404, ("UDAPI100060", "Resource not found")), OrderStatus.AMBIGUOUS, "AMBIGUOUS_ORDER"),
    (HttpResponse(403, b"<html>error code: 1010"), OrderStatus.AMBIGUOUS, "AMBIGUOUS_ORDER"),
]


@pytest.mark.parametrize(("response", "status", "alert"), REFUSALS)
def test_what_an_answer_to_an_order_does(response: HttpResponse, status: OrderStatus, alert: str) -> None:
    world, scripted = begin()
    scripted.on_call = lambda request: response
    world.send(1)
    assert world.status(1) is status
    assert alert in ("", *world.codes())
    assert len(scripted.calls("POST")) == 1


@pytest.mark.parametrize(
    "response",
    [problem(404, ("UDAPI100060", "Resource not Found.")), problem(405, ("UDAPI10000", "not supported"))],
)
def test_a_cancel_and_a_change_whose_path_is_not_there_are_settled_by_the_book(
    response: HttpResponse,
) -> None:
    """Nothing is proven of the order: the cancel goes out again, the book tells its terms."""
    world, scripted = begin()
    world.send(1)
    scripted.on_call = lambda request: response
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 50, qty=0, order_type=0)
    assert "AMBIGUOUS_ORDER" in world.codes() and "REJECTED" not in world.kinds(2)
    world.run(200.0, step_s=1.0)  # past the absence horizon
    assert world.order(1).px == PX and not world.order(1).unproven, "the book shows it as it was"
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    assert world.status(1) is OrderStatus.OPEN and "CANCEL_FAILED" in world.codes()
    scripted.on_call = None
    world.run(10.0)
    assert world.status(1) is OrderStatus.CANCELLED and len(scripted.calls("DELETE")) == 2


def test_the_static_address_alert_says_what_to_do() -> None:
    world, scripted = begin()
    scripted.on_call = lambda request: problem(403, ("UDAPI1154", "does not match origin IP 203.0.113.7"))
    world.send(1)
    (text,) = [text for text in world.alerts if text.startswith("EGRESS_REFUSED")]
    assert "203.0.113.7" in text and "register the IPv4 address" in text and "log in again" in text


def test_an_exit_that_the_kill_switch_may_have_refused_stays_in_doubt_and_says_where_to_look() -> None:
    world, scripted = begin()
    world.send(1)
    row = next(iter(scripted.rows.values()))
    row |= {"status": "complete", "filled_quantity": 10, "average_price": 100.0}
    world.run(3.0)
    assert world.quantity() == 10
    said = problem(400, ("UDAPI100500", "Trading in this segment is disabled by the kill switch."))
    scripted.on_call = lambda request: said
    world.send(2, side=Side.SELL, flags=1)
    assert world.status(2) is OrderStatus.AMBIGUOUS, "no page says that this proves a refusal"
    (told,) = [fields for fields in world.alert_fields if fields["code"] == "AMBIGUOUS_ORDER"]
    assert told["severity"] == Severity.CRITICAL and "kite-hft kill-switch --status" in told["text"]
    world.run(10.0)
    assert len(scripted.calls("POST")) == 2 and world.status(2) is OrderStatus.AMBIGUOUS, "never sent again"


def test_a_read_that_says_401_ends_the_session() -> None:
    world, scripted = begin()
    world.send(1)
    scripted.on_read = lambda request: problem(401, ("UDAPI100050", "Invalid token"))
    world.run(3.0)
    assert world.stage.states.token_dead and "TOKEN_DEAD" in world.codes()


def test_an_instrument_that_cannot_be_named_is_refused_at_once() -> None:
    with pytest.raises(KeyMissing, match="no Upstox key"):
        upstox(instruments())


def test_reads_outside_of_service_hours_say_when_to_come_back() -> None:
    world, scripted = begin()
    world.send(1)
    scripted.on_read = lambda request: problem(423, ("UDAPI100072", "The service is closed"))
    world.run(8.0)
    (text,) = [text for text in world.alerts if text.startswith("BROKER_UNREACHABLE")]
    assert "HTTP 423" in text and "05:30 to 24:00 IST" in text


# Triggers: one leg at the broker, stop and target kept by the engine


def test_a_stop_alone_lies_at_the_broker() -> None:
    world, scripted = held()
    exits(world, trigger_px=PX - 100)
    (row,) = scripted.gtts.values()
    assert row["type"] == "SINGLE" and row["transaction_type"] == "SELL" and row["quantity"] == 10
    assert (row["rules"][0]["trigger_type"], row["rules"][0]["trigger_price"]) == ("BELOW", 99)
    assert len(scripted.calls("POST")) == 2 and "TRIGGER_FAILED" not in world.codes()
    world.run(6.0)
    assert len(scripted.gtts) == 1 and not scripted.calls("PUT")


def test_stop_and_target_are_kept_by_the_engine() -> None:
    world, scripted = held()
    exits(world, trigger_px=PX - 100, px=PX + 200)
    assert not scripted.gtts
    last = json.loads(scripted.calls("POST")[-1].body)
    assert (last["transaction_type"], last["quantity"], last["trigger_price"]) == ("SELL", 10, 99)
    assert any("TRIGGER_FAILED" in text and "in one trigger" in text for text in world.alerts)


def test_an_entry_by_trigger_has_one_price() -> None:
    world, scripted = begin()
    words = {"kind": IntentKind.GTT, "product": Product.CNC, "side": Side.BUY, "trigger_px": PX - 100}
    world.send(1, **words, px=PX - 90)
    assert world.reason(1) == "BAD_INTENT" and not scripted.gtts
    world.send(2, **words, px=PX - 100)
    world.step(2)
    assert len(scripted.gtts) == 1
    world.send(3, kind=IntentKind.CANCEL, target_seq=2)
    world.run(0.5)
    assert scripted.gtts["GTT-C0"]["rules"][0]["status"] == "CANCELLED"


def test_a_trigger_that_fires_places_an_order_of_ours() -> None:
    world, scripted = held()
    exits(world, trigger_px=PX - 100)
    (row,) = scripted.gtts.values()
    words = {
        "instrument_token": KEYS[0], "transaction_type": "SELL", "quantity": 10, "product": "D",
        "price": 99.0, "order_type": "LIMIT", "tag": None,
    }  # fmt: skip
    order_id = scripted.enter(words)
    row["rules"][0] |= {"status": "COMPLETED", "order_id": order_id}
    told(world, scripted.rows[order_id])
    world.run(4.0)
    order = world.stage.book.by_id(order_id)
    assert order is not None and order.strategy == 1 and not order.opening
    fill(world, scripted, 10, PX - 100)
    world.run(1.0)
    assert world.quantity(product=Product.CNC) == 0 and "EXTERNAL_ORDER" not in world.codes()


def test_an_exit_its_change_and_a_cancel_wait_for_a_connection_and_leave_once() -> None:
    scripted, clock = ScriptedUpstox(), ManualClock(1_000 * 10**9, 1_800_000_000 * 10**9)
    lined = Lined(scripted, clock)
    world = World(broker=lined, clock=clock, adapter=upstox(TABLE), table=TABLE).start()  # type: ignore[arg-type]
    world.send(1)
    world.step(2)
    fill(world, scripted, 10)
    world.send(2, side=Side.SELL, qty=5, px=PX + 50)
    world.send(3, slot=1, px=PX - 100)
    world.run(2.0)
    lined.hang = True
    for seq in (4, 5):
        world.send(seq, slot=1, px=PX - 100 - 5 * seq)
    left = len([request for request in scripted.sent if request.method != "GET"])
    world.send(6, side=Side.SELL, qty=5)
    world.send(7, kind=IntentKind.MODIFY, target_seq=2, px=PX + 5, qty=5)
    world.send(8, kind=IntentKind.CANCEL, target_seq=3)
    world.run(4.0)
    assert len(lined.hung) == 2 and world.status(6) is OrderStatus.SENT
    assert world.codes().count("EXIT_WAITS") == 3
    lined.die()
    world.run(3.0)
    calls = [request.method for request in scripted.sent if request.method != "GET"]
    assert calls[left:] == ["POST", "PUT", "DELETE"]
    assert world.kinds(6)[:2] == ["SENT", "ACCEPTED"] and world.status(3) is OrderStatus.CANCELLED
