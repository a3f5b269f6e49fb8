"""NautilusTrader on the task of bench_strategy.py: one figure a line of input.

    strategy_nautilus.py FOLDER INSTRUMENTS TICKS

The ticks are dealt out over INSTRUMENTS: its simulated exchange looks at all of them at each tick,
so that one instrument is what it is fastest with. The back-test engine gives trades to a Strategy
whose on_trade_tick takes them into two of the package's own compiled averages an instrument.
figure: million ticks per CPU second of the measuring thread over BacktestEngine.run, which neither
reads files nor makes objects.
"""

import importlib.metadata
import json
import sys
import time

import nautilus_tools as tools
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.objects import Money
from nautilus_trader.trading.strategy import Strategy


class Averages(Strategy):
    """Two averages and a comparison per trade."""

    def __init__(self, ids):
        super().__init__()
        self.ids = ids
        self.averages = {one: (ExponentialMovingAverage(10), ExponentialMovingAverage(30)) for one in ids}
        self.above = self.seen = 0

    def on_start(self):
        for one in self.ids:
            self.subscribe_trade_ticks(one)

    def on_trade_tick(self, tick):
        fast, slow = self.averages[tick.instrument_id]
        price = float(tick.price)
        fast.update_raw(price)
        slow.update_raw(price)
        self.seen += 1
        if fast.value > slow.value:
            self.above += 1


def main() -> None:
    folder, n, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    instruments = [tools.equity(number) for number in range(n)]
    slots, *rest = tools.load(folder, most)
    ticks = tools.trades(instruments, [slot % n for slot in slots], *rest)
    for _ in sys.stdin:
        logging = LoggingConfig(bypass_logging=True)
        config = BacktestEngineConfig(
            logging=logging, risk_engine=RiskEngineConfig(bypass=True), run_analysis=False
        )
        engine = BacktestEngine(config=config)
        engine.add_venue(tools.VENUE, OmsType.NETTING, AccountType.CASH, [Money(1_000_000, USD)])
        for one in instruments:
            engine.add_instrument(one)
        engine.add_data(ticks, sort=False)
        strategy = Averages([one.id for one in instruments])
        engine.add_strategy(strategy)
        began = time.thread_time()
        engine.run()
        seconds = time.thread_time() - began
        answer = {
            "figure": len(ticks) / seconds / 1e6,
            "ticks": strategy.seen,
            "above": strategy.above,
            "version": f"nautilus_trader {importlib.metadata.version('nautilus_trader')}, "
            f"{n} instrument{'s' if n > 1 else ''}",
        }
        print(json.dumps(answer), flush=True)
        engine.dispose()


main()
