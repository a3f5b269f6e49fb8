"""Layer 2, orders process, hot: one order of the run, and what one input did to it.

Only Book changes an order. Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.lifecycle import LIVE
from kite_hft.trading.unproven import Terms, Unproven

BUY: Final = int(Side.BUY)
STOPS: Final = (OrderType.SL, OrderType.SLM)
PROMISED: Final = 0xFFFE
"""The strategy under which the orders count that triggers at the broker may place: it holds nothing."""
EXTERNAL: Final = 0xFFFF
"""The strategy of orders and positions that no strategy of this run made."""


@dataclass(slots=True)
class Order:
    """One order. Only Book changes it. Times are CLOCK_MONOTONIC except `sent_real_ns`."""

    order_no: int
    strategy: int
    strategy_seq: int
    slot: int
    side: int
    order_type: int
    product: int
    validity: int
    flags: int
    quantity: int
    px: int
    trigger_px: int
    tag: str
    created_ns: int = 0
    tick_recv_ns: int = 0
    sent_ns: int = 0
    sent_real_ns: int = 0
    status: OrderStatus = OrderStatus.NEW
    status_ns: int = 0
    order_id: str = ""
    filled: int = 0
    filled_units: int = 0
    quantity_max: int = 0  # the most it may be while a modification is unanswered, unproven or not shown
    quantity_min: int = 0  # the least that it was before its last modification; 0: it had none
    modifications: int = 0
    changed_ns: int = 0  # last answer that changed quantity or price: older rows are stale
    message: str = ""
    opening: bool = True  # added risk when it was judged
    agreeing: int = 0  # while ambiguous: whole reads of the positions in a row that agree
    parent: int = 0  # strategy_seq of the intent that it is a slice of; the first slice bears it itself
    trades: dict[str, tuple[int, int]] = field(default_factory=dict)  # trade id -> (quantity, units)
    unproven: Unproven | None = None  # its last modification, when the answer proves nothing
    asked: Terms | None = None  # what a modification asks for, until it is known how the order stands
    untaken: int = 0  # an order type that the broker refused to change it to
    growth: int = 0  # by so much a modification that has not left yet raises `open_quantity`
    gone: bool = False  # a person has ended it, for no book showed it any more
    inherited: bool = False  # of an earlier run: its journal may lack its end, and a change of this order

    @property
    def sign(self) -> int:
        return 1 if self.side == Side.BUY else -1

    @property
    def open_quantity(self) -> int:
        """What may still fill, at worst."""
        if self.status not in LIVE:
            return 0
        left = (self.quantity if self.quantity > self.quantity_max else self.quantity_max) - self.filled
        return left if left > 0 else 0

    @property
    def pending(self) -> int:
        """As the terms stand: never below 0, though fills may come before the answer that raised them."""
        return max(0, self.quantity - self.filled) if self.status in LIVE else 0


class Change(NamedTuple):
    """What one input did to one order."""

    order: Order
    before: OrderStatus
    fill_quantity: int = 0
    fill_units: int = 0
    terms: bool = False  # quantity or price changed

    @property
    def status_changed(self) -> bool:
        return self.order.status != self.before

    def __bool__(self) -> bool:
        return self.status_changed or bool(self.fill_quantity or self.fill_units) or self.terms
