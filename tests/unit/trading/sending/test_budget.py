"""One budget for all calls: reads come last, are never kept waiting for ever, and starve nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import Budget, ReadKind, implied, span_ns_of
from kite_hft.trading.sending.throttle import EgressGate, Throttle

S = 1_000_000_000
LIMITS = limits_from_mapping(yaml.safe_load(Path("config/rules/kite_2026-04-01.yaml").read_text()))
SPAN = span_ns_of(LIMITS.all_windows[0])
FAR = 10**15
OTHER = ReadKind.OTHER


def reads_at(budget: Budget, now_ns: int) -> int:
    """How many reads leave at once."""
    n = 0
    while budget.read_free_ns(OTHER, now_ns) <= now_ns:
        budget.read_left(now_ns, OTHER)
        n += 1
    return n


def test_reads_get_four_of_ten_and_count_against_entries() -> None:
    made: Throttle[int] = Throttle(LIMITS)
    assert reads_at(made.budget, 0) == 4
    for i in range(20):
        made.offer(i, 0, urgent=False, placement=True, deadline_ns=FAR)
    taken = 0
    while made.take(0):
        taken += 1
    assert taken == 4
    for i in range(20):
        made.offer(i, 0, urgent=True, placement=False, deadline_ns=FAR)
    while made.take(0):
        taken += 1
    assert taken == 6, "with the four reads ten"
    assert reads_at(made.budget, SPAN - 1) == 0


@pytest.mark.parametrize("urgent", [False, True])
def test_a_read_in_a_storm_waits_its_time_and_then_gets_the_next_place(urgent: bool) -> None:
    made: Throttle[int] = Throttle(LIMITS)
    gate = EgressGate(LIMITS.order_windows, LIMITS.all_windows)
    step, wait_ns = 10_000_000, round(LIMITS.read_wait_s * S)
    asked, reads, order_calls = 0, [], 0
    for now in range(0, 30 * S, step):
        while len(made) < 20:
            made.offer(now, now, urgent=urgent, placement=False, deadline_ns=FAR)
        while made.take(now):
            order_calls += 1
            assert not gate.refuses(now)
        if made.budget.read_free_ns(OTHER, now) <= now:
            assert not gate.refuses_read(now)
            made.budget.read_left(now, OTHER)
            reads.append(now - asked)
            asked = now
        else:
            made.budget.read_waits(now, OTHER)
    assert len(reads) >= 30 * S // (wait_ns + SPAN + 2 * step) and max(reads) <= wait_ns + SPAN + 2 * step
    assert order_calls >= 0.9 * 30 / 1.25 * (10 if urgent else 8)


def test_a_read_that_is_wanted_no_more_holds_nothing() -> None:
    budget = Budget(LIMITS)
    budget.read_waits(0, OTHER)
    assert budget.hold_ns == round(LIMITS.read_wait_s * S)
    budget.read_waits(S, OTHER)
    assert budget.hold_ns == round(LIMITS.read_wait_s * S), "the first wait counts"
    budget.no_read_waits()
    assert budget.hold_ns > FAR


def test_a_call_that_left_late_keeps_its_place_longer() -> None:
    budget = Budget(replace(LIMITS, all_windows=(RateWindow(1, 1.0),), order_windows=(RateWindow(5, 9.0),)))
    budget.left(0)
    budget.written(7)
    one = span_ns_of(RateWindow(1, 1.0))
    assert budget.urgent_free_ns == budget.entry_free_ns == one + 7
    assert budget.read_free_ns(OTHER, 0) == one + 7


def test_quotes_and_candles_have_windows_of_their_own() -> None:
    budget = Budget(LIMITS)
    budget.read_left(0, ReadKind.QUOTE)
    assert budget.read_free_ns(ReadKind.QUOTE, 0) == SPAN
    assert budget.read_free_ns(ReadKind.HISTORICAL, 0) <= 0
    for _ in range(3):
        budget.read_left(0, ReadKind.HISTORICAL)
    assert budget.read_free_ns(OTHER, 0) == SPAN, "four reads in all"


def test_only_what_follows_from_a_window_is_left_out() -> None:
    ten = RateWindow(10, 1.25, 2)
    assert implied(ten, ten) and implied(RateWindow(12, 1.0, 2), ten)
    for other in (RateWindow(9, 1.25, 2), RateWindow(10, 1.25, 3), RateWindow(10, 2.0, 2)):
        assert not implied(other, ten)


@pytest.mark.parametrize("name", ["kite_2026-04-01", "upstox_2026-04-01"])
def test_without_the_shared_windows_the_brokers_own_are_kept(name: str) -> None:
    mapping = yaml.safe_load(Path(f"config/rules/{name}.yaml").read_text())
    table: Limits = replace(limits_from_mapping(mapping), all_windows=())
    made: Throttle[int] = Throttle(table)
    for i in range(20):
        made.offer(i, 0, urgent=False, placement=True, deadline_ns=FAR)
    taken = 0
    while made.take(0):
        taken += 1
    assert taken == 8


def test_a_read_that_its_own_windows_keep_back_holds_nothing() -> None:
    budget = Budget(LIMITS)
    assert reads_at(budget, 0) == 4
    budget.read_waits(S // 2, OTHER)
    assert budget.hold_ns > FAR


def test_the_last_places_are_for_urgent_calls_whoever_made_those_before() -> None:
    made: Throttle[int] = Throttle(LIMITS)
    for i in range(5):
        made.offer(i, 0, urgent=True, placement=False, deadline_ns=FAR)
    for i in range(10, 20):
        made.offer(i, 0, urgent=False, placement=True, deadline_ns=FAR)
    taken = []
    while waiting := made.take(0):
        taken.append(waiting.item)
    assert taken == [*range(5), 10, 11, 12]
    for i in range(2):
        made.offer(i, 0, urgent=True, placement=False, deadline_ns=FAR)
    assert made.take(0) and made.take(0) and not made.take(0)


def test_a_place_is_kept_longer_than_told_for_two_clocks_that_are_slewed_apart() -> None:
    assert span_ns_of(RateWindow(1, 1.0)) == 1_001_000_000  # 500 ppm each, adjtimex(2)
    assert span_ns_of(RateWindow(1, 60.0)) == 60_060_000_000


def test_nothing_is_kept_back_before_the_first_call_however_early_it_is() -> None:
    """Calls of an earlier boot have times before this one's."""
    budget = Budget(LIMITS)
    assert max(budget.urgent_free_ns, budget.entry_free_ns) <= -FAR
    assert all(budget.read_free_ns(kind, -FAR) <= -FAR for kind in ReadKind)
    assert budget.behind_read_ns(True) <= -FAR and budget.behind_read_ns(False) <= -FAR
    budget.left(-FAR)
    assert max(budget.urgent_free_ns, budget.entry_free_ns) <= -FAR, "there is a second place"


