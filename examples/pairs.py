"""A pair: when the ratio of two prices is far from its mean, sell the dear one and buy the cheap one.

    kite-hft run examples/pairs.yaml

Both legs are one group: judged together, all of them or none, and what a broken group has filled is
unwound. The same closes the pair when the ratio is back. Exactly two instruments; the quantities make both
legs worth the same.
"""

import math

from kite_hft import BaseStrategy

OVER = {2, 7, 8, 9, 11}  # OrderStatus REFUSED, COMPLETE, CANCELLED, REJECTED, ABSENT


class Pairs(BaseStrategy):
    """value: rupees in each leg. enter, leave: distance from the mean, in standard deviations. memory:
    ticks over which mean and deviation are taken (exponentially)."""

    name = "pairs"
    indices = False

    def __init__(self, value=50_000.0, enter=2.0, leave=0.5, memory=200):
        self.value, self.enter, self.leave, self.alpha = value, enter, leave, 2.0 / (memory + 1)
        self.memory, self.seen = memory, 0
        self.mean = self.variance = 0.0
        self.last = {}  # slot -> (token, price)
        self.waiting = set()  # orders of a group that are under way

    def on_tick(self, tick):
        self.last[tick.slot] = tick.instrument_token, tick.last_price
        if len(self.last) != 2:
            return
        (first, (_, a)), (second, (_, b)) = sorted(self.last.items())
        score = self.learn(math.log(a / b))
        if score is None or self.waiting:
            return
        held = self.position(first), self.position(second)
        if held == (0, 0) and abs(score) >= self.enter:
            dear, cheap = (first, second) if score > 0 else (second, first)
            self.trade([("SELL", dear, self.units(dear)), ("BUY", cheap, self.units(cheap))], is_exit=False)
        elif held != (0, 0) and abs(score) <= self.leave:
            legs = zip((first, second), held, strict=True)
            self.trade([("SELL" if n > 0 else "BUY", s, abs(n)) for s, n in legs if n], is_exit=True)

    def learn(self, ratio):
        """How many deviations the ratio is from the mean before it; None: too early to say."""
        self.seen += 1
        if self.seen == 1:
            self.mean = ratio
        away, deviation = ratio - self.mean, math.sqrt(self.variance)
        self.mean += self.alpha * away
        self.variance = (1 - self.alpha) * (self.variance + self.alpha * away * away)
        return away / deviation if self.seen > self.memory and deviation > 0 else None

    def units(self, slot):
        return max(1, int(self.value / self.last[slot][1]))

    def trade(self, orders, is_exit):
        legs = [
            {
                "side": side,
                "instrument_token": self.last[slot][0],
                "quantity": units,
                "slot": slot,
                "is_exit": is_exit,
            }
            for side, slot, units in orders
        ]
        answers = self.place_group(legs) if len(legs) > 1 else [self.place_order(**legs[0])]
        self.waiting = {answer.order_id for answer in answers if answer}

    def on_order(self, event):
        if int(event["status"]) in OVER:
            self.waiting.discard(int(event["strategy_seq"]))
