"""Layer 2, orders process, cold: a strategy's own triggers (GTT) never close more than what is held.

The broker fires a trigger whatever has become of the position. One that was to close, and nothing else, is
made smaller as its position goes another way, and deleted when that is gone: what it would place then opens
a position. It does not grow again. Several on one position share it, oldest first. One that has fired has
come before the exits that rest: the strategy's own ones close what is left beside it, the newest makes room
first, by a smaller quantity or by a cancel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kite_hft.layout import OrderStatus, Side
from kite_hft.trading.book import Book
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.stewards import NEVER_NS, Hands
from kite_hft.trading.exits.triggers import Triggers
from kite_hft.trading.gate.checks_conduct import closable
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order
from kite_hft.trading.positions import DELIVERED
from kite_hft.units import NS_PER_S

PERIOD_NS: Final = NS_PER_S
SHOWN_NS: Final = 3 * NS_PER_S
"""An order that was made smaller is shown so by then, in an update or in the book."""


class Trimming:
    """A steward that looks after the triggers with `closing`, and after exits beside one that has fired."""

    def __init__(self, book: Book, triggers: Triggers, hands: Hands, instruments: InstrumentTable) -> None:
        self._book, self._triggers, self._hands, self._instruments = book, triggers, hands, instruments
        self._pending = False
        self._crowded: set[Key] = set()  # positions of which exits may close more than there is
        self._asked: dict[
            int, tuple[int, int]
        ] = {}  # order -> since when it is too large, what was asked for

    @property
    def alive(self) -> bool:
        """Some trigger is to close, and nothing else; or one has fired."""
        closing = any(trigger.closing for trigger in self._triggers.standing.values())
        return closing or bool(self._crowded)

    def begin(self) -> None:
        """An earlier process may have died before it could do its work."""
        self._crowded.update(_key(order) for order in self._book.live() if _own_exit(order))

    def fired(self, key: Key) -> None:
        """A trigger has placed an order for a position: exits may be too many now."""
        self._crowded.add(key)

    def act(self, now_ns: int) -> int:
        """Ask for the smaller quantities, the cancels and the deletions that are due; returns how many."""
        self._pending = False
        asked = self._smaller_triggers(now_ns)
        for key in list(self._crowded):
            both = [self._own_exits(key, side) for side in (Side.BUY, Side.SELL)]
            if not any(self._excess(exits) > 0 for exits in both):
                self._crowded.discard(key)
            for exits in both:
                asked += self._make_room(exits, now_ns)
        if self._crowded:
            self._pending = True
        else:
            self._asked.clear()
        return asked

    def _own_exits(self, key: Key, side: int) -> list[Order]:
        """Those that have left: one that waits still is judged by what is there when its turn comes."""
        if side == Side.SELL and key[2] in DELIVERED:
            return []  # holdings are in no position of ours
        live = (o for o in self._book.live() if o.status is not OrderStatus.NEW and o.side == side)
        return [order for order in live if _own_exit(order) and _key(order) == key]

    def _excess(self, exits: list[Order]) -> int:
        """So much more would orders of one side close than there is; 0 or less: there is room for all."""
        quantity = sum(order.open_quantity for order in exits)
        return quantity - max(0, closable(self._book, exits[0])) if exits else 0

    def _make_room(self, exits: list[Order], now_ns: int) -> int:
        """What a trigger has placed goes before all others: it bears no tag of ours. What is being cancelled
        takes no room away; should it fill all the same, the others are looked at again.
        """
        exits = [order for order in exits if not self._hands.cancels(order)]
        asked, excess = 0, self._excess(exits)
        lot = max(1, self._instruments[exits[0].slot].lot_size) if exits else 1
        for order in sorted(exits, key=lambda order: (order.tag != "", order.order_no), reverse=True):
            if excess <= 0:
                break
            keeps = max(0, order.open_quantity - excess) // lot * lot
            excess -= order.open_quantity - keeps
            asked += self._shrink(order, keeps, now_ns)
        return asked

    def _shrink(self, order: Order, keeps: int, now_ns: int) -> bool:
        """A smaller quantity is asked for; what has not come down by that in time is cancelled."""
        number, settled = order.order_no, self._hands.settled(order)
        since_ns, asked = self._asked.get(number, (now_ns, 0))
        if asked and settled and order.quantity <= asked and not order.quantity_max:
            since_ns, asked = now_ns, 0  # that has come about: this is another one
        self._asked[number] = since_ns, asked
        if not keeps or now_ns - since_ns >= SHOWN_NS:
            self._hands.cancel(order, now_ns)
            return True
        if asked or not settled:
            return False
        self._asked[number] = since_ns, order.filled + keeps
        self._hands.modify(order, now_ns, quantity=order.filled + keeps)
        return True

    def _smaller_triggers(self, now_ns: int) -> int:
        left: dict[tuple[Key, int], int] = {}
        asked = 0
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


def _key(order: Order) -> Key:
    return order.strategy, order.slot, order.product


def _own_exit(order: Order) -> bool:
    """A strategy has placed it, or a trigger of its own has; a slice is of its intent."""
    return not order.opening and (order.parent or order.strategy_seq) < ENGINE_SEQ
