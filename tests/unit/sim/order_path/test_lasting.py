"""The campaign's own book of triggers: which of two that are alike the broker's number belongs to."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.sim.order_path.lasting import Lasting
from kite_hft.sim.order_path.ledger import Told, Trigger
from kite_hft.units import NS_PER_S

FIRST, SECOND = (3, 37), (1, 40)
LEGS = ((1, 50, 8_020, 8_020),)


def record(name: tuple[int, int], number: int, **more: Any) -> dict[str, Any]:
    """As the journal names a trigger."""
    return {"strategy": name[0], "seq": name[1], "id": "G1", "_n": number, **more}


def breaks_of(told: Told, second: Trigger) -> list[str]:
    """FIRST waits at the broker as G1; `second` was sent after it. What is found wrong."""
    found: list[str] = []
    first = Trigger(FIRST, 3, 2, False, LEGS, 1, number="G1", under_way=False)
    ledger = SimpleNamespace(told=told, triggers=[first, second])
    side = SimpleNamespace(waits=lambda api, number: number == "G1")
    world = SimpleNamespace(side=side, api=None, now_ns=NS_PER_S)
    checker: Any = SimpleNamespace(world=world, ledger=ledger, break_=found.append)
    lasting = Lasting(checker)
    lasting.ended()
    absent = record(FIRST, 9, ended="absent")
    told.triggers.pop(FIRST, None)
    told.trigger_ends.append(absent)
    lasting.ended()
    return found


TWIN = Trigger(SECOND, 3, 2, False, LEGS, 2, under_way=False)


def told_of(*named: tuple[tuple[int, int], int]) -> Told:
    told = Told()
    for name, number in named:
        told.triggers[name] = record(name, number)
        told.trigger_ids.append(told.triggers[name])
    return told


def test_of_two_alike_either_may_have_been_placed() -> None:
    """The answers of both are lost: the list shows one of them, and does not say which."""
    assert breaks_of(told_of((SECOND, 5)), replace(TWIN)) == []


@pytest.mark.parametrize(
    ("told", "second"),
    [
        (told_of(), replace(TWIN)),  # nobody has taken it for the other
        (told_of((SECOND, 5)), replace(TWIN, terms=((1, 50, 8_025, 8_025),))),
        (told_of((SECOND, 5)), replace(TWIN, slot=2)),
        (told_of((SECOND, 5)), replace(TWIN, for_exits=True)),
        (told_of((SECOND, 5)), replace(TWIN, lost=True)),
        (told_of((FIRST, 4), (SECOND, 5)), replace(TWIN)),  # it was known by its name
    ],
)
def test_what_waits_at_the_broker_is_not_absent(told: Told, second: Trigger) -> None:
    assert breaks_of(told, second) == [f"trigger {FIRST} ended (absent), and lives or is still to arrive"]
