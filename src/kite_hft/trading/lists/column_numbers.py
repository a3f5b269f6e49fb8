"""Layer 2, supervisor and verbs, cold: columns of prices as brokers write them, in exact units.

The twins of units.px_from_price and instruments.strike_units for whole columns: what those refuse is refused
here, and the row is named.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.trading.instruments import SCALE_BY_SEGMENT, SCALE_DEFAULT
from kite_hft.units import OFF_GRID_MAX, PX_MAX

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_SCALES: Final = np.array([SCALE_BY_SEGMENT.get(low, SCALE_DEFAULT) for low in range(256)], np.int64)


def scales_of(tokens: npt.NDArray[np.unsignedinteger]) -> Int64s:
    """int64[n]: units per rupee of Kite's tokens."""
    return np.asarray(_SCALES[tokens & 0xFF], np.int64)


def units_of(
    rupees: npt.NDArray[np.float64], scale: npt.NDArray[np.int64], *, wide: bool = False
) -> tuple[Int64s, Mask]:
    """(int64[n] units, bool[n] where a price is no number, off its grid, or too large for 32 bits).

    wide: strikes, which need not fit 32 bits and are never below 0. Units of bad rows are 0.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # what is too large, or no number, is refused here
        units = rupees * scale
        whole = np.rint(units)
        good = np.isfinite(units) & (np.abs(units - whole) <= OFF_GRID_MAX + np.abs(units) * 2.0**-51)
        good &= units >= 0 if wide else (units >= -PX_MAX - 1) & (units <= PX_MAX)
        good &= np.abs(units) < 2.0**62
    return np.where(good, whole, 0).astype(np.int64), ~good
