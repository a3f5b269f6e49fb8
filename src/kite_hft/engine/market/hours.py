"""Layer 5, supervisor and market process, cold: what strategies are told of their instruments and day.

Grids come from the master, the end of the day from calendar and market rules. The supervisor says before
the start what cannot be as the configuration has it: a time at which nothing is traded, a quantity that
is no whole lot, a token of another instrument.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np

from kite_hft.configuring.models.market import StrategySection
from kite_hft.engine.market.strategies import StrategyError, make_strategy
from kite_hft.engine.orders.market_facts import phases_of, rules_of_day
from kite_hft.engine.plan.days import trading_day
from kite_hft.sessions import CONTINUOUS, Phases, ist_midnight_ns
from kite_hft.settings import Settings
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy
from kite_hft.strategies.slots import NEVER_S, SlotFacts
from kite_hft.trading.gate.facts import DayRules
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import MarketRules
from kite_hft.units import NS_PER_S

MARGIN_S: Final = 60
"""So long before the end of trading a position is closed where no rule says when."""
NAMED: Final = 3
"""Instruments that a warning names; of the others it says how many."""


def wants_facts(strategy: BaseStrategy | CompiledStrategy) -> bool:
    """Whether it listens to what it is told."""
    return type(strategy).prepare not in (BaseStrategy.prepare, CompiledStrategy.prepare)


def slot_facts(settings: Settings, instruments: InstrumentTable, now_real_ns: int) -> SlotFacts:
    """Grids and hours of every slot on the traded day.

    Raises:
        SettingsError, CalendarError: the rules or the calendar cannot be used.
    """
    day, n = trading_day(settings, now_real_ns), len(instruments)
    until, close_from = np.full(n, NEVER_S, np.int64), np.full(n, NEVER_S, np.int64)
    phases = phases_of(settings, now_real_ns)
    if phases is not None:
        rules = rules_of_day(settings, day)
        listed = frozenset(row.name for row in instruments if row.kind != "EQ")
        classes = DayRules(instruments, rules, phases, underlyings=listed if settings.mode == "sim" else None)
        for row in instruments:
            ends = _ends(row, classes.is_cas(row), phases, rules, day)
            until[row.slot], close_from[row.slot] = ends
    return SlotFacts(
        instruments.scales(), np.array([row.tick_px for row in instruments], np.int64), until, close_from
    )


def _ends(row: Instrument, cas: bool, phases: Phases, rules: MarketRules, day: dt.date) -> tuple[int, int]:
    """Seconds after midnight: until when orders at market meet at once, from when to close instead."""
    midnight_ns = ist_midnight_ns(day)
    open_ns = [p.end_ns for p in phases.on(row.exchange, cas, day) if p.match == CONTINUOUS]
    if not open_ns:
        return 0, 0
    until_s = (max(open_ns) - midnight_ns) // NS_PER_S
    rule = rules.day_end(row, cas)
    if rule is None:
        return until_s, until_s - MARGIN_S
    return until_s, (rule.close_from_ns + phases.shift_ns(row.exchange, day)) // NS_PER_S


def check_instruments(settings: Settings, instruments: InstrumentTable, now_real_ns: int) -> Iterator[str]:
    """Warnings about what the configured strategies are to trade, before anything starts.

    Raises:
        StrategyError: a quantity or a token that cannot be meant.
        SettingsError, CalendarError, InstrumentError: see slot_facts and InstrumentTable.resolve.
    """
    facts: SlotFacts | None = None
    for section in settings.strategies:
        strategy = make_strategy(settings, section)
        chosen: Any = getattr(strategy, "settings", None)
        if not wants_facts(strategy) or chosen is None:
            continue
        facts = facts or slot_facts(settings, instruments, now_real_ns)
        names = section.instruments
        rows = list(instruments) if names == "all" else [instruments.resolve(name) for name in names]
        rows = [row for row in rows if not row.is_index]
        _check_token(section, rows, chosen.instrument_token)
        yield from _quantity_words(section, rows, chosen.quantity, settings.exits.slices_max)
        if chosen.flatten_at:
            yield from _flatten_words(section, rows, facts, chosen)


def _check_token(section: StrategySection, rows: list[Instrument], token: int) -> None:
    """The number beside the instrument must be one of its own: the exchange's, or the engine's."""
    if not token:
        return
    if len(rows) != 1:
        raise StrategyError(
            f"strategy {section.name!r}: instrument_token {token} belongs to one instrument, and it trades "
            f"{len(rows)}: name the one in `instruments`, or leave the token out"
        )
    (row,) = rows
    if token not in (row.exchange_token, row.token):
        raise StrategyError(
            f"strategy {section.name!r}: instrument_token {token} is not {row.upstox_key or row.key}, whose "
            f"exchange token is {row.exchange_token} (token {row.token}): orders would go to another "
            "instrument. Correct it, or leave it out: it is derived from the master"
        )


def _quantity_words(
    section: StrategySection, rows: list[Instrument], quantity: int, slices_max: int
) -> Iterator[str]:
    """Lots and freeze quantities.

    Raises:
        StrategyError: the quantity is no multiple of the lot of an instrument that is named.
    """
    odd = [row for row in rows if row.lot_size > 1 and quantity % row.lot_size]
    if odd and section.instruments != "all":
        row = odd[0]
        less = quantity // row.lot_size * row.lot_size
        near = f"{less} or {less + row.lot_size}" if less else f"{row.lot_size}"
        raise StrategyError(
            f"strategy {section.name!r}: quantity {quantity} is no multiple of the lot of {row.key}, "
            f"{row.lot_size} today: set {near}"
        )
    if odd:
        yield f"{section.name}: quantity {quantity} is no whole lot of {_some(odd)}: orders there are refused"
    frozen = [row for row in rows if row.freeze_quantity and quantity > row.freeze_quantity]
    for row in frozen[:NAMED]:
        freeze = row.freeze_quantity or 0
        slices = -(-quantity // (freeze // max(row.lot_size, 1) * max(row.lot_size, 1) or freeze))
        if slices > slices_max:
            text = f"{quantity} of {row.key} would be {slices} orders of {freeze} at most"
            raise StrategyError(f"strategy {section.name!r}: {text}, {slices_max} are allowed: set less")
        yield f"{section.name}: {quantity} of {row.key} exceeds the freeze quantity {freeze}: {slices} orders"


def _flatten_words(
    section: StrategySection, rows: list[Instrument], facts: SlotFacts, chosen: Any
) -> Iterator[str]:
    """Where the configured end of the day is none."""
    moved: dict[tuple[int, int], list[Instrument]] = {}
    early: dict[int, list[Instrument]] = {}
    for row in rows:
        if not facts.market_until_s[row.slot]:
            continue  # a day without trading has no end
        at_s, until_s = (
            int(facts.flatten_s(chosen.flatten_at_s)[row.slot]),
            int(facts.market_until_s[row.slot]),
        )
        if at_s != chosen.flatten_at_s:
            moved.setdefault((until_s, at_s), []).append(row)
        elif chosen.product == "MIS" and facts.close_from_s[row.slot] < at_s:
            early.setdefault(int(facts.close_from_s[row.slot]), []).append(row)
    for (until_s, at_s), some in sorted(moved.items()):
        yield (
            f"WARNING: {section.name}: {chosen.flatten_at} is not tradable for {_some(some)}: orders at "
            f"market are taken until {_clock(until_s)} (closing auction or close); positions are closed "
            f"from {_clock(at_s)} instead"
        )
    for from_s, some in sorted(early.items()):
        yield (
            f"{section.name}: MIS positions in {_some(some)} are closed by the engine from {_clock(from_s)}, "
            f"before flatten_at {chosen.flatten_at}"
        )


def _some(rows: Iterable[Instrument]) -> str:
    names = [row.key for row in rows]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
