"""Layer 2, supervisor and verbs, cold: an instrument list as columns; rows only where they are wanted.

A broker's list has 40,000 to 130,000 rows, a run trades some hundred of them. As columns a list is loaded,
filtered and looked through in milliseconds; what is chosen becomes rows (`Columns.row`, `Columns.table`), and
what those say is exactly what the list's own reader would have made of it.

Texts that repeat (exchange, underlying, kind) are numbers of a short list of words. Look-ups build their
tables on first use.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kite_hft.trading.instruments import (
    INDEX_SEGMENT,
    Instrument,
    InstrumentError,
    InstrumentTable,
    candidate,
)

Rows = npt.NDArray[np.intp]
"""Numbers of rows."""
Mask = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]

EPOCH: Final = dt.date(1970, 1, 1)
NO_DAY: Final = 0
"""In `expiry`: the instrument has none."""
NUMBERS: Final = {
    "token": np.uint32, "exchange_token": np.int64, "tick_px": np.int32, "lot_size": np.int64,
    "scale": np.int64, "expiry": np.int32, "strike_px": np.int64, "multiplier": np.int64,
    "freeze_quantity": np.int64,
}  # fmt: skip
"""Columns of numbers and their type. expiry: days since 1970; 0: none. multiplier, freeze: 0: not known."""
WORDS: Final = ("exchange", "segment", "kind", "name", "barred")
"""Columns of texts that repeat."""
TEXTS: Final = ("symbol", "upstox_key")
"""Columns of texts that do not."""
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


class NotListed(InstrumentError):
    """A name that no row of the list bears."""


class Words(NamedTuple):
    """Texts as numbers of a list without repeats: codes int32[n], and what they stand for."""

    codes: npt.NDArray[np.int32]
    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        number = {word: code for code, word in enumerate(dict.fromkeys(texts))}
        return cls(np.fromiter(map(number.__getitem__, texts), np.int32, len(texts)), tuple(number))

    def text(self, row: int) -> str:
        return self.words[int(self.codes[row])]

    def are(self, wanted: Iterable[str]) -> Mask:
        """bool[n]: the text is one of these."""
        chosen = frozenset(wanted)
        return np.array([word in chosen for word in self.words], np.bool_)[self.codes]

    def hashes(self) -> npt.NDArray[np.uint64]:
        """uint64[n]: equal for equal texts of any list in this process."""
        return np.array([hash(word) & 0xFFFFFFFFFFFFFFFF for word in self.words], np.uint64)[self.codes]


def day_number(day: dt.date) -> int:
    """As it stands in the column `expiry`."""
    return (day - EPOCH).days


def day_of(number: int) -> dt.date:
    return EPOCH + dt.timedelta(days=int(number))


@dataclass(frozen=True)
class Columns:
    """One instrument list. All columns have the same length; a row's number is its place in the list."""

    token: npt.NDArray[np.uint32]
    exchange_token: Int64s
    tick_px: npt.NDArray[np.int32]
    lot_size: Int64s
    scale: Int64s
    expiry: npt.NDArray[np.int32]
    strike_px: Int64s
    multiplier: Int64s
    freeze_quantity: Int64s
    exchange: Words
    segment: Words
    kind: Words
    name: Words
    barred: Words
    symbol: Sequence[str]
    upstox_key: Sequence[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            column = getattr(self, field.name)
            n = len(column.codes if isinstance(column, Words) else column)
            if n != len(self):
                raise InstrumentError(f"column {field.name} has {n} rows, the list has {len(self)}")

    @classmethod
    def of_table(cls, table: Iterable[Instrument]) -> Columns:
        """The columns of rows that are there already."""
        rows = list(table)
        made: dict[str, Any] = {
            name: np.array([getattr(row, name) or 0 for row in rows], kind)
            for name, kind in NUMBERS.items()
            if name != "expiry"
        }
        days = {text: day_number(dt.date.fromisoformat(text)) for text in {row.expiry for row in rows} - {""}}
        made["expiry"] = np.array([days.get(row.expiry, NO_DAY) for row in rows], np.int32)
        made |= {name: Words.of([getattr(row, name) for row in rows]) for name in WORDS}
        made |= {name: [getattr(row, name) for row in rows] for name in TEXTS}
        return cls(**made)

    def __len__(self) -> int:
        return len(self.token)

    def key(self, row: int) -> str:
        return f"{self.exchange.text(row)}:{self.symbol[row]}"

    def row(self, row: int, slot: int = 0) -> Instrument:
        """A row as the list's own reader makes it."""
        expiry = int(self.expiry[row])
        return Instrument(
            slot=slot,
            token=int(self.token[row]),
            exchange_token=int(self.exchange_token[row]),
            symbol=self.symbol[row],
            exchange=self.exchange.text(row),
            segment=self.segment.text(row),
            kind=self.kind.text(row),
            tick_px=int(self.tick_px[row]),
            lot_size=int(self.lot_size[row]),
            scale=int(self.scale[row]),
            name=self.name.text(row),
            expiry=day_of(expiry).isoformat() if expiry else "",
            strike_px=int(self.strike_px[row]),
            multiplier=int(self.multiplier[row]) or None,
            freeze_quantity=int(self.freeze_quantity[row]) or None,
            upstox_key=self.upstox_key[row],
            barred=self.barred.text(row),
        )

    def table(self, rows: Iterable[int] | None = None) -> InstrumentTable:
        """Some rows (all of them) as a table, in the order given."""
        chosen = range(len(self)) if rows is None else rows
        return InstrumentTable(tuple(self.row(int(row), slot) for slot, row in enumerate(chosen)))

    # Which rows

    @cached_property
    def is_index(self) -> Mask:
        return np.asarray((self.token & 0xFF == INDEX_SEGMENT) | self.segment.are(["INDICES"]))

    def over(self, day: dt.date) -> Mask:
        """bool[n]: the contract's expiry lies before the day."""
        return np.asarray((self.expiry != NO_DAY) & (self.expiry < day_number(day)))

    @cached_property
    def monthly(self) -> Mask:
        """bool[n]: the contract ends on a month's last expiry, of all on its underlying at its exchange."""
        month = self.expiry.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        place, name = self.exchange.codes.astype(np.int64), self.name.codes.astype(np.int64)
        group = (place << 40) + (name << 16) + month
        order = np.lexsort((self.expiry, group))
        last = np.append(np.diff(group[order]) != 0, True)
        latest = np.repeat(self.expiry[order][last], np.diff(np.append(-1, np.flatnonzero(last))))
        found = np.zeros(len(self), np.bool_)
        found[order] = self.expiry[order] == latest
        found &= self.expiry != NO_DAY
        return found

    @cached_property
    def terms(self) -> npt.NDArray[np.uint64]:
        """uint64[n]: a hash of what an instrument is (joining.py: terms_of), 0 for an index. Equal
        terms have equal hashes, in every list of this process; the reverse has to be looked at.
        """
        share = self.kind.are(["EQ"])
        named = self.name.hashes()
        of_shares = np.fromiter(map(hash, self.symbol), np.int64, len(self)).astype(np.uint64)
        found = np.where(share, of_shares, named)
        parts = (self.exchange.hashes(), self.kind.hashes())
        for part in (*parts, np.where(share, 0, self.expiry), np.where(share, 0, self.strike_px)):
            found = (found ^ part.astype(np.uint64)) * _MIX
            found ^= found >> np.uint64(29)
        found[self.is_index] = 0
        return found

    @cached_property
    def _by_token(self) -> dict[int, int]:
        return dict(zip(self.token.tolist(), range(len(self)), strict=True))

    @cached_property
    def _by_upstox_key(self) -> dict[str, int]:
        found = dict(zip(self.upstox_key, range(len(self)), strict=True))
        found.pop("", None)
        return found

    @cached_property
    def _by_symbol(self) -> dict[str, int | list[int]]:
        """Symbol -> its row, or rows: a share stands on two exchanges."""
        found: dict[str, int | list[int]] = {}
        for row, symbol in enumerate(self.symbol):
            known = found.setdefault(symbol, row)
            if known != row:
                found[symbol] = [known, row] if isinstance(known, int) else [*known, row]
        return found

    def rows_of(self, name: str | int) -> list[int]:
        """Rows that bear a name: a token (also in digits), EXCHANGE:SYMBOL or an Upstox key."""
        if isinstance(name, int) or name.isdecimal():
            row = self._by_token.get(int(name))
            return [] if row is None else [row]
        if "|" in name:
            row = self._by_upstox_key.get(name)
            return [] if row is None else [row]
        exchange, colon, symbol = name.partition(":")
        found = self._by_symbol.get(symbol, []) if colon else []
        rows = [found] if isinstance(found, int) else found
        return [row for row in rows if self.exchange.text(row) == exchange]

    def resolve(self, name: str | int) -> int:
        """The row of a name.

        Raises:
            NotListed: none; the message names the nearest. InstrumentError: several; it lists them.
        """
        rows = self.rows_of(name)
        if len(rows) == 1:
            return rows[0]
        if rows:
            listed = "; ".join(candidate(self.row(row)) for row in rows)
            raise InstrumentError(
                f"{name!r} names {len(rows)} instruments: {listed}: say which by its token or Upstox key"
            )
        near = ", ".join(self.near(str(name)))
        hint = f"; did you mean {near}?" if near else ""
        raise NotListed(f"instrument {name!r} is not in today's list{hint}")

    def near(self, name: str, n: int = 3) -> list[str]:
        """Names that look like it: by the beginning first, for comparing with all takes seconds."""
        exchange, colon, symbol = name.partition(":")
        symbol = symbol if colon else exchange
        head = symbol[: max(3, len(symbol) // 2)].upper()
        keys = [self.key(row) for row, text in enumerate(self.symbol) if text.startswith(head)]
        if "|" in name:
            keys = [key for key in self.upstox_key if key.startswith(name[:-2])]
        return difflib.get_close_matches(name, keys[:4000], n=n, cutoff=0.5)

    def contracts(self, underlying: str, exchange: str | None = None) -> Rows:
        """Futures and options of an underlying, as they stand in the list."""
        mask = self.name.are([underlying]) & ~self.kind.are(["EQ"])
        if exchange is not None:
            mask &= self.exchange.are([exchange])
        return np.flatnonzero(mask)

    def find(
        self,
        underlying: str,
        expiry: dt.date,
        kind: str,
        strike: float | None = None,
        exchange: str | None = None,
    ) -> int:
        """The row of a contract by what it is; strike in rupees.

        Raises:
            InstrumentError: there is none, or more than one; the message names what there is.
        """
        rows = self.contracts(underlying, exchange)
        if not len(rows):
            raise InstrumentError(f"no contract on {underlying!r} in today's list")
        rows = rows[self.kind.are([kind])[rows]]
        if not (at := rows[self.expiry[rows] == day_number(expiry)]).size:
            days = ", ".join(day_of(d).isoformat() for d in np.unique(self.expiry[rows])[:8])
            raise InstrumentError(
                f"no {kind} on {underlying} that ends on {expiry}; there are {days or 'none'}"
            )
        if strike is not None:
            near = np.abs(self.strike_px[at] - strike * self.scale[at])
            exact = at[near < 0.5]
            if not exact.size:
                order = at[np.argsort(near, kind="stable")][:4]
                texts = ", ".join(f"{self.strike_px[r] / self.scale[r]:g}" for r in order)
                raise InstrumentError(
                    f"no {kind} on {underlying} of {expiry} with strike {strike:g}; the nearest are {texts}"
                )
            at = exact
        if at.size > 1:
            listed = "; ".join(candidate(self.row(int(row))) for row in at[:6])
            raise InstrumentError(f"{at.size} contracts are a {kind} on {underlying} of {expiry}: {listed}")
        return int(at[0])
