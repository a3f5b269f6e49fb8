"""Layer 2, orders process, hot: an intent above the freeze quantity as several orders of one parent.

The first slice bears the intent's own number, the others numbers of the engine's and the first one's as
their parent. To its strategy they are one order: quantities and values add up, it is accepted with the
first slice and over with the last. The broker's own slicing is never asked for: its children could not
be told from strangers' orders when an answer is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kite_hft.layout import EventKind, OrderStatus, Reason
from kite_hft.trading.book import Book
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.lifecycle import LIVE, TERMINAL
from kite_hft.trading.order import Change, Order
from kite_hft.trading.records import KNOWN_GOOD, event_kinds, order_event

_ONCE = {EventKind.SENT: OrderStatus.SENT, EventKind.AMBIGUOUS: OrderStatus.AMBIGUOUS}
_ENDS = frozenset({EventKind.COMPLETE, EventKind.CANCELLED, EventKind.REJECTED, EventKind.REFUSED})
_END_OF = {
    OrderStatus.COMPLETE: EventKind.COMPLETE,
    OrderStatus.CANCELLED: EventKind.CANCELLED,
    OrderStatus.REJECTED: EventKind.REJECTED,
    OrderStatus.ABSENT: EventKind.REJECTED,
    OrderStatus.REFUSED: EventKind.REFUSED,
}


def slices(quantity: int, freeze: int, lot: int) -> list[int]:
    """`quantity` in parts of at most `freeze` (0: no bound), each a multiple of `lot`."""
    most = freeze // lot * lot if freeze else 0
    if not most or quantity <= most:
        return [quantity]
    whole, rest = divmod(quantity, most)
    return [most] * whole + ([rest] if rest else [])


def orders_of(quantity: int, freeze: int | None, lot: int) -> int:
    """How many orders `quantity` becomes; freeze None or 0: no bound is known."""
    most = freeze // lot * lot if freeze else 0
    return -(-quantity // most) if most and quantity > most else 1


def whole_of(members: Sequence[Order]) -> Order:
    """The slices as the one order that their strategy asked for."""
    first = members[0]
    return replace(
        first,
        strategy_seq=first.parent or first.strategy_seq,
        quantity=sum(order.quantity for order in members),
        filled=sum(order.filled for order in members),
        filled_units=sum(order.filled_units for order in members),
        status=_status([order.status for order in members]),
    )


def _status(members: Sequence[OrderStatus]) -> OrderStatus:
    live = [status for status in members if status in LIVE]
    if live:
        return OrderStatus.AMBIGUOUS if OrderStatus.AMBIGUOUS in live else live[0]
    ends = set(members)
    if len(ends) == 1:
        return ends.pop()
    return OrderStatus.CANCELLED  # some of it did not fill, whatever the reason


def as_told(book: Book, order: Order) -> Order | None:
    """`order` as its strategy knows it: whole; None: another slice of the same intent tells of it."""
    members = book.family(order)
    if len(members) == 1:
        return order
    return whole_of(members) if order is members[0] else None


def family_events(
    change: Change,
    members: Sequence[Order],
    reason: Reason,
    position: int,
    instrument: Instrument,
    now_ns: int,
) -> list[npt.NDArray[np.void]]:
    """What a strategy is told of a change of one slice: fills at once, beginning and end of all once."""
    order = change.order
    others = [member for member in members if member is not order]
    whole = whole_of(members)
    told = Change(whole, change.before, change.fill_quantity, change.fill_units, change.terms)
    before = _status([change.before if member is order else member.status for member in members])
    events, kinds = [], event_kinds(change)
    for kind in kinds:
        if kind in _ENDS:
            living = any(member.status not in TERMINAL for member in others)
            if living and before is whole.status:  # else the others are told of: they stand otherwise
                continue
            kind = EventKind.UPDATED if living else _END_OF[whole.status]
        elif kind is EventKind.ACCEPTED and not _cleared(change, others):
            if before is whole.status or len(kinds) > 1:
                continue  # it was accepted with another, and stands as it stood
            kind = EventKind.UPDATED
        elif kind in _ONCE and any(m.status is not OrderStatus.NEW and m.sent_ns for m in others):
            continue
        events.append(order_event(kind, told, reason, position, instrument, now_ns))
    return events


def _cleared(change: Change, others: Sequence[Order]) -> bool:
    """The first slice that the broker is known to have, or the last of those whose fate was unknown."""
    return _doubt_ends(change, others) or all(m.status not in KNOWN_GOOD for m in others)


def _doubt_ends(change: Change, others: Sequence[Order]) -> bool:
    """It was the last slice whose fate was unknown."""
    ambiguous = OrderStatus.AMBIGUOUS
    return change.before is ambiguous and all(member.status is not ambiguous for member in others)


def of_intent(book: Book, strategy: int, seq: int) -> list[Order]:
    """All orders that an intent has made, oldest first: its slices also where the first one never left, of
    which the next process finds no record.
    """
    first = book.by_strategy(strategy, seq)
    return list(book.families.get((strategy, seq)) or ([] if first is None else [first]))
