"""ACTIVE, REDUCING, HALTED, a dead token, a silent market; alerts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, S, World, error, filled

from kite_hft.layout import IntentKind, OrderStatus, Severity, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.facts import OPEN_FACTS, ClockWatch
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.sending.outbox import C

DEAD = error(403, "TokenException", "Incorrect `api_key` or `access_token`.")


def gauge(world: World, name: str) -> int:
    return world.counters.values.get(C[name], 0)


def test_rejections_in_a_row_leave_only_reductions() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.broker.on_call = lambda request: error(400, "MarginException", "Insufficient funds.")
    for seq in range(2, 7):
        world.run(0.2)
        world.send(seq)
    world.broker.on_call = None
    assert "REJECT_STORM" in world.codes() and world.stage.states.reducing
    world.run(0.2)
    world.send(8)
    assert world.reason(8) == "REDUCING"
    world.send(9, side=Side.SELL)
    assert world.status(9) in WORKING
    assert (gauge(world, "state_active"), gauge(world, "state_reducing")) == (0, 1)
    world.do("resume")
    world.run(1.5)
    world.send(10, px=PX - 5)  # below the exit that rests
    assert world.status(10) in WORKING
    assert gauge(world, "state_reducing") == 0


def test_an_order_that_the_exchange_takes_ends_the_row_of_rejections() -> None:
    world = World().start()
    for seq in range(1, 12):
        world.broker.on_call = (lambda request: error(400, "OrderException", "no")) if seq % 4 else None
        world.send(seq, px=PX - 5)
        if seq % 4 == 0:
            world.update(world.row())
        world.run(0.3)
    assert not world.stage.states.reducing


def test_a_dead_token_stops_every_call_until_there_is_another() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, px=PX - 10)
    world.broker.on_call = world.broker.on_read = lambda request: DEAD
    world.run(3.0)
    assert "TOKEN_DEAD" in world.codes() and not world.stage.active
    assert "nothing can be sent or reduced, 1 open positions" in world.alerts[-1]
    assert gauge(world, "token_dead") == 1
    calls = len(world.broker.sent)
    world.send(3, side=Side.SELL)
    world.send(4, kind=IntentKind.CANCEL, target_seq=2)
    assert world.reason(3) == world.reason(4) == "TOKEN_DEAD"
    world.run(60.0, step_s=0.5)
    assert len(world.broker.sent) == calls, "not one call"
    world.do("token", access_token="still wrong")
    world.run(3.0)
    assert len(world.broker.sent) == calls + 1, "one probe"
    world.broker.on_call = world.broker.on_read = None
    world.do("token", access_token="good")
    world.run(3.0)
    assert world.tokens == ["still wrong", "good"] and world.stage.active
    assert [r.path for r in world.broker.sent[calls + 1 :]][:6] == [
        "/orders", "/trades", "/portfolio/positions", "/gtt/triggers", "/orders", "/user/margins",
    ]  # fmt: skip
    assert world.alert_fields[-1]["cleared"] and gauge(world, "token_dead") == 0
    world.send(5, side=Side.SELL)
    assert world.status(5) in WORKING


def test_what_waits_when_the_token_dies_is_refused_and_cancels_are_kept() -> None:
    world = World().start()
    world.send(1, px=PX - 10)

    def call(request: HttpRequest) -> HttpResponse:
        return DEAD if len(world.broker.calls("POST")) == 8 else world.broker.accept(request)

    world.broker.on_call = call
    for seq in range(2, 12):
        world.wish(seq, qty=1)
    world.quote()
    world.step(3)
    assert world.reason(11) == "TOKEN_DEAD"
    assert not len(world.stage.desk.throttle) and world.stage.idle


def test_an_exit_whose_fate_is_unknown_is_critical() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.broker.on_call = lambda request: TransportError("reset", sent=True)
    world.send(2, side=Side.SELL)
    world.send(3, slot=1)
    found = {f["key"]: f["severity"] for f in world.alert_fields if f["code"] == "AMBIGUOUS_ORDER"}
    assert found == {"2": Severity.CRITICAL, "3": Severity.WARNING}
    journalled = [r.data() for r in world.journal.records if r.kind is Kind.ALERT]
    assert [a["key"] for a in journalled] == ["2", "3"]


def test_an_answer_that_does_not_come_is_told_before_it_times_out() -> None:
    world = World().start()
    world.broker.on_call = lambda request: None
    world.send(1)
    world.run(3.0)
    assert any("has no answer for 2." in text for text in world.alerts)


def test_a_held_instrument_without_a_fresh_price() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(14.0, fresh=False)
    assert "STALE_POSITION" not in world.codes()
    world.run(2.0, fresh=False)
    assert world.codes().count("STALE_POSITION") == 1
    world.run(1.0)
    assert world.alert_fields[-1] | {"text": ""} == {
        "code": "STALE_POSITION", "key": "NSE:SHARE0", "text": "", "severity": 2, "cleared": True,
    }  # fmt: skip


def test_a_silent_market_and_an_instrument_without_a_snapshot_open_nothing() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.do("market_halt", on=True)
    world.send(2)
    assert world.reason(2) == "MARKET_HALT"
    world.send(3, side=Side.SELL, qty=1)
    assert world.status(3) in WORKING
    world.run(0.2)
    assert gauge(world, "market_halted") == 1
    world.do("market_halt", on=False)
    world.stale_slots.add(0)
    world.send(4)
    assert world.reason(4) == "NO_SNAPSHOT"
    world.send(5, slot=1)
    assert world.status(5) in WORKING


def test_alerts_of_others_are_journalled_and_own_ones_not_twice() -> None:
    world = World().start()
    world.do("alert", code="FEED_DEAD", key="feed-0", text="no frame for 3 s", severity=3)
    data = world.journal.records[-1].data()
    assert world.journal.records[-1].kind is Kind.ALERT and data["code"] == "FEED_DEAD" and "do" not in data
    world.do("halt", reason="kill")
    n = len(world.journal.records)
    own = next(f for f in world.alert_fields if f["code"] == "HALTED")
    world.do("alert", **own)
    assert len(world.journal.records) == n


@pytest.mark.parametrize(
    ("answer", "counter"),
    [
        (error(429, "NetworkException", "Too many requests"), "http_429"),
        (error(503, "NetworkException", "down"), "http_503"),
        (error(504, "DataException", "late"), "http_504"),
        (HttpResponse(502, b""), "http_5xx"),
        (DEAD, "http_403"),
        (error(400, "OrderException", "Order request timed out. Please check the order book"),
         "http_400_timed_out"),
        (TransportError("reset", sent=True), "transport_errors"),
    ],
)  # fmt: skip
def test_every_kind_of_bad_answer_is_counted_on_calls_and_reads(answer: Any, counter: str) -> None:
    world = World().start()
    world.broker.on_call = lambda request: answer
    world.send(1)
    assert gauge(world, counter) == 1
    world.broker.on_call = None
    if counter == "http_403":
        return
    seen: list[HttpRequest] = []

    def once(request: HttpRequest) -> Any:
        seen.append(request)
        return answer if len(seen) == 1 else world.broker.read(request)

    world.broker.on_read = once
    world.stage.reader.polls.orders_wanted = True
    world.run(3.0)
    assert gauge(world, counter) == 2
    names = ("http_429", "http_503", "http_504", "http_5xx", "http_400_timed_out", "transport_errors")
    assert sum(gauge(world, name) for name in names) == 2


def test_a_refusal_and_a_call_that_never_left_are_no_faults_of_the_broker() -> None:
    world = World().start()
    world.broker.on_call = lambda request: error(400, "MarginException", "no")
    world.send(1)
    world.broker.on_call = lambda request: TransportError("refused", sent=False)
    world.send(2)
    assert gauge(world, "http_400_timed_out") == gauge(world, "transport_errors") == 0


def test_what_a_halted_market_rejects_is_no_storm() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.broker.on_call = lambda request: error(400, "OrderException", "The market is halted.")
    for seq in range(2, 6):  # before anybody knows
        world.run(0.2)
        world.send(seq)
    world.do("market_halt", on=True)
    for seq in range(6, 14):  # exits pass, and are rejected
        world.run(0.2)
        world.send(seq, side=Side.SELL)
    world.do("market_halt", on=False)
    for seq in range(14, 18):
        world.run(0.2)
        world.send(seq)
    assert not world.stage.states.reducing and "REJECT_STORM" not in world.codes()
    world.run(0.2)
    world.send(18)
    assert "REJECT_STORM" in world.codes()


def test_a_position_is_not_stale_while_its_session_is_closed() -> None:
    since_ns = {0: 2**62}
    world = World(more={"open_for": lambda slot: since_ns[slot]}).start()
    world.send(1)
    filled(world, 10)
    since_ns[0] = -1  # the session has ended
    world.run(60.0, fresh=False)
    assert "STALE_POSITION" not in world.codes()
    since_ns[0] = 5 * S  # it has just begun: the first price is still to come
    world.run(1.0, fresh=False)
    assert "STALE_POSITION" not in world.codes()
    since_ns[0] = 20 * S
    world.run(1.0, fresh=False)
    assert "STALE_POSITION" in world.codes()
    since_ns[0] = -1
    world.run(1.0, fresh=False)
    assert world.alert_fields[-1]["code"] == "STALE_POSITION" and world.alert_fields[-1]["cleared"]


def test_an_alert_that_comes_back_from_the_supervisor_is_journalled_once() -> None:
    world = World(more={"not_continued": "run 1 ran with another configuration"})
    words = {"exchange": "NSE", "tradingsymbol": "SHARE0", "average_price": 100.0, "quantity": 5}
    world.broker.held = [{"instrument_token": 1000 * 256 + 1, "product": "MIS"} | words]
    world.start()
    for fields in list(world.alert_fields):  # one line, as a terminal may show it
        world.do("alert", **fields | {"text": "  ".join(str(fields["text"]).split())[:500]})
    world.do("alert", code="PROCESS_RESTARTED", key="feed-0", text="feed-0 died", severity=2)
    told = [record.data()["code"] for record in world.journal.records if record.kind is Kind.ALERT]
    assert sorted(told) == ["EXTERNAL_POSITION", "PROCESS_RESTARTED", "RUN_NOT_CONTINUED"]


def unknown(request: HttpRequest) -> HttpResponse:
    return error(404, "OrderException", "Couldn't find that `order_id`.")


def test_an_order_that_the_broker_does_not_know_was_not_modified() -> None:
    world = World().start()
    world.send(1, qty=10)
    world.broker.on_call = unknown
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=PX)
    assert world.reason(2) == "BROKER" and world.order(1).open_quantity == 10
    assert "AMBIGUOUS_ORDER" not in world.codes()


def test_an_order_that_the_broker_does_not_know_cannot_be_cancelled_and_that_is_said() -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = unknown
    world.broker.rows.clear()
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(5.0)
    assert "CANCEL_FAILED" in world.codes() and len(world.broker.calls("DELETE")) == 1
    assert world.status(1) in WORKING  # silence about it is no proof


def test_a_new_order_answered_with_404_is_ambiguous() -> None:
    world = World().start()
    world.broker.on_call = unknown
    world.send(1)
    assert world.status(1) is OrderStatus.AMBIGUOUS


def test_a_new_token_is_tried_at_once_with_two_reads() -> None:
    world = World().start()
    world.do("token", access_token="next")
    before = len(world.broker.calls("GET"))
    world.run(1.0)
    assert [request.path for request in world.broker.calls("GET")[before:]] == ["/orders", "/trades"]


def test_a_wrong_clock_opens_nothing_and_a_person_is_told_once() -> None:
    world = World().start()
    watch = ClockWatch(world.clock.mono_ns, world.clock.real_ns, S)
    world = World(broker=world.broker, clock=world.clock, more={
        "facts": replace(OPEN_FACTS, clock_wrong=watch.wrong, watch=watch)}).start()  # fmt: skip
    world.send(1)
    filled(world, 10)
    watch.skew_ns = lambda: 2 * S
    world.run(2.0)
    assert world.codes().count("CLOCK") == 1 and "2.000 s off the broker's" in world.alerts[-1]
    world.send(2, slot=1)
    assert world.reason(2) == "CLOCK"
    world.send(3, side=Side.SELL, qty=4)
    assert world.status(3) in WORKING, "an exit passes"
    watch.skew_ns = None
    world.run(1.0)
    assert [a["code"] for a in world.alert_fields if a.get("cleared")][-1] == "CLOCK"
    world.send(4, slot=1)
    assert world.status(4) in WORKING
    world.clock.real += 2 * S
    world.run(1.0)
    assert world.codes().count("CLOCK") == 2 and "start the engine anew" in world.alerts[-1]
    world.send(5, slot=1, px=PX - 5)
    assert world.reason(5) == "CLOCK"


def test_what_stands_since_an_earlier_process_is_ended_by_this_one_and_not_told_anew() -> None:
    world = World().start()
    fields = {"code": "HALTED", "key": "", "text": "feed-0 stays down", "severity": 3}
    records = len(world.journal.records)
    world.stage.control({"do": "alert", **fields, "standing": True}, world.clock.mono_ns())
    assert len(world.journal.records) == records and "HALTED" not in world.codes()
    world.stage.outbox.halt("feed-0 stays down")
    world.stage.control({"do": "resume", "strategy": None, "by": "me"}, world.clock.mono_ns())
    cleared = [told["code"] for told in world.alert_fields if told.get("cleared")]
    assert cleared == ["HALTED"]
