"""Layer 1, whoever reports, cold: names of the counters, and percentiles out of histogram buckets."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kite_hft.layout import COUNTERS, HISTOGRAM_BUCKETS, HISTOGRAM_SUB_BITS, HISTOGRAMS

COUNTER_INDEX: Final[dict[str, dict[str, int]]] = {
    stage: {name: index for index, name in enumerate(names)} for stage, names in COUNTERS.items()
}
"""stage -> counter name -> index of its word."""

HISTOGRAM_INDEX: Final[dict[str, dict[str, int]]] = {
    stage: {name: index for index, name in enumerate(names)} for stage, names in HISTOGRAMS.items()
}
"""stage -> histogram name -> its index."""

_PERCENTILES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p999": 0.999, "max": 1.0}


def bucket_upper_ns(bucket: int) -> int:
    """Largest duration (ns) that `bucket` counts; ext/counters.h has the way there."""
    sub = 1 << HISTOGRAM_SUB_BITS
    if bucket < sub:
        return bucket
    shift = bucket // sub - 1
    return ((sub + bucket % sub + 1) << shift) - 1


def percentiles(buckets: np.ndarray[Any, np.dtype[np.uint64]]) -> dict[str, float]:
    """Percentiles of a histogram in microseconds, and `n`, the number of durations counted.

    `buckets`: shape (1024,), counts; histograms of several processes may be added up first. Each
    figure is the upper edge of the bucket that holds the duration of that rank: never below the
    truth, at most 1/16 above it. `max` is the upper edge of the highest bucket in use.
    All are 0.0 when nothing was counted.
    """
    if buckets.shape != (HISTOGRAM_BUCKETS,):
        raise ValueError(f"a histogram has {HISTOGRAM_BUCKETS} buckets, got shape {buckets.shape}")
    counted = np.cumsum(buckets, dtype=np.uint64)
    n = int(counted[-1])
    if not n:
        return {**dict.fromkeys(_PERCENTILES, 0.0), "n": 0}
    found: dict[str, float] = {}
    for name, share in _PERCENTILES.items():
        rank = max(1, int(np.ceil(share * n)))
        found[name] = bucket_upper_ns(int(np.searchsorted(counted, rank))) / 1000.0
    return {**found, "n": n}


def named(stage: str, values: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, int]:
    """Counter values of one stage by name."""
    return {name: int(values[index]) for name, index in COUNTER_INDEX[stage].items()}
