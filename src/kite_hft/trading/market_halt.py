"""Layer 2, supervisor, cold: is the whole market silent, or only our connection to it.

A dead feed sends nothing at all. In a halted market the connections live (the broker's heartbeat
comes every second) and no instrument ticks. Silence alone proves little where trading is thin, so
the judge learns how many ticks come in a second and speaks only when the silence has swallowed so
many expected ticks that chance is no explanation. Pure: samples of the feeds' counters and the
time are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from kite_hft.units import NS_PER_S

EXPECTED_TICKS: Final = 20.0
"""Silence is a halt only when it has swallowed this many ticks: by chance e^-20."""
LEARN_S: Final = 5
"""Seconds with figures before there is a judgement."""
REMEMBER_S: Final = 30
ALIVE_NS: Final = 2_500_000_000
"""The broker sends a frame at least every second: after this long a connection is not known to live."""


@dataclass(frozen=True, slots=True)
class FeedSample:
    """One connection's counters at one moment. Times: CLOCK_MONOTONIC, 0: never."""

    connected: bool
    subscribed: int
    ticks: int
    last_frame_ns: int
    last_tick_ns: int


def sample_of(counters: Mapping[str, int]) -> FeedSample:
    """The sample in the counters of one feed (layout.COUNTERS["feed"])."""
    return FeedSample(
        bool(counters["connected"]),
        counters["subscribed"],
        counters["decoded"],
        counters["last_frame_ns"],
        counters["last_tick_ns"],
    )


def market_halted(samples: Sequence[FeedSample], now_ns: int, rate: float, window_ns: int) -> bool:
    """Whether every subscribed connection lives while none of them ticks, against all expectation.

    rate: ticks a second over all connections while they came. window_ns: the shortest silence that
    may count.
    """
    asked = [sample for sample in samples if sample.subscribed]
    newest = max((sample.last_tick_ns for sample in asked), default=0)
    if not newest or any(not s.connected or now_ns - s.last_frame_ns > ALIVE_NS for s in asked):
        return False
    silent_ns = now_ns - newest
    return silent_ns >= window_ns and rate * silent_ns / NS_PER_S >= EXPECTED_TICKS


@dataclass(slots=True)
class HaltWatch:
    """Looks again and again, and learns the rate meanwhile.

    Ask a few times a second, and only while the exchange's session is open: after the close
    silence is what everybody expects.
    """

    window_ns: int
    halted: bool = False
    _by_second: dict[int, int] = field(default_factory=dict)  # ticks; seconds without any are left out
    _total: int = -1
    _halted_at_ns: int = 0

    @property
    def rate(self) -> float:
        """Ticks in a usual second, 0.0 until enough is known.

        The median of the 30 seconds before the newest tick: an ongoing silence teaches nothing, and
        the burst of current states after a subscription makes no rate.
        """
        newest = max(self._by_second, default=0)
        oldest = min(self._by_second, default=0)
        counts = [self._by_second.get(second, 0) for second in range(oldest, newest)]
        return float(median(counts)) if len(counts) >= LEARN_S else 0.0

    def look(self, samples: Sequence[FeedSample], now_ns: int) -> bool:
        """Whether the market is halted. Once told, it stays so until a tick comes."""
        self._learn(sum(sample.ticks for sample in samples), now_ns // NS_PER_S)
        if self.halted:
            newest = max((sample.last_tick_ns for sample in samples), default=0)
            self.halted = newest <= self._halted_at_ns
        elif market_halted(samples, now_ns, self.rate, self.window_ns):
            self.halted, self._halted_at_ns = True, now_ns
        return self.halted

    def _learn(self, total: int, second: int) -> None:
        came = total - self._total if self._total >= 0 else 0
        self._total = total
        if came > 0:
            self._by_second[second] = self._by_second.get(second, 0) + came
            for old in [known for known in self._by_second if known < second - REMEMBER_S]:
                del self._by_second[old]