def test_without_any_window_nothing_is_held_and_nothing_recalled() -> None:
    budget = Budget(Limits("x", "2026-01-01", (), 100, 0.9, 25))
    assert budget.longest_ns == 0
    budget.left(0)
    assert budget.urgent_free_ns < 0 and budget.behind_read_ns(False) < 0


def test_a_single_place_is_free_again_when_its_late_call_is() -> None:
    budget = Budget(replace(LIMITS, all_windows=(), order_windows=(RateWindow(1, 1.0),)))
    budget.left(0)
    budget.written(7)
    assert budget.urgent_free_ns == budget.entry_free_ns == 7 + span_ns_of(RateWindow(1, 1.0))


def test_a_late_call_of_many_places_waits_for_the_oldest_of_them() -> None:
    budget = Budget(replace(LIMITS, all_windows=(), order_windows=(RateWindow(2, 1.0),)))
    for at_ns in (0, 10):
        budget.left(at_ns)
        budget.written(at_ns + 5)
    one = span_ns_of(RateWindow(2, 1.0))
    assert budget.urgent_free_ns == 5 + one
    budget.left(5 + one)
    assert budget.urgent_free_ns == 15 + one


def test_beside_a_read_two_places_must_be_free() -> None:
    window = RateWindow(4, 1.0, 1)
    budget = Budget(replace(LIMITS, all_windows=(window,), order_windows=(window,)))
    for at_ns in (0, 10, 20):
        budget.left(at_ns)
    span_ns = span_ns_of(window)
    assert budget.urgent_free_ns < 0 and budget.entry_free_ns == span_ns
    assert budget.behind_read_ns(True) == span_ns, "one of four is free: the first call's must be, too"
    assert budget.behind_read_ns(False) == 10 + span_ns, "of three none is"


def test_a_read_that_has_waited_long_enough_may_take_a_place_of_exits_and_no_sooner() -> None:
    budget = Budget(LIMITS)
    for _ in range(8):
        budget.left(0)
    budget.read_waits(0, OTHER)
    # As in a storm: eight more at the moment when those places are free again.
    for _ in range(8):
        budget.left(SPAN)
    hold_ns = budget.hold_ns = SPAN + 10
    assert budget.read_free_ns(OTHER, hold_ns - 1) == 2 * SPAN
    assert budget.read_free_ns(OTHER, hold_ns) <= hold_ns


def test_when_to_look_at_a_waiting_read_again() -> None:
    budget = Budget(LIMITS)
    for _ in range(8):
        budget.left(0)
    assert budget.read_look_ns(OTHER, 0) == SPAN, "nothing holds: when a place is free"
    budget.hold_ns = 500
    assert budget.read_look_ns(OTHER, 0) == 500, "when it begins to hold one"
    budget.hold_ns = 2 * SPAN
    assert budget.read_look_ns(OTHER, 0) == SPAN
    for _ in range(2):
        budget.left(0)
    budget.hold_ns = 500
    assert budget.read_look_ns(OTHER, 500) == SPAN, "it holds: when the place is there"


def test_a_read_holds_a_place_from_the_moment_on_that_its_own_windows_let_it() -> None:
    wait_ns = round(LIMITS.read_wait_s * S)
    for early, held in ((1, False), (0, True)):
        budget = Budget(LIMITS)
        assert reads_at(budget, 0) == 4
        budget.read_waits(SPAN - early, OTHER)
        assert (budget.hold_ns == SPAN + wait_ns) == held and (budget.hold_ns > FAR) != held
