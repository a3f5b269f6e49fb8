"""Layer 2, orders process, hot: Upstox's seventeen order statuses as ours.

There is none for a part that has filled: that is `open` with a filled quantity. Words about a modification
or a cancel say that the order is at the broker and not in which state: a working order stays as it is.
`not cancelled` and `not modified` too: the order stands as before, and what that was the next word tells.
Source: official documentation, order status; SDK 2.30.0.
"""

from __future__ import annotations

from typing import Final

from kite_hft.layout import OrderStatus

STATUS: Final[dict[str, OrderStatus]] = {
    "put order req received": OrderStatus.PENDING,
    "validation pending": OrderStatus.PENDING,
    "open pending": OrderStatus.PENDING,
    "open": OrderStatus.OPEN,
    "trigger pending": OrderStatus.TRIGGER_PENDING,
    "complete": OrderStatus.COMPLETE,
    "rejected": OrderStatus.REJECTED,
    "cancelled": OrderStatus.CANCELLED,
    "cancel pending": OrderStatus.PENDING,
    "not cancelled": OrderStatus.PENDING,
    "modify validation pending": OrderStatus.PENDING,
    "modify pending": OrderStatus.PENDING,
    "modified": OrderStatus.PENDING,
    "not modified": OrderStatus.PENDING,
    "after market order req received": OrderStatus.PENDING,
    "modify after market order req received": OrderStatus.PENDING,
    "cancelled after market order": OrderStatus.CANCELLED,
}
"""The broker's word -> ours. A word that is not here says nothing of the order's state."""
ENDED: Final = frozenset({OrderStatus.COMPLETE, OrderStatus.REJECTED, OrderStatus.CANCELLED})


def status_of(label: str) -> OrderStatus | None:
    """Ours for one of the broker's words, however it is cased; None: not known."""
    return STATUS.get(label) or STATUS.get(label.strip().lower())
