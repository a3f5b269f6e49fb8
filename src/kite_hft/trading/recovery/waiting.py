"""Layer 2, orders process, hot: the WAITING record of an intent that was taken in and has not left.

What a later process of the run takes up of them: the exits and cancels of strategies. What ORDERS asked for
itself, those ask for anew who look after it: they know better what is wanted now, and whether anything is.
Legs of a group never go on alone, nor slices of them: all of it leaves, or nothing.
After a journal that failed no order is taken up: how it ended may have been told, and not written.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

from kite_hft.layout import IntentKind
from kite_hft.trading.book import Book
from kite_hft.trading.intents import ENGINE_SEQ, Intent

Name = tuple[int, int]
"""(strategy, strategy_seq) of an intent."""
_UNWRITTEN: Final = frozenset({"reserved", "reserved8", "seq"})
_CHANGES: Final = frozenset({IntentKind.MODIFY, IntentKind.CANCEL})


def waiting_payload(intent: Intent, order_no: int, reducing: bool, whole: int = 0) -> dict[str, Any]:
    """Journal record WAITING: the whole intent, so that an exit can be taken up again. whole: it is the first
    slice of one of so much, and those of the others follow.
    """
    words = {n: v for n, v in zip(Intent._fields, intent, strict=True) if n not in _UNWRITTEN}
    return {
        "strategy": intent.strategy,
        "seq": intent.strategy_seq,
        "kind": intent.kind,
        "no": order_no,
        "reducing": reducing,
        "intent": words,
    } | ({"whole": whole} if whole else {})


def waiting_records(
    taken: Iterable[tuple[Intent, bool]], journalled: Container[Name], book: Book
) -> Iterator[tuple[Name, dict[str, Any]]]:
    """The records of intents (and whether they reduce) that have none yet. One that has ended gets none, also
    when the journal did not take its end.
    """
    for intent, reduces in taken:
        name = (intent.strategy, intent.strategy_seq)
        if name not in journalled:
            order = book.by_strategy(*name) if intent.kind == IntentKind.PLACE else None
            yield name, waiting_payload(intent, order.order_no if order else 0, reduces)


def waiting_intent(data: dict[str, Any]) -> Intent:
    """The intent of a WAITING record. JSON has no NaN: a signal that is no number was written as null."""
    words = data["intent"]
    if words["signal"] is None:
        words = words | {"signal": math.nan}
    return Intent(seq=0, reserved8=None, reserved=None, **words)


def count_slice(data: dict[str, Any], rests: dict[Name, dict[str, Any]]) -> None:
    """A WAITING record came, the first of its name. rests: of intents in slices, by their names, what has no
    record of its own yet; there is something when a process has died between the records of the slices.
    """
    words, name = data["intent"], (data["strategy"], data["seq"])
    if "whole" in data:
        rests[name] = data | {"intent": words | {"qty": data["whole"] - words["qty"]}}
        return
    of = (data["strategy"], words["target_seq"])
    if data["kind"] == IntentKind.PLACE and of in rests:
        left = rests[of]["intent"]
        left["qty"] -= words["qty"]
        if left["qty"] <= 0:
            del rests[of]


def cast_doubt(records: Iterable[dict[str, Any]]) -> None:
    """The process that wrote these WAITING records could not write its journal to the end."""
    for data in records:
        data["doubtful"] = True


def answered(gtt: dict[str, Any], waiting: Mapping[Name, dict[str, Any]]) -> list[Name]:
    """Changes and cancels of a trigger that wait no more after this GTT record: those that it answers; all
    when the trigger is no more, but that a cancel goes on to the order that it has placed.
    """
    told, over = gtt.get("answered", ()), bool(gtt.get("ended"))
    found = []
    for name, data in waiting.items():
        if name[0] != gtt["strategy"] or data["kind"] not in _CHANGES:
            continue
        of_it = over and data["intent"]["target_seq"] == gtt["seq"]
        if name[1] in told or (of_it and ("child" not in gtt or data["kind"] == IntentKind.MODIFY)):
            found.append(name)
    return found


def taken_up(data: dict[str, Any], *, restarted: bool) -> bool:
    """Whether a process goes on with the intent of a WAITING record; else it is refused. restarted: in the
    same run.
    """
    if data["kind"] == IntentKind.CANCEL:
        return True
    alone = not (data.get("doubtful") or data["intent"]["group"] or _of_the_engine(data))
    return restarted and data["reducing"] and alone


def _of_the_engine(data: dict[str, Any]) -> bool:
    """ORDERS asked for it itself: it is no slice of a strategy's order."""
    slice_of = data["intent"]["target_seq"] if data["kind"] == IntentKind.PLACE else 0
    return data["seq"] >= ENGINE_SEQ and not 0 < slice_of < ENGINE_SEQ
