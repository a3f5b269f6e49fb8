"""Layer 5, verbs, cold: what of the day's instruments and restrictions differs from the day before, from
files.

Instrument lists come from the cache, restrictions from the dated files in `risk.lists`. Yesterday is the
newest file of an earlier day, of each list for itself: after a weekend that is Friday's.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kite_hft.engine.orders.market_facts import names_of, rules_of_day
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.plan.master_cache import MasterError, newest_before
from kite_hft.engine.plan.masters import accesses_of, kept, source_of
from kite_hft.sessions import ist_date
from kite_hft.settings import Settings
from kite_hft.trading.lists.changes import Change, DayState, changes
from kite_hft.trading.lists.columns import Columns

_DATED: Final = re.compile(r"(.+)-(\d{4}-\d{2}-\d{2})\.csv")


@dataclass(frozen=True, slots=True)
class DayChanges:
    """since: with which day each list was compared, or "nothing". notes: what could not be."""

    day: dt.date
    since: dict[str, str]
    changes: list[Change]
    notes: list[str]


def day_changes(
    settings: Settings, now_real_ns: int, cache: Path, only: Iterable[str] | None = None
) -> DayChanges:
    """What changed since the day before. only: names of what is traded (changes.changes).

    Raises:
        SettingsError: the market rules, or a list of restrictions, cannot be used.
    """
    day, today = trading_day(settings, now_real_ns), ist_date(now_real_ns)
    since: dict[str, str] = {}
    notes: list[str] = []
    now: dict[str, Columns] = {}
    before: dict[str, Columns] = {}
    for access in accesses_of(settings):
        try:
            now[access.broker] = kept(access, now_real_ns, cache)[1]
        except MasterError as error:
            notes.append(str(error))
            continue
        found = newest_before(cache, source_of(access), today)
        since[access.broker] = "nothing" if found is None else found[0].day
        if found is not None:
            before[access.broker] = found[1]
    lists, old = restricted(settings, day)
    since |= {name: "nothing" if row is None else row[0].isoformat() for name, row in old.items()}
    if missing := [name for name, names in lists.items() if names is None]:
        notes.append(f"{settings.risk.lists} has no {', '.join(f'{name}-{day}.csv' for name in missing)}")
    days = {name: row[0] for name, row in old.items() if row is not None}
    names = {name: None if row is None else row[1] for name, row in old.items()}
    yesterday = DayState(max(days.values(), default=day), before, names, days)
    named = None if only is None else frozenset(only)
    return DayChanges(day, since, changes(yesterday, DayState(day, now, lists), named), notes)


def restricted(
    settings: Settings, day: dt.date
) -> tuple[dict[str, frozenset[str] | None], dict[str, tuple[dt.date, frozenset[str]] | None]]:
    """(the day's lists, the newest before them with their days), by name; None: there is no file."""
    names = [row.name for row in rules_of_day(settings, day).restrictions]
    files = _dated(settings.risk.lists)
    today: dict[str, frozenset[str] | None] = {}
    before: dict[str, tuple[dt.date, frozenset[str]] | None] = {}
    for name in names:
        here = files.get(name, {})
        today[name] = frozenset(names_of(here[day])) if day in here else None
        last = max((d for d in here if d < day), default=None)
        before[name] = None if last is None else (last, frozenset(names_of(here[last])))
    return today, before


def _dated(folder: Path) -> dict[str, dict[dt.date, Path]]:
    """list -> day -> its file."""
    found: dict[str, dict[dt.date, Path]] = {}
    for path in folder.glob("*.csv"):
        named = _DATED.fullmatch(path.name)
        if named is None:
            continue
        try:
            found.setdefault(named[1], {})[dt.date.fromisoformat(named[2])] = path
        except ValueError:
            continue
    return found
