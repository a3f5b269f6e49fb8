"""Layer 4, campaigns and tests, cold: the calls that have left for the broker, recounted against his windows.

Shares no code with the engine's throttle: times of calls, one queue a window.
"""

from __future__ import annotations

from collections import deque

from kite_hft.trading.broker import Limits
from kite_hft.units import NS_PER_S


class CallsLeft:
    """Order calls of one account by the time at which they left (CLOCK_MONOTONIC of the world, ns).

    cool_until_ns: until then the broker wants a rest, as the process that lives has heard; 0: he does not.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._windows: list[tuple[deque[int], deque[int]]] = [
            (deque(), deque()) for _ in limits.order_windows
        ]
        self._last_ns = -(2**62)
        self.cool_until_ns = 0

    def forget(self) -> None:
        """Nobody can know of the calls so far."""
        for calls, entries in self._windows:
            calls.clear()
            entries.clear()

    def limited(self, now_ns: int) -> None:
        """The engine hears that it was one too many."""
        self.cool_until_ns = now_ns + round(self._limits.cooldown_after_429_s * NS_PER_S)

    def died(self) -> None:
        """The process may have died before it could write down that the broker wants a rest."""
        self.cool_until_ns = 0

    def left(self, now_ns: int, *, opening: bool) -> list[str]:
        """One leaves; returns what does not hold, in words."""
        wrong = []
        gap_s = self._limits.cooldown_urgent_gap_s
        if now_ns < self.cool_until_ns and now_ns - self._last_ns < round(gap_s * NS_PER_S):
            wrong.append(f"two calls within {gap_s} s of a cool-down")
        self._last_ns = now_ns
        for limit, (calls, entries) in zip(self._limits.order_windows, self._windows, strict=True):
            for times, counts, most in (
                (calls, True, limit.calls),
                (entries, opening, limit.calls - limit.reserved),
            ):
                if not counts:
                    continue
                times.append(now_ns)
                span_ns = round(limit.window_s * NS_PER_S)
                while times[0] <= now_ns - span_ns:
                    times.popleft()
                if len(times) > most:
                    what = "entries" if times is entries else "calls"
                    wrong.append(f"{len(times)} {what} within {limit.window_s} s > {most}")
        return wrong
