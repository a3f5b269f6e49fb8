"""Layer 4, simulator, cold: Upstox's request limits: 1 second, 1 minute and 30 minutes at once.

Whether the broker's windows slide or follow the clock, and whether placing, modifying and
cancelling have a bucket each, is not published. Here windows slide and all order calls share one:
who keeps to this keeps to all readings. After a refusal the kind of request stays refused for a
while (the broker says "temporary suspension" without a length).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kite_hft.sim.rest import OTHER
from kite_hft.units import NS_PER_S

ORDER: Final = "order"
UNNAMED: Final = "order without the name of the algorithm"
PAYOUT: Final = "payout"
FREE: Final = "free"
"""Kinds of request beside OTHER; FREE ones are counted nowhere (files, what is not REST)."""
Windows = tuple[tuple[int, int], ...]
"""(calls, seconds) each."""

BROKER_LIMITS: Final[Mapping[str, Windows]] = {
    ORDER: ((10, 1), (500, 60), (2000, 1800)),
    OTHER: ((50, 1), (500, 60), (2000, 1800)),
    PAYOUT: ((10, 1), (500, 60), (2000, 1800)),
}
"""Rate-limits page (copy of 2026-09-02), regular algo."""
REGISTERED_LIMITS: Final[Mapping[str, Windows]] = {
    **BROKER_LIMITS,
    ORDER: ((50, 1), (500, 60), (2000, 1800)),
    UNNAMED: BROKER_LIMITS[ORDER],
}
"""The same page, algorithm registered with the exchange; an order call that does not name it (X-Algo-Name) is
that of a regular one.
"""
NO_LIMITS: Final[Mapping[str, Windows]] = {}


@dataclass(slots=True)
class Quota:
    """Counts requests by kind. `refusals`: answered with 429, by kind."""

    limits: Mapping[str, Windows] = field(default_factory=lambda: BROKER_LIMITS)
    suspension_s: float = 5.0
    refusals: dict[str, int] = field(default_factory=dict)
    _passed: dict[str, deque[int]] = field(default_factory=dict)
    _until_ns: dict[str, int] = field(default_factory=dict)

    def allows(self, kind: str, now_ns: int, requests: int = 1) -> bool:
        """Whether so many more of this kind pass now; they are counted if they do."""
        windows = self.limits.get(kind, ())
        if not windows:
            return True
        suspended = now_ns < self._until_ns.get(kind, 0)
        if not suspended and self._fits(kind, windows, now_ns, requests):
            return True
        self.refusals[kind] = self.refusals.get(kind, 0) + 1
        if not suspended:
            self._until_ns[kind] = now_ns + round(self.suspension_s * NS_PER_S)
        return False

    def _fits(self, kind: str, windows: Windows, now_ns: int, requests: int) -> bool:
        passed = self._passed.setdefault(kind, deque())
        longest_ns = max(seconds for _, seconds in windows) * NS_PER_S
        while passed and passed[0] <= now_ns - longest_ns:
            passed.popleft()
        for calls, seconds in windows:
            # The call that must lie before the window for one more to fit.
            place = len(passed) + requests - calls
            if place > 0 and (place > len(passed) or passed[place - 1] > now_ns - seconds * NS_PER_S):
                return False
        passed.extend([now_ns] * requests)
        return True
