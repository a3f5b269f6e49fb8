"""Layer 4, simulator, cold: the moving book of one instrument and what our orders took from it.

The book is the last snapshot (a TICK row). What our orders consume stays consumed until the next
snapshot of the instrument, so five levels of 10 fill 50 and no more. A snapshot's *traded volume*
(rise of the day's volume) may fill resting orders, each unit once. Prices never react to orders.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kite_hft.layout import Side

LEVELS: Final = 5
Level = tuple[int, int]
"""(price, quantity left)."""


class Book:
    """Of one instrument; made when the first order meets it, renewed by each snapshot."""

    __slots__ = ("_shown", "asks", "bids", "has_volume", "last_px", "snapshot", "traded", "traded_total")

    def __init__(self) -> None:
        self.bids: list[Level] = []
        self.asks: list[Level] = []
        self.has_volume = False
        self.last_px = 0
        self.snapshot = -1
        self.traded = 0
        self.traded_total = 0
        self._shown: tuple[list[Level], list[Level]] = ([], [])

    def renew(self, row: np.void, traded: int, lock: str | None = None) -> None:
        """Take over a snapshot with which `traded` was traded; what was consumed is forgotten.

        `lock`: at the "upper" circuit there are no asks, at the "lower" no bids.
        """
        bids = [] if lock == "lower" else _levels(row, "bid")
        self._shown = (bids, [] if lock == "upper" else _levels(row, "ask"))
        self.bids, self.asks = (list(levels) for levels in self._shown)
        self.last_px = int(row["last_px"])
        self.has_volume = bool(row["volume"])
        self.traded = self.traded_total = traded

    def blank(self, side: Side) -> None:
        """Nobody stands on this side any more, until the next snapshot says otherwise."""
        if side == Side.BUY:
            self.bids, self._shown = [], ([], self._shown[1])
        else:
            self.asks, self._shown = [], (self._shown[0], [])

    def opposite(self, side: Side) -> list[Level]:
        """Levels that an order of this side takes from, best first."""
        return self.asks if side == Side.BUY else self.bids

    def take(self, side: Side, limit_px: int, quantity: int) -> list[Level]:
        """Consume displayed levels at `limit_px` or better: (price, quantity) of each fill."""
        fills: list[Level] = []
        levels = self.opposite(side)
        for i, (px, displayed) in enumerate(levels):
            if not quantity or not reaches(side, limit_px, px):
                break
            if taken := min(displayed, quantity):
                fills.append((px, taken))
                levels[i] = (px, displayed - taken)
                quantity -= taken
        return fills

    def take_traded(self, quantity: int) -> int:
        """Use up traded volume of this snapshot; returns how much there was, at most `quantity`."""
        taken = min(self.traded, quantity)
        self.traded -= taken
        return taken

    def queue_at(self, side: Side, px: int) -> int | None:
        """Quantity displayed on our own side at `px`, before which a new order does not come.

        0 when `px` is better than a displayed level and not displayed itself; None when it lies
        beyond the last of five levels: nobody can say.
        """
        levels = self._shown[0] if side == Side.BUY else self._shown[1]
        for level_px, quantity in levels:
            if level_px == px:
                return quantity
            if not reaches(side, level_px, px):
                return 0
        return None if len(levels) == LEVELS else 0


def reaches(side: Side, limit_px: int, px: int) -> bool:
    """An order of this side and limit may trade at `px`."""
    return px <= limit_px if side == Side.BUY else px >= limit_px


def _levels(row: np.void, name: str) -> list[Level]:
    prices = [int(row[f"{name}_px"]), *row[f"{name}_px_deep"].tolist()]
    return [
        (px, qty) for px, qty in zip(prices, row[f"{name}_qty"].tolist(), strict=True) if px > 0 and qty > 0
    ]
