"""Layer 2, orders process, hot: what orders that are not ours may still open: by hand, or another program's.

Their fills move the EXTERNAL position (external.py). What is still open of them counts there too, as that of
live orders of ours does in a strategy's: so the gate's worst cases, of an instrument and of all, hold it. It
takes nothing from what may be closed.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import EXTERNAL


@dataclass(slots=True)
class _Known:
    """One order, as last told: it may still fill `open` more."""

    slot: int
    product: int
    side: int
    open: int = 0
    filled: int = 0
    ended: bool = False
    told_ns: int = 0


class ByHand:
    """One per Externals."""

    def __init__(self, book: Book, instruments: InstrumentTable) -> None:
        self._book, self._instruments = book, instruments
        self._known: dict[str, _Known] = {}

    def told(self, row: OrderReport, now_ns: int) -> None:
        """What an update, or a row of the order book, says of one. Late words make nothing open again."""
        instrument = self._instruments.by_token.get(row.token)
        if instrument is None:
            return
        order = self._known.get(row.order_id)
        if order is None:
            product = 0 if row.product is None else int(row.product)
            order = self._known[row.order_id] = _Known(instrument.slot, product, int(row.side))
        order.told_ns, order.filled = now_ns, max(order.filled, row.filled_quantity)
        order.ended = order.ended or row.status in TERMINAL
        self._opens(order, 0 if order.ended else max(0, row.quantity - order.filled))

    def read(self, shown: Container[str], asked_ns: int) -> None:
        """A whole read of the order book, asked for at `asked_ns`, has `shown` these orders. One that it
        lacks is there no more, and one that has turned out to be ours counts as ours.
        """
        for order_id, order in list(self._known.items()):
            gone = order_id not in shown and order.told_ns <= asked_ns
            if gone or self._book.by_id(order_id) is not None:
                self._opens(order, 0)
                del self._known[order_id]

    def _opens(self, order: _Known, quantity: int) -> None:
        more, order.open = quantity - order.open, quantity
        if more:
            self._book.position_of(EXTERNAL, order.slot, order.product).expose(order.side, more)
