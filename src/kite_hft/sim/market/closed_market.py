"""Layer 4, simulator, cold: which instruments have no market data now, because their exchange is closed.

Only with hours "exchange"; the phases come from the calendar. In all other phases, pauses and
auctions included, the feed shows the market.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kite_hft.sessions import CLOSED
from kite_hft.sim.exchange.conditions import Class
from kite_hft.sim.exchange.exchange import Exchange


class ClosedMarket:
    """Asks the exchange class by class: instruments with the same hours open and close together."""

    def __init__(self, exchange: Exchange) -> None:
        self._conditions = exchange.conditions
        self._classes: dict[Class, list[int]] = {}
        if self._conditions.enforced:
            for row in exchange.instruments:
                self._classes.setdefault(self._conditions.class_of(row.slot), []).append(row.slot)
        self._closed = np.zeros(len(exchange.instruments), bool)

    def slots(self) -> npt.NDArray[np.bool_] | None:
        """bool[slots], true where the exchange is closed; None when every hour trades.

        Raises:
            CalendarError: the calendar does not cover the day.
        """
        if not self._classes:
            return None
        for slots in self._classes.values():
            phase = self._conditions.phase(slots[0])
            self._closed[slots] = phase is not None and phase.name == CLOSED
        return self._closed
