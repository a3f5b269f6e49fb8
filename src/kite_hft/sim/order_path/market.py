"""Layer 4, campaigns and tests, cold: what can be traded on a simulated day, and how its prices move."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.layout import TICK
from kite_hft.sim.order_path.queues import Records
from kite_hft.trading.instruments import Instrument, InstrumentTable

FREEZE: Final = 50


def instruments() -> InstrumentTable:
    """Three shares, a future, two options: all that the rules tell apart."""

    def row(slot: int, symbol: str, **more: Any) -> Instrument:
        words: dict[str, Any] = {"exchange": "NSE", "segment": "NSE", "kind": "EQ", "lot_size": 1, "low": 1}
        words |= more
        token = ((1000 + slot) << 8) + words.pop("low")
        return Instrument(
            slot=slot, token=token, exchange_token=1000 + slot, symbol=symbol, tick_px=5, **words
        )

    derivative: dict[str, Any] = {
        "name": "BETA",
        "expiry": "2026-12-29",
        "exchange": "NFO",
        "lot_size": 25,
        "multiplier": 1,
        "freeze_quantity": FREEZE,
        "low": 2,
    }
    option: dict[str, Any] = derivative | {"segment": "NFO-OPT"}
    return InstrumentTable(
        (
            row(0, "ALPHA"),
            row(1, "BETA"),
            row(2, "BETA26DECFUT", segment="NFO-FUT", kind="FUT", **derivative),
            row(3, "BETA26DEC500CE", kind="CE", strike_px=50_000, **option),
            row(4, "BETA26DEC200PE", kind="PE", strike_px=20_000, **option),
            row(5, "GAMMA"),
        )
    )


TABLE: Final = instruments()
START_PX: Final = (10_000, 25_000, 12_000, 8_000, 6_000, 5_000)
SLOTS: Final = range(len(START_PX))
_LOTS: Final = tuple(row.lot_size for row in TABLE.rows)


@dataclass(slots=True)
class Market:
    """Prices of all instruments. `ticks(rng)` moves them and gives TICK rows for the exchange."""

    px: list[int] = field(default_factory=lambda: list(START_PX))
    volume: int = 0
    _rows: Records = field(default_factory=lambda: _blank_ticks())

    def ticks(self, rng: random.Random, jump: int = 0) -> Records:
        """The next snapshot of every instrument; `jump`: percent that one of them leaps by."""
        self.volume += rng.randrange(0, 60)
        leaps = rng.randrange(len(self.px)) if jump else -1
        depth = rng.randrange(2, 200)
        for slot, px in enumerate(self.px):
            moved = px + 5 * round(rng.gauss(0, 2.0 + px / 20_000))
            if slot == leaps:
                moved = px + px * jump // 500 * 5
            low, high = START_PX[slot] * 85 // 500 * 5, START_PX[slot] * 115 // 500 * 5
            self.px[slot] = min(max(moved, low), high)
        last, rows = np.array(self.px, np.int32), self._rows
        rows["last_px"], rows["bid_px"], rows["ask_px"] = last, last - 5, last + 5
        rows["bid_px_deep"][:, 0], rows["ask_px_deep"][:, 0] = last - 10, last + 10
        rows["volume"] = [self.volume * lot for lot in _LOTS]
        quantity = np.array([[depth if lot == 1 else lot * (depth // 40)] for lot in _LOTS])
        rows["bid_qty"][:, :2] = rows["ask_qty"][:, :2] = quantity
        return rows.copy()


def _blank_ticks() -> Records:
    rows = np.zeros(len(START_PX), TICK)
    rows["slot"] = np.arange(len(START_PX))
    rows["close_px"] = START_PX
    return rows
