"""Layer 2, orders process, cold: what triggers at the broker may still order. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from kite_hft.layout import Side
from kite_hft.trading.book import Book
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.trigger import Name, Trigger


class Promises:
    """Triggers as sums. One of a strategy counts in the book as a working order does; a plan's does not."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.standing: dict[Name, Trigger] = {}

    def _promise(self, trigger: Trigger, quantity: int) -> None:
        """So much of a strategy's trigger counts as a working order; 0: it has ended. A plan's counts not."""
        if not trigger.for_exits and quantity != trigger.promised:
            more, number = quantity - trigger.promised, bool(quantity) - bool(trigger.promised)
            trigger.promised = quantity
            self._book.promise(trigger.slot, trigger.product, trigger.legs[0].side, more, number)

    @contextlib.contextmanager
    def aside_from(self, trigger: Trigger) -> Iterator[None]:
        """What the book says without this one: it is judged anew."""
        counted = trigger.promised
        self._promise(trigger, 0)
        try:
            yield
        finally:
            self._promise(trigger, counted)

    def opens(self, trigger: Trigger) -> bool:
        """It would open something, were it to fire now: all of it."""
        return not trigger.for_exits and not trigger.closes(self._book.standing(*trigger.key))

    def _room(self, trigger: Trigger) -> int:
        """What is held for it to close."""
        held = self._book.standing(*trigger.key).quantity
        return held if trigger.legs[0].side == Side.SELL else -held

    def only_closes(self, trigger: Trigger) -> bool:
        """With all that waits beside it, it closes no more than is held."""
        return self.promised(trigger.key, trigger.legs[0].side) + trigger.quantity <= self._room(trigger)

    def covers(self, key: Key, side: int = 0) -> int:
        """What triggers of the plan of a position may still place on a side, 0: on any. Of those that are not
        to be seen an order stands in their stead.
        """
        here = (t for t in self.standing.values() if t.for_exits and t.key == key)
        here = (trigger for trigger in here if not (trigger.lost or trigger.unseen))
        return sum(trigger.quantity for trigger in here if side in (0, trigger.legs[0].side))

    def promised(self, key: tuple[int, int, int], side: int) -> int:
        """What a strategy's triggers may order on a side, for all that is known never."""
        return sum(t.promised for t in self.standing.values() if t.key == key and t.legs[0].side == side)

    def stand(self, key: Key) -> bool:
        """Some trigger of a position lies at the broker, or may."""
        return any(trigger.key == key for trigger in self.standing.values())
