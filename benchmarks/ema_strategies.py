"""The strategy of bench_strategy.py in our two forms: two moving averages and a comparison per tick."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy

FAST, SLOW = 2.0 / (1 + 10), 2.0 / (1 + 30)


def on_tick(tick, row, state, position, params, out):  # type: ignore[no-untyped-def]
    price = tick.last_px * 0.01
    if state.ticks == 0:
        state.fast = price
        state.slow = price
    state.ticks += 1
    state.fast += params.fast * (price - state.fast)
    state.slow += params.slow * (price - state.slow)
    if state.fast > state.slow:
        state.above += 1
    return 0


def on_order(event, state, position):  # type: ignore[no-untyped-def]
    pass


class Compiled(CompiledStrategy):
    """Form B."""

    name = "ema"
    PARAMS = np.dtype([("fast", "<f8"), ("slow", "<f8")])
    STATE = np.dtype([("fast", "<f8"), ("slow", "<f8"), ("ticks", "<i8"), ("above", "<i8")])
    on_tick: ClassVar[Any] = staticmethod(on_tick)
    on_order: ClassVar[Any] = staticmethod(on_order)


class Plain(BaseStrategy):
    """Form A."""

    name = "ema"

    def __init__(self, instruments: int) -> None:
        self.fast = [0.0] * instruments
        self.slow = [0.0] * instruments
        self.above = [0] * instruments

    def on_tick(self, tick: Any) -> None:
        slot = tick.slot
        price = tick.last_px * 0.01
        fast = self.fast[slot] or price
        slow = self.slow[slot] or price
        self.fast[slot] = fast = fast + FAST * (price - fast)
        self.slow[slot] = slow = slow + SLOW * (price - slow)
        if fast > slow:
            self.above[slot] += 1
