"""Calls beside orders that take risk away have the last places of the broker's windows for reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import Budget, ReadKind, span_ns_of

S = 1_000_000_000
FIVE = RateWindow(5, 1.0, 2)
SPAN = span_ns_of(FIVE)
LIMITS = Limits(
    "x", "2026-01-01", (RateWindow(100, 1.0),), 100, 0.9, 25,
    other_windows=(FIVE,), quote_windows=(RateWindow(1, 1.0),),
)  # fmt: skip
"""Five reads a second, the last two for what takes risk away."""
SHARED = replace(LIMITS, all_windows=(RateWindow(20, 1.0, 2, 3),), other_windows=(RateWindow(10, 1.0, 2),))
"""Twenty calls of all kinds, three of them reads."""
FAR = 10**15
OTHER, RELIEF, QUOTE = ReadKind.OTHER, ReadKind.RELIEF, ReadKind.QUOTE


def leave(budget: Budget, kind: ReadKind, now_ns: int) -> int:
    """So many leave at once."""
    n = 0
    while budget.read_free_ns(kind, now_ns) <= now_ns:
        budget.read_left(now_ns, kind)
        n += 1
    return n


def test_reads_leave_the_last_places_to_what_takes_risk_away() -> None:
    budget = Budget(LIMITS)
    assert leave(budget, OTHER, 0) == 3 and leave(budget, RELIEF, 0) == 2
    assert budget.read_free_ns(RELIEF, 0) == budget.read_free_ns(OTHER, 0) == SPAN
    assert leave(budget, OTHER, SPAN) == 3


def test_what_takes_risk_away_may_have_them_all_and_counts_among_the_reads() -> None:
    budget = Budget(LIMITS)
    budget.read_left(0, RELIEF)
    budget.read_left(0, RELIEF)
    assert leave(budget, OTHER, 0) == 1
    budget = Budget(LIMITS)
    assert leave(budget, RELIEF, 0) == 5 and leave(budget, OTHER, 0) == 0


def test_quotes_take_no_place_of_other_reads_nor_wait_for_them() -> None:
    budget = Budget(LIMITS)
    assert leave(budget, QUOTE, 0) == 1 and leave(budget, OTHER, 0) == 3
    assert leave(budget, QUOTE, SPAN // 2) == 0 and leave(budget, QUOTE, SPAN) == 1


def test_a_read_that_others_keep_waiting_holds_a_place_and_one_that_reads_do_not() -> None:
    wait_ns = round(LIMITS.read_wait_s * S)
    budget = Budget(LIMITS)
    leave(budget, RELIEF, 0)
    budget.read_waits(0, OTHER)
    assert budget.hold_ns == wait_ns, "what takes risk away is in its way"
    for kind in (OTHER, QUOTE):
        budget = Budget(LIMITS)
        leave(budget, kind, 0)
        budget.read_waits(0, kind)
        assert budget.hold_ns > FAR, "its own kind is"
    budget.read_waits(0, OTHER)
    assert budget.hold_ns == wait_ns, "a quote is in the way of no other read"


@pytest.mark.parametrize("reserved", [0, 1, 2])
def test_a_read_that_waited_keeps_its_place_from_where_it_was_written(reserved: int) -> None:
    budget = Budget(replace(LIMITS, other_windows=(RateWindow(5, 1.0, reserved),)))
    assert leave(budget, OTHER, 0) == 5 - reserved
    budget.read_moved(OTHER, 0, S // 2)
    assert leave(budget, OTHER, SPAN) == 4 - reserved
    budget.read_waits(SPAN, OTHER)
    assert budget.hold_ns > FAR, "the one that was moved is a read, and in its way"
    budget.read_waits(SPAN + S // 2, OTHER)
    assert budget.hold_ns < FAR


def test_a_read_moves_among_the_reads_of_the_shared_windows_and_relief_stands_in_no_place_of_theirs() -> None:
    budget = Budget(SHARED)
    assert leave(budget, OTHER, 0) == 3
    budget.read_moved(OTHER, 0, S // 2)
    assert leave(budget, OTHER, SPAN) == 2
    budget = Budget(SHARED)
    assert leave(budget, OTHER, 0) == 3
    budget.read_left(0, RELIEF)
    budget.read_moved(RELIEF, 0, S // 2)
    assert leave(budget, OTHER, SPAN) == 3
