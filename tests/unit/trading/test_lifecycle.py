"""The table of order states: every pair, and the two rules that hold it together."""

from __future__ import annotations

from itertools import permutations

from kite_hft.layout import OrderStatus
from kite_hft.trading.lifecycle import LIVE, REPORT_OF, TABLE, TERMINAL, WORKING, Input, following

S = OrderStatus
REPORTS = set(REPORT_OF.values())
RANK = [S.NEW, S.SENT, S.AMBIGUOUS, S.ABSENT, S.PENDING, S.TRIGGER_PENDING, S.OPEN]

LIFE = """
                SUBMIT REFUSE  WITHDRAW  CONFIRM DENY     LOSE      MISS   REARM           REVIVE    SEEN
NEW             SENT   REFUSED CANCELLED -       -        -         -      -               -         -
SENT            -      REFUSED -         PENDING REJECTED AMBIGUOUS -      -               -         PENDING
AMBIGUOUS       -      -       -         PENDING -        -         ABSENT -               -         PENDING
ABSENT          -      -       -         PENDING -        -         -      -               -         PENDING
PENDING         -      -       -         -       -        -         -      -               -         -
TRIGGER_PENDING -      -       -         -       -        -         -      -               -         -
OPEN            -      -       -         -       -        -         -      TRIGGER_PENDING -         -
COMPLETE        -      -       -         -       -        -         -      -               -         -
CANCELLED       -      -       -         -       -        -         -      -               AMBIGUOUS -
REJECTED        -      -       -         -       -        -         -      -               AMBIGUOUS -
REFUSED         -      -       -         -       -        -         -      -               AMBIGUOUS -
"""
"""What we do, and what answers and book reads prove: status and input -> status; -: it stays."""
REPORTED = """
                 PENDING  TRIGGER_PENDING  OPEN  COMPLETE  CANCELLED  REJECTED
NEW              -        -                -     -         -          -
SENT             PENDING  TRIGGER_PENDING  OPEN  COMPLETE  CANCELLED  REJECTED
AMBIGUOUS        PENDING  TRIGGER_PENDING  OPEN  COMPLETE  CANCELLED  REJECTED
ABSENT           PENDING  TRIGGER_PENDING  OPEN  COMPLETE  CANCELLED  REJECTED
PENDING          -        TRIGGER_PENDING  OPEN  COMPLETE  CANCELLED  REJECTED
TRIGGER_PENDING  -        -                OPEN  COMPLETE  CANCELLED  REJECTED
OPEN             -        -                -     COMPLETE  CANCELLED  REJECTED
COMPLETE         -        -                -     -         -          -
CANCELLED        -        -                -     -         -          -
REJECTED         -        -                -     -         -          -
REFUSED          -        -                -     -         -          -
"""
"""The broker's word: status and what it reports -> status."""


def cells(table: str) -> list[tuple[S, str, S]]:
    """(status, column, status after) of every cell."""
    head, *rows = (line.split() for line in table.strip().splitlines())
    return [
        (S[row[0]], column, S[row[0]] if after == "-" else S[after])
        for row in rows
        for column, after in zip(head, row[1:], strict=True)
    ]


def test_every_status_and_every_input() -> None:
    asked = [(status, Input[column], after) for status, column, after in cells(LIFE)]
    asked += [(status, REPORT_OF[S[column]], after) for status, column, after in cells(REPORTED)]
    assert len(asked) == len(set((status, what) for status, what, _ in asked)) == len(S) * len(Input)
    for status, what, after in asked:
        assert following(status, what) is after, (status, what)


def test_a_report_without_a_state_is_only_seen() -> None:
    assert REPORT_OF[None] is Input.SEEN
    assert set(REPORT_OF) == {None, *WORKING, S.COMPLETE, S.CANCELLED, S.REJECTED}


def test_what_may_still_fill_and_what_can_be_cancelled() -> None:
    assert {S.PENDING, S.TRIGGER_PENDING, S.OPEN} == WORKING
    assert {S.NEW, S.SENT, S.AMBIGUOUS} | WORKING == LIVE
    assert {S.COMPLETE, S.CANCELLED, S.REJECTED, S.REFUSED, S.ABSENT} == TERMINAL


def test_every_state_has_a_row_and_the_sets_part_them() -> None:
    assert set(TABLE) == set(S)
    assert set(S) == TERMINAL | LIVE and not TERMINAL & LIVE and WORKING < LIVE


def test_ended_stays_ended_but_absent_is_revived_by_the_broker() -> None:
    for status in TERMINAL - {S.ABSENT}:
        assert all(following(status, what) is status for what in set(Input) - {Input.REVIVE})
    for what in REPORTS | {Input.CONFIRM}:
        assert following(S.ABSENT, what) in WORKING | TERMINAL - {S.ABSENT}


def test_what_a_call_or_a_person_has_ended_can_be_revived_into_doubt_and_from_there_by_the_broker() -> None:
    revived = {status for status in S if following(status, Input.REVIVE) is not status}
    assert revived == {S.REJECTED, S.REFUSED, S.CANCELLED}
    assert {following(status, Input.REVIVE) for status in revived} == {S.AMBIGUOUS}


def test_every_step_goes_forward() -> None:
    for status, row in TABLE.items():
        for what, after in row.items():
            if what in (Input.REARM, Input.REVIVE):
                continue  # our own modification: a stop waits for its trigger anew; an end that was none
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
