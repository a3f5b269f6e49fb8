"""Layer 4, campaigns and tests, cold: what the order process finds on its machine: clocks and csv files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kite_hft.sim.order_path.day import BOOT_MONO_NS, START_REAL_NS
from kite_hft.trading.ports import Written


@dataclass(slots=True)
class WorldClock:
    """Both clocks as the engine's machine shows them."""

    mono: int = BOOT_MONO_NS
    real: int = START_REAL_NS

    def mono_ns(self) -> int:
        return self.mono

    def real_ns(self) -> int:
        self.real += 1  # no two readings are the same
        return self.real


@dataclass(slots=True)
class Files:
    """orders.csv and trades.csv: rows outlive the process, and of a power cut only the synced ones."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)
    synced: tuple[int, int] = (0, 0)

    def cut(self) -> None:
        del self.orders[self.synced[0] :]
        del self.trades[self.synced[1] :]

    def written(self) -> Written:
        """As engine/orders/files.py reads it back."""
        quantity: Counter[int] = Counter()
        paise: Counter[int] = Counter()
        for row in self.trades:
            quantity[row["order_no"]] += int(row["quantity"])
            paise[row["order_no"]] += int(Decimal(row["value"]) * 100)
        last = {int(row["order_no"]): str(row["status"]) for row in self.orders}
        return Written(last, {number: (quantity[number], paise[number]) for number in quantity})
