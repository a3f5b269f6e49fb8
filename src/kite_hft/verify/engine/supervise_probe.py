"""Layer 6, compute process, hot: a strategy that always has orders under way, for `verify supervise`.

Every `every` ticks it places a LIMIT purchase some percent below the market, where it rests, or
cancels its oldest one when `most` rest already.
"""

from __future__ import annotations

import json

import numpy as np

from kite_hft._views import TickView
from kite_hft.layout import EventKind, OrderStatus
from kite_hft.strategies.base import BaseStrategy

ENDED = {
    int(status)
    for status in (
        OrderStatus.REFUSED,
        OrderStatus.COMPLETE,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
        OrderStatus.ABSENT,
    )
}


class Probe(BaseStrategy):
    """Form A. below: share of the price that its purchases stand under the market. trade: one of so many is
    filled at once, else orders without a trade come to be conduct that is stopped; 0: none."""

    name = "probe"

    def __init__(self, every: int = 8, most: int = 8, below: float = 0.02, trade: int = 0) -> None:
        self._every, self._most, self._below, self._trade = every, most, below, trade
        self._ticks = self._placed = 0
        self._working: dict[int, int] = {}  # order -> slot, oldest first

    def on_tick(self, tick: TickView) -> None:
        self._ticks += 1
        if self._ticks % self._every:
            return
        if len(self._working) >= self._most:
            order, slot = next(iter(self._working.items()))
            self._working[order] = self._working.pop(order)  # to the end: the next one comes first then
            self.cancel_order(order, slot)
            return
        self._placed += 1
        filled = bool(self._trade) and self._placed % self._trade == 0
        price = round(tick.last_price * (1.005 if filled else 1.0 - self._below), 0)
        placed = self.place_order("BUY", tick.instrument_token, 1, "LIMIT", "CNC", price, slot=tick.slot)
        if placed:
            self._working[placed.order_id] = tick.slot

    def on_order(self, event: np.void) -> None:
        number = int(event["strategy_seq"])
        if int(event["status"]) in ENDED:
            self._working.pop(number, None)
        elif int(event["kind"]) == EventKind.SNAPSHOT and number:
            self._working.setdefault(number, int(event["slot"]))

    def save(self) -> bytes:
        return json.dumps([self._ticks, self._placed, list(self._working.items())]).encode()

    def restore(self, saved: bytes) -> None:
        self._ticks, self._placed, working = json.loads(saved)
        self._working = {int(order): int(slot) for order, slot in working}
