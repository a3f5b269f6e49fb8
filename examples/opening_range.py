"""The break of the opening range: buy when the price leaves the range of the first minutes upwards.

    kite-hft run examples/opening_range.yaml

The stop is the low of the range, the target as far above the entry as `reward` times the risk. A range that
is too wide for the risk that one entry may cost makes the position smaller.
"""

from kite_hft.strategies.entry_exit import DAY_S, EntryExitStrategy, second_of
from kite_hft.units import IST_OFFSET_S, NS_PER_S


class OpeningRange(EntryExitStrategy):
    """opening: when the range begins (HH:MM). minutes: how long it lasts. reward: target against risk.
    risk: rupees that an entry may lose at its stop; quantity is the most that is bought."""

    name = "opening_range"

    def __init__(self, opening="09:15", minutes=15, reward=2.0, risk=1000.0, **more):
        super().__init__(**more)
        self.reward, self.risk = reward, risk
        self.from_s = second_of(opening)
        self.until_s = self.from_s + round(minutes * 60)
        self.low, self.high = {}, {}

    def on_tick(self, tick):
        second = (tick.time_ns // NS_PER_S + IST_OFFSET_S) % DAY_S
        slot, price = tick.slot, tick.last_price
        if self.from_s <= second < self.until_s:
            self.low[slot] = min(price, self.low.get(slot, price))
            self.high[slot] = max(price, self.high.get(slot, price))
        elif second >= self.until_s:
            super().on_tick(tick)

    def validate_entry_conditions(self, tick):
        return tick.slot in self.high and tick.last_price > self.high[tick.slot]

    def calculate_position_size(self, tick):
        return min(self.quantity, int(self.risk / (tick.last_price - self.low[tick.slot])))

    def get_exit_levels(self, tick):
        low = self.low[tick.slot]
        return low, tick.last_price + self.reward * (tick.last_price - low)

    def on_session(self):
        super().on_session()
        self.low.clear()
        self.high.clear()
