"""Cancels are seen through: until the order has ended, whatever the broker says to them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from orders_world import PX, S, World, error, filled, limits, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Reason, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.risk import Verdict
from kite_hft.trading.sending.cancelling import (
    PAUSE_MAX_NS,
    SELDOM_NS,
    TAKEN_NS,
    TRIES,
    CancelsFirst,
    CancelTries,
)
from kite_hft.trading.sending.throttle import Throttle
from kite_hft.trading.sending.work import Work


def test_tries_come_later_and_later_and_never_end() -> None:
    tries, pauses = CancelTries(), []
    for _ in range(TRIES + 3):
        tries.failed(1, 0)
        pauses.append(next(ns for ns in range(0, SELDOM_NS + 1, S // 20) if tries.due(1, ns, ns)))
    assert pauses[:4] == [0, S // 5, S * 2 // 5, S * 4 // 5]
    assert pauses[TRIES - 2] == PAUSE_MAX_NS and pauses[-1] == SELDOM_NS
    assert not tries.due(1, -1, SELDOM_NS), "that read was asked for before it failed"


def taken(world: World) -> None:
    """Cancels are answered with yes, and nothing comes of them."""

    def call(request: HttpRequest) -> HttpResponse:
        if request.method == "DELETE":
            return ok({"order_id": request.path.rsplit("/", 1)[1]})
        return world.broker.accept(request)

    world.broker.on_call = call


def deletes(world: World) -> int:
    return len(world.broker.calls("DELETE"))


def test_one_that_was_taken_and_not_carried_out_goes_out_again_and_is_told() -> None:
    world = World().start()
    world.send(1)
    taken(world)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(TAKEN_NS / S - 0.1)
    assert deletes(world) == 1 and "CANCEL_FAILED" not in world.codes(), "it may be on its way"
    world.run(3.0)
    assert deletes(world) >= 2 and "CANCEL_FAILED" in world.codes()
    world.broker.on_call = None
    world.run(10.0)
    assert world.status(1) is OrderStatus.CANCELLED and world.stage.idle
    assert world.alert_fields[-1]["code"] == "CANCEL_FAILED" and world.alert_fields[-1]["cleared"]


def test_while_the_book_shows_it_on_its_way_nothing_is_sent_again() -> None:
    world = World().start()
    world.send(1)

    def pending(request: HttpRequest) -> HttpResponse:
        world.row()["status"] = "CANCEL PENDING"
        return ok({"order_id": request.path.rsplit("/", 1)[1]})

    world.broker.on_call = pending
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(20.0)
    assert deletes(world) == 1
    world.run(15.0)
    assert deletes(world) == 2, "for so long it is on its way to nowhere"
    world.row()["status"] = "OPEN"
    world.run(6.0)
    assert deletes(world) >= 3


def test_what_is_dropped_on_its_way_out_takes_no_place_from_a_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().start()
    world.send(1)
    desk, order, now_ns = world.stage.desk, world.order(1), world.clock.mono
    closed = Verdict(Reason.FROZEN, "what it was to close is closed already")
    for _ in range(30):
        exit_ = Work(IntentKind.MODIFY, order, None, None)
        desk.throttle.offer(exit_, now_ns - 1, urgent=True, placement=False, deadline_ns=now_ns)
    monkeypatch.setattr(
        desk, "_verdict", lambda work, now_ns: closed if work.kind == IntentKind.MODIFY else None
    )
    desk.cancel(order, None, now_ns)
    world.step()
    assert deletes(world) == 1 and not len(desk.throttle)


def test_a_kill_sees_it_through() -> None:
    latch = [""]
    world = World(more={"killed": lambda: latch[0]}).start()
    world.send(1)
    taken(world)
    latch[0] = "a person"
    world.run(60.0)
    world.broker.on_call = None
    world.run(10.0)
    assert world.status(1) is OrderStatus.CANCELLED


def test_closing_everything_waits_for_it_and_gets_on() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 500)
    taken(world)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(10.0)
    assert world.status(2) is OrderStatus.OPEN and len(world.broker.calls("POST")) == 2
    world.broker.on_call = None
    world.run(10.0)
    assert world.status(2) is OrderStatus.CANCELLED and len(world.broker.calls("POST")) >= 3


@pytest.mark.parametrize("answer", [HttpResponse(503, b""), error(400, "OrderException", "no"), None])
def test_none_is_given_up(answer: HttpResponse | None) -> None:
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: answer or TransportError("timed out", sent=True)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(600.0, step_s=0.25)
    assert deletes(world) > TRIES and "CANCEL_FAILED" in world.codes()
    tried = deletes(world)
    world.run(120.0, step_s=0.25)
    assert deletes(world) - tried <= 5, "ever more seldom"
    world.broker.on_call = None
    world.run(40.0, step_s=0.25)
    assert world.status(1) is OrderStatus.CANCELLED


def test_a_new_process_sees_through_what_was_taken_and_not_carried_out() -> None:
    world = World().start()
    world.send(1, order_type=OrderType.LIMIT)
    taken(world)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), more={"restarted": True}
    )  # fmt: skip
    world.broker.on_call = None
    again.start()
    again.run(5.0)
    assert again.status(1) is OrderStatus.CANCELLED


def test_the_cancel_of_an_order_goes_before_exits_once_for_each_kill() -> None:
    throttle: Throttle[Work] = Throttle(limits())
    first = CancelsFirst(throttle)
    works = [
        Work(kind, SimpleNamespace(order_no=number), None, None)  # type: ignore[arg-type]
        for kind, number in ((IntentKind.PLACE, 7), (IntentKind.CANCEL, 7), (IntentKind.CANCEL, 8))
    ]
    for work in works:
        throttle.offer(work, 0, urgent=True, placement=False, deadline_ns=0)
    assert not first.takes_turn(7), "nothing is killed"
    first.give_turn(8)
    assert not first.takes_turn(8), "the one that waited went before all others: that was its turn"
    first.give_turn(9)
    assert first.takes_turn(9) and not first.takes_turn(9)
    first.give_turn(9)
    assert not first.takes_turn(9)
    assert [throttle.take(0).item for _ in works] == [works[2], *works[:2]]  # type: ignore[union-attr]
    first.forget()
    assert not first.takes_turn(9)
    first.give_turn(9)
    assert first.takes_turn(9), "another kill"
    first.give_turn(10)
    first.forget()
    assert not first.takes_turn(10), "the kill is over"
