"""Layer 2, orders process, cold: from which number on a strategy may number its intents. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import EXTERNAL

_NUMBERED: Final = frozenset(
    {Kind.INTENT, Kind.REFUSED, Kind.WAITING, Kind.WITHDRAWN, Kind.CALL, Kind.PLAN, Kind.GTT}
)
"""Records that bear the number of an intent."""


def next_seqs(journals: Iterable[Iterable[Record]]) -> dict[int, int]:
    """Strategy -> the next strategy_seq that it may use, from the journals of a day.

    A worker that starts anew numbers its intents from here: a number is never used twice.
    """
    last: dict[int, int] = {}
    for records in journals:
        for record in records:
            if record.kind not in _NUMBERED:
                continue
            data = record.data()
            if data["strategy"] != EXTERNAL and data["seq"] < ENGINE_SEQ:
                last[data["strategy"]] = max(last.get(data["strategy"], 0), data["seq"])
    return {strategy: seq + 1 for strategy, seq in last.items()}
