"""Layer 2, orders process, cold: how fast books may be read by routine, so that needed reads find room.

A broker may count reads over half an hour (Upstox: 2,000). Positions compared every second would use that up
in six minutes and leave the engine blind for the other twenty-four: no order in doubt could be looked up. So
of every window of a minute or more, reads that only the time asks for get a share, after a few at full speed
(the generic cell rate algorithm, ITU-T I.371: `tat` is when the next one would be due at the steady rate).
Reads that something asks for never wait here; they are paid out of the same share: routine yields to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kite_hft.trading.broker import RateWindow
from kite_hft.units import NS_PER_S

LONG_S: Final = 60.0
"""Shorter windows are free again before anybody misses a read."""
STEADY: Final = 0.75
AT_ONCE: Final = 0.1
"""Shares of a window: at the steady rate, and beyond it at once. The rest is for what is asked for."""
CHECK_PATIENCE_NS: Final = 30 * NS_PER_S
POLL_PATIENCE_NS: Final = 10 * NS_PER_S
"""So long after the last one a comparison of positions, a read of the order book is due all the same."""


@dataclass(slots=True)
class _Lane:
    each_ns: int
    burst_ns: int
    tat_ns: int = 0


class Pace:
    """The pace of one account's routine reads. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, windows: Iterable[RateWindow]) -> None:
        self._lanes = [
            _Lane(
                round(window.window_s * NS_PER_S / (STEADY * window.calls)),
                round(window.window_s * NS_PER_S * AT_ONCE / STEADY),
            )
            for window in windows
            if window.window_s >= LONG_S
        ]

    def read_left(self, now_ns: int) -> None:
        """A read of any kind has left."""
        for lane in self._lanes:
            lane.tat_ns = max(lane.tat_ns, now_ns) + lane.each_ns

    def poll_ns(self, last_ns: int) -> int:
        """From when on the order book may be read by routine; `last_ns`: when it was."""
        free_ns = max((lane.tat_ns - lane.burst_ns for lane in self._lanes), default=0)
        return min(free_ns, last_ns + POLL_PATIENCE_NS)

    def check_ns(self, last_ns: int) -> int:
        """The same of a comparison of positions, which takes several reads: it leaves polls their half."""
        free_ns = max((lane.tat_ns - lane.burst_ns // 2 for lane in self._lanes), default=0)
        return min(free_ns, last_ns + CHECK_PATIENCE_NS)
