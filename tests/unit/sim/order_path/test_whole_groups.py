"""The campaign's own view of groups: which of those that are being undone cannot get on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.sim.order_path.whole_groups import WholeGroups

CLOSING = 1 << 62


def groups(order: Any, *, capped: bool, refused: str = "") -> WholeGroups:
    """A leg of group 1 of strategy 4 is being closed by `order`."""
    told = SimpleNamespace(
        groups={(4, 1): {"legs": [2, 1], "closing": [[CLOSING - 1, CLOSING], []]}},
        refused=[{"strategy": 4, "seq": CLOSING, "reason": refused}] if refused else [],
    )
    ledger = SimpleNamespace(told=told, mine=lambda: [order])
    checker: Any = SimpleNamespace(world=SimpleNamespace(capped=capped), ledger=ledger, wishes={})
    return WholeGroups(checker)


def order(name: tuple[int, int] = (4, CLOSING), *, parent: int = 0, remaining: int = 25) -> Any:
    return SimpleNamespace(name=name, parent=parent, remaining=remaining)


@pytest.mark.parametrize(
    ("made", "capped", "refused", "stuck"),
    [
        (order(), True, "", True),  # it rests, and cannot be replaced by one at another price
        (order((4, CLOSING + 5), parent=CLOSING), True, "", True),  # a slice of it
        (order(), False, "", False),
        (order(remaining=0), True, "", False),  # it is over: another one is due
        (order((4, CLOSING - 1)), True, "", False),  # not the newest
        (order((3, CLOSING)), True, "", False),  # another strategy's
        (order(remaining=0), False, "DAY_CAP", True),
        (order(remaining=0), False, "MARGIN", False),
    ],
)
def test_stuck(made: Any, capped: bool, refused: str, stuck: bool) -> None:
    assert groups(made, capped=capped, refused=refused).stuck() is stuck


def test_what_closes_a_leg_is_the_groups() -> None:
    assert groups(order(), capped=False).closes(order((4, CLOSING + 5), parent=CLOSING - 1))
    assert not groups(order(), capped=False).closes(order((4, CLOSING + 1)))
    assert not groups(order(), capped=False).closes(order((5, CLOSING)))
