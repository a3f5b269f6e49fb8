"""hftbacktest on the task of bench_strategy.py: one figure a line of input.

    strategy_hftbacktest.py FOLDER TICKS

One instrument (ours has thousands): every tick is a trade; the loop waits for the next feed event and
takes the price of the last trade into two averages. figure: million ticks per CPU second of the
measuring thread, compilation done before.
"""

import importlib.metadata
import json
import os
import sys
import time

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from numba import njit

FAST, SLOW = 2.0 / (1 + 10), 2.0 / (1 + 30)


@njit
def run(hbt):
    """Two averages and a comparison per feed event: (events, times above)."""
    fast = slow = 0.0
    ticks = above = 0
    while hbt.wait_next_feed(False, 1_000_000_000_000) == 2:
        price = hbt.last_trades(0)[-1].px
        hbt.clear_last_trades(0)
        if ticks == 0:
            fast = slow = price
        ticks += 1
        fast += FAST * (price - fast)
        slow += SLOW * (price - slow)
        if fast > slow:
            above += 1
    return ticks, above


def events(folder, most):
    """One trade after another."""
    price = np.load(os.path.join(folder, "price.npy"))[:most] / 100.0
    made = np.zeros(len(price), event_dtype)
    made["ev"] = TRADE_EVENT | BUY_EVENT | EXCH_EVENT | LOCAL_EVENT
    made["exch_ts"] = 1_000_000_000 + np.arange(len(price)) * 1000
    made["local_ts"] = made["exch_ts"] + 100
    made["px"], made["qty"] = price, 1.0
    return made


def measured(data):
    """(CPU seconds, events, times above) of one pass."""
    asset = (
        BacktestAsset().data(data).linear_asset(1.0).constant_order_latency(10, 10)
        .risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
        .tick_size(0.01).lot_size(1.0).roi_lb(0.0).roi_ub(5000.0).last_trades_capacity(16)
    )  # fmt: skip
    hbt = ROIVectorMarketDepthBacktest([asset])
    began = time.thread_time()
    ticks, above = run(hbt)
    seconds = time.thread_time() - began
    hbt.close()
    return seconds, ticks, above


def main() -> None:
    folder, most = sys.argv[1], int(sys.argv[2])
    data = events(folder, most)
    for _ in sys.stdin:
        for _ in range(2):  # the first brings the core up to speed
            measured(data)
        passes = sorted(measured(data) for _ in range(3))
        seconds, ticks, above = passes[1]
        answer = {
            "figure": ticks / seconds / 1e6,
            "ticks": ticks,
            "above": above,
            "version": f"hftbacktest {importlib.metadata.version('hftbacktest')}, one instrument",
        }
        print(json.dumps(answer), flush=True)


main()
