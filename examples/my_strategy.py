"""A first strategy: buy one share of what has risen more than 2 percent against yesterday's close.

kite-hft run examples/my_strategy.yaml
"""

from kite_hft import BaseStrategy


class MyStrategy(BaseStrategy):
    """should_buy is the idea; the rest is as short as it gets."""

    def on_tick(self, tick):
        if self.should_buy(tick) and self.position(tick.slot) == 0 and tick.slot not in self.asked:
            self.asked.add(tick.slot)
            self.place_order("BUY", tick.instrument_token, 1)

    def should_buy(self, tick):
        return tick.change_percent > 2.0

    def on_start(self):
        self.asked = set()  # one order for each instrument: the position comes a moment after it
