"""The orderly end has so much time to see things through, and a standstill takes none of it away."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.ending import FLATTEN_S, STOP_S, see_through
from kite_hft.engine.processes.awake import GAP_NS

S = 1_000_000_000


@dataclass
class Stage:
    """Under way for `rounds` rounds of 0.1 s; in the round `stalls` the machine stands still for a minute."""

    rounds: int
    stalls: int = -1
    flattening: bool = False
    done: int = 0

    @property
    def idle(self) -> bool:
        return self.done >= self.rounds


def rounds_of(stage: Stage) -> int:
    clock = ManualClock(5 * S, 0)

    def one_round() -> None:
        clock.advance(60 * S if stage.done == stage.stalls else S // 10)
        stage.done += 1

    see_through(stage, one_round, clock.mono_ns)
    return stage.done


@pytest.mark.parametrize("rounds", [0, 1, 50])
def test_it_ends_as_soon_as_nothing_is_under_way(rounds: int) -> None:
    assert rounds_of(Stage(rounds)) == rounds


@pytest.mark.parametrize(("flattening", "longest_s"), [(False, STOP_S), (True, FLATTEN_S)])
def test_it_has_so_much_time_and_no_more(flattening: bool, longest_s: float) -> None:
    assert rounds_of(Stage(10_000, flattening=flattening)) == round(longest_s * 10)


def test_a_standstill_gives_nothing_up() -> None:
    assert rounds_of(Stage(60, stalls=20)) == 60
    assert rounds_of(Stage(10_000, stalls=20)) == round((STOP_S - GAP_NS / S) * 10) + 1
