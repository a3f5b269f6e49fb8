"""Calls held back that move, or are dropped, in the broker's windows: places are neither lost nor won."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import Budget, span_ns_of

WINDOWS = RateWindow(5, 1.0, 2), RateWindow(9, 4.0, 3)
LIMITS = Limits("x", "2026-01-01", WINDOWS, 100, 0.9, 25)
S = 1_000_000_000


def room(calls: list[int], now_ns: int, kept: int) -> bool:
    """Whether one more call fits in every window, of which `kept` times the reserve is left alone."""
    return all(
        sum(at_ns + span_ns_of(window) > now_ns for at_ns in calls) < window.calls - kept * window.reserved
        for window in WINDOWS
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 700), st.sampled_from("uuueeemmdd"), st.integers(0, 9)), max_size=60)
)
def test_the_windows_hold_what_has_left_and_what_waits_and_nothing_else(
    days: list[tuple[int, str, int]],
) -> None:
    """u, e: an urgent call and an entry, where there is room; every other one waits for the disk. m: one
    that waits moves to now; d: it is dropped.
    """
    budget, calls, waiting, now_ns = Budget(LIMITS), list[int](), list[int](), 0
    for gap_ms, what, which in days:
        now_ns += gap_ms * 1_000_000
        for at in waiting:  # as Staging: what waits keeps its place
            budget.moved(at, now_ns)
            calls[calls.index(at)] = now_ns
        waiting = [now_ns] * len(waiting)
        free_ns = budget.urgent_free_ns if what == "u" else budget.entry_free_ns
        if what in "ue" and free_ns <= now_ns:
            budget.left(now_ns)
            calls.append(now_ns)
            waiting += [now_ns] * (which % 2)
        elif what == "m" and waiting:
            waiting.pop()
        elif what == "d" and waiting:
            budget.moved(waiting.pop(), None)
            calls.remove(now_ns)
        assert (budget.urgent_free_ns <= now_ns) == room(calls, now_ns, 0)
        assert (budget.entry_free_ns <= now_ns) == room(calls, now_ns, 1)
