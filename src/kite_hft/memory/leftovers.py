"""Layer 1, workers, cold: what still stands in a queue's memory behind its consumer.

A slot that was consumed keeps its record until the producer comes round again. A process that
starts again after a crash reads there what its earlier life had taken in, or handed on.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.memory.header import PAYLOAD_OFFSET
from kite_hft.memory.segment import Segment

Records = npt.NDArray[np.void]

MARGIN: Final = 256
"""A live producer may be writing so many records ahead of its index: they do not count as standing."""


def _slots(segment: Segment, dtype: np.dtype[np.void]) -> Records:
    capacity = int(segment.header["capacity"])
    return np.frombuffer(segment.view, dtype, capacity, PAYLOAD_OFFSET)


def read_back(segment: Segment, dtype: np.dtype[np.void], first_seq: int, n: int) -> Records | None:
    """A copy of records [first_seq, first_seq + n) of a queue whose producer may be writing.

    None: they are not all there any more (or never were).
    """
    capacity = int(segment.header["capacity"])
    slots, numbers = _slots(segment, dtype), np.arange(first_seq, first_seq + n, dtype=np.uint64)
    if n > capacity or first_seq + n > int(segment.control()["head"]):
        return None
    found: Records = slots[numbers % np.uint64(capacity)]
    head = int(segment.control()["head"])
    oldest = head + min(MARGIN, capacity // 4) - capacity
    if first_seq < oldest or not np.array_equal(found["seq"], numbers):
        return None
    return found


def last_of_each(segment: Segment, dtype: np.dtype[np.void], key: str, value: str) -> dict[int, int]:
    """Highest `value` by `key` over all records that stand in a queue whose producer is dead.

    A record that the producer died in is left out: it does not bear its own number.
    """
    capacity, head = int(segment.header["capacity"]), int(segment.control()["head"])
    first = max(int(segment.header["first_seq"]), head - capacity)
    numbers = np.arange(first, head, dtype=np.uint64)
    standing = _slots(segment, dtype)[numbers % np.uint64(capacity)]
    standing = standing[standing["seq"] == numbers]
    return {int(one): int(standing[value][standing[key] == one].max()) for one in np.unique(standing[key])}
