"""Calls of earlier processes by this process's clock: never earlier than they were, never after now."""

from __future__ import annotations

from kite_hft.trading.sending.evidence import ENTRY, READ, RECOVERED, URGENT, Journalled, Left, merged

S = 1_000_000_000
NOW = 100 * S
AHEAD = 1_795_000_000 * S  # the wall clock, before the monotonic one


def row(mono_ns: int, real_mono_ns: int, boot: str = "", part: str = ENTRY) -> Left:
    """A call at `mono_ns` by its own clock, and at `real_mono_ns` by the wall clock as it is now."""
    return Left(mono_ns, AHEAD + real_mono_ns, "PLACE", part, "t", boot)


def at(found: Left, boot: str = "") -> int:
    (only,), lacking = merged([found], [], AHEAD, NOW, boot)
    assert not lacking
    return only.mono_ns


def test_a_row_of_this_boot_keeps_its_own_time_up_to_now() -> None:
    assert at(row(50 * S, 20 * S, "x"), "x") == 50 * S == at(row(50 * S, 80 * S, "x"), "x")
    assert at(row(NOW + 1, 20 * S, "x"), "x") == NOW


def test_a_row_of_another_boot_left_before_this_one_began() -> None:
    assert at(row(50 * S, 80 * S, "y"), "x") == 0, "the wall clock has been put back since"
    assert at(row(50 * S, 0, "y"), "x") == 0 and at(row(50 * S, -3, "y"), "x") == -3


def test_of_an_unknown_boot_the_later_time_holds_that_is_not_after_now() -> None:
    for known, asked in (("", ""), ("", "x"), ("x", "")):
        assert at(row(50 * S, 20 * S, known), asked) == 50 * S, "it may be of this boot"
        assert at(row(50 * S, 80 * S, known), asked) == 80 * S
        assert at(row(NOW, 20 * S, known), asked) == NOW
        assert at(row(NOW + 1, 20 * S, known), asked) == 20 * S, "it was another boot's"
        assert at(row(NOW + 1, NOW + 2, known), asked) == NOW


def test_a_call_that_only_the_journal_knows_stands_where_it_had_left_at_the_latest() -> None:
    """Not where it was written: the process may have stood still behind that."""
    calls = [
        Journalled(AHEAD - 5 * S, False, "a", AHEAD - 7),
        Journalled(AHEAD + S, True, "b", AHEAD + 3 * S),
    ]
    every, lacking = merged([], calls, AHEAD, NOW, "x")
    assert (
        every
        == lacking
        == [
            Left(-7, AHEAD - 7, RECOVERED, ENTRY, "a", "x"),
            Left(3 * S, AHEAD + 3 * S, RECOVERED, URGENT, "b", "x"),
        ]
    )
    (late,), _ = merged([], [Journalled(AHEAD, False, "c", AHEAD + NOW + 1)], AHEAD, NOW)
    assert late.mono_ns == NOW
    (back,), _ = merged([], [Journalled(AHEAD + 3 * S, False, "c", AHEAD + S)], AHEAD, NOW)
    assert back.mono_ns == 3 * S, "the wall clock was set back between the two"


def test_a_call_of_which_nothing_tells_when_it_had_left_counts_now() -> None:
    """The process died behind the record, and may have stood still there before its bytes went."""
    (only,), lacking = merged([], [Journalled(AHEAD + 3 * S, False, "a")], AHEAD, NOW, "x")
    assert lacking == [only] == [Left(NOW, AHEAD + NOW, RECOVERED, ENTRY, "a", "x")]
    again, none = merged(lacking, [Journalled(AHEAD + 3 * S, False, "a")], AHEAD, NOW + 9 * S, "x")
    assert again == lacking and not none, "once"


def test_a_call_beside_orders_counts_as_a_read_and_is_known_by_its_record() -> None:
    rows = [
        row(S, S, "x", READ)._replace(call=call, name=name) for call, name in (("GTT", "7.1"), ("ORDERS", ""))
    ]
    calls = [Journalled(AHEAD + S, False, name, AHEAD + 2 * S, beside=True) for name in ("7.1", "7.2")]
    _, lacking = merged(rows, calls, AHEAD, NOW, "x")
    assert lacking == [Left(2 * S, AHEAD + 2 * S, RECOVERED, READ, "7.2", "x")]


def test_the_row_of_a_call_that_never_left_proves_no_other_of_its_name() -> None:
    """Two changes of an order were handed over and the second died in the transport; the row of the third
    died with the process."""
    changes = [Journalled(AHEAD + n * S, True, "id", AHEAD + n * S) for n in (1, 2, 3)]
    changes[1] = changes[1]._replace(unsent=True)
    rows = [row(n * S, n * S, "x", URGENT)._replace(name="id") for n in (1, 2)]
    _, lacking = merged(rows, changes, AHEAD, NOW, "x")
    assert [call.mono_ns for call in lacking] == [3 * S]
    alone, lacking = merged([], changes[1:2], AHEAD, NOW, "x")
    assert not alone and not lacking, "and where it has no row it is none"


def test_a_read_is_no_order_call_whatever_its_name() -> None:
    read = row(1 * S, 1 * S, "x", READ)
    _, lacking = merged([read], [Journalled(AHEAD + 2 * S, False, "t")], AHEAD, NOW, "x")
    assert [call.name for call in lacking] == ["t"]


def test_by_the_clocks_as_they_stood_at_the_last_row_it_may_have_left_later() -> None:
    """The wall clock was put forward by half a second between the row and now."""
    first = Left(10 * S, AHEAD + 10 * S - S // 2, "PLACE", ENTRY, "t", "x")
    calls = [Journalled(first.real_ns, False, "t"), Journalled(AHEAD, False, "u", AHEAD + 20 * S)]
    _, lacking = merged([first], calls, AHEAD, NOW, "x")
    assert [call.mono_ns for call in lacking] == [20 * S + S // 2]
