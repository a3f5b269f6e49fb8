"""A halted market told from a dead feed, from a thin market and from the close."""

from __future__ import annotations

import pytest

from kite_hft.layout import COUNTERS
from kite_hft.trading.market_halt import ALIVE_NS, FeedSample, HaltWatch, market_halted, sample_of

S = 1_000_000_000
LOOK_NS = S // 4


class Market:
    """Connections whose ticks and heartbeats come as a test says; looked at four times a second."""

    def __init__(self, connections: int = 1, window_s: float = 3.0) -> None:
        self.now = 1000 * S
        self.watch = HaltWatch(round(window_s * S))
        self.ticks = [0] * connections
        self.tick_ns = [0] * connections
        self.frame_ns = [0] * connections
        self.connected = [True] * connections
        self.subscribed = [10] * connections

    def run(self, seconds: float, per_s: float, beats: tuple[int, ...] | None = None) -> float | None:
        """The second at which the halt was told, or None. `per_s`: ticks of each connection.

        beats: the connections that get heartbeats (default: all).
        """
        started, owed = self.now, 0.0
        while self.now - started < seconds * S:
            self.now += LOOK_NS
            owed += per_s * LOOK_NS / S
            for c in range(len(self.ticks)):
                if beats is None or c in beats:
                    self.frame_ns[c] = self.now
                if int(owed):
                    self.ticks[c] += int(owed)
                    self.tick_ns[c] = self.frame_ns[c] = self.now
            owed -= int(owed)
            if self.look():
                return (self.now - started) / S
        return None

    def look(self) -> bool:
        fields = zip(self.connected, self.subscribed, self.ticks, self.frame_ns, self.tick_ns, strict=True)
        return self.watch.look([FeedSample(*row) for row in fields], self.now)


def test_a_lively_market_that_falls_silent_is_halted_within_five_seconds() -> None:
    market = Market()
    assert market.run(20, 40) is None  # 20 instruments, 2 ticks a second each
    told = market.run(10, 0)
    assert told is not None and 3 <= told <= 5


def test_it_stays_halted_until_a_tick_comes() -> None:
    market = Market()
    market.run(20, 40)
    assert market.run(10, 0)
    market.connected = [False]
    market.now += 60 * S
    assert market.look()
    market.connected, market.ticks, market.tick_ns = [True], [market.ticks[0] + 1], [market.now]
    assert not market.look()


def test_a_dead_feed_is_no_halt() -> None:
    market = Market(connections=2)
    market.run(20, 40)
    assert market.run(30, 0, beats=(0,)) is None  # connection 1 gets nothing at all
    market.connected = [True, False]
    assert market.run(30, 0) is None


def test_every_connection_must_be_silent() -> None:
    market = Market(connections=2)
    market.run(20, 40)
    for _ in range(40):
        market.now += LOOK_NS
        market.frame_ns = [market.now] * 2
        market.ticks[1] += 10
        market.tick_ns[1] = market.now
        assert not market.look()


def test_a_connection_without_subscription_says_nothing() -> None:
    market = Market(connections=2)
    market.run(20, 40)
    market.subscribed = [10, 0]
    assert market.run(30, 0, beats=(0,)) is not None
    market = Market()
    market.run(20, 40)
    market.subscribed = [0]
    assert market.run(30, 0) is None


def test_a_thin_market_takes_longer() -> None:
    market = Market()
    market.run(60, 2)
    told = market.run(60, 0)
    assert told is not None and told >= 10


def test_one_tick_in_three_seconds_is_no_ground_for_a_judgement() -> None:
    market = Market()
    market.run(120, 1 / 3)
    assert market.run(600, 0) is None


def test_the_burst_after_a_subscription_is_no_rate() -> None:
    """Connected after the close: the current state of 9,000 instruments comes, and then nothing."""
    market = Market()
    market.look()
    market.ticks, market.tick_ns, market.frame_ns = [9000], [market.now + LOOK_NS], [market.now + LOOK_NS]
    assert market.run(600, 0) is None


def test_a_pause_of_trade_lowers_the_rate_only_when_it_is_over() -> None:
    market = Market(window_s=10)
    market.run(30, 40)
    rate = market.watch.rate
    market.run(8, 0)
    assert market.watch.rate == rate == 40
    market.run(1, 40)
    assert market.watch.rate == 40  # the median bears eight empty seconds of thirty
    market.run(9, 0), market.run(1, 40), market.run(9, 0), market.run(1, 40)
    assert market.watch.rate == 0


@pytest.mark.parametrize(
    ("silent_s", "rate", "halted"), [(2.9, 100, False), (3.0, 100, True), (3.0, 6.6, False), (3.1, 6.6, True)]
)
def test_the_limits_of_the_judgement(silent_s: float, rate: float, halted: bool) -> None:
    now = 100 * S
    sample = FeedSample(True, 5, 1000, now, now - round(silent_s * S))
    assert market_halted([sample], now, rate, 3 * S) is halted
    late = FeedSample(True, 5, 1000, now - ALIVE_NS - 1, now - round(silent_s * S))
    assert not market_halted([late], now, rate, 3 * S)


def test_nothing_known_is_no_halt() -> None:
    assert not market_halted([], 100 * S, 100, 3 * S)
    assert not market_halted([FeedSample(True, 5, 0, 100 * S, 0)], 100 * S, 100, 3 * S)


def test_the_sample_of_a_feeds_counters() -> None:
    counters = {name: index for index, name in enumerate(COUNTERS["feed"])}
    sample = sample_of(counters | {"connected": 1})
    assert sample.connected and sample.ticks == counters["decoded"]
    assert sample.last_frame_ns == counters["last_frame_ns"] and sample.subscribed == counters["subscribed"]
