"""Layer 2, feed and orders process, cold: how often a reader of quotes asks, and what it leaves to others.

For runs whose prices are asked for by HTTP (datafeed.primary_source: http). The order process reads quotes
too, for circuit limits: where both count in one window of the broker they go by turns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kite_hft.units import NS_PER_S

if TYPE_CHECKING:
    from kite_hft.trading.broker import RateWindow


@dataclass(frozen=True, slots=True)
class PollPace:
    """How often the reader of quotes asks, from a rules file (`polling`).

    interval_ns: between two calls of the reader, at least. every_ns, orders_ns: where the order process asks
    for quotes in the same window, both go by turns of CLOCK_MONOTONIC, which all processes share: of each
    every_ns the last orders_ns are kept for it, its calls leave in the first part of that and no call
    of anybody in the last interval_ns. 0: no turns, the windows are wide enough for both.
    """

    interval_ns: int
    every_ns: int = 0
    orders_ns: int = 0

    def reader_ns(self, last_ns: int, now_ns: int) -> int:
        """When the reader may ask next, after a call at last_ns."""
        at = max(now_ns, last_ns + self.interval_ns)
        if not self.every_ns:
            return at
        phase = at % self.every_ns
        return at if phase <= self._last_phase_ns else at - phase + self.every_ns

    def orders_at_ns(self, now_ns: int) -> int:
        """When the order process may ask for quotes next."""
        if not self.every_ns:
            return now_ns
        phase, begin_ns = now_ns % self.every_ns, self.every_ns - self.orders_ns
        if phase < begin_ns:
            return now_ns - phase + begin_ns
        return (
            now_ns if phase <= self.every_ns - self.interval_ns else now_ns - phase + self.every_ns + begin_ns
        )

    @property
    def _last_phase_ns(self) -> int:
        """So late in a turn the reader may still ask: the order process's part is one interval away."""
        return self.every_ns - self.orders_ns - self.interval_ns

    @property
    def calls_a_turn(self) -> int:
        """How many calls of the reader one turn has room for; 0: there are no turns."""
        return self._last_phase_ns // self.interval_ns + 1 if self.every_ns else 0

    def longest_ns(self, calls: int) -> int:
        """Of a round of so many calls: the longest time between two looks at one instrument."""
        if not self.every_ns:
            return calls * self.interval_ns
        a_turn = self.calls_a_turn
        pause_ns = self.every_ns - a_turn * self.interval_ns
        return calls * self.interval_ns + -(-calls // a_turn) * pause_ns

    def calls_within(self, limit_ns: int) -> int:
        """How many calls a round may have so that no instrument waits longer than limit_ns; 0: none."""
        calls = 0
        while calls < 10_000 and self.longest_ns(calls + 1) <= limit_ns:
            calls += 1
        return calls


@dataclass(frozen=True, slots=True)
class PollShare:
    """The part of a rules file that says what a reader of quotes may take. Loaded by brokers/limits.py.

    calls in window_s: the reader's, evenly. every_s, orders_s: turns, see PollPace; 0: none. other_windows:
    what is left of the rules' other_windows for the order process meanwhile, where the reader's calls count
    in those; None: they do not.

    Raises:
        ValueError: turns without room for both.
    """

    calls: int
    window_s: float
    every_s: float = 0.0
    orders_s: float = 0.0
    other_windows: tuple[RateWindow, ...] | None = None
    pace: PollPace = field(init=False)

    def __post_init__(self) -> None:
        interval_s = self.window_s / self.calls
        if self.every_s and not interval_s < self.orders_s <= self.every_s - interval_s:
            raise ValueError(
                f"orders_s {self.orders_s:g} is not between {interval_s:g} (the reader's interval) and "
                f"{self.every_s - interval_s:g}"
            )
        times = (round(s * NS_PER_S) for s in (interval_s, self.every_s, self.orders_s))
        object.__setattr__(self, "pace", PollPace(*times))
