"""Layer 5, supervisor, cold: a halt that ORDERS must not miss.

What is put into the pipe of a process that hangs is lost with it. The halt of a process that stays down is
kept until ORDERS shows that it is halted (it has journalled that by then), and given to an ORDERS that is
started anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class OwedHalt:
    """tell: puts a message into the pipe of ORDERS; how many took it."""

    tell: Callable[[dict[str, Any]], int]
    reason: str = ""  # "": none is owed
    _taken: bool = False

    def halt(self, reason: str) -> None:
        """Nothing may be opened any more."""
        self.reason = reason
        self.again()

    def again(self) -> None:
        """ORDERS was started anew: what the one before was told, it may not have read."""
        if self.reason:
            self._taken = bool(self.tell({"do": "halt", "reason": self.reason}))

    def look(self, orders: Mapping[str, int]) -> None:
        """orders: the gauges of ORDERS."""
        if orders.get("state_halted") or orders.get("state_killed"):
            self.reason = ""
        elif not self._taken:
            self.again()
