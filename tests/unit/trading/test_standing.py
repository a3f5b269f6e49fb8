"""When a person is told of a condition: once, worse, again until acknowledged, and when it is over."""

from __future__ import annotations

from kite_hft.trading.standing import EVENTS_MAX, Alert, Standing

S = 1_000_000_000
INFO, WARNING, CRITICAL = 1, 2, 3


def lasting() -> Standing:
    return Standing(300 * S)


def events() -> Standing:
    return Standing(300 * S, lasts=lambda code: False)


def test_an_acknowledged_condition_is_quiet_until_it_ends() -> None:
    standing = lasting()
    naked = Alert("NAKED_POSITION", "NSE:X MIS", "10 bare", CRITICAL)
    standing.raise_(naked, 0)
    assert len(standing.due(300 * S)) == 1
    assert standing.acknowledge(naked) and not standing.acknowledge(naked)
    assert standing.due(3000 * S) == [] and standing.next_ns() is None
    assert standing.raise_(naked, 3001 * S) is None and standing.standing() == [naked]
    assert standing.clear("NAKED_POSITION", "NSE:X MIS") == naked
    assert standing.raise_(naked, 3002 * S) == naked and len(standing.due(3400 * S)) == 1


def test_what_grows_worse_is_told_although_it_was_acknowledged() -> None:
    standing = lasting()
    standing.raise_(Alert("A", "k", "entry", WARNING, size=1000), 0)
    standing.acknowledge(Alert("A", "k", "entry", WARNING))
    assert standing.raise_(Alert("A", "k", "a little more", WARNING, size=1250), S) is None
    more = standing.raise_(Alert("A", "k", "much more", WARNING, size=1251), S)
    assert more is not None and more.text == "much more" and more.again == 1
    assert standing.raise_(Alert("A", "k", "much more", WARNING, size=1400), S) is None
    assert len(standing.due(400 * S)) == 1  # and it is reminded of again
    standing.acknowledge(more)
    assert standing.raise_(Alert("A", "k", "severe", CRITICAL), 500 * S) is not None


def test_a_condition_without_a_size_never_grows_by_size() -> None:
    standing = lasting()
    standing.raise_(Alert("A", "k", "x", WARNING), 0)
    assert standing.raise_(Alert("A", "k", "x", WARNING, size=10**9), 1) is None


def test_critical_events_are_reminded_of_until_acknowledged_and_others_are_not() -> None:
    standing = events()
    acted, other = Alert("BROKER_ACTED", "NSE:X", "10 closed", CRITICAL), Alert("SEEN", "", "x", WARNING)
    assert standing.raise_(acted, 0) == acted and standing.raise_(other, 0) == other
    assert [(a.code, a.again) for a in standing.due(300 * S)] == [("BROKER_ACTED", 1)]
    assert standing.acknowledge(acted) and not standing.acknowledge(acted)
    assert standing.due(900 * S) == [] and standing.standing() == []


def test_events_that_nobody_acknowledges_are_bounded() -> None:
    standing = events()
    for number in range(EVENTS_MAX + 10):
        standing.raise_(Alert("E", str(number), "x", CRITICAL), 0)
    due = standing.due(300 * S)
    assert len(due) == EVENTS_MAX and due[0].key == "10"


def test_fields_carry_a_size_only_where_there_is_one() -> None:
    assert "size" not in Alert("A", "", "t", 1).fields()
    assert Alert("A", "", "t", 1, size=5).fields()["size"] == 5
