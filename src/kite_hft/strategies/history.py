"""Layer 2, compute, cold: what a strategy knows of the days before: closes and averages, by slot.

Read once before the first tick, out of metadata.json (engine/history/reading.py; trading/history.py says what
an average is). Nothing in it changes while the strategy runs; what moves with the price comes from `rest`:

    average over 200 days at this price = (rest[slot, DAY, W200] + price) / 200

The arrays are plain float64, for form A and for compiled code alike; NaN: not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FRAMES: Final = 3
DAY, WEEK, MONTH = range(FRAMES)
LENGTHS: Final = (9, 200)
"""Bars of an average, by window."""
W9, W200 = range(len(LENGTHS))
AHEAD: Final = -1


@dataclass(frozen=True, slots=True)
class History:
    """n slots. close: float64[n], of the last day that is over, rupees. average, rest: float64[n, 3, 2], by
    day, week, month and window (9, 200): the averages as of that close, and the sums of the w - 1 closes that
    an average of the bar under way has beside the price. as_of: int64[n], YYYYMMDD of `close`; 0: not known,
    AHEAD: the file ends on the traded day itself or later, so that nothing of it may be told."""

    close: npt.NDArray[np.float64]
    average: npt.NDArray[np.float64]
    rest: npt.NDArray[np.float64]
    as_of: npt.NDArray[np.int64]

    def average_at(self, slot: int, price: float, frame: int = DAY, window: int = W200) -> float:
        """The average with `price` as the close of the bar under way; NaN: too few bars."""
        return float((self.rest[slot, frame, window] + price) / LENGTHS[window])

    def unknown(self) -> list[int]:
        """Slots without a close."""
        return np.flatnonzero(np.isnan(self.close)).tolist()


def no_history(n: int) -> History:
    """Of n slots nothing is known."""
    nan = np.full((n, FRAMES, len(LENGTHS)), np.nan)
    return History(np.full(n, np.nan), nan, nan.copy(), np.zeros(n, np.int64))
