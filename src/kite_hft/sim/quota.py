"""Layer 4, simulator, cold: the broker's request limits, counted as the broker does.

Windows are calendar seconds and calendar minutes of the server's clock, days are IST days.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kite_hft.units import IST_OFFSET_S, NS_PER_S

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests allowed; 0 switches a limit off."""

    orders_per_second: int = 10
    orders_per_minute: int = 400
    orders_per_day: int = 5_000
    quotes_per_second: int = 1
    others_per_second: int = 10


UNLIMITED = RateLimits(0, 0, 0, 0, 0)
"""For load tests of the client."""


@dataclass(slots=True)
class _Window:
    number: int = -1
    count: int = 0

    def allows(self, number: int, limit: int) -> bool:
        """Count one more in window `number` unless it is full."""
        if number != self.number:
            self.number, self.count = number, 0
        if limit and self.count >= limit:
            return False
        self.count += 1
        return True


@dataclass(slots=True)
class Quota:
    """Counts against a RateLimits."""

    limits: RateLimits
    refused: int = 0
    _windows: dict[str, _Window] = field(default_factory=dict)

    def allows(self, kind: str, now_ns: int) -> bool:
        """`kind`: "order" (place, modify, cancel), "quote" or "other"."""
        second = now_ns // NS_PER_S
        limits = self.limits
        if kind == "order":
            per_minute = self._window("order/min").allows(second // 60, limits.orders_per_minute)
            fine = self._window("order").allows(second, limits.orders_per_second) and per_minute
        elif kind == "quote":
            fine = self._window("quote").allows(second, limits.quotes_per_second)
        else:
            fine = self._window("other").allows(second, limits.others_per_second)
        self.refused += not fine
        return fine

    def placement_allowed(self, now_ns: int) -> bool:
        """The day's cap on placements; modifications and cancellations do not count."""
        day = (now_ns // NS_PER_S + IST_OFFSET_S) // _DAY_S
        return self._window("day").allows(day, self.limits.orders_per_day)

    def _window(self, name: str) -> _Window:
        return self._windows.setdefault(name, _Window())
