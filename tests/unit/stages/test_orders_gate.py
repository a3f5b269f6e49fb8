"""The last gate before the wire, and what happens to orders that had to wait for their turn."""

from __future__ import annotations

import pytest
from orders_world import PX, Handler, World, error, filled, form

from kite_hft.layout import IntentKind, Side
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.sending import throttle


def placed(world: World) -> list[str]:
    """Tags of all placements that left, in order."""
    return [form(request)["tag"] for request in world.broker.calls("POST")]


def test_the_egress_counter_halts_what_a_broken_throttle_lets_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second, independent count: at most 10 calls in 1.25 s whatever the throttle says."""
    monkeypatch.setattr(throttle.Throttle, "free_at", lambda self, now_ns, urgent: now_ns)
    world = World().start()
    for seq in range(1, 21):
        world.wish(seq, qty=1)
    world.quote()
    world.step(3)
    assert len(placed(world)) == 10
    assert world.stage.outbox.halted.startswith("egress: more than 10 calls in 1.25 s")
    assert world.reason(20) == "HALTED"


def four_sent_four_more_and_two_waiting(on_call: Handler | None = None) -> World:
    """Eight entries are out; the next two may leave in about 0.65 s, before their deadline.

    on_call: how the broker answers the second four (None: it accepts them).
    """
    world = World().start()
    for seq in range(1, 5):
        world.wish(seq, qty=1)
    world.quote()
    world.step()
    world.run(0.6)
    world.broker.on_call = on_call
    for seq in range(5, 11):
        world.wish(seq, qty=1)
    world.step()
    world.broker.on_call = None
    assert len(placed(world)) == 8
    return world


def test_entries_that_wait_leave_when_there_is_room() -> None:
    world = four_sent_four_more_and_two_waiting()
    world.run(0.9)
    assert len(placed(world)) == 10


def test_an_entry_that_waits_is_judged_again_before_it_leaves() -> None:
    world = four_sent_four_more_and_two_waiting()
    world.stage.outbox.halt("something went wrong meanwhile")
    world.run(0.9)
    assert len(placed(world)) == 8
    assert world.reason(9) == world.reason(10) == "HALTED"


def test_a_halt_from_outside_drops_what_waits() -> None:
    world = World().start()
    for seq in range(1, 11):
        world.wish(seq, qty=1)
    world.quote()
    world.step()
    world.stage.halt("kill", world.clock.mono)
    world.run(2.0)
    assert len(placed(world)) == 8 and world.reason(10) == "HALTED"


def test_an_exit_goes_before_the_entries_that_wait() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(3.0)
    before = len(placed(world))
    for seq in range(2, 14):
        world.wish(seq, qty=1, px=PX - 10)
    world.wish(14, side=Side.SELL, qty=10)
    world.quote()
    world.step()
    assert world.order(14).tag in placed(world)[before:]
    assert len(placed(world)) - before == 8, "seven entries and, before the rest of them, the exit"


def test_an_entry_that_waits_is_held_back_when_its_side_is_frozen_meanwhile() -> None:
    """One of the sent ones is lost without an answer: same instrument and side wait for the look-up."""

    def lose(request: HttpRequest) -> TransportError:
        return TransportError("timed out", sent=True)

    world = four_sent_four_more_and_two_waiting(lose)
    world.run(0.9)
    assert len(placed(world)) == 8
    assert world.reason(9) == world.reason(10) == "FROZEN"


def test_a_stop_waits_for_the_answer_to_an_exit() -> None:
    """Exits are not cancelled by a stop, so nothing but the missing answer keeps it waiting."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.broker.hold = True
    world.quote()
    world.wish(2, side=Side.SELL, qty=10)
    world.step(2)
    world.stage.begin_stop(world.clock.mono)
    world.step()
    assert len(placed(world)) == 2 and not world.stage.idle
    world.broker.hold = False
    world.run(1.0)
    assert world.stage.idle and not world.broker.calls("DELETE")


def test_an_intent_that_comes_twice_is_nothing_but_that() -> None:
    """With any other reason its strategy would hear that its order, which lives, was refused."""
    world = World().start()
    world.send(1)
    world.broker.on_call = lambda request: error(403, "TokenException", "Incorrect `access_token`.")
    world.send(2, slot=1, qty=1)
    assert world.stage.states.token_dead
    told = len(world.told)
    world.send(1)
    assert world.stage.outbox.refused["DUPLICATE_INTENT"] == 1
    assert [e for e in world.told[told:] if e["strategy_seq"] == 1] == []


def test_a_modification_to_no_order_type_leaves_no_record_of_a_call() -> None:
    """A compiled strategy may write any byte there, and each later process reads what a record says."""
    world = World().start()
    world.send(1)
    for seq, kind in enumerate((5, 77, 255), 2):
        world.send(seq, kind=IntentKind.MODIFY, target_seq=1, order_type=kind, qty=0, px=0)
        assert world.reason(seq) == "BAD_INTENT"
    assert not world.broker.calls("PUT") and "CALL" not in world.journal.kinds()


def test_only_a_modification_changes_a_trigger() -> None:
    world = World().start()
    asked: list[int] = []
    world.stage.intake.change_trigger = lambda intent, now_ns: bool(asked.append(intent.kind))
    for seq, kind in enumerate((1, 2, 3, 9, 77), 1):
        world.send(seq, kind=kind, target_seq=1)
    assert asked == [IntentKind.MODIFY, IntentKind.CANCEL]
