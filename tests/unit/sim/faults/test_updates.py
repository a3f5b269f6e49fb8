"""Order updates with their faults: who gets what, when, and how often it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kite_hft.sim.faults.schedule import FaultRow, Faults, parse_row
from kite_hft.sim.faults.updates import Copy, UpdateFaults

SECOND = 1_000_000_000


class Passing:
    """UpdateFaults with one injected row, and what it told."""

    def __init__(self, *given: dict[str, Any]) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        faults = Faults()
        for row in given:
            faults.arm(parse_row(row, "row"))

        def note(row: FaultRow, more: Mapping[str, Any]) -> None:
            self.told.append((row.kind, more))

        self.updates = UpdateFaults(faults, note)

    def send(self, order_id: str, status: str = "COMPLETE", now_ns: int = 0) -> list[Copy]:
        return self.updates.pass_on({"order_id": order_id, "status": status}, now_ns, -1)


def short(copies: list[Copy]) -> list[tuple[Any, ...]]:
    return [(c.row["order_id"], c.row["status"], c.only, c.without) for c in copies]


ALL = (None, None)


def test_nothing_happens_without_a_fault() -> None:
    passing = Passing()
    assert short(passing.send("1")) == [("1", "COMPLETE", *ALL)]
    assert passing.told == [] and passing.updates.next_ns() is None


@pytest.mark.parametrize(
    ("kind", "on_all", "on_one"),
    [
        ("update_double", [("COMPLETE", None, None)] * 2, [("COMPLETE", None, None), ("COMPLETE", 1, None)]),
        ("update_lost", [], [("COMPLETE", None, 1)]),
        ("update_label", [("UPDATE", None, None), ("COMPLETE", None, None)],
         [("UPDATE", 1, None), ("COMPLETE", None, None)]),
    ],
)  # fmt: skip
def test_the_immediate_ones(kind: str, on_all: list[Any], on_one: list[Any]) -> None:
    for given, wanted in (({}, on_all), ({"connection": 1}, on_one)):
        passing = Passing({"kind": kind, **given})
        assert short(passing.send("1")) == [("1", *copy) for copy in wanted]
        assert passing.told == [(kind, {"order_id": "1", "status": "COMPLETE"})]
        assert short(passing.send("2")) == [("2", "COMPLETE", *ALL)]


def test_late_is_told_at_once_and_sent_later() -> None:
    passing = Passing({"kind": "update_late", "for": 2})
    assert passing.send("1", now_ns=SECOND) == []
    assert len(passing.told) == 1 and passing.updates.next_ns() == 3 * SECOND
    assert passing.updates.due(3 * SECOND - 1) == []
    assert short(passing.send("2", now_ns=2 * SECOND)) == [("2", "COMPLETE", *ALL)]
    assert short(passing.updates.due(3 * SECOND)) == [("1", "COMPLETE", *ALL)]
    assert passing.updates.due(9 * SECOND) == [] and len(passing.told) == 1


def test_reorder_swaps_with_the_next_and_is_told_then() -> None:
    passing = Passing({"kind": "update_reorder", "connection": 2, "for": 5})
    assert short(passing.send("1", "UPDATE")) == [("1", "UPDATE", None, 2)]
    assert passing.told == []
    assert short(passing.send("1")) == [("1", "COMPLETE", *ALL), ("1", "UPDATE", 2, None)]
    assert passing.told == [("update_reorder", {"order_id": "1", "status": "UPDATE", "swapped_with": "1"})]
    assert passing.updates.due(9 * SECOND) == []


def test_reorder_with_nobody_behind_goes_out_alone() -> None:
    passing = Passing({"kind": "update_reorder", "for": 5})
    passing.send("1")
    assert short(passing.updates.due(5 * SECOND)) == [("1", "COMPLETE", *ALL)]
    assert [more["swapped_with"] for _, more in passing.told] == [None]


def test_two_in_a_row_do_not_meet() -> None:
    passing = Passing({"kind": "update_reorder", "count": 2})
    out = [short(passing.send(str(i))) for i in range(1, 5)]
    ids = [[entry[0] for entry in sent] for sent in out]
    assert ids == [[], ["2", "1"], [], ["4", "3"]] and len(passing.told) == 2
