"""Nanoseconds per tick of the default kernels: both Kalman filters and the bars, on TICK batches.

    python benchmarks/bench_kernels.py [--instruments 9000] [--batch 1000] [--rate 2]

Ticks visit the instruments in a random order; `rate` is ticks per second of exchange time and
instrument, which decides how often a one-second bar closes. CPU time of this thread; best of 5.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from kite_hft import _kernels
from kite_hft.layout import BAR, KERNEL_ROW, TICK, TickFlag

START_NS = 1_765_770_000_000_000_000  # 09:10 IST of a trading day


def make_ticks(instruments: int, n: int, rate: float, seed: int = 1) -> np.ndarray:
    """(n,) TICK: random slots, prices that walk, day volumes that grow."""
    random = np.random.default_rng(seed)
    ticks = np.zeros(n, TICK)
    ticks["slot"] = random.integers(0, instruments, n)
    ticks["last_px"] = 100_000 + np.cumsum(random.integers(-3, 4, n))
    ticks["volume"] = np.arange(1, n + 1) * 10
    ticks["flags"] = TickFlag.TRADE | TickFlag.EXCHANGE_TIME
    ticks["exch_ns"] = START_NS + (np.arange(n) / (rate * instruments)).astype(np.int64) * 1_000_000_000
    ticks["recv_ns"] = np.arange(n) // 30 * 1_000_000  # one socket read per 30 ticks
    return ticks


def measure(instruments: int, batch: int, rate: float, total: int = 1_000_000) -> float:
    """ns per tick, best of 5 passes over `total` ticks."""
    ticks = make_ticks(instruments, total, rate)
    rows, bars = np.zeros(batch, KERNEL_ROW), np.zeros(batch * _kernels.PERIODS, BAR)
    batches = [ticks[i : i + batch] for i in range(0, total, batch)]
    best = float("inf")
    for _ in range(5):
        kernels = _kernels.Kernels(instruments)
        began = time.thread_time_ns()
        for part in batches:
            kernels.run(part, len(part), rows, bars)
        best = min(best, (time.thread_time_ns() - began) / total)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=9000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.0)
    args = parser.parse_args()
    ns = measure(args.instruments, args.batch, args.rate)
    print(f"{ns:.1f} ns/tick, {1e3 / ns:.1f} M ticks/s ({args.instruments} instruments, batch {args.batch})")


if __name__ == "__main__":
    main()
