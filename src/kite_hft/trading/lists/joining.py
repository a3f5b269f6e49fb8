"""Layer 2, supervisor, cold: Kite's and Upstox's instrument lists as one table.

What names an instrument on both sides is what it is: the exchange and, of a share, its symbol with the
series; of a contract its underlying, kind, expiry and strike; of an index a row of a table of names
(config/rules/indices_*.yaml), for the brokers call them differently. The exchange's id of it is never a
reason to join: ids are used again after an expiry. It is a check: two rows of one contract with two ids,
or one id on two contracts that both live, mean that a file is old or wrong. Such a pair is not joined.

Where two lists differ in what an order is checked by (lot, tick, freeze quantity, multiplier), one of them
would be refused or worth another sum than was thought: the instrument is barred from openings.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from kite_hft.trading.instruments import Instrument, InstrumentError, InstrumentTable, candidate
from kite_hft.units import price_text

Terms = tuple[str, str, str, str, int]
"""(exchange, kind, symbol or underlying, expiry, strike in the instrument's unit)."""
INDEX: Final = "INDEX"
_ROW: Final = frozenset({"kite", "upstox", "valid_from", "source", "confidence"})
_TOLD_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which the two lists differ, as texts with units."""

    key: str  # EXCHANGE:SYMBOL
    field: str
    kite: str
    upstox: str

    def __str__(self) -> str:
        return f"{self.field} {self.kite} at Kite, {self.upstox} at Upstox"


@dataclass(frozen=True, slots=True)
class Joined:
    """Kite's rows with what Upstox's list adds: the key, multiplier and freeze quantity where Kite has none.

    joined: how many rows have a key now. unmatched: rows that Upstox's list does not have. past: rows whose
    expiry is over. differing: fields that differ; their instruments are barred. contradictions: where
    exchange id and terms say different things; those instruments are barred and have no key. reused: ids
    that stood for a contract at Upstox which has expired.
    """

    table: InstrumentTable
    joined: int
    unmatched: tuple[Instrument, ...]
    past: tuple[Instrument, ...]
    differing: tuple[Difference, ...]
    contradictions: tuple[str, ...]
    reused: int

    def lines(self) -> list[str]:
        """For the log: what a person should know before he trades by it."""
        found = [f"{self.joined} of {len(self.table)} instruments joined with Upstox's list"]
        found += _some("not in Upstox's list", [row.key for row in self.unmatched])
        found += _some("expired", [row.key for row in self.past])
        found += _some("barred from openings", [f"{d.key}: {d}" for d in self.differing])
        found += _some("not joined", list(self.contradictions))
        if self.reused:
            found.append(f"{self.reused} exchange ids stood for other, expired contracts at Upstox")
        return found


def _some(words: str, texts: Sequence[str]) -> list[str]:
    if not texts:
        return []
    more = f" and {len(texts) - _TOLD_MAX} more" if len(texts) > _TOLD_MAX else ""
    return [f"{len(texts)} {words}: {'; '.join(texts[:_TOLD_MAX])}{more}"]


def index_names(data: Any, day: dt.date) -> dict[str, str]:
    """EXCHANGE:SYMBOL of Kite -> Upstox key, from the content of a file config/rules/indices_*.yaml.

    Of rows about one name of Kite's the newest that is valid on the day counts.

    Raises:
        InstrumentError: no such table, a row without a column or with another one, two names of Kite's
            for one key.
    """
    rows = data.get("indices") if isinstance(data, Mapping) else None
    if not isinstance(rows, list) or not rows:
        raise InstrumentError("a file of index names has a list `indices`")
    newest: dict[str, tuple[dt.date, str]] = {}
    for at, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or set(row) != _ROW:
            raise InstrumentError(f"indices, row {at}: needs exactly {', '.join(sorted(_ROW))}")
        since, name, key = row["valid_from"], str(row["kite"]), str(row["upstox"])
        if ":" not in name or "_INDEX|" not in key or not isinstance(since, dt.date):
            raise InstrumentError(f"indices, row {at}: {name!r}, {key!r}, {since!r} cannot be used")
        if since <= day and (name not in newest or newest[name][0] <= since):
            newest[name] = since, key
    found = {name: key for name, (_since, key) in newest.items()}
    if len(set(found.values())) != len(found):
        twice = sorted(key for key in set(found.values()) if list(found.values()).count(key) > 1)
        raise InstrumentError(f"indices: two names of Kite's stand for {', '.join(twice)}")
    return found


def terms_of(row: Instrument) -> Terms:
    """What an instrument is; not of indices."""
    if row.kind == "EQ":
        return row.exchange, row.kind, row.symbol, "", 0
    return row.exchange, row.kind, row.name, row.expiry, row.strike_px


def join(
    kite: InstrumentTable,
    upstox: InstrumentTable,
    *,
    indices: Mapping[str, str],
    day: dt.date,
    wanted: Iterable[str | int] | None = None,
) -> Joined:
    """One table for a run: Kite's rows (all, or the `wanted` names in their order) with Upstox's keys.

    upstox: of the same day (brokers/upstox/master.py; `beside=kite` spares the rest). indices: `index_names`.
    day: the day that is traded; contracts whose expiry lies before it are never joined.

    Raises:
        InstrumentError: a row of which there are several on one side: the message lists them; a wanted name
            that Kite's list does not have.
    """
    chosen = list(kite) if wanted is None else [kite.resolve(name) for name in dict.fromkeys(wanted)]
    finder = _Finder(kite, upstox, indices, day.isoformat())
    rows = [finder.find(row) for row in chosen]
    if finder.ambiguous:
        raise InstrumentError("; ".join(_some("instruments cannot be told apart", finder.ambiguous)))
    finder.refuse_shared(rows)
    return Joined(
        InstrumentTable(tuple(replace(row, slot=slot) for slot, row in enumerate(rows))),
        sum(bool(row.upstox_key) for row in rows),
        tuple(finder.unmatched),
        tuple(finder.past),
        tuple(finder.differing),
        tuple(finder.contradictions),
        finder.reused,
    )


class _Finder:
    """Looks up what stands for each of Kite's rows, and keeps what is to be told."""

    def __init__(
        self, kite: InstrumentTable, upstox: InstrumentTable, indices: Mapping[str, str], day: str
    ) -> None:
        self._day, self._indices, self._upstox = day, indices, upstox
        self._kite_terms = _by_terms(kite, day)
        self._terms = _by_terms(upstox, day)
        self._ids: dict[tuple[str, int], Instrument] = {}
        for row in upstox:
            if not row.is_index:
                self._ids[row.exchange, row.exchange_token] = row
        self.unmatched: list[Instrument] = []
        self.past: list[Instrument] = []
        self.ambiguous: list[str] = []
        self.differing: list[Difference] = []
        self.contradictions: list[str] = []
        self.reused = 0

    def find(self, row: Instrument) -> Instrument:
        """The row with its key, or without one, barred where that is needed."""
        row = replace(row, upstox_key="")  # what another list said of it before does not count
        if row.is_index:
            return self._index(row)
        if _over(row, self._day):
            self.past.append(row)
            return row
        terms = terms_of(row)
        ours, theirs = self._kite_terms[terms], self._terms.get(terms, [])
        if len(ours) > 1 or len(theirs) > 1:
            both = [*(("Kite", r) for r in ours), *(("Upstox", r) for r in theirs)]
            listed = ", ".join(f"{broker}: {candidate(r)}" for broker, r in both)
            self.ambiguous.append(f"{row.key} ({listed})")
            return row
        if not theirs:
            return self._without(row)
        (found,) = theirs
        if found.exchange_token != row.exchange_token:
            return self._refuse(
                row, f"exchange id {row.exchange_token} at Kite, {found.exchange_token} at Upstox"
            )
        return self._both(row, found)

    def _index(self, row: Instrument) -> Instrument:
        found = self._upstox.by_upstox_key.get(self._indices.get(row.key, ""))
        if found is None:
            self.unmatched.append(row)
            return row
        return replace(row, upstox_key=found.upstox_key)

    def _without(self, row: Instrument) -> Instrument:
        """No row of Upstox's has its terms; perhaps one has its exchange id."""
        self.unmatched.append(row)
        other = self._ids.get((row.exchange, row.exchange_token))
        if other is None:
            return row
        if _over(other, self._day):
            self.reused += 1
            return row
        return self._refuse(row, f"its exchange id {row.exchange_token} is {other.key} at Upstox")

    def _refuse(self, row: Instrument, text: str) -> Instrument:
        self.contradictions.append(f"{row.key}: {text}")
        return replace(row, barred=_also(row.barred, f"the brokers' lists contradict each other: {text}"))

    def _both(self, row: Instrument, found: Instrument) -> Instrument:
        different = _differences(row, found)
        self.differing += different
        barred = row.barred
        if different:
            barred = _also(barred, f"the brokers' lists differ: {', '.join(map(str, different))}")
        if found.barred:
            barred = _also(barred, f"at Upstox: {found.barred}")
        return replace(
            row,
            upstox_key=found.upstox_key,
            multiplier=found.multiplier if row.multiplier is None else row.multiplier,
            freeze_quantity=found.freeze_quantity if row.freeze_quantity is None else row.freeze_quantity,
            barred=barred,
        )

    def refuse_shared(self, rows: Sequence[Instrument]) -> None:
        """Two rows of one key: the table of index names, or a list, says one thing of two."""
        holders: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.upstox_key:
                holders[row.upstox_key].append(row.key)
        shared = [f"{key} for {', '.join(names)}" for key, names in holders.items() if len(names) > 1]
        if shared:
            raise InstrumentError(f"one Upstox key for several instruments: {'; '.join(shared)}")


def _by_terms(table: InstrumentTable, day: str) -> dict[Terms, list[Instrument]]:
    found: dict[Terms, list[Instrument]] = defaultdict(list)
    for row in table:
        if not row.is_index and not _over(row, day):
            found[terms_of(row)].append(row)
    return found


def _over(row: Instrument, day: str) -> bool:
    """Its expiry lies before the day; both are YYYY-MM-DD."""
    return bool(row.expiry) and row.expiry < day


def _also(text: str, more: str) -> str:
    return f"{text}; {more}" if text else more


def _differences(kite: Instrument, upstox: Instrument) -> list[Difference]:
    """What an order is checked by and is not equal; what one side does not say is no difference."""
    found = []
    for field, ours, theirs in (
        ("lot size", kite.lot_size, upstox.lot_size),
        ("freeze quantity", kite.freeze_quantity, upstox.freeze_quantity),
        ("multiplier", kite.multiplier, upstox.multiplier),
    ):
        if ours is not None and theirs is not None and ours != theirs:
            found.append(Difference(kite.key, field, str(ours), str(theirs)))
    if kite.tick_px != upstox.tick_px:
        ticks = (price_text(row.tick_px, row.scale) for row in (kite, upstox))
        found.append(Difference(kite.key, "tick size", *ticks))
    return found
