"""Which book is read when."""

from __future__ import annotations

from itertools import pairwise

from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.recovery.polls import Polls, Read
from kite_hft.trading.sending.budget import Budget, ReadKind


def polls() -> Polls:
    return Polls(period_ns=200, gap_ns=25, starting=None)


def test_nothing_is_due_while_nothing_lives() -> None:
    made = polls()
    assert made.due(1000, False) is None and made.next_ns(1000, False) is None


def test_the_period_runs_from_when_something_became_live() -> None:
    made = polls()
    made.due(1000, False)
    assert made.due(1001, True) is None and made.next_ns(1001, True) == 1200
    assert made.due(1200, True) is Read.ORDERS


def test_wanted_reads_come_at_once_but_one_at_a_time_and_apart() -> None:
    made = polls()
    made.due(0, False)
    made.orders_wanted = made.trades_wanted = True
    assert made.due(1, True) is Read.ORDERS
    made.sent(Read.ORDERS, 1)
    made.orders_wanted = True  # asked for again while under way: the answer may be too old
    assert made.due(100, True) is None and made.next_ns(100, True) is None
    made.done(True)
    assert made.due(25, True) is None and made.next_ns(20, True) == 26
    assert made.due(26, True) is Read.ORDERS
    made.sent(Read.ORDERS, 26)
    made.done(True)
    assert made.due(100, True) is Read.TRADES


def test_a_failed_read_is_wanted_again() -> None:
    for read in (Read.ORDERS, Read.TRADES):
        made = polls()
        made.due(0, False)
        made.sent(read, 0)
        made.done(False)
        assert made.due(25, True) is read


def test_reads_that_fail_in_a_row_are_asked_later_and_later() -> None:
    made = polls()
    waits = []
    for turn in range(12):
        made.sent(Read.ORDERS, turn * 10**10)
        made.done(False, turn * 10**10)
        at = made.next_ns(turn * 10**10, True)
        assert at is not None
        waits.append(at - turn * 10**10)
    assert waits[:4] == [25, 50, 100, 200] and waits[-1] == waits[-2] == 25 * 2**8
    made.done(False, 0, wait_ns=10**12)
    assert made.next_ns(0, True) == 10**12


