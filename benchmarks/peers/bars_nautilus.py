"""NautilusTrader's time-bar aggregation on the task of bench_bars.py: one figure a line of input.

    bars_nautilus.py FOLDER INSTRUMENTS TICKS

One aggregator of 1 s bars an instrument (no longer bars), one clock for all, moved on when a second
ends; the trades are objects already. figure: million ticks per CPU second of the measuring thread.
"""

import importlib.metadata
import json
import sys
import time

import nautilus_tools as tools
from nautilus_trader.common.component import TestClock
from nautilus_trader.data.aggregation import TimeBarAggregator
from nautilus_trader.model.data import BarSpecification, BarType
from nautilus_trader.model.enums import AggregationSource, BarAggregation, PriceType


def main() -> None:
    folder, n, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    instruments = [tools.equity(number) for number in range(n)]
    slots, times, prices, sizes = tools.load(folder, most)
    ticks = tools.trades(instruments, slots, times, prices, sizes)
    spec = BarSpecification(1, BarAggregation.SECOND, PriceType.LAST)
    for _ in sys.stdin:
        bars, clock = [], TestClock()
        clock.set_time(times[0])
        aggregators = [
            TimeBarAggregator(
                one, BarType(one.id, spec, AggregationSource.INTERNAL), bars.append, clock,
                build_with_no_updates=False,
            )
            for one in instruments
        ]  # fmt: skip
        now = times[0]
        began = time.thread_time()
        for slot, at, tick in zip(slots, times, ticks, strict=True):
            if at > now:
                now = at
                for event in clock.advance_time(at):
                    event.handle()
            aggregators[slot].handle_trade_tick(tick)
        seconds = time.thread_time() - began
        answer = {
            "figure": len(ticks) / seconds / 1e6,
            "bars": len(bars),
            "version": f"nautilus_trader {importlib.metadata.version('nautilus_trader')}, 1 s bars only",
        }
        print(json.dumps(answer), flush=True)
        clock.cancel_timers()


main()
