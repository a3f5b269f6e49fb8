"""Layer 6, campaigns, cold: mistakes that adapters are made with, planted into a good one.

A `Mutant` is one of them: a field that is read from the wrong place, a term that is left out, an answer that
is taken for more than it says. What is read stands in mutants_read.py, what leaves in mutants_sent.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.trading.broker import Broker
from kite_hft.trading.feed_words import FeedWords

Changed = dict[str, Any]
Change = Callable[[Broker], Changed]


@dataclass(frozen=True, slots=True)
class Mutant:
    """name: what is wrong. adapter: functions and facts in place of the right ones; words: of a websocket.

    only: the brokers on whose wire there is such a thing; empty: all.
    """

    name: str
    adapter: Change | None = None
    words: Callable[[FeedWords], FeedWords] | None = None
    only: tuple[str, ...] = ()

    def planted(self, side: BrokerSide) -> BrokerSide:
        """The side with the mistake in it."""
        found = side
        if (change := self.adapter) is not None:
            found = replace(found, broker=lambda table: _with(side.broker(table), change))
        if (spoil := self.words) is not None:
            found = replace(
                found,
                words=lambda table: spoil(side.words(table)),
                updates_words=lambda table: spoil(side.updates_words(table)),
            )
        return found


def _with(right: Broker, change: Change) -> Broker:
    return replace(right, **change(right))
