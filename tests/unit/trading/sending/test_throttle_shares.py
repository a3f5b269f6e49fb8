"""Who gets the last places: of the urgent lane, of the day, and of those that were told to go first."""

from __future__ import annotations

from pathlib import Path

import yaml

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.layout import Reason
from kite_hft.trading.sending.budget import span_ns_of
from kite_hft.trading.sending.throttle import Denied, Throttle

S = 1_000_000_000
LIMITS = limits_from_mapping(yaml.safe_load(Path("config/rules/kite_2026-04-01.yaml").read_text()))
SPAN = span_ns_of(LIMITS.all_windows[0])
FAR = 10**15
Call = tuple[int, int]
"""(strategy, number)."""


def throttle(**more: int) -> Throttle[Call]:
    return Throttle(LIMITS, **more)


def exits(made: Throttle[Call], strategy: int, number: int = 1, *, urgent: bool = True) -> Denied | None:
    """A placement that a strategy asks for."""
    words = {"urgent": urgent, "placement": True, "deadline_ns": FAR}
    return made.offer((strategy, number), 0, beside=lambda other: other[0] == strategy, **words)


def closes(
    made: Throttle[Call], number: int = 1, *, first: bool = False, placement: bool = True
) -> Denied | None:
    """One of the engine's."""
    return made.offer((0, number), 0, urgent=True, placement=placement, deadline_ns=FAR, first=first)


def test_of_the_urgent_lane_the_exits_of_one_strategy_get_a_quarter() -> None:
    made = throttle(urgent_max=12)
    assert [exits(made, 1, number) for number in (1, 2, 3)] == [None] * 3
    denied = exits(made, 1, 4)
    assert denied == Denied(Reason.THROTTLE_QUEUE_FULL, "3 exits of the strategy wait")
    assert [exits(made, 2, number) is None for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert closes(made) is None, "nor are the engine's held to it"
    assert exits(made, 1, 5, urgent=False) is None, "entries have a lane of their own"
    assert made.pop(0) is not None
    assert exits(made, 1, 6) is None, "one has left"


def test_the_last_placements_of_the_day_are_for_exits_and_of_these_half_for_the_engine() -> None:
    """5,000 a day: 4,500 entries, exits of strategies up to 4,750."""
    made = throttle()
    made.placed_today = 4500
    denied = exits(made, 1, urgent=False)
    assert denied == Denied(Reason.DAY_CAP, "4500 orders today: of 5000 the rest is for exits")
    made.placed_today = 4749
    assert made.exits_left is True and exits(made, 1, 1) is None
    assert made.exits_left is False and made.placed_today == 4750
    text = "4750 orders today: of 5000 the rest is for stops and closings of the engine"
    assert exits(made, 1, 2) == Denied(Reason.DAY_CAP, text)
    assert closes(made) is None and made.placed_today == 4751
    made.placed_today = 5000
    assert closes(made, 2) == Denied(Reason.DAY_CAP, "5000 orders today: day cap 5000")
    assert closes(made, 3, placement=False) is None, "a cancel is no placement"


def test_what_was_let_out_and_does_not_leave_counts_no_more() -> None:
    made = throttle()
    assert closes(made, 1) is None and closes(made, 2, placement=False) is None
    order, cancel = made.pop(0), made.pop(0)
    assert order is not None and cancel is not None and made.placed_today == 1
    made.unsent(cancel)
    assert made.placed_today == 1
    made.unsent(order)
    assert made.placed_today == 0


def test_behind_one_that_went_first_the_next_such_still_goes_before_the_others() -> None:
    made = throttle()
    for number in (1, 2, 3):
        closes(made, number)
    closes(made, 11, first=True)
    closes(made, 12, first=True)
    taken = made.pop(0)
    assert taken is not None and taken.item == (0, 11)
    closes(made, 13, first=True)
    left = [made.pop(0) for _ in range(5)]
    assert [waiting.item[1] for waiting in left if waiting] == [12, 13, 1, 2, 3]


def test_from_when_on_an_entry_might_leave() -> None:
    made = throttle()
    assert made.quiet(0)
    for number in range(8):
        assert exits(made, 1, number, urgent=False) is None
    assert not made.quiet(0), "they wait"
    while made.take(0) is not None:
        pass
    assert not made.quiet(SPAN - 1) and made.quiet(SPAN)


def test_how_long_a_cool_down_lasts() -> None:
    made = throttle()
    assert not made.cooling(0)
    made.cool_down(5)
    assert made.cooling(5) and made.cooling(10 * S + 4) and not made.cooling(10 * S + 5)


def test_since_when_the_urgent_call_that_leaves_next_has_waited() -> None:
    made = throttle()
    assert made.urgent_since_ns > FAR, "none waits"
    for number, now_ns in ((1, 3), (2, 7)):
        made.offer((0, number), now_ns, urgent=True, placement=False, deadline_ns=FAR)
    assert made.urgent_since_ns == 3
    made.pop(7)
    assert made.urgent_since_ns == 7
