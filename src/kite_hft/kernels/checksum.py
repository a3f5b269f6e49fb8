"""Layer 2, every process, cold: the slow twin of ext/checksum.h.

Every stage sums a mix of (token, last price, day volume) over the ticks it handled; equal sums
say that nothing was lost, doubled or changed between two stages.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)


def tick_checksum(tokens: npt.ArrayLike, px: npt.ArrayLike, volume: npt.ArrayLike) -> int:
    """Wrapping 64-bit sum over ticks; independent of their order and of batching.

    tokens: (n,) instrument tokens, 0 <= token < 2**32; px: (n,) int32 last prices in the
    instrument's unit; volume: (n,) int64 volumes of the day. The mix is the finaliser of
    splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
    """
    token = np.atleast_1d(np.asarray(tokens, np.uint64))
    price = np.atleast_1d(np.asarray(px, np.int32)).view(np.uint32).astype(np.uint64)
    traded = np.atleast_1d(np.asarray(volume, np.int64)).view(np.uint64)
    z = (token << np.uint64(32) | price) + GAMMA
    z = z ^ (traded * GAMMA)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int(np.sum(z ^ (z >> np.uint64(31)), dtype=np.uint64))
