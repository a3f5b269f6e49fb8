"""Looking before sleeping: the event loop that is kept awake, and the lookout of ORDERS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.spinning import Lookout, LoopSpinner


class Loop:
    """Callbacks of the next turn."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None], /) -> None:
        self.soon.append(callback)

    def turn(self) -> int:
        now, self.soon = self.soon, []
        for callback in now:
            callback()
        return len(now)


@pytest.mark.parametrize(("wait", "kept_awake"), [("spin", 1), ("yield", 1), ("adaptive", 0), ("park", 0)])
def test_a_loop_is_kept_awake_from_the_start(wait: str, kept_awake: int) -> None:
    loop = Loop()
    LoopSpinner(loop, wait, ManualClock(0, 0)).start()
    assert [loop.turn() for _ in range(5)] == [kept_awake] * 5


def test_an_adaptive_loop_looks_for_a_while_after_each_read_and_once_a_turn() -> None:
    loop, clock = Loop(), ManualClock(1000, 0)
    spinner = LoopSpinner(loop, "adaptive", clock, spin_ns=100)
    spinner.touch()
    spinner.touch()
    assert [loop.turn() for _ in range(4)] == [1] * 4
    clock.advance(99)
    spinner.touch()
    clock.advance(99)
    assert loop.turn() == 1 and loop.turn() == 1
    clock.advance(1)
    assert loop.turn() == 1 and loop.turn() == 0
    spinner.touch()
    assert loop.turn() == 1


class Queue:
    next_seq = 0


class Waiter:
    """Waits as long as it is told, by a clock made up; `moves`: answers of wait_any."""

    def __init__(self, clock: ManualClock, moves: list[bool]) -> None:
        self.clock, self.moves = clock, moves

    def wait_any(self, seen: list[int], timeout_ns: int) -> bool:
        self.clock.advance(timeout_ns)
        return self.moves.pop(0) if self.moves else False


def lookout_of(wait: str, moves: list[bool], ready: list[bool]) -> tuple[Lookout, ManualClock, list[float]]:
    clock, served = ManualClock(0, 0), list[float]()

    def serve(seconds: float) -> bool:
        served.append(seconds)
        return ready.pop(0) if ready else False

    made: Any = Lookout("park", [Queue()], [], serve, clock)  # type: ignore[list-item]
    made._waiter = None if wait == "park" else Waiter(clock, moves)
    made._for_ns = 10_000 if wait == "adaptive" else None
    return made, clock, served


def test_who_parks_does_not_look() -> None:
    lookout, clock, served = lookout_of("park", [True], [True])
    assert not lookout.came(1 << 40) and clock.mono_ns() == 0 and served == []


@pytest.mark.parametrize("wait", ["spin", "yield", "adaptive"])
def test_a_record_or_a_descriptor_ends_the_looking(wait: str) -> None:
    lookout, _, served = lookout_of(wait, [False, True], [False])
    assert lookout.came(1 << 40) and served == [0.0]
    lookout, _, served = lookout_of(wait, [], [False, True])
    assert lookout.came(1 << 40) and served == [0.0, 0.0]


def test_spinning_lasts_until_something_is_due_and_adaptive_gives_up_before() -> None:
    lookout, clock, _ = lookout_of("spin", [], [])
    assert lookout.came(1_000_000) and clock.mono_ns() == 1_000_000
    lookout, clock, _ = lookout_of("adaptive", [], [])
    assert not lookout.came(1_000_000) and clock.mono_ns() == 10_000
    assert lookout.came(clock.mono_ns() + 5_000) and clock.mono_ns() == 15_000
