"""Layer 6, by hand, cold: the run's instruments on the day: hours, changes, what is closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.app.day.morning.hours import ClassHours, class_hours
from kite_hft.app.day.opening import Opened
from kite_hft.engine.market.hours import check_instruments
from kite_hft.engine.market.strategies import StrategyError
from kite_hft.engine.orders.market_facts import lists_of_day, phases_of, rules_of_day
from kite_hft.engine.plan.day_changes import day_changes
from kite_hft.sessions import Phases, ist_midnight_ns
from kite_hft.settings import load_yaml
from kite_hft.trading.gate.facts import DayRules
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.lists.changes import Change
from kite_hft.trading.market_rules import MarketRules

GRAVE: Final = frozenset({"lot", "multiplier"})
"""Changes by which the same number means another amount of money."""


@dataclass(frozen=True, slots=True)
class Changes:
    """since: list -> the day it was compared with, or "nothing". lines: changes of what is traded. odd: why a
    strategy cannot trade as it is configured (a quantity that is no whole lot today). told: what its start
    will warn of. restricted: what is closed for instruments of the run. expiring: contracts of the run that
    end today, or settle in shares so soon that nothing is opened.
    """

    since: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[Change, ...] = ()
    odd: str = ""
    told: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    expiring: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """For --json."""
        return {
            "since": dict(self.since), "changes": [line.record() for line in self.lines], "odd": self.odd,
            "warnings": list(self.told), "restricted": list(self.restricted), "expiring": list(self.expiring),
        }  # fmt: skip


def changes_of(opened: Opened) -> Changes:
    """What is not as it was, and what is closed.

    Raises:
        SettingsError, CalendarError, InstrumentError: a dated file, or a configured name, cannot be used.
    """
    settings, now_ns, chosen = opened.settings, opened.now_ns, opened.chosen
    if not len(chosen):
        return Changes()
    odd, told = "", []
    try:
        for line in check_instruments(settings, chosen, now_ns):
            told.append(line)
    except StrategyError as error:
        odd = str(error)
    since: Mapping[str, str] = {}
    lines: tuple[Change, ...] = ()
    if opened.cache is not None:
        found = day_changes(settings, now_ns, opened.cache, names_of(chosen))
        since, lines = found.since, tuple(found.changes)
    rules = lists_of_day(settings, now_ns).rules
    return Changes(since, lines, odd, tuple(told), restricted(chosen, rules), expiring(opened, rules))


def names_of(chosen: InstrumentTable) -> set[str]:
    """By what a change may name an instrument of the run: itself, or its underlying."""
    return {
        name for row in chosen for name in (row.key, row.symbol, row.name if row.kind != "EQ" else row.key)
    }


def restricted(chosen: InstrumentTable, rules: MarketRules) -> tuple[str, ...]:
    """The run's instruments that are on a list, and what is closed for them."""
    found = []
    for row in chosen:
        closed = rules.closed(row)
        if closed:
            words = ", ".join(f"{what} ({name})" for what, name in sorted(closed.items()))
            found.append(f"{row.key}: no {words}")
    return tuple(found)


def expiring(opened: Opened, rules: MarketRules) -> tuple[str, ...]:
    """Contracts of the run that end on the day, or that settle in shares so soon that nothing is opened."""
    chosen, day = opened.chosen, opened.day
    if not any(row.expiry for row in chosen):
        return ()
    judge = DayRules(chosen, rules, Phases(load_yaml(opened.settings.trading.calendar)))
    at_ns, found = ist_midnight_ns(day), []
    for row in chosen:
        if row.expiry == day.isoformat():
            found.append(f"{row.key} expires today")
        elif row.expiry and (why := judge.view(row.slot, at_ns).expiry):
            found.append(why)
    return tuple(found)


def hours_of(opened: Opened) -> tuple[ClassHours, ...]:
    """The classes of the run's instruments and their day; () for a simulator's own, which keep no hours.

    Raises:
        SettingsError: a dated file cannot be used.
    """
    settings, chosen = opened.settings, opened.chosen
    if not len(chosen):
        return ()
    listed = frozenset(row.name for row in chosen if row.kind != "EQ")
    if opened.masters is not None:
        rows = opened.masters.rows  # a share with derivatives anywhere takes part in the closing auction
        codes = np.unique(rows.name.codes[rows.expiry > 0])
        listed |= frozenset(rows.name.words[int(code)] for code in codes)
    own = phases_of(settings, opened.now_ns) if settings.trading.market_start else None
    calendar = own or Phases(load_yaml(settings.trading.calendar))
    return class_hours(chosen, rules_of_day(settings, opened.day), calendar, opened.day, listed)
