"""Layer 4, simulator, cold: the broker's request limits, counted as the broker does.

Windows are calendar seconds and calendar minutes of the server's clock. After a refusal the same
kind of request stays refused for a cool-down; other kinds are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kite_hft.trading.market_rules import MarketRules
from kite_hft.units import NS_PER_S

ORDER: Final = "order"
QUOTE: Final = "quote"
HISTORICAL: Final = "historical"
"""Kinds of request beside OTHER; each has a limit of its own. Order: place, modify and cancel together."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests allowed; 0 switches a limit off. `orders_per_day` is kept by the exchange, which sees
    an iceberg's legs and fired triggers too. `cooldown_s`: how long a kind of request stays refused
    after its limit was passed; being refused meanwhile does not make it longer."""

    orders_per_second: int
    orders_per_minute: int
    orders_per_day: int
    quotes_per_second: int
    others_per_second: int
    historical_per_second: int
    cooldown_s: float


UNLIMITED: Final = RateLimits(0, 0, 0, 0, 0, 0, 0.0)
"""For load tests of the client."""


def broker_limits(rules: MarketRules) -> RateLimits:
    """The broker's own limits of a day, from the dated rules.

    Raises:
        KeyError: the rules lack one.
    """
    return RateLimits(
        orders_per_second=rules.limit("orders_per_second"),
        orders_per_minute=rules.limit("orders_per_minute"),
        orders_per_day=rules.limit("orders_per_day"),
        quotes_per_second=rules.limit("quotes_per_second"),
        others_per_second=rules.limit("others_per_second"),
        historical_per_second=rules.limit("historical_per_second"),
        cooldown_s=rules.limit("cooldown_after_429_s"),
    )


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
    """Counts against a RateLimits. `refused`: requests answered with 429, by kind in `refusals`."""

    limits: RateLimits
    refusals: dict[str, int] = field(default_factory=dict)
    _windows: dict[str, _Window] = field(default_factory=dict)
    _cool_until_ns: dict[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """Requests refused so far, of all kinds."""
        return sum(self.refusals.values())

    def allows(self, kind: str, now_ns: int) -> bool:
        """Whether one more request of this kind passes now; it is counted if it does."""
        cooling = now_ns < self._cool_until_ns.get(kind, 0)
        fine = not cooling and self._fits(kind, now_ns)
        if not fine:
            self.refusals[kind] = self.refusals.get(kind, 0) + 1
            if not cooling:
                self._cool_until_ns[kind] = now_ns + round(self.limits.cooldown_s * NS_PER_S)
        return fine

    def _fits(self, kind: str, now_ns: int) -> bool:
        second, limits = now_ns // NS_PER_S, self.limits
        if kind == ORDER:
            per_minute = self._window("order/min").allows(second // 60, limits.orders_per_minute)
            return self._window(ORDER).allows(second, limits.orders_per_second) and per_minute
        limit = {QUOTE: limits.quotes_per_second, HISTORICAL: limits.historical_per_second}
        return self._window(kind).allows(second, limit.get(kind, limits.others_per_second))

    def _window(self, name: str) -> _Window:
        return self._windows.setdefault(name, _Window())
