"""Layer 2, orders process and whoever looks, cold: one strategy that may not open, and how that is written.

A hold outlives the run: ORDERS hands all of them out whenever they change (Ports.keep_holds) and gets
them back at its start (Ports.holds), by the strategy's number; the engine keeps them by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REDUCING: Final = "reducing"
HALTED: Final = "halted"


@dataclass(frozen=True, slots=True)
class Hold:
    """level: REDUCING or HALTED. Both let only pass what shrinks a position."""

    level: str
    reason: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.level.upper()}: {self.reason}"
