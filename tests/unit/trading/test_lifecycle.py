"""The table of order states: every pair, and the two rules that hold it together."""

from __future__ import annotations

from itertools import permutations

from kite_hft.layout import OrderStatus
from kite_hft.trading.lifecycle import LIVE, REPORT_OF, TABLE, TERMINAL, WORKING, Input, following

S = OrderStatus
REPORTS = set(REPORT_OF.values())
RANK = [S.NEW, S.SENT, S.AMBIGUOUS, S.ABSENT, S.PENDING, S.TRIGGER_PENDING, S.OPEN]


def test_every_state_has_a_row_and_the_sets_part_them() -> None:
    assert set(TABLE) == set(S)
    assert set(S) == TERMINAL | LIVE and not TERMINAL & LIVE and WORKING < LIVE


def test_ended_stays_ended_but_absent_is_revived_by_the_broker() -> None:
    for status in TERMINAL - {S.ABSENT}:
        assert all(following(status, what) is status for what in Input)
    for what in REPORTS | {Input.CONFIRM}:
        assert following(S.ABSENT, what) in WORKING | TERMINAL - {S.ABSENT}


def test_every_step_goes_forward() -> None:
    for status, row in TABLE.items():
        for what, after in row.items():
            if what is Input.REARM:
                continue  # our own modification: a stop waits for its trigger anew
            assert after in TERMINAL or RANK.index(after) > RANK.index(status), (status, what)


def test_a_report_of_the_end_ends_every_order_that_left() -> None:
    for status in LIVE - {S.NEW}:
        assert following(status, Input.REPORT_COMPLETE) is S.COMPLETE
        assert following(status, Input.REPORT_CANCELLED) is S.CANCELLED
        assert following(status, Input.REPORT_REJECTED) is S.REJECTED


def test_what_was_sent_is_never_silently_new_or_refused_later() -> None:
    for status in WORKING | {S.AMBIGUOUS}:
        for what in (Input.SUBMIT, Input.REFUSE, Input.WITHDRAW, Input.DENY):
            assert following(status, what) is status
    assert all(following(status, Input.LOSE) is status for status in set(S) - {S.SENT})
    assert all(following(status, Input.MISS) is status for status in set(S) - {S.AMBIGUOUS})


def test_reports_of_one_life_in_any_order_end_alike() -> None:
    life = (Input.CONFIRM, Input.REPORT_PENDING, Input.SEEN, Input.REPORT_OPEN, Input.REPORT_COMPLETE)
    for order in permutations(life):
        status = S.SENT
        for what in order:
            status = following(status, what)
        assert status is S.COMPLETE


def test_modify_and_cancel_interims_leave_a_working_order_working() -> None:
    assert following(S.OPEN, Input.REPORT_PENDING) is S.OPEN
    assert following(S.TRIGGER_PENDING, Input.REPORT_PENDING) is S.TRIGGER_PENDING
    assert following(S.OPEN, Input.REPORT_TRIGGER_PENDING) is S.OPEN
