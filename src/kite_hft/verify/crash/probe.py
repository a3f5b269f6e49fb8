"""Layer 6, compute process, hot: a strategy that trades without pause, for `verify crash`.

In turn it rests a purchase below the market, moves one, buys at the market, takes one back, sells what
it holds. What it asked for goes into a file of its own before ORDERS can have seen it: the campaign
compares that with what the broker and the journals know.
"""

from __future__ import annotations

import json
import os

import numpy as np

from kite_hft._views import TickView
from kite_hft.layout import EventKind
from kite_hft.strategies.base import BaseStrategy
from kite_hft.verify.engine.supervise_probe import ENDED

RESTING_MAX = 6


class Probe(BaseStrategy):
    """Form A. every: ticks from one action to the next. log: the file of what it asked for."""

    name = "crash_probe"

    def __init__(self, log: str, every: int = 8) -> None:
        self._every, self._ticks, self._turn = every, 0, 0
        self._resting: dict[int, int] = {}  # order -> slot, oldest first
        self._engine = os.getppid()
        self._fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def on_tick(self, tick: TickView) -> None:
        self._ticks += 1
        if self._ticks % self._every == 0:
            self._turn += 1
            acts = (self._rest, self._modify, self._buy, self._rest, self._cancel, self._sell, self._sell)
            acts[self._turn % len(acts)](tick)

    def _ask(self, kind: str, tick: TickView, seq: int, side: str = "", quantity: int = 0) -> None:
        row = [self._engine, seq, kind, tick.instrument_token, side, quantity]
        os.write(self._fd, json.dumps(row).encode() + b"\n")

    def _place(self, tick: TickView, side: str, price: float | None, *, is_exit: bool = False) -> int:
        placed = self.place_order(
            side, tick.instrument_token, 1, "MARKET" if price is None else "LIMIT", "MIS", price,
            is_exit=is_exit, slot=tick.slot,
        )  # fmt: skip
        if not placed:
            return 0
        self._ask("place", tick, placed.order_id, side, 1)
        return placed.order_id

    def _rest(self, tick: TickView) -> None:
        if len(self._resting) < RESTING_MAX:
            order = self._place(tick, "BUY", round(tick.last_price * 0.985, 0))
            if order:
                self._resting[order] = tick.slot

    def _buy(self, tick: TickView) -> None:
        if self.position(tick.slot) < 4:
            self._place(tick, "BUY", None)

    def _sell(self, tick: TickView) -> None:
        if self.position(tick.slot) > 0:
            self._place(tick, "SELL", None, is_exit=True)

    def _modify(self, tick: TickView) -> None:
        order = next((o for o, slot in self._resting.items() if slot == tick.slot), 0)
        if order:
            placed = self.modify_order(order, tick.slot, 1, "LIMIT", round(tick.last_price * 0.98, 0))
            if placed:
                self._ask("modify", tick, placed.order_id)

    def _cancel(self, tick: TickView) -> None:
        if self._resting:
            order, slot = next(iter(self._resting.items()))
            self._resting[order] = self._resting.pop(order)  # to the end: the next one comes first then
            if placed := self.cancel_order(order, slot):
                self._ask("cancel", tick, placed.order_id)

    def on_order(self, event: np.void) -> None:
        number = int(event["strategy_seq"])
        if int(event["status"]) in ENDED:
            self._resting.pop(number, None)
        elif int(event["kind"]) == EventKind.SNAPSHOT and number and int(event["px"]):
            self._resting.setdefault(number, int(event["slot"]))

    def save(self) -> bytes:
        return json.dumps([self._ticks, self._turn, list(self._resting.items())]).encode()

    def restore(self, saved: bytes) -> None:
        self._ticks, self._turn, resting = json.loads(saved)
        self._resting = {int(order): int(slot) for order, slot in resting}
