"""Layer 2, orders process, cold: orders beside ours that close what we hold: by hand, by the RMS, or one of
our own that the journal has lost.

They are known by the last read of the order book. What the account holds beside our positions they close
first; the rest is about ours, and no order of ours may close it a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kite_hft.layout import Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.lifecycle import LIVE
from kite_hft.trading.order import EXTERNAL


def closing_by_others(
    rows: Iterable[OrderReport], book: Book, instruments: InstrumentTable, key: Key,
    may_be_ours: Callable[[str], bool],
) -> list[tuple[str, int]]:  # fmt: skip
    """(order id, quantity) that strangers' and adopted orders may still close of a position of ours.

    may_be_ours(order id): a trigger of ours may have placed it.
    """
    _strategy, slot, product = key
    held = book.standing(*key).quantity
    if not held or slot >= len(instruments):
        return []
    token, side = instruments[slot].token, Side.SELL if held > 0 else Side.BUY
    beside = book.standing(EXTERNAL, slot, product).quantity
    free = max(0, beside if held > 0 else -beside)
    found = []
    for row in rows:
        here = row.token == token and row.product == product and row.side == side
        if not here or row.status not in LIVE or may_be_ours(row.order_id):
            continue
        known = book.by_id(row.order_id)
        if known is not None and (known.strategy != EXTERNAL or known.status not in LIVE):
            continue
        about_us = max(0, row.pending_quantity - free)
        free = max(0, free - row.pending_quantity)
        if about_us:
            found.append((row.order_id, about_us))
    return found
