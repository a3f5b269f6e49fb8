"""Layer 4, simulator, hot: the last whole minute of each instrument, for the feed's I1 bars.

The feed shows no bar that still grows: at 10:31:05 it is the bar of 10:30, and of an instrument
that did not tick in that minute the one before.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.sim.market.source import Ticks
from kite_hft.units import NS_PER_S

MINUTE_NS: Final = 60 * NS_PER_S
_KEPT: Final = 3
"""Bars of a slot: the one that grows and two before it, for ticks that are shown a little late."""

BAR: Final = np.dtype(
    [("minute", "<i8"), ("open", "<i8"), ("high", "<i8"), ("low", "<i8"), ("close", "<i8"), ("vol", "<i8")]
)


class MinuteBars:
    """Bars of n slots, prices in units."""

    def __init__(self, n: int) -> None:
        self._bars = np.zeros((n, _KEPT), BAR)  # newest first
        self._bars["minute"] = -1
        self._volume = np.zeros(n, np.int64)  # the day's, as last seen
        self._started = np.zeros(n, np.int64)  # the day's before the bar that grows
        self._seen = np.zeros(n, bool)

    def see(self, ticks: Ticks) -> None:
        """Take ticks in, in order."""
        for part in _without_repeats(ticks["slot"]):
            self._see(ticks[part])

    def _see(self, ticks: Ticks) -> None:
        """Each slot once."""
        slots, minutes = ticks["slot"], ticks["exch_ns"] // MINUTE_NS
        first, before = ~self._seen[slots], self._volume[slots]
        volume = np.where(first, ticks["volume"], np.maximum(ticks["volume"], before))
        self._volume[slots[first]] = volume[first]
        fresh = minutes > self._bars["minute"][slots, 0]
        if fresh.any():
            new = slots[fresh]
            self._bars[new, 1:] = self._bars[new, :-1]
            bar = np.zeros(len(new), BAR)
            bar["minute"] = minutes[fresh]
            for name in ("open", "high", "low"):
                bar[name] = ticks["last_px"][fresh]
            self._bars[new, 0] = bar
            self._started[new] = self._volume[new]
        px, now = ticks["last_px"], self._bars[slots, 0]
        now["high"] = np.maximum(now["high"], px)
        now["low"] = np.minimum(now["low"], px)
        now["close"] = px
        now["vol"] = volume - self._started[slots]
        self._bars[slots, 0] = now
        self._volume[slots] = volume
        self._seen[slots] = True

    def whole(self, slots: npt.NDArray[Any], minutes: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
        """BAR[m]: the newest bar before each of `minutes`; its minute is -1 where there is none."""
        kept = self._bars[slots]
        before = (kept["minute"] < minutes[:, None]) & (kept["minute"] >= 0)
        at = np.argmax(before, axis=1)
        found: npt.NDArray[np.void] = kept[np.arange(len(slots)), at]
        found["minute"][~before.any(axis=1)] = -1
        return found


def _without_repeats(slots: npt.NDArray[Any]) -> list[slice]:
    """Runs in which each slot stands once."""
    if len(np.unique(slots)) == len(slots):
        return [slice(0, len(slots))] if len(slots) else []
    runs, start, seen = [], 0, set[int]()
    for i, slot in enumerate(slots.tolist()):
        if slot in seen:
            runs.append(slice(start, i))
            start = i
            seen.clear()
        seen.add(slot)
    return [*runs, slice(start, len(slots))]
