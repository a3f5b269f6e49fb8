"""Layer 5, metadata job, cold: when the next call may leave, by the windows of the rules file.

The historical bucket is one of its own at Kite: an engine that trades at the same time is not slowed
down by it, nor told of it. At Upstox candles count with books and positions of the same user: there the
windows of these are kept as well, and no engine of the account runs meanwhile (beside.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from kite_hft.clock import Clock
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.units import NS_PER_S


def pacing_of(limits: Limits, clock: Clock, sleep: Callable[[float], None] = time.sleep) -> Pacing:
    """For a broker's reads beside a run: those of candles and all others together."""
    return Pacing((*limits.historical_windows, *limits.other_windows), clock, sleep)


class Pacing:
    """At most so many calls in each window, counted from when they leave."""

    def __init__(self, windows: Sequence[RateWindow], clock: Clock, sleep: Callable[[float], None]) -> None:
        self._windows = [(deque[int](maxlen=w.calls), round(w.window_s * NS_PER_S)) for w in windows]
        self._clock = clock
        self._sleep = sleep
        self._not_before_ns = 0
        self.calls = 0

    def wait(self) -> None:
        """Return when a call may leave; it counts."""
        while (wait_ns := self._free_ns() - self._clock.mono_ns()) > 0:
            self._sleep(wait_ns / NS_PER_S)
        now_ns = self._clock.mono_ns()
        for times, _ in self._windows:
            times.append(now_ns)
        self.calls += 1

    def rest(self, seconds: float) -> None:
        """No call for so long."""
        self._not_before_ns = max(self._not_before_ns, self._clock.mono_ns() + round(seconds * NS_PER_S))

    def _free_ns(self) -> int:
        full = (times[0] + span_ns for times, span_ns in self._windows if len(times) == times.maxlen)
        return max(self._not_before_ns, *full, 0)

    def seconds_for(self, calls: int) -> float:
        """At least so long do so many calls take, where none was made before."""
        full = ((calls - 1) // (times.maxlen or 1) * span_ns for times, span_ns in self._windows)
        return max(full, default=0) / NS_PER_S if calls else 0.0

    @property
    def per_second(self) -> float:
        """Calls a second that can be kept up for a minute."""
        rates = [
            (times.maxlen or 1) * NS_PER_S / span_ns
            for times, span_ns in self._windows
            if span_ns <= 60 * NS_PER_S
        ]
        return min(rates, default=1.0)
