"""Looking before sleeping: the event loop that is kept awake, and the lookout of ORDERS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kite_hft._wait import DESCRIPTOR_READY, HEAD_MOVED
from kite_hft.clock import ManualClock
from kite_hft.engine.processes.spinning import Lookout, LoopSpinner


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
    """Looks for 3 us at a time, by a clock made up; `found`: what, each time."""

    def __init__(self, clock: ManualClock, found: list[int]) -> None:
        self.clock, self.found, self.silent_ns = clock, found, -1

    def look(self, seen: list[int], epoll_fd: int, for_ns: int, every_ns: int) -> int:
        assert seen == [0] and epoll_fd == 77
        self.silent_ns = self.clock.mono
        self.clock.advance(min(for_ns, every_ns))
        return self.found.pop(0) if self.found else 0


def lookout_of(wait: str, found: list[int]) -> tuple[Lookout, ManualClock, list[object]]:
    clock, told = ManualClock(0, 0), list[object]()

    def serve() -> None:
        told.append("served")

    made: Any = Lookout("park", [Queue()], [], 77, serve, told.append, clock)  # type: ignore[list-item]
    made._waiter = None if wait == "park" else Waiter(clock, found)
    made._for_ns = 10_000 if wait == "adaptive" else None
    return made, clock, told


def test_who_parks_does_not_look() -> None:
    lookout, clock, told = lookout_of("park", [HEAD_MOVED])
    assert not lookout.came(1 << 40) and clock.mono_ns() == 0 and told == []


@pytest.mark.parametrize("wait", ["spin", "yield", "adaptive"])
def test_a_record_or_a_descriptor_ends_the_looking(wait: str) -> None:
    lookout, _, told = lookout_of(wait, [0, HEAD_MOVED, HEAD_MOVED])
    assert lookout.came(1 << 40) and told == [3_000], "with the time of the last look at descriptors"
    lookout, _, told = lookout_of(wait, [0, 0, DESCRIPTOR_READY])
    assert lookout.came(1 << 40) and told == ["served"]


def test_spinning_lasts_until_something_is_due_and_adaptive_gives_up_before() -> None:
    lookout, clock, _ = lookout_of("spin", [])
    assert lookout.came(1_000_000) and clock.mono_ns() == 1_000_000
    lookout, clock, _ = lookout_of("adaptive", [])
    assert not lookout.came(1_000_000) and clock.mono_ns() == 10_000
    assert lookout.came(clock.mono_ns() + 5_000) and clock.mono_ns() == 15_000
