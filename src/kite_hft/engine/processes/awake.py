"""Layer 5, every process, cold: how long a process has been awake, where it gives itself or another so long.

A machine that stands still (a paused guest, a host without a CPU to give) moves the clock on and gives nobody
time to do anything. Whoever ends by the clock alone then ends the moment it runs again, with cancels or exits
half done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kite_hft.units import NS_PER_S

GAP_NS: Final = NS_PER_S // 2
"""Of the time between two looks no more counts: who looks ten times a second has stood still since then."""


class Awake:
    """Time awake since it was made. mono_ns: CLOCK_MONOTONIC ns."""

    def __init__(self, mono_ns: Callable[[], int]) -> None:
        self._mono_ns, self._looked_ns, self._ns = mono_ns, mono_ns(), 0

    def look(self) -> float:
        """Seconds so far; to be asked ten times a second at least."""
        now_ns = self._mono_ns()
        self._ns += min(now_ns - self._looked_ns, GAP_NS)
        self._looked_ns = now_ns
        return self._ns / NS_PER_S
