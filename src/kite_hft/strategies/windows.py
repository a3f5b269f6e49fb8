"""Layer 2, compute, hot: the last ten outputs of the 2-state filter, kept for each instrument.

One WINDOW record an instrument, 256 bytes with a fixed layout, so that an array of them can stand in
shared memory as it is. A tick overwrites the oldest row; nothing is moved. The three features are the
estimated price, the velocity and the relative difference, rounded to six places: what stands in the
log is what stands here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

ROWS: Final = 10
FEATURES: Final = ("estimate", "velocity", "rel_diff")
FINEST: Final = 1e6
LARGEST: Final = 1e12
"""Beyond it a value is left as it is: in whole millionths it would fill 64 bits. NaN is left, too."""

WINDOW = np.dtype([("features", "<f8", (ROWS, 3)), ("count", "<i8"), ("reserved", "<i8")])
"""features: rows in the order in which they were overwritten; count: rows written so far."""


def six_places(x: float) -> float:
    """`x` to the nearest millionth, ties to even. The same bits from Python and from numba."""
    if not -LARGEST < x < LARGEST:
        return x
    return round(x * FINEST) / FINEST


def push(window: Any, estimate: float, velocity: float, rel_diff: float) -> None:
    """One row more in a WINDOW record, in place of the oldest."""
    at = window.count % ROWS
    window.features[at, 0] = estimate
    window.features[at, 1] = velocity
    window.features[at, 2] = rel_diff
    window.count += 1


def in_order(windows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """WINDOW records (n,) -> float64 (n, 10, 3), the oldest row first.

    Rows that were not written yet are 0; see `count`.
    """
    turn = (windows["count"][:, None] + np.arange(ROWS)) % ROWS
    turn = np.where(windows["count"][:, None] < ROWS, np.arange(ROWS), turn)
    ordered: npt.NDArray[np.float64] = np.take_along_axis(windows["features"], turn[:, :, None], axis=1)
    return ordered
