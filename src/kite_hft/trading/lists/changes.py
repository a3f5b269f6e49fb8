"""Layer 2, verbs, cold: what is different today from the day before, in the instrument lists and in the day's
lists of restricted instruments.

Contracts of one underlying change together: one line tells of them all. A change of the lot is the dangerous
one (a quantity that was ten lots is none today), then what may no longer be opened.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.trading.lists.columns import Columns, Rows

FIELDS: Final = (
    ("lot", "lot_size"), ("tick", "tick_px"), ("freeze", "freeze_quantity"), ("multiplier", "multiplier"),
)  # fmt: skip
"""What an order is checked by: what a change is called, and the column."""
SHARE: Final = "EQ"


@dataclass(frozen=True, slots=True)
class DayState:
    """What was known on a day. instruments: by broker. restricted: list -> names; None: no file. days:
    of which day a list is, where it is of another one.
    """

    day: dt.date
    instruments: Mapping[str, Columns] = field(default_factory=dict)
    restricted: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    days: Mapping[str, dt.date] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One line. what: lot, tick, freeze, multiplier, gone, new, on, off, missing. about: EXCHANGE:SYMBOL of a
    share, EXCHANGE:UNDERLYING of contracts, or a name on a list. before, after: the values, "" where there is
    none. where: the broker's name, or the list's. examples: some of the `count` instruments.
    """

    what: str
    about: str
    where: str
    before: str = ""
    after: str = ""
    count: int = 1
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.what in ("on", "off"):
            return f"{self.about} is {'now' if self.what == 'on' else 'no longer'} on the list {self.where}"
        if self.what == "missing":
            return f"the list {self.where} of {self.after} is missing (there is one of {self.before})"
        many = f" ({self.count:,} contracts)" if self.count > 1 else ""
        if self.what == "gone":
            return f"{self.about}: gone from {self.where}'s list before its end{many}"
        if self.what == "new":
            return f"{self.about}: new in {self.where}'s list{many}"
        return f"{self.about}: {self.what} {self.before} -> {self.after} at {self.where}{many}"

    def record(self) -> dict[str, Any]:
        """For programs."""
        return {
            "what": self.what, "about": self.about, "where": self.where, "before": self.before or None,
            "after": self.after or None, "count": self.count, "examples": list(self.examples), "text":
            str(self),
        }  # fmt: skip


def changes(yesterday: DayState, today: DayState, only: Collection[str] | None = None) -> list[Change]:
    """What changed, the dangerous first. only: names (EXCHANGE:SYMBOL, symbol, or underlying) of what is
    traded;
    None: all.
    """
    found: list[Change] = []
    for broker, now in today.instruments.items():
        if (before := yesterday.instruments.get(broker)) is not None:
            found += _instruments(before, now, broker, today.day)
    rank = {what: at for at, (what, _) in enumerate(FIELDS)}
    found.sort(key=lambda change: (rank.get(change.what, len(rank)), change.about, change.before))
    found = _restricted(yesterday, today) + found
    return found if only is None else [change for change in found if concerns(change, only)]


def concerns(change: Change, names: Collection[str]) -> bool:
    """Whether a change is about one of these names; a missing list is about all."""
    symbol = change.about.partition(":")[2] or change.about
    return change.what == "missing" or change.about in names or symbol in names


def _restricted(yesterday: DayState, today: DayState) -> list[Change]:
    found = []
    for name, now in today.restricted.items():
        before = yesterday.restricted.get(name)
        if now is None:
            if before is not None:
                last = yesterday.days.get(name, yesterday.day)
                found.append(Change("missing", name, name, last.isoformat(), today.day.isoformat()))
            continue
        if before is None:
            continue
        found += [Change("on", about, name) for about in sorted(now - before)]
        found += [Change("off", about, name) for about in sorted(before - now)]
    return found


def _instruments(before: Columns, now: Columns, broker: str, day: dt.date) -> list[Change]:
    old, new = _matched(before, now)
    found: list[Change] = []
    for what, column in FIELDS:
        a, b = getattr(before, column)[old], getattr(now, column)[new]
        differing = np.flatnonzero((a != b) & ~now.is_index[new])
        groups: dict[tuple[str, int, int], list[int]] = defaultdict(list)
        for at in differing.tolist():
            groups[_about(now, int(new[at])), int(a[at]), int(b[at])].append(int(new[at]))
        for (about, was, is_now), rows in groups.items():
            scale = int(now.scale[rows[0]]) if what == "tick" else 1
            a_text, b_text = (f"{value / scale:g}" if value else "not known" for value in (was, is_now))
            found.append(Change(what, about, broker, a_text, b_text, *_some(now, rows)))
    gone = np.setdiff1d(np.flatnonzero(~before.over(day) & ~before.is_index), old)
    found += _listed("gone", before, gone, broker)
    fresh = np.setdiff1d(np.flatnonzero(~now.is_index), new)
    return found + _listed("new", now, fresh[~np.isin(now.terms[fresh], before.terms)], broker, known=before)


def _listed(
    what: str, columns: Columns, rows: Rows, broker: str, known: Columns | None = None
) -> list[Change]:
    """Instruments that went, or came. New contracts on a known underlying are every day's: not told."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row in rows.tolist():
        groups[_about(columns, row)].append(row)
    if known is not None:
        names = set(known.name.words)
        shares = {about for about, at in groups.items() if columns.kind.text(at[0]) == SHARE}
        groups = {a: at for a, at in groups.items() if a in shares or a.partition(":")[2] not in names}
    return [Change(what, about, broker, "", "", *_some(columns, at)) for about, at in groups.items()]


def _matched(before: Columns, now: Columns) -> tuple[Rows, Rows]:
    """Rows of the same instrument in both; those whose terms several rows have are left out."""
    _, a, b = np.intersect1d(_single(before), _single(now), return_indices=True)
    return _rows_of_single(before)[a], _rows_of_single(now)[b]


def _rows_of_single(columns: Columns) -> Rows:
    _, first, count = np.unique(columns.terms, return_index=True, return_counts=True)
    rows = np.sort(first[count == 1])
    return np.asarray(rows[columns.terms[rows] != 0])


def _single(columns: Columns) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.asarray(columns.terms[_rows_of_single(columns)], np.uint64)


def _about(columns: Columns, row: int) -> str:
    if columns.kind.text(row) == SHARE:
        return columns.key(row)
    return f"{columns.exchange.text(row)}:{columns.name.text(row)}"


def _some(columns: Columns, rows: list[int]) -> tuple[int, tuple[str, ...]]:
    return len(rows), tuple(columns.key(row) for row in rows[:3])
