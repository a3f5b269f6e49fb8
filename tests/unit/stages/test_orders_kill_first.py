"""After a kill the cancels of entries go before exits that wait, and those are not held up for ever."""

from __future__ import annotations

from orders_world import PX, S, World, error, filled

from kite_hft.layout import IntentKind, Side
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.sending.outbox import H


class Latch:
    """The file, in memory."""

    reason = ""

    def unkill(self, by: str) -> None:
        self.reason = ""


def crowded(latch: Latch, entries: int, exits: int) -> World:
    """Entries that rest, and then so many exits at once that most of them wait."""
    world = World(more={"killed": lambda: latch.reason, "unkill": latch.unkill}).start()
    world.send(1, qty=500)
    filled(world, 500)
    for seq in range(2, 2 + entries):
        world.send(seq, slot=1, px=PX - 5 * seq)
        world.run(0.3)
    world.run(3.0)
    exits_of(world, exits)
    return world


def exits_of(world: World, n: int) -> None:
    """So many exits at once: the window takes some of them, the others wait."""
    world.quote()
    for seq in range(50, 50 + n):
        world.wish(seq, side=Side.SELL, qty=1, px=PX + 50)
    world.step(2)
    assert len(world.stage.desk.throttle) >= n - 10


def since(world: World, calls: int) -> str:
    """Order calls since the so-manieth: D for a cancel, P for an order."""
    return "".join(r.method[0] for r in world.broker.sent[calls:] if r.method != "GET")


def test_after_a_kill_cancels_of_entries_go_before_exits_that_wait() -> None:
    latch = Latch()
    world = crowded(latch, entries=4, exits=20)
    before = len(world.broker.sent)
    waiting = len(world.stage.desk.throttle)
    latch.reason = "enough"
    world.run(8.0)
    assert since(world, before) == "DDDD" + "P" * waiting


def test_so_do_cancels_that_wait_already_and_those_of_orders_that_get_their_name_later() -> None:
    latch = Latch()
    world = crowded(latch, entries=3, exits=0)
    world.broker.hold = True
    world.send(30, slot=1, px=PX - 200)
    exits_of(world, 20)
    world.send(200, kind=IntentKind.CANCEL, target_seq=2)
    before, waiting = len(world.broker.sent), len(world.stage.desk.throttle)
    latch.reason = "enough"
    world.step(2)
    world.broker.hold = False
    world.run(10.0)
    assert since(world, before) == "DDDD" + "P" * (waiting - 1)
    assert all(world.status(seq) in TERMINAL for seq in (2, 3, 4, 30))


def test_an_exit_waits_for_the_first_cancel_of_each_entry_and_no_other() -> None:
    """However often cancels fail."""
    latch = Latch()
    world = crowded(latch, entries=5, exits=30)
    world.broker.on_call = lambda request: (
        error(500, "GeneralException", "no") if request.method == "DELETE" else world.broker.accept(request)
    )
    before, waiting = len(world.broker.sent), len(world.stage.desk.throttle)
    latch.reason = "enough"
    world.run(8.0)
    calls = since(world, before)
    assert calls.startswith("DDDDD" + "P" * waiting) and calls.count("D") > 6, calls
    assert max(world.counters.samples[H["throttle_wait"]]) <= (5 + waiting) * S // 8 + S


def test_after_a_resume_cancels_stand_in_line_again() -> None:
    latch = Latch()
    world = crowded(latch, entries=2, exits=0)
    latch.reason = "enough"
    world.step(2)
    world.stage.desk.cancels_first.give_turn(99)
    world.do("resume", by="somebody")
    world.step()
    assert not world.stage.desk.cancels_first.takes_turn(99)
