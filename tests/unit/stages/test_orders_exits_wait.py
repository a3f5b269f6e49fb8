"""Both connections to the broker hang: entries are given up, exits and cancels wait on, and leave once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from lined import Lined
from orders_world import PX, S, ScriptedBroker, World, error, filled

from kite_hft.clock import ManualClock
from kite_hft.layout import IntentKind, OrderStatus, Side
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.sending.work import Cancel


def held(qty: int = 10, **more: Any) -> tuple[World, Lined]:
    """A stage that holds so many, before two connections."""
    clock = ManualClock(1_000 * S, 1_800_000_000 * S)
    broker = Lined(ScriptedBroker(), clock)
    world = World(broker=broker, clock=clock, **more).start()  # type: ignore[arg-type]
    world.send(1, qty=qty)
    world.step(2)
    filled(world, qty)
    world.run(2.0)
    return world, broker


def hang(world: World, broker: Lined, first: int = 20) -> int:
    """Two entries take both connections and get no answer; returns how many order calls have left."""
    broker.hang = True
    for seq in (first, first + 1):
        world.send(seq, slot=1, px=PX - 5 * seq)
    assert len(broker.hung) == 2
    return len(calls(world))


def calls(world: World) -> list[str]:
    return [request.method for request in world.broker.sent if request.method != "GET"]


def times_of(world: World, broker: Lined) -> list[int]:
    """When order calls leave from now on; CLOCK_MONOTONIC ns, it grows."""
    times: list[int] = []
    real = broker.lines.leave

    def leave(request_id: int, request: Any) -> None:
        times.append(world.clock.mono)
        real(request_id, request)

    broker.lines.leave = leave
    return times


def test_a_strategys_exit_waits_on_and_leaves_once() -> None:
    world, broker = held()
    left = hang(world, broker)
    world.send(30, side=Side.SELL, px=PX + 5)
    world.send(31, slot=1, px=PX - 200)
    world.run(6.0)
    assert len(calls(world)) == left and world.status(30) is OrderStatus.SENT
    assert world.status(31) is OrderStatus.REFUSED and world.reason(31) == "NOT_CONNECTED", (
        "an entry does not"
    )
    assert "EXIT_WAITS" in world.codes() and not world.stage.idle
    number = world.order(30).order_no
    assert any(f"exit {number} has waited 1.0 s for a connection" in told for told in world.alerts)
    broker.die()
    world.run(0.2)
    assert calls(world)[left:] == ["POST"] and world.status(30) in WORKING
    assert world.kinds(30) == ["SENT", "ACCEPTED"]
    over = [
        fields for fields in world.alert_fields if fields["code"] == "EXIT_WAITS" and fields.get("cleared")
    ]
    assert [fields["key"] for fields in over] == [f"exit {number}"]
    world.run(3.0)
    posted = [r for r in world.broker.calls("POST") if world.order(30).tag.encode() in r.body]
    assert len(posted) == 1
    assert world.status(20) is OrderStatus.AMBIGUOUS, "what may have left is looked up, and not sent again"
    assert world.journal.kinds().count("INTENT") == 5


def test_an_exit_that_has_not_left_has_no_answer_to_wait_for() -> None:
    world, broker = held()
    hang(world, broker)
    world.send(30, side=Side.SELL, px=PX + 5)
    number = world.order(30).order_no

    def ambiguous() -> list[str]:
        return [told for told in world.alerts if f"order {number} has no answer" in told]

    world.run(3.0)
    assert "EXIT_WAITS" in world.codes() and not ambiguous()
    lost: list[int] = []
    broker.lines.leave = lambda request_id, request: lost.append(request_id)
    broker.die()
    world.run(0.6)
    assert len(lost) == 1 and not ambiguous(), "it has left just now"
    world.run(0.4)
    assert ["has no answer for 0." in told for told in ambiguous()] == [True]


def test_a_change_of_an_exit_and_a_cancel_wait_on() -> None:
    world, broker = held()
    world.send(3, side=Side.SELL, px=PX + 50)
    world.send(4, slot=1, px=PX - 100)
    world.run(2.0)
    left = hang(world, broker)
    world.send(30, kind=IntentKind.MODIFY, target_seq=3, px=PX + 5)
    world.send(31, kind=IntentKind.CANCEL, target_seq=4)
    world.run(5.0)
    assert len(calls(world)) == left
    assert world.order(3).order_no in world.stage.desk.modifying and world.status(4) in WORKING
    told = [line for line in world.alerts if line.startswith("EXIT_WAITS")]
    assert ["the change of order" in told[0], "the cancel of" in told[1], len(told)] == [True, True, 2]
    assert "CANCEL_FAILED" not in world.codes()
    broker.die()
    world.run(0.5)
    assert calls(world)[left:] == ["PUT", "DELETE"]
    assert world.order(3).px == PX + 5 and not world.stage.desk.modifying
    world.run(3.0)
    assert world.status(4) is OrderStatus.CANCELLED and calls(world)[left:] == ["PUT", "DELETE"]


def test_a_cancel_whose_order_has_filled_while_it_waited_never_leaves() -> None:
    world, broker = held()
    world.send(4, slot=1, px=PX - 100)
    world.run(2.0)
    left = hang(world, broker)
    world.send(31, kind=IntentKind.CANCEL, target_seq=4)
    world.run(3.0)
    row = next(row for row in broker.rows.values() if row["price"] == (PX - 100) / 100)
    world.update(row | {"filled_quantity": 10, "average_price": 99.0, "status": "COMPLETE"})
    rows = len(world.stage.desk.egress._held)
    broker.die()
    world.run(1.0)
    assert rows == 1 and calls(world)[left:] == [] and not world.stage.desk.egress._held
    assert not world.stage.desk.cancelling and "CANCEL_FAILED" not in world.codes()
    assert world.status(4) is OrderStatus.COMPLETE


def test_an_exit_that_is_cancelled_while_it_waits_never_leaves() -> None:
    world, broker = held()
    left = hang(world, broker)
    world.send(30, side=Side.SELL, px=PX + 5)
    world.run(3.0)
    world.send(31, kind=IntentKind.CANCEL, target_seq=30)
    world.run(1.0)
    assert world.status(30) is OrderStatus.SENT, "nobody serves the line meanwhile"
    broker.die()
    world.run(1.0)
    assert len(calls(world)) == left and world.status(30) is OrderStatus.REFUSED
    assert "cancelled before it left" in world.order(30).message and not world.stage.desk.cancelling


def test_an_exit_whose_position_has_gone_while_it_waited_never_leaves() -> None:
    world, broker = held()
    world.send(3, side=Side.SELL, px=PX + 50, qty=5)
    left = hang(world, broker)
    world.send(30, side=Side.SELL, px=PX + 5, qty=5)
    world.run(3.0)
    row = next(row for row in broker.rows.values() if row["transaction_type"] == "SELL")
    row |= {"filled_quantity": 5, "average_price": 100.5, "status": "COMPLETE"}
    world.update(row)
    first = next(row for row in broker.rows.values() if row["transaction_type"] == "BUY")
    assert first["filled_quantity"] == 10 and world.quantity() == 5
    world.stage.book.positions[1, 0, world.order(1).product].quantity = 0  # a person has sold the rest
    broker.die()
    world.run(0.1)
    assert len(calls(world)) == left and world.status(30) in TERMINAL


def test_after_a_kill_what_opens_is_gone_and_exits_still_wait() -> None:
    latch = [""]
    world, broker = held(more={"killed": lambda: latch[0]})
    left = hang(world, broker)
    world.send(30, side=Side.SELL, px=PX + 5)
    world.run(2.0)
    latch[0] = "enough"
    world.run(2.0)
    assert world.status(30) is OrderStatus.SENT and len(calls(world)) == left
    broker.die()
    world.run(0.2)
    assert calls(world)[left:][:1] == ["POST"] and world.status(30) in WORKING


@pytest.mark.parametrize("exits", [6, 9, 25])
def test_a_line_of_exits_keeps_the_brokers_windows_when_it_is_served(exits: int) -> None:
    """However long they have waited: no more leave within a window than the broker grants."""
    world, broker = held(qty=exits)
    left = hang(world, broker)
    times = times_of(world, broker)
    for seq in range(30, 30 + exits):
        world.wish(seq, side=Side.SELL, px=PX + 5, qty=1)
    world.run(9.0)
    assert len(calls(world)) == left
    broker.die()
    world.run(6.0)
    assert calls(world)[left:].count("POST") == exits
    for at in times:
        assert sum(at <= other < at + S for other in times) <= 10
    assert not world.stage.outbox.halted, "nor did the second count find one too many"
    assert all(world.kinds(seq)[:2] == ["SENT", "ACCEPTED"] for seq in range(30, 30 + exits))


@pytest.mark.parametrize("held_up", [3, 8])
def test_exits_whose_places_are_gone_share_the_window_with_what_left_meanwhile(held_up: int) -> None:
    """The process stands still for longer than a window: what it wakes up to leaves first, and they wait."""
    world, broker = held(qty=40)
    hang(world, broker)
    times = times_of(world, broker)
    for seq in range(30, 30 + held_up):
        world.wish(seq, side=Side.SELL, px=PX + 5, qty=1)
    world.step(3)
    assert not times
    broker.die()
    broker.lines.most = 0
    world.clock.advance(3 * S)
    world.quote()
    for seq in range(50, 60):
        world.wish(seq, side=Side.SELL, px=PX + 10, qty=1)
    world.step(3)
    assert not times and len(broker.lines.waiting) == held_up + 10, "all stand in line, ten with a place"
    broker.lines.most = 20
    world.run(6.0)
    assert len(times) == held_up + 10
    assert max(sum(at - 5 * S // 4 < other <= at for other in times) for at in times) == 10
    assert not world.stage.outbox.halted and world.stage.idle is False
    sent = [request.body for request in world.broker.calls("POST")[-held_up - 10 :]]
    older = [world.order(seq).tag.encode() for seq in range(30, 30 + held_up)]
    assert all(tag in body for tag, body in zip(older, sent, strict=False)), (
        "the older ones go first, in the places of others"
    )


def limited(world: World, broker: Lined) -> None:
    """One of the two calls under way is answered with 429, which is read before its connection is used."""
    broker.hang = False
    broker.ended.append((broker.hung.pop(0), error(429, "NetworkException", "Too many requests")))
    world.step()
    broker.lines.answered()


def test_in_a_cool_down_that_began_meanwhile_they_leave_singly() -> None:
    world, broker = held(qty=40)
    hang(world, broker)
    times = times_of(world, broker)
    for seq in range(30, 35):
        world.wish(seq, side=Side.SELL, px=PX + 5, qty=1)
    world.wish(40, slot=1, px=PX - 200)
    world.step(2)
    limited(world, broker)
    world.run(9.0)
    assert len(times) == 5 and all(later - at >= S for at, later in itertools.pairwise(times))
    assert all(world.status(seq) in WORKING for seq in range(30, 35))
    assert world.status(40) is OrderStatus.REFUSED and not world.stage.outbox.halted
    world.run(3.0)
    for seq in (50, 51):
        world.send(seq, side=Side.SELL, px=PX + 5, qty=1)
    assert times[-1] == times[-2], "it is over"


def test_the_rest_between_two_is_counted_from_where_the_first_has_left() -> None:
    """It was let out 0.8 s before it found a connection."""
    world, broker = held(qty=40)
    hang(world, broker)
    times = times_of(world, broker)
    world.send(30, side=Side.SELL, px=PX + 5, qty=1)
    world.run(0.8)
    broker.die()
    world.run(0.1)
    assert len(times) == 1
    world.stage.desk.throttle.cool_down(world.clock.mono)
    world.send(31, side=Side.SELL, px=PX + 5, qty=1)
    world.run(2.0)
    assert len(times) == 2 and times[1] - times[0] >= S


def test_what_does_not_leave_after_all_takes_no_place_from_others() -> None:
    """Eight exits have outlived their places, and are cancelled; eight behind them leave at once."""
    world, broker = held(qty=40)
    hang(world, broker)
    for seq in range(30, 38):
        world.wish(seq, side=Side.SELL, px=PX + 5, qty=1)
    world.step(2)
    world.clock.advance(3 * S)
    for seq in range(30, 38):
        world.stage.desk.cancelling[world.order(seq).order_no] = Cancel.WISHED
    broker.lines.most = 0
    for seq in range(50, 60):
        world.wish(seq, side=Side.SELL, px=PX + 10, qty=1)
    world.quote()
    world.step(2)
    assert len(broker.lines.waiting) == 18
    left = len(calls(world))
    broker.die()
    broker.lines.most = 20
    world.step(2)
    assert calls(world)[left:] == ["POST"] * 10
    assert {world.status(seq) for seq in range(30, 38)} == {OrderStatus.REFUSED}
    assert {world.status(seq) for seq in range(50, 60)} <= WORKING
