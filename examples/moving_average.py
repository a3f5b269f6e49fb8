"""Above the moving average, with volume, behind a green candle: buy; stop 2 percent, target 4 percent.

    kite-hft run examples/moving_average.yaml

The candle is the last closed bar of `period_s`, the average that of the closes of the last `length` bars.
Stop and target are kept by the order process, at the broker, also when this strategy dies.
"""

from collections import defaultdict, deque

from kite_hft.strategies.entry_exit import EntryExitStrategy


class MovingAverage(EntryExitStrategy):
    """length: bars of the average. green_percent: close of the candle above its open. volume_factor: its
    volume against the average of the bars before. The other parameters are EntryExitStrategy's."""

    name = "moving_average"

    def __init__(self, length=20, period_s=60, green_percent=0.5, volume_factor=1.5, **more):
        super().__init__(**more)
        self.length, self.period_s = length, period_s
        self.green_percent, self.volume_factor = green_percent, volume_factor
        self.closes = defaultdict(lambda: deque(maxlen=self.length))
        self.volumes = defaultdict(lambda: deque(maxlen=self.length))
        self.candle = {}  # slot -> whether the last closed bar says buy

    def on_bar(self, bar):
        if bar.period_s != self.period_s:
            return
        closes, volumes = self.closes[bar.slot], self.volumes[bar.slot]
        full = len(closes) == self.length
        usual = sum(volumes) / len(volumes) if volumes else 0.0
        green = (bar.close - bar.open) * 100.0 >= self.green_percent * bar.open
        closes.append(bar.close)
        volumes.append(bar.volume)
        self.candle[bar.slot] = full and green and bar.volume >= self.volume_factor * usual

    def validate_entry_conditions(self, tick):
        if not self.candle.get(tick.slot):
            return False
        closes = self.closes[tick.slot]
        return tick.last_price > sum(closes) / len(closes)

    def on_session(self):
        super().on_session()
        for kept in (self.closes, self.volumes, self.candle):
            kept.clear()
