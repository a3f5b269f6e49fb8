"""Layer 2, orders process, hot: where two brokers' feeds tell different prices of one instrument.

One of the two is wrong then, and nobody here knows which: nothing is opened in the instrument until they
agree again for a while; exits pass. The rule, at each look, of an instrument of which both feeds have told
something within `fresh_ns` (of any other nothing is known, and what stood goes on to stand):

    they differ  when their last prices are apart by more than `percent` of the lower one and by more than
                 `ticks` steps of the instrument: a step is much of a cheap option, a percent of an index
                 is a crash;
    they part    when they have differed at every look for `for_ns`: both are conflated, and in a fast
                 market one runs ahead of the other for a moment;
    they agree   when they have not differed at any look for `agree_ns`.

A look at which a feed is silent or has no price ends both spans. All instruments are looked at in one go,
ten times a second; a gate's question is one look into a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft.trading.instruments import Instrument
from kite_hft.units import NS_PER_S, price_text

NOT_SINCE = -1


@dataclass(frozen=True, slots=True)
class DivergenceLimits:
    """What the user allows; see the module.

    Raises:
        ValueError: a limit below 0, or not a number.
    """

    percent: float = 0.5
    ticks: int = 5
    for_ns: int = 3 * NS_PER_S
    agree_ns: int = 5 * NS_PER_S
    fresh_ns: int = 2 * NS_PER_S

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} of two feeds' divergence is {getattr(self, name)!r}, not >= 0")


class Prices(Protocol):
    """One broker's latest prices of the instruments that both feeds tell of."""

    name: str

    def read(self, px: npt.NDArray[np.int32], recv_ns: npt.NDArray[np.int64]) -> None:
        """Fill in, in the order of the instruments; 0 and 0: it has told nothing."""


class Change(NamedTuple):
    """An instrument whose feeds have parted, or (text is "") agree again."""

    slot: int
    key: str
    text: str


class FeedPair:
    """Two feeds of the same instruments. `apart`: slot -> why nothing is opened in it; never another dict.

    rows: the instruments, each once. first, second: their prices, in the order of `rows`.
    """

    def __init__(
        self, rows: Sequence[Instrument], first: Prices, second: Prices, limits: DivergenceLimits
    ) -> None:
        self._rows, self._feeds, self._limits = tuple(rows), (first, second), limits
        n = len(self._rows)
        self._px = (np.zeros(n, np.int32), np.zeros(n, np.int32))
        self._recv_ns = (np.zeros(n, np.int64), np.zeros(n, np.int64))
        self._most_px = np.array([limits.ticks * max(1, row.tick_px) for row in self._rows], np.int64)
        self._parted = np.zeros(n, np.bool_)
        self._since_ns = np.full(n, NOT_SINCE, np.int64)  # differing, or of those parted: agreeing
        self.apart: dict[int, str] = {}

    def look(self, now_ns: int) -> list[Change]:
        """Both feeds as they stand at CLOCK_MONOTONIC now_ns; what has changed, in the order of `rows`."""
        limits = self._limits
        for feed, px, recv_ns in zip(self._feeds, self._px, self._recv_ns, strict=True):
            feed.read(px, recv_ns)
        a, b = self._px[0].astype(np.int64), self._px[1].astype(np.int64)
        oldest_ns = now_ns - limits.fresh_ns
        known = (a > 0) & (b > 0) & (self._recv_ns[0] >= oldest_ns) & (self._recv_ns[1] >= oldest_ns)
        off = np.abs(a - b)
        differ = known & (off * 100 > limits.percent * np.minimum(a, b)) & (off > self._most_px)
        counting = np.where(self._parted, known & ~differ, differ)
        since_ns = self._since_ns
        since_ns[~counting] = NOT_SINCE
        since_ns[counting & (since_ns == NOT_SINCE)] = now_ns
        long_ns = np.where(self._parted, limits.agree_ns, limits.for_ns)
        turned = np.flatnonzero(counting & (now_ns - since_ns >= long_ns))
        return [self._turn(int(at)) for at in turned]

    def _turn(self, at: int) -> Change:
        row = self._rows[at]
        self._since_ns[at] = NOT_SINCE
        if self._parted[at]:
            self._parted[at] = False
            del self.apart[row.slot]
            return Change(row.slot, row.key, "")
        self._parted[at] = True
        told = zip(self._feeds, self._px, strict=True)
        prices = " and ".join(f"{price_text(int(px[at]), row.scale)} by {feed.name}" for feed, px in told)
        self.apart[row.slot] = f"the feeds tell different prices: {prices}"
        return Change(row.slot, row.key, self.apart[row.slot])

    def let_go(self) -> list[Change]:
        """A person says that openings may go on: what still differs parts anew after its time."""
        found = [Change(row.slot, row.key, "") for row in self._rows if row.slot in self.apart]
        self._parted[:] = False
        self._since_ns[:] = NOT_SINCE
        self.apart.clear()
        return found
