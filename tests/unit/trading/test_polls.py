"""Which book is read when."""

from __future__ import annotations

from kite_hft.trading.polls import Polls, Read


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
    made = polls()
    for read in (Read.ORDERS, Read.TRADES):
        made.sent(read, 0)
        made.done(False)
        assert made.due(25, True) is read
        made.orders_wanted = made.trades_wanted = False
