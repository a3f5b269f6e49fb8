"""Layer 6, compute process, hot: strategies that deserve to be killed, for `verify kill --real`.

`Flood` buys without end: most of it below the market, where some rests, and some of it for good. While a file
exists it fills its queue to the brim at every tick. `Sleeper` trades a little, and then sleeps for good.
"""

from __future__ import annotations

import os
import time

from kite_hft._views import TickView
from kite_hft.strategies.base import BaseStrategy

AT_ONCE = 8192


class Flood(BaseStrategy):
    """Form A. flag: while this file is there, orders are placed until the queue takes no more."""

    name = "flood"

    def __init__(self, flag: str, resting: int = 4, trading: int = 9) -> None:
        self._flag, self._resting, self._trading = flag, resting, trading
        self._n = 0

    def on_tick(self, tick: TickView) -> None:
        for _ in range(AT_ONCE if os.path.exists(self._flag) else 1):
            self._n += 1
            rests = self._n % self._resting == 0
            away = 1.01 if self._n % self._trading == 0 else 0.99 - self._n % 20 / 1000
            price = round(tick.last_price * away, 0)
            placed = self.place_order(
                "BUY", tick.instrument_token, 1 + self._n % 7, "LIMIT", "CNC", price,
                validity="DAY" if rests else "IOC", slot=tick.slot,
            )  # fmt: skip
            if not placed:
                return


class Sleeper(BaseStrategy):
    """Form A. Its worker hangs from the `after`-th tick on."""

    name = "sleeper"

    def __init__(self, after: int = 50) -> None:
        self._left = after

    def on_tick(self, tick: TickView) -> None:
        self._left -= 1
        if self._left <= 0:
            time.sleep(3600)
