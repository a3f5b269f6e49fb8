"""Layer 5, supervisor, cold: prices by HTTP: how long a round of questions takes, and what it cannot do.

Told before anything connects, and before a change while the engine trades (engine/processes/steering.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kite_hft.brokers.table import quotes_of
from kite_hft.configuring.models.broker import mode_of
from kite_hft.engine.plan.plan import PlanError
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.broker import Limits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.polling import PollPace
from kite_hft.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class Round:
    """All questions once. calls: how many; keys_max: instruments of one call, the least of those used;
    longest_s: between two looks at one instrument, at the longest, without the time that an answer takes."""

    instruments: int
    calls: int
    keys_max: int
    longest_s: float
    pace: PollPace


def round_of(limits: Limits, instruments: InstrumentTable, broker: str, modes: Mapping[int, str]) -> Round:
    """modes: slot -> mode of all that is asked about.

    Raises:
        SettingsError: the rules have no share for such a feed. PlanError: a mode that no quote call brings.
    """
    if limits.polling is None:
        raise SettingsError(f"the rules of {limits.name} have no `polling`: add it, or take the websocket")
    words, counts = quotes_of(broker), Counter[str]()
    sizes = {call.path: call.keys_max for call in words.calls.values()}
    for slot, asked in modes.items():
        call = words.calls.get(mode_of(broker, asked))
        if call is None:
            raise PlanError(f"mode {asked}: {broker} has no quote call that brings it: choose one of "
                            f"{', '.join(words.calls)}")  # fmt: skip
        if words.knows(instruments[slot]):
            counts[call.path] += 1
    calls = sum(-(-n // sizes[path]) for path, n in counts.items())
    pace = limits.polling.pace
    least = min((sizes[path] for path in counts), default=min(sizes.values()))
    return Round(sum(counts.values()), calls, least, pace.longest_ns(calls) / NS_PER_S, pace)


def gap_s_of(pace: PollPace) -> float:
    """The longest time between two calls of the feed, whatever they ask for."""
    return pace.longest_ns(1) / NS_PER_S


def refuse_unpollable(
    settings: Settings, limits: Limits, instruments: InstrumentTable, broker: str, modes: Mapping[int, str]
) -> None:
    """Refuse more instruments than can be asked about before their prices are too old to open anything.

    Raises:
        PlanError: as it says; with numbers, and what to do.
    """
    found, limit_s = round_of(limits, instruments, broker, modes), settings.risk.stale_tick_s
    gap_s, silence_s = gap_s_of(found.pace), settings.datafeed.silence_s
    if silence_s <= gap_s:
        raise PlanError(
            f"datafeed.silence_s is {silence_s:g}; by HTTP up to {gap_s:.2f} s pass between two answers of "
            f"{broker}, which would be taken for lost each time: set it to at least {math.ceil(gap_s + 1)}"
        )
    if found.longest_s <= limit_s:
        return
    fits = found.pace.calls_within(round(limit_s * NS_PER_S)) * found.keys_max
    fewer = f"name at most {fits:,} in datafeed.instruments, or " if fits else ""
    raise PlanError(
        f"datafeed.primary_source http: {found.instruments:,} instruments are {found.calls} calls for quotes "
        f"at {broker}, and {found.longest_s:.2f} s may pass between two looks at one; prices older than "
        f"risk.stale_tick_s ({limit_s:g} s) open nothing: {fewer}set risk.stale_tick_s to "
        f"{math.ceil(found.longest_s + 0.5)} if prices so old are good enough for what you trade"
    )


def polling_words(settings: Settings, limits: Mapping[str, Limits], instruments: InstrumentTable,
                  modes: Mapping[str, Mapping[int, str]]) -> list[str]:  # fmt: skip
    """What the start says of prices by HTTP. limits, modes: by data broker."""
    said = []
    for broker in settings.data_brokers:
        found = round_of(limits[broker], instruments, broker, modes[broker])
        said.append(
            f"prices of {broker} by HTTP: {found.instruments:,} instruments in {found.calls} "
            f"call{'s' * (found.calls != 1)}, one call in {found.pace.interval_ns / NS_PER_S:.2f} s at most: "
            f"each is looked at again within {found.longest_s:.2f} s. What happens between two looks is not "
            "seen"
        )
    if settings.broker == "kite" and settings.mode != "paper":
        said.append(
            "order updates do not come with quotes: a websocket without subscriptions is kept for them; "
            "where none can be had, ORDERS reads the books"
        )
    return said
