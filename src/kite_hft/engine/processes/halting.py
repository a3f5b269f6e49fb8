"""Layer 5, supervisor, cold: what ORDERS must not miss: a halt, and a worker that is back.

What is put into the pipe of a process that hangs is lost with it. The halt of a process that stays down is
kept until ORDERS shows that it is halted (it has journalled that by then), and given to an ORDERS that is
started anew. So is the return of a worker, whose strategies know nothing of their orders before ORDERS has
told them, until ORDERS has lived on for a while behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.units import NS_PER_S

HEARD_NS: Final = 2 * NS_PER_S
"""ORDERS reads its pipe ten times a second, each time behind a sign of life: one so long after a message has
others before it."""


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


@dataclass(slots=True)
class OwedReturns:
    """Workers that were started again. tell: as OwedHalt's."""

    tell: Callable[[dict[str, Any]], int]
    _told_ns: dict[int, int] = field(default_factory=dict)  # by worker; 0: no ORDERS has taken it

    def returned(self, worker: int, now_ns: int) -> None:
        """Its strategies are to be told how their orders and positions stand."""
        taken = self.tell({"do": "worker_restarted", "worker": worker})
        self._told_ns[worker] = now_ns if taken else 0

    def again(self, now_ns: int) -> None:
        """ORDERS was started anew and runs. Who hears twice takes over the same once more."""
        for worker in self._told_ns:
            self.returned(worker, now_ns)

    def look(self, beat_ns: int, now_ns: int) -> None:
        """beat_ns: the newest sign of life of an ORDERS that runs; 0: it does not."""
        for worker, told_ns in list(self._told_ns.items()):
            if not told_ns:
                self.returned(worker, now_ns)
            elif beat_ns - told_ns >= HEARD_NS:
                del self._told_ns[worker]
