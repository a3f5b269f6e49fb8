"""ACTIVE, REDUCING, HALTED, a dead token, a silent market; alerts; and how the stage is stopped."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, error, filled

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Severity, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.outbox import C

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
    world.send(10)
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
    assert [r.path for r in world.broker.sent[calls + 1 :]][:5] == [
        "/orders", "/trades", "/portfolio/positions", "/orders", "/user/margins",
    ]  # fmt: skip
    assert world.alert_fields[-1]["cleared"] and gauge(world, "token_dead") == 0
    world.send(5, side=Side.SELL)
    assert world.status(5) in WORKING


def test_what_waits_when_the_token_dies_is_refused_and_cancels_are_kept() -> None:
    world = World().start()
    world.send(1, px=PX - 10)
    for seq in range(2, 12):
        world.wish(seq, qty=1)
    world.quote()
    world.step()
    world.broker.on_read = lambda request: DEAD
    world.stage.reader.polls.orders_wanted = True
    world.run(0.4)
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


def stoppable() -> World:
    """10 held long, 5 short in another instrument, an exit and an entry at rest."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, slot=1, side=Side.SELL, qty=5)
    filled(world, 5)
    world.send(3, side=Side.SELL, px=PX + 100, qty=4)
    world.send(4, px=PX - 100, qty=1)
    return world


def test_keep_leaves_everything() -> None:
    world = stoppable()
    world.do("stop_policy", policy="keep")
    world.stage.begin_stop(world.clock.mono)
    world.run(3.0)
    assert world.stage.idle and not world.broker.calls("DELETE")
    assert len(world.stage.close()["orders"]) == 2


def fills_at_once(world: World, share: float = 1.0) -> None:
    """Every placement fills (partly) as it arrives."""

    def call(request: HttpRequest) -> HttpResponse:
        answer = world.broker.accept(request)
        if request.method == "POST":
            row = world.row()
            row["filled_quantity"] = max(1, int(row["quantity"] * share))
            row["average_price"] = 100.0
            if row["filled_quantity"] == row["quantity"]:
                row["status"] = "COMPLETE"
        return answer

    world.broker.on_call = call


def test_flatten_cancels_all_buys_back_shorts_first_and_ends_flat() -> None:
    world = stoppable()
    fills_at_once(world)
    before = len(world.broker.calls("POST"))
    world.do("stop_policy", policy="flatten")
    world.stage.begin_stop(world.clock.mono)
    assert not world.stage.idle
    world.run(6.0)
    assert world.stage.idle
    assert world.status(3) is world.status(4) is OrderStatus.CANCELLED
    placed = [o for o in world.stage.book.orders.values()][before:]
    assert [(o.side, o.quantity, o.slot) for o in placed] == [(Side.BUY, 5, 1), (Side.SELL, 10, 0)]
    assert all(o.order_type == OrderType.MARKET and o.product == 3 for o in placed)
    assert world.stage.close() == {"orders": [], "positions": []}
    assert "NOT_FLAT" not in world.codes()


def test_flatten_replaces_the_rest_of_a_closing_order_until_it_is_flat() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    fills_at_once(world, 0.5)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(40.0)
    assert world.stage.idle and world.quantity() == 0
    assert world.stage.close()["positions"] == []


def test_flatten_says_what_it_could_not_close() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.broker.on_call = lambda request: error(400, "OrderException", "circuit")
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(30.0)
    refused = len(world.broker.calls("POST")) - 1
    assert 1 <= refused <= 5
    world.stage.close()
    assert any(text.startswith("NOT_FLAT") and "NSE:SHARE0 10" in text for text in world.alerts)


def test_flatten_leaves_what_is_not_ours() -> None:
    world = World()
    world.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE1", "instrument_token": 1001 * 256 + 1, "product": "MIS",
         "quantity": 7, "average_price": 99.0, "multiplier": 1}
    ]  # fmt: skip
    world.start()
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(3.0)
    assert world.stage.idle and not world.broker.calls("POST")


def test_flatten_sells_nothing_long_while_a_short_is_open() -> None:
    world = stoppable()
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(2.0)
    closing = [o for o in world.stage.book.live()]
    assert [(o.side, o.quantity, o.slot) for o in closing] == [(Side.BUY, 5, 1)]
    filled(world, 5)
    world.run(1.0)
    assert [(o.side, o.quantity, o.slot) for o in world.stage.book.live()] == [(Side.SELL, 10, 0)]
