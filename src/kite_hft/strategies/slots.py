"""Layer 2, compute, cold: what a strategy is told of its instruments before the first tick.

Prices, lots and the end of the day differ from instrument to instrument; a strategy reads neither the
master nor the calendar. The engine works these arrays out (engine/market/hours.py) and hands them to
`prepare` of either form. Where nobody does (a test, a back-test of one series), defaults stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.strategies.history import History

Whole = npt.NDArray[np.int64]

NEVER_S: Final = 2 * 86_400
"""A second of the day that does not come."""


def _nothing() -> Whole:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """One value for each slot.

    scale: price units per currency unit. tick_px: the price grid, in units. market_until_s: seconds after
    midnight IST until which an order at market meets others at once; NEVER_S: the market keeps no hours.
    close_from_s: when a position has to be closed where it cannot be later. history: closes and averages of
    the days before, for a strategy whose parameters name a file; else None.
    """

    scale: npt.NDArray[np.float64]
    tick_px: Whole = field(default_factory=_nothing)
    market_until_s: Whole = field(default_factory=_nothing)
    close_from_s: Whole = field(default_factory=_nothing)
    history: History | None = None

    def ticks(self) -> Whole:
        """The price grid of each slot, at least 1."""
        return np.maximum(self.tick_px, 1) if len(self.tick_px) else np.ones(len(self.scale), np.int64)

    def flatten_s(self, at_s: int) -> Whole:
        """When a position of each slot is sold that should be at `at_s` (seconds after midnight, -1: never).

        At `at_s` where the market takes an order then, else at close_from_s.
        """
        found = np.full(len(self.scale), at_s, np.int64)
        if at_s < 0 or not len(self.market_until_s):
            return found
        late = at_s >= self.market_until_s
        found[late] = np.minimum(self.close_from_s, at_s)[late]
        return found
