"""Time awake: a standstill of the process is nobody's time to do anything."""

from __future__ import annotations

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.processes import awake, children
from kite_hft.engine.processes.awake import GAP_NS, Awake

S = 1_000_000_000


def test_a_standstill_counts_as_one_gap() -> None:
    clock = ManualClock(7 * S, 0)
    time = Awake(clock.mono_ns)
    assert time.look() == 0.0
    for _ in range(10):
        clock.advance(S // 10)
        time.look()
    assert time.look() == 1.0
    clock.advance(3600 * S)
    assert time.look() == 1.0 + GAP_NS / S == time.look()


class Child(children.Child):
    """One that ends after so many looks of whoever waits for it, the third of which comes very late."""

    def __init__(self, looks: int, clock: ManualClock) -> None:
        self.looks, self.clock = looks, clock
        self.process = self  # type: ignore[assignment]

    def poll(self) -> int | None:
        self.looks -= 1
        return None if self.looks > 0 else 0

    def listen(self) -> list[str]:
        self.clock.advance(60 * S if self.looks == 40 else S // 10)
        return []


@pytest.mark.parametrize(("looks", "ends"), [(43, True), (3000, False)])
def test_who_waits_for_a_child_does_not_count_a_time_in_which_it_stood_still_itself(
    monkeypatch: pytest.MonkeyPatch, looks: int, ends: bool
) -> None:
    clock = ManualClock(S, 0)
    monkeypatch.setattr(children.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(children, "Awake", lambda mono_ns: awake.Awake(clock.mono_ns))
    assert Child(looks, clock).wait(20.0) is ends
