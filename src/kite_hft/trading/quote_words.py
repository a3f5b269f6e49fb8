"""Layer 2, feed process, cold: what a feed must know of a broker's quote calls, as data and functions.

For runs whose prices are asked for by HTTP (datafeed.primary_source: http). How often: trading/polling.py.
Nothing here opens a socket or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kite_hft.trading.feed_words import Meaning
from kite_hft.trading.instruments import Instrument

Ticks = np.ndarray[Any, np.dtype[np.void]]


class Quoted(NamedTuple):
    """One answer. ticks: TICK[n] without recv_ns. wrong: counter of the feed -> rows that are no tick."""

    ticks: Ticks
    wrong: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class QuoteCall:
    """One endpoint: GET of `path` with what `query` makes of at most `keys_max` instruments.

    parse(body, rows): raises AnswerError (a ValueError): no answer to be read.
    """

    path: str
    keys_max: int
    query: Callable[[Sequence[Instrument]], str]
    parse: Callable[[bytes, Sequence[Instrument]], Quoted]


@dataclass(frozen=True, slots=True)
class QuoteWords:
    """One broker's quotes.

    calls: streaming mode -> the call that brings what the mode promises; modes may share one. headers(api
    key, token). refusal(body): what the broker says with a refusal, without secrets. meanings: HTTP status
    of an answer -> what it means; one that is not there means what net/ws_codes.py says. knows: whether an
    instrument can be asked for at all. expires_ns(token): when it dies by itself, epoch ns; 0: not known.
    """

    name: str
    calls: Mapping[str, QuoteCall]
    headers: Callable[[str, str], list[tuple[str, str]]]
    refusal: Callable[[bytes], str]
    meanings: Mapping[int, Meaning]
    knows: Callable[[Instrument], bool] = lambda row: True
    expires_ns: Callable[[str], int] = lambda token: 0

    @property
    def paths(self) -> tuple[str, ...]:
        """All that is ever asked for."""
        return tuple(sorted({call.path for call in self.calls.values()}))
