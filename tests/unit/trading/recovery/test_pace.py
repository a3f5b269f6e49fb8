"""Reads by routine keep so much of a long window free that no book goes unread, whatever a file asks for."""

from __future__ import annotations

import itertools

import pytest

from kite_hft.sim.brokers.table import side_of
from kite_hft.trading.broker import RateWindow
from kite_hft.trading.recovery.pace import (
    AT_ONCE,
    CHECK_PATIENCE_NS,
    POLL_PATIENCE_NS,
    STEADY,
    Pace,
)
from kite_hft.trading.recovery.polls import Polls, Read
from kite_hft.trading.sending.budget import Budget
from kite_hft.verify.brokers.choosing import limits_of

S = 1_000_000_000
LONG = RateWindow(100, 60.0)
UPSTOX = limits_of(side_of("upstox"))
ROUND = (Read.ORDERS, Read.TRADES, Read.POSITIONS, Read.TRIGGERS, Read.ORDERS, Read.MARGINS)


def test_a_few_at_once_and_then_the_steady_rate() -> None:
    pace, left = Pace([LONG]), []
    for now in range(0, 600 * S, S // 100):
        if pace.poll_ns(now) <= now:  # read a moment ago: nothing is due by patience
            pace.read_left(now)
            left.append(now)
    assert len([at for at in left if at < S]) == pytest.approx(AT_ONCE * 100, abs=2)
    most = (STEADY + AT_ONCE) * 100 + 2
    for at in left[::7]:
        assert sum(at <= other < at + 60 * S for other in left) <= most
    assert len(left) > STEADY * 1000 - 5  # and the share is used


def test_short_windows_have_no_pace() -> None:
    pace = Pace([RateWindow(1, 1.25)])
    for _ in range(100):
        pace.read_left(0)
    assert pace.poll_ns(0) <= 0 and pace.check_ns(0) <= 0


def test_checks_yield_to_polls_and_neither_waits_for_ever() -> None:
    pace = Pace([LONG])
    for _ in range(8):
        pace.read_left(0)
    assert pace.poll_ns(0) <= 0 < pace.check_ns(0)
    for _ in range(1000):
        pace.read_left(0)
    assert pace.poll_ns(5 * S) == 5 * S + POLL_PATIENCE_NS
    assert pace.check_ns(5 * S) == 5 * S + CHECK_PATIENCE_NS


@pytest.mark.parametrize("live", [False, True])
def test_positions_every_second_leave_nobody_blind(live: bool) -> None:
    """By the broker's own windows, for more than an hour; an order in doubt is looked up at once."""
    budget = Budget(UPSTOX)
    polls = Polls(2 * S, S // 2, S, budget, Pace(UPSTOX.other_windows), starting=None)
    seen: dict[Read, list[int]] = {Read.POSITIONS: [0], Read.ORDERS: [0]}
    step, at, asked = 0, None, []
    for now in range(0, 4000 * S, S // 5):
        if now % (97 * S) == 0:
            polls.orders_wanted = True
            asked.append(now)
        if at is not None and now >= at:
            was = polls.in_flight
            polls.done(True, now)
            at = None
            if polls.checking is was:
                step += 1
                polls.checking = ROUND[step] if step < len(ROUND) else None
                if polls.checking is None:
                    polls.checked(now, again=False)
        read = polls.due(now, live)
        if read is not None:
            step = 0 if polls.checking is Read.ORDERS and step >= len(ROUND) else step
            polls.sent(read, now)
            at = now + S // 10
            seen.setdefault(read, []).append(now)
    for read in (Read.POSITIONS, Read.ORDERS):
        times = [*seen[read], 4000 * S]
        assert max(b - a for a, b in itertools.pairwise(times)) <= CHECK_PATIENCE_NS + 5 * S, read
    orders = seen[Read.ORDERS]
    assert all(any(wish <= other <= wish + 3 * S for other in orders) for wish in asked)
