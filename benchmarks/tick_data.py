"""Ticks that the benchmarks of kernels and strategies share, and how a pass over them is timed.

After a pause a core comes back to its speed in some 10 ms, which is as long as a whole pass of C:
`settled` repeats a short measurement until that is over, and takes the median of those that follow.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kite_hft.layout import TICK, TickFlag
from kite_hft.memory.recording import ROW, ROW_BYTES

START_NS = 1_765_770_000_000_000_000  # 09:10 IST of a trading day


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeroed array whose first byte starts a cache line."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(kind).reshape(shape)


def walk(instruments: int, n: int, rate: float, seed: int = 1) -> np.ndarray:
    """(n,) TICK in the order of the feed: random slots, prices that walk, day volumes that grow.

    rate: ticks per second of exchange time and instrument; exchange times are whole seconds, as
    Kite's are. Thirty ticks share one socket read.
    """
    random = np.random.default_rng(seed)
    ticks = aligned((n,), TICK)
    ticks["seq"] = np.arange(n)
    ticks["slot"] = random.integers(0, instruments, n)
    ticks["last_px"] = 100_000 + np.cumsum(random.integers(-3, 4, n))
    ticks["bid_px"], ticks["ask_px"] = ticks["last_px"] - 5, ticks["last_px"] + 5
    ticks["volume"] = np.arange(1, n + 1) * 10
    ticks["last_qty"] = 10
    ticks["flags"] = TickFlag.TRADE | TickFlag.EXCHANGE_TIME
    ticks["exch_ns"] = START_NS + (np.arange(n) / (rate * instruments)).astype(np.int64) * 1_000_000_000
    ticks["recv_ns"] = np.arange(n) // 30 * 1_000_000
    return ticks


def compact(ticks: np.ndarray) -> np.ndarray:
    """The same ticks as compact rows: their first cache lines."""
    rows = aligned((len(ticks),), ROW)
    rows.view(np.uint8).reshape(-1, ROW_BYTES)[:] = ticks.view(np.uint8).reshape(len(ticks), -1)[
        :, :ROW_BYTES
    ]
    return rows


WARM = 10  # per cent of a pass that runs before the clock: memory is touched, instruments have begun


def split(ticks: np.ndarray, batch: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Batches that run before the clock, and those that count."""
    parts = [ticks[i : i + batch] for i in range(0, len(ticks), batch)]
    warm = len(parts) * WARM // 100
    return parts[:warm], parts[warm:]


def rate(ticks: np.ndarray, batch: int, run: Callable[[np.ndarray], object]) -> float:
    """Million ticks per CPU second of this thread: `run` is called with each batch, in order."""
    before, counted = split(ticks, batch)
    for part in before:
        run(part)
    began = time.thread_time()
    for part in counted:
        run(part)
    return sum(map(len, counted)) / (time.thread_time() - began) / 1e6


def settled(once: Callable[[], float]) -> Callable[[], float]:
    """The contender of kit.measure: `once` for 50 ms that do not count, then the median of five."""

    def figure() -> float:
        began = time.thread_time()
        while time.thread_time() - began < 0.05:
            once()
        return statistics.median(once() for _ in range(5))

    return figure
