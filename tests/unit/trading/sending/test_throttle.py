"""The limiter never lets one call too many out, keeps room for exits, and wastes little."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.layout import Reason
from kite_hft.trading.broker import RateWindow
from kite_hft.trading.sending.budget import ReadKind, span_ns_of
from kite_hft.trading.sending.throttle import Denied, EgressGate, Throttle

S = 1_000_000_000
LIMITS = limits_from_mapping(yaml.safe_load(Path("config/rules/kite_2026-04-01.yaml").read_text()))
SPAN = span_ns_of(LIMITS.all_windows[0])
FAR = 10**15


def throttle(**more: int) -> Throttle[int]:
    return Throttle(LIMITS, **more)


def offer(
    made: Throttle[int], item: int, now_ns: int, *, urgent: bool = False, deadline_ns: int = FAR
) -> Denied | None:
    return made.offer(item, now_ns, urgent=urgent, placement=True, deadline_ns=deadline_ns)


def drain(made: Throttle[int], now_ns: int) -> list[int]:
    taken = []
    while (waiting := made.take(now_ns)) is not None:
        taken.append(waiting.item)
    return taken


def test_eight_entries_and_two_more_for_exits() -> None:
    made = throttle()
    for i in range(20):
        assert not offer(made, i, 0)
    assert drain(made, 0) == list(range(8))
    for i in range(100, 105):
        offer(made, i, 0, urgent=True)
    assert drain(made, 0) == [100, 101]
    assert drain(made, SPAN - 1) == []
    assert drain(made, SPAN) == [102, 103, 104, *range(8, 13)]


def test_urgent_goes_first() -> None:
    made = throttle()
    offer(made, 1, 0)
    offer(made, 2, 0, urgent=True)
    assert drain(made, 0) == [2, 1]


def test_entries_expire_exits_do_not() -> None:
    made = throttle()
    offer(made, 1, 0, deadline_ns=5)
    offer(made, 2, 0, urgent=True, deadline_ns=5)
    assert made.expired(4) == [] and made.next_ns(0) == 0
    assert made.expired(5) == [1]
    assert drain(made, FAR) == [2] and made.placed_today == 1


def test_bounded_lanes_say_so() -> None:
    made = throttle(entries_max=2, urgent_max=1)
    assert [bool(offer(made, i, 0)) for i in range(3)] == [False, False, True]
    assert [bool(offer(made, i, 0, urgent=True)) for i in range(2)] == [False, True]


def test_entries_stop_at_a_share_of_the_day_and_exits_at_its_cap() -> None:
    made = throttle()
    made.placed_today = 4499
    assert not offer(made, 1, 0)
    denied = offer(made, 2, 0)
    assert denied and denied.reason is Reason.DAY_CAP and "exits" in denied.text
    assert not offer(made, 3, 0, urgent=True)
    made.placed_today = 5000
    denied = offer(made, 4, 0, urgent=True)
    assert denied and denied.reason is Reason.DAY_CAP and "day cap" in denied.text
    assert not made.offer(5, 0, urgent=True, placement=False, deadline_ns=FAR)


def test_what_was_dropped_unsent_does_not_count_to_the_day() -> None:
    made = throttle()
    for i in range(4):
        offer(made, i, 0, deadline_ns=10)
    assert made.withdraw(lambda item: item == 2) == [2]
    assert made.expired(10) == [0, 1, 3] and made.placed_today == 0
    offer(made, 5, 0)
    offer(made, 6, 0, urgent=True)
    assert made.drop_entries() == [5] and len(made) == 1 and made.placed_today == 1


def test_cool_down_stops_entries_and_slows_exits() -> None:
    made = throttle()
    offer(made, 0, 0)
    assert drain(made, 0) == [0]
    made.cool_down(0)
    offer(made, 1, 0)
    for i in (2, 3):
        offer(made, i, 0, urgent=True)
    assert drain(made, S - 1) == [] and made.next_ns(0) == S
    assert drain(made, S) == [2] and drain(made, 2 * S) == [3]
    assert drain(made, 10 * S - 1) == [] and drain(made, 10 * S) == [1]


def test_next_ns_is_the_first_time_at_which_a_call_leaves() -> None:
    made = throttle()
    assert made.next_ns(0) is None
    for i in range(9):
        offer(made, i, 0)
    drain(made, 0)
    assert made.next_ns(7) == SPAN


def most_in_any(times: list[int], span_ns: int) -> int:
    """Most entries of sorted `times` in a half-open window of `span_ns` (slow twin)."""
    held: deque[int] = deque()
    most = 0
    for t in times:
        held.append(t)
        while held[0] <= t - span_ns:
            held.popleft()
        most = max(most, len(held))
    return most


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, S), st.booleans(), st.integers(1, 12)), max_size=200),
)
def test_no_window_is_ever_broken(arrivals: list[tuple[int, bool, int]]) -> None:
    made, now_ns = throttle(), 0
    gate = EgressGate(LIMITS.order_windows, LIMITS.all_windows)
    sent: list[tuple[int, bool]] = []
    for gap, urgent, n in arrivals:
        now_ns += gap
        for i in range(n):
            offer(made, i, now_ns, urgent=urgent)
        while (waiting := made.take(now_ns)) is not None:
            sent.append((now_ns, waiting.urgent))
            assert not gate.refuses(now_ns)
    for window in LIMITS.order_windows:
        span_ns = round(window.window_s * S)
        assert most_in_any([t for t, _ in sent], span_ns) <= window.calls
        assert most_in_any([t for t, urgent in sent if not urgent], span_ns) <= window.calls - window.reserved


def test_a_calendar_second_of_the_broker_holds_with_jitter() -> None:
    """Calls delayed by up to 0.25 s each never put eleven into one calendar second."""
    made, seen = throttle(), []
    for tick in range(4000):
        now_ns = tick * S // 100
        offer(made, tick, now_ns, urgent=True)
        for _ in drain(made, now_ns):
            seen.append(now_ns + (tick * 7919 % 250) * 1_000_000)
    per_second = {t // S: sum(1 for u in seen if u // S == t // S) for t in seen}
    assert max(per_second.values()) <= 10


def test_uses_most_of_what_is_allowed() -> None:
    made, sent = throttle(), 0
    for tick in range(120_000):
        now_ns = tick * S // 1000
        if len(made) < 5:
            offer(made, tick, now_ns)
        sent += len(drain(made, now_ns))
    assert sent >= 0.75 * 400 * 2


def test_gate_counts_on_its_own_and_refuses_a_second_placement() -> None:
    gate = EgressGate((RateWindow(3, 1.0),))
    assert [bool(gate.refuses(t)) for t in (0, 1, 2, 3)] == [False, False, False, True]
    assert gate.refuses(S - 1) and not gate.refuses(S)
    gate = EgressGate((RateWindow(3, 1.0),))
    assert not gate.refuses(0, "tag") and "second time" in gate.refuses(5 * S, "tag")
    assert not gate.refuses(5 * S)


@pytest.mark.parametrize("reserved", [0, 9])
def test_other_reserves(reserved: int) -> None:
    made: Throttle[int] = Throttle(
        replace(LIMITS, all_windows=(), order_windows=(RateWindow(10, 1.0, reserved),))
    )
    for i in range(20):
        offer(made, i, 0)
    assert len(drain(made, 0)) == 10 - reserved


def test_a_cancel_for_a_full_urgent_lane_is_refused_at_the_door_and_nothing_in_it_is_lost() -> None:
    made = throttle(urgent_max=3)
    assert [bool(offer(made, i, 0, urgent=True, deadline_ns=0)) for i in range(5)] == [False] * 3 + [True] * 2
    assert made.expired(FAR) == [] and drain(made, 0) == [0, 1, 2]


def test_deadlines_need_no_order() -> None:
    made = throttle()
    for item, deadline_ns in enumerate((50, 20, 40, 20)):
        offer(made, item, 0, deadline_ns=deadline_ns)
    assert made.expired(19) == [] and made.expired(20) == [1, 3]
    assert made.expired(39) == [] and made.expired(45) == [2] and drain(made, 46) == [0]
    assert made.next_ns(50) is None


def test_placements_that_the_broker_knows_of_count_and_those_that_wait_come_on_top() -> None:
    made = throttle()
    offer(made, 1, 0)
    made.seen_today(4499)
    assert made.placed_today == 4500 and offer(made, 2, 0)
    made.seen_today(3)
    assert made.placed_today == 4500


def test_so_many_wait_at_most() -> None:
    made = throttle()
    made.placed_today = -10_000
    full = [offer(made, i, 0) for i in range(257)]
    assert full[255] is None and full[256] and full[256].reason is Reason.THROTTLE_QUEUE_FULL
    full = [offer(made, i, 0, urgent=True) for i in range(1025)]
    assert full[1023] is None and full[1024] and "1024 calls wait >= 1024" in full[1024].text


def test_the_earliest_deadline_of_an_entry_is_the_one_that_wakes() -> None:
    made = throttle()
    for i in range(10):
        offer(made, i, 0, urgent=True)
    drain(made, 0)
    offer(made, 1, 0, urgent=True, deadline_ns=5)
    offer(made, 2, 0, deadline_ns=20)
    offer(made, 3, 0, deadline_ns=50)
    assert made.next_ns(1) == 20, "an exit has no deadline"
    assert made.expired(20) == [2] and made.next_ns(20) == 50 and made.expired(50) == [3]


def test_a_cool_down_does_not_shorten_a_windows_wait() -> None:
    limits = replace(LIMITS, all_windows=(), order_windows=(RateWindow(1, 60.0),))
    for urgent in (True, False):
        made: Throttle[int] = Throttle(limits)
        offer(made, 1, 0)
        assert drain(made, 0) == [1]
        made.cool_down(0)
        offer(made, 2, 0, urgent=urgent)
        assert made.next_ns(S) == span_ns_of(limits.order_windows[0])


def test_an_exit_that_is_the_first_call_in_a_cool_down_leaves_at_once() -> None:
    made = throttle()
    made.cool_down(0)
    for item in (1, 2):
        offer(made, item, 0, urgent=True)
    offer(made, 3, 0)
    assert drain(made, 0) == [1] and drain(made, S - 1) == [] and drain(made, S) == [2]


def test_from_the_moment_on_that_a_read_holds_a_place_order_calls_leave_one() -> None:
    for urgent, most in ((True, 9), (False, 7)):
        made = throttle()
        made.budget.read_waits(0, ReadKind.OTHER)
        hold_ns = made.budget.hold_ns
        for i in range(20):
            offer(made, i, hold_ns, urgent=urgent)
        assert len(drain(made, hold_ns)) == most
        early = throttle()
        early.budget.read_waits(0, ReadKind.OTHER)
        for i in range(20):
            offer(early, i, 0, urgent=urgent)
        assert len(drain(early, hold_ns - 1)) == most + 1


def test_gate_counts_reads_and_order_calls_together_and_order_calls_alone() -> None:
    gate = EgressGate((RateWindow(2, 1.0),), (RateWindow(3, 60.0),))
    assert gate.refuses_read(0) == gate.refuses(0) == gate.refuses(0) == ""
    assert "more than 2 calls in 1.0 s" in gate.refuses(S - 1)
    assert gate.refuses(S) == "more than 3 calls in 60.0 s" == gate.refuses_read(S)
    assert gate.refuses_read(60 * S) == "", "what was refused is not counted"
    assert gate.refuses(60 * S) == gate.refuses(60 * S) == ""


def test_gate_recalls_reads_in_the_windows_of_all_calls_only() -> None:
    gate = EgressGate((RateWindow(2, 1.0),), (RateWindow(3, 60.0),))
    gate.recall(0, read=True)
    gate.recall(0)
    assert gate.refuses(0) == "", "one order call so far"
    assert gate.refuses(0) and "60.0 s" in gate.refuses_read(0), "two reads and two order calls"


def test_gate_places_no_tag_twice_however_long_ago() -> None:
    gate = EgressGate((RateWindow(1, 1.0),))
    assert gate.refuses(0, "a") == "" and gate.refuses(0, "b"), "too many"
    assert gate.refuses(S, "b") == "", "what was refused was not placed"
    gate.recall_tags(["c"])
    assert all("second time" in gate.refuses(10 * S, tag) for tag in "abc")


def test_what_was_held_back_may_leave_outside_a_cool_down_and_is_the_last_that_left() -> None:
    made = throttle()
    assert made.passes(False, 5) is True and made.last_ns == 5
    assert made.passes(True, 6) is True and made.last_ns == 6


def test_what_was_held_back_into_a_cool_down_waits_and_urgent_calls_pass_singly() -> None:
    made = throttle()
    assert made.passes(True, 0)
    made.cool_down(0)
    assert made.passes(False, 2 * S) is False and made.last_ns == 0, "an entry waits it out"
    assert made.passes(True, S - 1) is False and made.passes(True, S) is True and made.last_ns == S
    assert made.passes(True, S + S // 2) is False and made.passes(True, 2 * S) is True
    assert made.passes(False, 10 * S - 1) is False and made.passes(False, 10 * S) is True
    assert made.passes(True, 10 * S) is True, "the cool-down is over"


def test_what_is_told_to_go_first_does_in_its_own_order_and_the_others_keep_theirs() -> None:
    made = throttle(urgent_max=4)
    for item in (1, 2, 3, 4):
        offer(made, item, 0, urgent=True)
    for item in (11, 12):
        words = {"urgent": True, "placement": False, "deadline_ns": FAR, "first": True}
        assert made.offer(item, 0, **words) is None, "it is taken in where the lane is full"
    assert made.put_first({3, 12}.__contains__) and not made.put_first({12, 99}.__contains__)
    assert not made.offer(13, 0, urgent=True, placement=False, deadline_ns=FAR, first=True)
    assert made.withdraw({11, 4}.__contains__) == [11, 4]
    assert not made.offer(14, 0, urgent=True, placement=False, deadline_ns=FAR, first=True)
    assert drain(made, 0) == [12, 3, 13, 14, 1, 2]
    offer(made, 5, 0, urgent=True)
    offer(made, 6, 0, urgent=True)
    assert drain(made, SPAN) == [5, 6], "nothing is first any more"


def test_the_second_count_knows_when_calls_were_written() -> None:
    gate = EgressGate((RateWindow(2, 1.0),), (RateWindow(3, 1.0),))
    gate.written(5)  # it has counted none
    for told, written in ((0, 10), (10, 20)):
        assert not gate.refuses(told)
        gate.written(written)
    assert gate.refuses(S + 9) and not gate.refuses_read(S + 9)
    gate.written(S + 10, read=True)
    gate.moved(20, S + 30)
    gate.moved(20, S + 40)
    gate.moved(S + 10, S + 35, read=True)
    assert not gate.refuses(S + 40), "the first is out of the window by now"
    assert gate.refuses(2 * S + 29) and not gate.refuses(2 * S + 30)
    assert gate.refuses_read(2 * S + 34) and not gate.refuses_read(2 * S + 39)