def test_the_windows_of_the_broker_bind_reads_also_at_the_start() -> None:
    windows = {"order_windows": (RateWindow(10, 1.0),), "other_windows": (RateWindow(3, 1.0),)}
    limits = Limits(
        "x", "2026-04-01", orders_per_day=9, entry_share_of_day=1, modifications_per_order=1, **windows
    )
    made = Polls(period_ns=200, gap_ns=25, budget=Budget(limits))
    left = []
    for now in range(0, 2_000_000_000, 50_000_000):
        if (read := made.due(now, False)) is not None:
            made.sent(read, now)
            made.done(True)
            left.append(now // 1_000_000)
    assert left == [0, 50, 100, 1050, 1100, 1150]  # a second, and what clocks may drift


def test_positions_are_compared_by_the_clock_and_at_once_when_wanted() -> None:
    made = Polls(period_ns=200, gap_ns=25, positions_ns=1000, starting=None)
    made.checked(0, again=False)
    assert made.due(999, False) is None and made.next_ns(999, False) == 1000
    assert made.due(1000, False) is Read.ORDERS and made.checking is Read.ORDERS
    made.sent(Read.ORDERS, 1000)
    made.done(True)
    made.checking = Read.TRADES
    assert made.due(1025, False) is Read.TRADES
    made.checked(1100, again=True)
    assert made.due(1101, False) is Read.ORDERS, "two reads have to agree"


def test_nothing_is_read_while_paused() -> None:
    made = Polls(period_ns=200, gap_ns=25, paused=True)
    assert made.due(10**12, True) is None and made.next_ns(10**12, True) is None


def test_a_read_that_finds_no_place_waits_and_holds_the_next_one_in_the_end() -> None:
    shared = (RateWindow(2, 1.0, 1),)
    limits = Limits("x", "2026-04-01", (RateWindow(9, 1.0),), 9, 1, 1, all_windows=shared, read_wait_s=2.0)
    budget = Budget(limits)
    made = Polls(period_ns=200, gap_ns=25, budget=budget)
    budget.left(0)
    assert made.due(10, False) is None and budget.hold_ns == 10 + 2_000_000_000
    at = made.next_ns(10, False)
    assert at is not None and made.due(at, False) is Read.ORDERS
    made.sent(Read.ORDERS, at)
    assert budget.hold_ns > at + 10**12
    budget.read_waits(at + 10**10, ReadKind.OTHER)
    made.in_flight, made.paused = None, True
    assert made.due(at, False) is None and budget.hold_ns > at + 10**12


def test_executions_are_due_until_their_read_is_answered() -> None:
    made = polls()
    assert not made.trades_due
    made.trades_wanted = True
    assert made.trades_due
    made.sent(Read.TRADES, 1)
    assert made.trades_due  # an engine that stops now waits for them
    made.done(False)
    assert made.trades_due
    made.sent(Read.TRADES, 2)
    made.done(True)
    assert not made.trades_due


def test_a_check_that_cannot_go_on_holds_up_no_look_into_the_order_book() -> None:
    """Executions cannot be read for minutes: what became of an order without an answer is found out."""
    made = polls()
    made.due(0, False)
    made.check_wanted = True
    assert made.due(0, True) is Read.ORDERS
    made.sent(Read.ORDERS, 0)
    made.done(True, 0)
    made.checking = Read.TRADES
    made.orders_wanted = True
    assert made.due(25, True) is Read.TRADES  # the round goes on as long as it can
    made.sent(Read.TRADES, 25)
    made.done(False, 25)
    assert made.due(50, True) is Read.ORDERS and made.checking is Read.TRADES
    made.sent(Read.ORDERS, 50)
    made.done(False, 50)
    assert made.orders_wanted and made.due(100, True) is Read.ORDERS
    made.sent(Read.ORDERS, 100)
    made.done(True, 100)
    assert made.due(125, True) is Read.TRADES
    made.sent(Read.TRADES, 125)
    made.done(False, 125)
    assert made.due(160, True) is None and made.due(180, True) is Read.TRADES
    assert made.due(300, True) is Read.ORDERS  # nor by its period


def test_looks_between_do_not_ask_the_book_that_fails_a_check_at_once_again() -> None:
    made = polls()
    made.check_wanted = True
    made.due(0, True)
    made.checking, now, left, between = Read.TRADES, 0, [], 0
    while now < 60_000:
        made.orders_wanted = True  # an order without an answer is looked up in every read
        read = made.due(now, True)
        if read is not None:
            made.sent(read, now)
            made.done(read is Read.ORDERS, now)
            left += [now] if read is Read.TRADES else []
            between += read is Read.ORDERS
        now += 5
    gaps = [b - a for a, b in pairwise(left)]
    assert gaps[0] < 200 and all(b >= a for a, b in pairwise(gaps)) and gaps[-1] > 5_000
    assert between > 1_000, "and keep their own pace"


def test_executions_outside_a_check_are_let_through_as_the_order_book_is() -> None:
    made = polls()
    made.check_wanted = True
    made.due(0, False)
    made.checking = Read.POSITIONS
    for now in (0, 25, 75):
        assert made.due(now, False) is Read.POSITIONS
        made.sent(Read.POSITIONS, now)
        made.done(False, now)
    made.trades_wanted = True
    assert made.due(100, False) is Read.TRADES
    made.sent(Read.TRADES, 100)
    made.done(True, 100)
    assert made.due(125, False) is None and made.due(175, False) is Read.POSITIONS
    assert made.next_ns(125, False) == 175


def test_executions_that_fail_keep_no_check_from_the_order_book() -> None:
    """Triggers could not be read, and the check begins again with the order book, which is wanted anyway."""
    made = polls()
    made.due(0, True)
    made.checking = Read.TRIGGERS
    made.sent(Read.TRIGGERS, 0)
    made.done(False, 0)
    made.checking, made.orders_wanted, made.trades_wanted = Read.ORDERS, True, True
    left = []
    for now in range(25, 2_000, 5):
        if read := made.due(now, True):
            left.append(read)
            made.sent(read, now)
            made.done(False, now)
    assert Read.ORDERS in left[:2] and Read.TRADES in left, left
