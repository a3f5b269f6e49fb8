"""Layer 2, orders process, cold: a strategy's own triggers (GTT) never close more than what is held.

The broker fires a trigger whatever has become of the position. One that was to close, and nothing else, is
made smaller as its position goes another way, and deleted when that is gone: what it would place then opens
a position. It does not grow again. Several on one position share it, oldest first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kite_hft.layout import Side
from kite_hft.trading.book import Book
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.stewards import NEVER_NS
from kite_hft.trading.exits.triggers import Triggers
from kite_hft.units import NS_PER_S

PERIOD_NS: Final = NS_PER_S


class Trimming:
    """A steward that looks after the triggers with `closing`."""

    def __init__(self, book: Book, triggers: Triggers) -> None:
        self._book, self._triggers = book, triggers
        self._pending = False

    @property
    def alive(self) -> bool:
        """Some trigger is to close, and nothing else."""
        return any(trigger.closing for trigger in self._triggers.standing.values())

    def act(self, now_ns: int) -> int:
        """Ask for the smaller quantities and the deletions that are due; returns how many."""
        left: dict[tuple[Key, int], int] = {}
        self._pending, asked = False, 0
        for trigger in list(self._triggers.standing.values()):
            if not trigger.closing:
                continue
            leg, held = trigger.legs[0], self._book.standing(*trigger.key).quantity
            room = left.get((trigger.key, leg.side), max(0, held if leg.side == Side.SELL else -held))
            keeps = min(leg.quantity, room)
            left[trigger.key, leg.side] = room - keeps
            if keeps == leg.quantity or trigger.wanted is None:
                continue
            self._pending = True
            if now_ns < trigger.again_ns or (keeps and trigger.wanted != trigger.legs):
                continue  # another change of it is under way
            self._triggers.want(trigger, (replace(leg, quantity=keeps),) if keeps else None, now_ns)
            asked += 1
        return asked

    def next_ns(self, now_ns: int) -> int:
        """Again soon while something is still too large."""
        return now_ns + PERIOD_NS if self._pending else NEVER_NS
