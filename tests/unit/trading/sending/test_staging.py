"""Calls that wait for the disk: in order, taken back, and counted when they leave."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import Budget
from kite_hft.trading.sending.staging import LOOK_NS, Staging, past
from kite_hft.trading.sending.throttle import Waiting

S = 1_000_000_000
LIMITS = Limits("x", "2026-01-01", (RateWindow(2, 1.0, 0),), 100, 0.9, 25)


def waiting(name: str, *, urgent: bool = False, deadline_ns: int = S) -> Waiting[Any]:
    return Waiting(SimpleNamespace(name=name), urgent, True, deadline_ns, 0)


def free(urgent: bool, now_ns: int) -> bool:
    return True


def names(works: list[Any]) -> list[str]:
    return [waiting.item.name for waiting in works]


def test_what_a_sync_covered_leaves_in_order() -> None:
    on_disk = [0]
    staging = Staging(lambda: on_disk[0], Budget(LIMITS))
    for seq, name in enumerate("abc", 5):
        staging.add(waiting(name), seq, 0)
    assert staging.synced(1, free) == [] and len(staging) == 3
    on_disk[0] = 6
    assert names(staging.synced(1, free)) == ["a", "b"] and len(staging) == 1
    assert names(staging.take_back(lambda w: True)) == ["c"] and not staging


def test_entries_expire_and_exits_wait_on() -> None:
    staging = Staging(lambda: 0, Budget(LIMITS))
    staging.add(waiting("entry", deadline_ns=10), 1, 0)
    staging.add(waiting("exit", urgent=True, deadline_ns=10), 2, 0)
    assert staging.take_back(past(9)) == [] and names(staging.take_back(past(10))) == ["entry"]
    assert len(staging) == 1


def test_a_call_takes_its_place_when_it_leaves() -> None:
    on_disk, budget = [0], Budget(LIMITS)
    staging = Staging(lambda: on_disk[0], budget)
    for seq in (1, 2):
        budget.left(0)
        staging.add(waiting("x"), seq, 0)
    free_ns = budget.entry_free_ns
    for now_ns in range(0, 3 * S, LOOK_NS):
        staging.synced(now_ns, free)
        assert budget.entry_free_ns > now_ns  # what waits keeps its place for as long as it waits
    on_disk[0] = 2
    staging.synced(3 * S, free)
    assert budget.entry_free_ns - 3 * S == free_ns


def test_what_may_not_pass_waits_on_and_what_may_goes_before_it() -> None:
    staging = Staging(lambda: 9, Budget(LIMITS))
    for seq, (name, urgent) in enumerate((("a", False), ("exit", True), ("b", False)), 1):
        staging.add(waiting(name, urgent=urgent), seq, 0)
    assert names(staging.synced(1, lambda urgent, now_ns: urgent)) == ["exit"] and len(staging) == 2
    assert names(staging.synced(2, free)) == ["a", "b"] and not staging


def test_one_that_is_dropped_gives_its_place_back() -> None:
    budget = Budget(LIMITS)
    staging = Staging(lambda: 0, budget)
    for seq, at in ((1, 0), (2, 5)):
        budget.left(at)
        staging.add(waiting(f"{at}"), seq, at)
    free_ns = budget.entry_free_ns
    assert free_ns > S
    assert names(staging.take_back(lambda w: w.item.name == "5")) == ["5"]
    assert budget.entry_free_ns < 0, "the other one alone stands in the window"
    budget.left(10)
    assert budget.entry_free_ns == free_ns, "and still does: two in a second, no more"
