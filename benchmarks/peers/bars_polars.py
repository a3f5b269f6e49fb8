"""polars on the task of bench_bars.py: one figure a line of input.

    bars_polars.py FOLDER

FOLDER holds slot.npy, time_ns.npy, price.npy, traded.npy. Four lazy queries (1 s, 1, 5 and 15 min), the
longer ones folded from the shorter, on one thread. figure: million ticks per CPU second of the
process (the engine's own thread does the work); bars: how many came out of each.
"""

import json
import os
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "1"

import numpy as np
import polars as pl

PERIODS_S = (1, 60, 300, 900)


def folded(frame: pl.LazyFrame, period_s: int) -> pl.LazyFrame:
    """Bars of `period_s` from rows (slot, start_ns, open, high, low, close, volume) in order of time."""
    length = period_s * 1_000_000_000
    return (
        frame.with_columns((pl.col("start_ns") // length * length).alias("start_ns"))
        .group_by("slot", "start_ns", maintain_order=True)
        .agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
            pl.col("volume").sum(),
        )
    )  # fmt: skip


def main() -> None:
    folder = sys.argv[1]
    slot, time_ns, price, traded = (
        np.load(os.path.join(folder, f"{name}.npy")) for name in ("slot", "time_ns", "price", "traded")
    )
    counts = traded > 0
    columns = {"slot": slot, "start_ns": time_ns, "price": price, "volume": traded}
    data = pl.DataFrame({name: values[counts] for name, values in columns.items()})
    for _ in sys.stdin:
        began = time.process_time()
        same = [pl.col("price").alias(name) for name in ("open", "high", "low", "close")]
        frame, found = data.lazy().select("slot", "start_ns", "volume", *same), []
        for period_s in PERIODS_S:
            bars = folded(frame, period_s).collect()
            found.append(len(bars))
            frame = bars.lazy()
        seconds = time.process_time() - began
        answer = {"figure": len(slot) / seconds / 1e6, "bars": found, "version": f"polars {pl.__version__}"}
        print(json.dumps(answer), flush=True)


main()
