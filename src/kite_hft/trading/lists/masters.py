"""Layer 2, supervisor and verbs, cold: the brokers' instrument lists of a day as one index.

Look-ups go by token, EXCHANGE:SYMBOL, Upstox key, and (underlying, expiry, kind, strike). The rows of one
list
lead: Kite's where it is there, for the engine speaks its words; Upstox's adds keys, freeze quantities and
multipliers. What is chosen is joined row by row by trading/lists/joining.py, which alone decides what belongs
together: here is only found what it has to look at.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from kite_hft.trading.instruments import Instrument, InstrumentError
from kite_hft.trading.lists.columns import Columns, NotListed, Rows
from kite_hft.trading.lists.joining import Joined, join
from kite_hft.trading.positions import CASH_EXCHANGES, multiplier_of


@dataclass(frozen=True)
class Masters:
    """The lists of a day by broker ("kite", "upstox": one or both). indices: joining.index_names."""

    day: dt.date
    lists: Mapping[str, Columns]
    indices: Mapping[str, str]

    @cached_property
    def rows(self) -> Columns:
        """The list whose rows lead."""
        return self.lists["kite"] if "kite" in self.lists else self.lists["upstox"]

    @property
    def _beside(self) -> Columns | None:
        return self.lists.get("upstox") if "kite" in self.lists else None

    def row_of(self, name: str | int) -> int:
        """The leading list's row of a token, EXCHANGE:SYMBOL or Upstox key.

        Raises:
            InstrumentError: several have the name; it lists them. NotListed: none has it, or only Upstox's
                list knows the key.
        """
        beside = self._beside
        if beside is None or not (isinstance(name, str) and "|" in name) or self.rows.rows_of(name):
            return self.rows.resolve(name)
        theirs = beside.resolve(name)
        for row in self._candidates(beside, theirs):
            if self.joined([row]).table[0].upstox_key == name:
                return row
        raise NotListed(
            f"{name} ({beside.key(theirs)}) is in Upstox's list alone: Kite's list of {self.day} has no "
            "instrument "
            "of the same terms; compare the days of the lists, or name it by Kite's EXCHANGE:SYMBOL"
        )

    def _candidates(self, beside: Columns, theirs: int) -> list[int]:
        """Rows of the leading list that may be a row of the other one."""
        if beside.is_index[theirs]:
            key = beside.upstox_key[theirs]
            names = [name for name, upstox in self.indices.items() if upstox == key]
            return [row for name in names for row in self.rows.rows_of(name)]
        return [int(row) for row in np.flatnonzero(self.rows.terms == beside.terms[theirs])]

    def joined(self, rows: Iterable[int]) -> Joined:
        """Chosen rows of the leading list, in their order, with what the other one adds, and what was found.

        Raises:
            InstrumentError: a row of which there are several in one list; the message lists them.
        """
        chosen = np.fromiter(rows, np.intp)
        ours = self.rows
        names: list[str | int] = [int(token) for token in ours.token[chosen]]
        beside = self._beside
        if beside is None:
            return _alone(ours, chosen, self.day)
        terms = np.unique(ours.terms[chosen])
        terms = terms[terms != 0]
        alike = np.union1d(chosen, np.flatnonzero(np.isin(ours.terms, terms)))
        mask = np.isin(beside.terms, terms) | np.isin(beside.exchange_token, ours.exchange_token[chosen])
        mask |= beside.is_index
        return join(
            ours.table(alike),
            beside.table(np.flatnonzero(mask)),
            indices=self.indices,
            day=self.day,
            wanted=names,
        )

    def looked_up(self, rows: Iterable[int]) -> list[Instrument]:
        """The same to look at: a row that cannot be told apart from others is barred, not an error."""
        chosen = list(rows)
        try:
            return list(self.joined(chosen).table)
        except InstrumentError as error:
            if len(chosen) == 1:
                return [replace(self.rows.row(chosen[0]), barred=str(error))]
            half = len(chosen) // 2
            return [*self.looked_up(chosen[:half]), *self.looked_up(chosen[half:])]

    def instrument(self, name: str | int) -> Instrument:
        """One instrument by any of its names, joined."""
        return self.joined([self.row_of(name)]).table[0]

    def contract(
        self,
        underlying: str,
        expiry: dt.date,
        kind: str,
        strike: float | None = None,
        exchange: str | None = None,
    ) -> Instrument:
        """A contract by what it is; strike in rupees.

        Raises:
            InstrumentError: there is none; the message names the nearest.
        """
        return self.joined([self.rows.find(underlying, expiry, kind, strike, exchange)]).table[0]

    def same(self, names: Mapping[str, str | int]) -> Instrument:
        """The one instrument that several names stand for, as a configuration gives them: column -> name. A
        number may be a token of the engine's or the exchange's.

        Raises:
            InstrumentError: they stand for different instruments; the message names both. No names.
        """
        found: tuple[str, Instrument] | None = None
        numbers: list[tuple[str, int]] = []
        for column, name in names.items():
            if isinstance(name, int):
                numbers.append((column, name))
                continue
            row = self.instrument(name)
            if found is not None and found[1].token != row.token:
                raise InstrumentError(
                    f"{found[0]} is {told(found[1])}, but {column} {name!r} is {told(row)}: two instruments; "
                    "correct one of them, or leave it out"
                )
            found = found or (f"{column} {name!r}", row)
        if found is None:
            if not numbers:
                raise InstrumentError("no name of an instrument is given")
            column, number = numbers[0]
            found = f"{column} {number}", self.instrument(number)
        for column, number in numbers:
            if number not in (found[1].token, found[1].exchange_token):
                raise InstrumentError(
                    f"{found[0]} is {told(found[1])}, but {column} {number} is {self._of_number(number)}: "
                    "two "
                    "instruments; correct one of them, or leave the token out: it is derived from the list"
                )
        return found[1]

    def _of_number(self, number: int) -> str:
        """What a number stands for, in words."""
        if rows := self.rows.rows_of(number):
            return told(self.rows.row(rows[0]))
        others = np.flatnonzero((self.rows.exchange_token == number) & ~self.rows.is_index)
        if not others.size:
            return "no token of today's list"
        named = " or ".join(told(self.rows.row(int(row))) for row in others[:3])
        return f"{named} (an exchange's own number)"


def told(row: Instrument) -> str:
    """An instrument with its numbers, for a message."""
    key = f", {row.upstox_key}" if row.upstox_key else ""
    return f"{row.key} (token {row.token}, exchange token {row.exchange_token}{key})"


def _alone(columns: Columns, rows: Rows, day: dt.date) -> Joined:
    """Rows of one list."""
    table = columns.table(rows)
    past = tuple(row for row in table if row.expiry and row.expiry < day.isoformat())
    return Joined(table, sum(bool(row.upstox_key) for row in table), (), past, (), (), 0)


def why_not_tradable(row: Instrument, day: dt.date) -> str:
    """Why no order for an instrument would pass on the day; "": nothing in the lists speaks against it."""
    if row.is_index:
        return "an index is not traded"
    if row.barred:
        return row.barred
    if row.expiry and row.expiry < day.isoformat():
        return f"expired on {row.expiry}"
    missing = [
        what
        for what, lacking in (
            ("tick size", row.tick_px <= 0),
            ("lot size", row.lot_size <= 0),
            ("multiplier", not multiplier_of(row)),
            ("freeze quantity", row.freeze_quantity is None and row.exchange not in CASH_EXCHANGES),
        )
        if lacking
    ]
    return f"{' and '.join(missing)} not known" if missing else ""


def facts(row: Instrument, day: dt.date) -> dict[str, Any]:
    """An instrument for people and programs: prices in rupees."""
    return {
        "key": row.key,
        "token": row.token,
        "exchange_token": row.exchange_token,
        "upstox_key": row.upstox_key or None,
        "segment": row.segment,
        "kind": row.kind,
        "name": row.name,
        "expiry": row.expiry or None,
        "strike": row.strike_px / row.scale if row.kind in ("CE", "PE") else None,
        "tick_size": row.tick_px / row.scale,
        "lot_size": row.lot_size,
        "freeze_quantity": row.freeze_quantity,
        "multiplier": multiplier_of(row),
        "units_per_rupee": row.scale,
        "tradable": not (why := why_not_tradable(row, day)),
        "why_not": why or None,
    }
