"""What a process takes up of that which waited when the one before it died."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import instruments, intent

from kite_hft.layout import IntentKind
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.book import Book
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.records import encode_json
from kite_hft.trading.recovery.replay import replay
from kite_hft.trading.recovery.waiting import (
    answered,
    cast_doubt,
    taken_up,
    waiting_intent,
    waiting_payload,
)


def waits(
    seq: int = 5, kind: IntentKind = IntentKind.PLACE, target: int = 0, group: int = 0, reducing: bool = True
) -> dict[str, Any]:
    return waiting_payload(intent(seq, kind=kind, target_seq=target, group=group), 7, reducing)


def test_the_record_gives_the_intent_again() -> None:
    asked = intent(5, qty=3, px=99)
    again = waiting_intent(waiting_payload(asked, 7, reducing=True))
    assert (again.strategy_seq, again.qty, again.px) == (5, 3, 99)


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (waits(), True),
        (waits(reducing=False), False),
        (waits(kind=IntentKind.MODIFY, target=3), True),
        (waits(kind=IntentKind.CANCEL, target=3), True),
        (waits(ENGINE_SEQ + 1), False),  # a stop of the engine's own
        (waits(ENGINE_SEQ + 1, target=ENGINE_SEQ), False),  # a slice of one
        (waits(ENGINE_SEQ + 1, target=4), True),  # a slice of a strategy's exit
        (waits(ENGINE_SEQ + 1, IntentKind.MODIFY, 4), False),  # a change that the engine made of an exit
        (waits(group=3), False),  # a leg: its group is undone, and no part of it leaves
        (waits(ENGINE_SEQ + 1, target=4, group=3), False),  # a slice of one
    ],
)
def test_what_is_taken_up_in_the_same_run(data: dict[str, Any], taken: bool) -> None:
    assert taken_up(data, restarted=True) is taken
    cancel = data["kind"] == IntentKind.CANCEL
    assert taken_up(data, restarted=False) is cancel, "a new run takes up cancels alone"
    cast_doubt([data])
    assert taken_up(data, restarted=True) is cancel, "a journal that failed tells of cancels alone"


def gtt(**more: Any) -> dict[str, Any]:
    return {"strategy": 1, "seq": 3} | more


def test_which_changes_of_a_trigger_wait_no_more() -> None:
    modify, cancel = waits(5, IntentKind.MODIFY, 3), waits(6, IntentKind.CANCEL, 3)
    other = waits(7, IntentKind.MODIFY, 4)
    waiting = {(1, 5): modify, (1, 6): cancel, (1, 7): other, (2, 5): modify, (1, 3): waits(3)}
    assert answered(gtt(), waiting) == []
    assert answered(gtt(answered=[5]), waiting) == [(1, 5)]
    assert answered(gtt(ended="deleted"), waiting) == [(1, 5), (1, 6)]
    assert answered(gtt(ended="triggered", child="77"), waiting) == [(1, 5)], "the cancel is of its order now"


def test_what_has_no_record_when_a_person_ends_the_run_is_not_wanted_any_more() -> None:
    table = instruments()
    first = waiting_payload(intent(5, qty=1800), 7, reducing=True, whole=4500)
    begun = [Record(1, Kind.WAITING, 1, encode_json(first))]
    assert replay(begun, Book(table), table, 0).rests[1, 5]["intent"]["qty"] == 2700
    ended = [*begun, Record(2, Kind.END, 2, encode_json({"policy": "cancel"}))]
    assert not replay(ended, Book(table), table, 0).rests
