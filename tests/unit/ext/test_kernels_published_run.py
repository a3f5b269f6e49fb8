"""The published run of the simple strategy, reproduced to the last printed digit."""

from __future__ import annotations

import csv
import lzma
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from reference.kalman import Kalman1

from kite_hft import _kernels
from kite_hft.layout import BAR, KERNEL_ROW, TICK

pytestmark = pytest.mark.data
TICK_LINE = re.compile(r"Tick (\d+) \| Price \\u20b9([\d.]+) \| KF \\u20b9([-\d.]+)")
SIGNAL_LINE = re.compile(r"(BUY|SELL) SIGNAL \| RelDiff (-?[\d.]+)")


class Tick(NamedTuple):
    reset: bool  # a new filter starts with this tick
    number: int
    price: str
    printed: str


class Signal(NamedTuple):
    tick: int  # index of the tick before it
    side: str
    rel_diff: str  # "" for the closing sale, which prints none
    traded: bool  # False: the connection broke before the answer


@pytest.fixture(scope="module")
def run(data_dir: Path) -> tuple[list[Tick], list[Signal]]:
    ticks: list[Tick] = []
    signals: list[Signal] = []
    reset = True
    with lzma.open(data_dir / "strategy_logs/seed000_strategy_20250729.log.xz", "rt") as lines:
        for line in lines:
            if "Starting Kalman strategy" in line or "Kalman filter reset for new session" in line:
                reset = True
            elif match := TICK_LINE.search(line):
                ticks.append(Tick(reset, int(match[1]), match[2], match[3]))
                reset = False
            elif match := SIGNAL_LINE.search(line):
                signals.append(Signal(len(ticks) - 1, match[1], match[2], True))
            elif "Market Close: Flattening" in line:
                signals.append(Signal(len(ticks) - 1, "EOD SELL", "", True))
            elif "Connection aborted" in line:
                signals[-1] = signals[-1]._replace(traded=False)
    assert (len(ticks), sum(bool(s.rel_diff) for s in signals)) == (14_909, 650)
    return ticks, signals


def compiled_estimates(ticks: list[Tick]) -> tuple[np.ndarray, np.ndarray]:
    records = np.zeros(len(ticks), TICK)
    records["last_px"] = [round(float(t.price) * 100) for t in ticks]
    rows, bars = np.zeros(len(ticks), KERNEL_ROW), np.zeros(4 * len(ticks), BAR)
    kernels = _kernels.Kernels(1)
    starts = [i for i, t in enumerate(ticks) if t.reset]
    for first, last in zip(starts, [*starts[1:], len(ticks)], strict=True):
        kernels.reset_filters()
        kernels.run(records[first:last], last - first, rows[first:], bars)
    assert rows["tick_no"].tolist() == [t.number for t in ticks]
    return rows["estimate"], rows["rel_diff"]


def slow_estimates(ticks: list[Tick]) -> tuple[np.ndarray, np.ndarray]:
    kalman = Kalman1()
    estimates, differences = [], []
    for tick in ticks:
        if tick.reset:
            kalman.reset()
        price = float(tick.price)
        estimates.append(kalman.update(price))
        differences.append((estimates[-1] - price) / price)
    return np.array(estimates), np.array(differences)


@pytest.mark.parametrize("source", [compiled_estimates, slow_estimates])
def test_every_printed_value(run, data_dir, source):
    ticks, signals = run
    estimates, differences = source(ticks)
    assert [f"{x:.2f}" for x in estimates.tolist()] == [t.printed for t in ticks]
    assert [f"{differences[s.tick]:.5f}" for s in signals if s.rel_diff] == [
        s.rel_diff for s in signals if s.rel_diff
    ]
    with (data_dir / "strategy_logs/seed000_trades.csv").open(newline="") as lines:
        trades = [(side, float(price), float(estimate)) for side, price, estimate in csv.reader(lines)]
    made = [(s.side, float(ticks[s.tick].price), float(estimates[s.tick])) for s in signals if s.traded]
    assert len(trades) == 650
    assert made == trades


def test_both_ways_give_the_same_bits(run):
    ticks, _ = run
    for fast, slow in zip(compiled_estimates(ticks), slow_estimates(ticks), strict=True):
        assert fast.tobytes() == slow.tobytes()
