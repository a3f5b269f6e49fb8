"""Everywhere in the harness, cold: log-linear histograms of ns, bucketed as the engine's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kite_hft.layout import HISTOGRAM_BUCKETS, HISTOGRAM_SUB_BITS
from kite_hft.memory.counters import bucket_upper_ns, percentiles

SUB = 1 << HISTOGRAM_SUB_BITS
UPPER_US = np.array([bucket_upper_ns(bucket) / 1000 for bucket in range(HISTOGRAM_BUCKETS)])
Buckets = npt.NDArray[np.uint64]


def empty() -> Buckets:
    return np.zeros(HISTOGRAM_BUCKETS, np.uint64)


def bucket_of(ns: int) -> int:
    """The bucket that counts a duration; kite_hft.memory.counters.bucket_upper_ns leads back."""
    if ns < SUB:
        return max(0, ns)
    shift = ns.bit_length() - 1 - HISTOGRAM_SUB_BITS
    return min(HISTOGRAM_BUCKETS - 1, (shift << HISTOGRAM_SUB_BITS) + (ns >> shift))


def record(buckets: Buckets, first_ns: int, step_ns: float, n: int) -> None:
    """Count n durations first_ns, first_ns - step_ns, ...: many of one batch stand in one bucket."""
    if n > 8 and step_ns:
        low = max(0, round(first_ns - (n - 1) * step_ns))
        if bucket_of(low) != bucket_of(first_ns):
            for ns in np.maximum(0, first_ns - np.arange(n) * step_ns).astype(np.int64).tolist():
                buckets[bucket_of(ns)] += np.uint64(1)
            return
        buckets[bucket_of(low)] += np.uint64(n)
        return
    for i in range(n if step_ns else 1):
        buckets[bucket_of(max(0, round(first_ns - i * step_ns)))] += np.uint64(1 if step_ns else n)


def told(buckets: Sequence[int] | Buckets) -> dict[str, float]:
    """Percentiles and mean in microseconds: upper edges of buckets, at most 1/16 above the truth."""
    counted = np.asarray(buckets, np.uint64)
    n = int(counted.sum())
    mean = float(counted @ UPPER_US / n) if n else 0.0
    return {**percentiles(counted), "mean": mean}


def sparse(buckets: Buckets) -> dict[str, int]:
    """Of the JSON lines between our processes: only buckets in use."""
    return {str(i): int(buckets[i]) for i in np.flatnonzero(buckets)}


def dense(found: Mapping[str, Any]) -> Buckets:
    """The reverse of `sparse`."""
    made = empty()
    for bucket, n in found.items():
        made[int(bucket)] = n
    return made
