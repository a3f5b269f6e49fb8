"""Layer 2, every process, cold: what is traded, and the slot by which the hot path knows it.

An instrument gets a slot (0, 1, 2, ...) for the run; ticks, kernels and intents carry slots only.
Read from Kite's CSV dump (specs: columns instrument_token .. exchange), to which multiplier and
freeze quantity are added from elsewhere: Kite's dump has neither, and an instrument without them
is not tradable in derivatives. A run's own list has the Upstox key as well, and why an instrument
is barred.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.plain import DATA_BYTES_MAX, plain_text
from kite_hft.units import OFF_GRID_MAX, PriceError, px_from_price

INDEX_SEGMENT: Final = 9
DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
"""How a list writes the day on which a contract ends."""
SCALE_DEFAULT: Final = 100
SCALE_BY_SEGMENT: Final = {3: 10_000_000, 6: 10_000, 12: 10_000}
"""Low byte of a Kite token -> units per rupee: CDS, BCD, NCO; everything else paise."""

CSV_COLUMNS: Final = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)
EXTRA_COLUMNS: Final = ("multiplier", "freeze_quantity", "upstox_key", "barred")


class InstrumentError(ValueError):
    """An instrument file that cannot be used; the message names file, line and column."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the master. Prices in units of 1/scale rupee."""

    slot: int
    token: int
    exchange_token: int
    symbol: str
    exchange: str
    segment: str
    kind: str  # EQ, FUT, CE, PE
    tick_px: int
    lot_size: int
    scale: int = SCALE_DEFAULT
    name: str = ""
    expiry: str = ""
    strike_px: int = 0
    multiplier: int | None = None
    freeze_quantity: int | None = None
    upstox_key: str = ""  # SEGMENT|IDENT; "": not known there
    barred: str = ""  # why nothing is opened in it, whatever the day; "": it is

    @property
    def is_index(self) -> bool:
        return self.token & 0xFF == INDEX_SEGMENT or self.segment == "INDICES"

    @property
    def key(self) -> str:
        return f"{self.exchange}:{self.symbol}"


def scale_of_token(token: int) -> int:
    """Units per rupee of a Kite instrument token (its low byte is the segment)."""
    return SCALE_BY_SEGMENT.get(token & 0xFF, SCALE_DEFAULT)


@dataclass(frozen=True, slots=True)
class InstrumentTable:
    """All instruments of a run, by slot, token, EXCHANGE:SYMBOL and Upstox key.

    A name that several rows bear (a share and an index, two series) is not in `by_key`: it stands for
    none of them. `ambiguous` has these names and their rows.
    """

    rows: tuple[Instrument, ...]
    by_token: dict[int, Instrument] = field(default_factory=dict)
    by_key: dict[str, Instrument] = field(default_factory=dict)
    by_upstox_key: dict[str, Instrument] = field(default_factory=dict)
    ambiguous: dict[str, list[Instrument]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for slot, row in enumerate(self.rows):
            if row.slot != slot:
                raise InstrumentError(f"{row.key} has slot {row.slot}, stands at {slot}")
            if row.token in self.by_token:
                raise InstrumentError(f"token {row.token} stands twice: {row.key}")
            self.by_token[row.token] = row
            if (known := self.by_key.setdefault(row.key, row)) is not row:
                self.ambiguous.setdefault(row.key, [known]).append(row)
            if row.upstox_key:
                if row.upstox_key in self.by_upstox_key:
                    raise InstrumentError(f"Upstox key {row.upstox_key} stands twice: {row.key}")
                self.by_upstox_key[row.upstox_key] = row
        for key in self.ambiguous:
            del self.by_key[key]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self.rows)

    def __getitem__(self, slot: int) -> Instrument:
        return self.rows[slot]

    def tokens(self) -> npt.NDArray[np.uint32]:
        """uint32[n]: token of each slot."""
        return np.array([row.token for row in self.rows], np.uint32)

    def scales(self) -> npt.NDArray[np.float64]:
        """float64[n]: units per rupee of each slot."""
        return np.array([row.scale for row in self.rows], np.float64)

    def select(self, rows: Iterable[Instrument]) -> InstrumentTable:
        """A table of some of the rows, with new slots in the order given."""
        return InstrumentTable(tuple(replace(row, slot=slot) for slot, row in enumerate(rows)))

    def resolve(self, name: str | int) -> Instrument:
        """By `EXCHANGE:SYMBOL`, by token (digits are one, too), or by Upstox key (`NSE_FO|55775`).

        Raises:
            InstrumentError: not in the table, then the message names the nearest known keys; or a name
                of several, then it lists them.
        """
        if isinstance(name, int) or name.isdecimal():
            found = self.by_token.get(int(name))
        else:
            found = self.by_key.get(name) or self.by_upstox_key.get(name)
        if found is None and (several := self.ambiguous.get(str(name))):
            raise InstrumentError(
                f"{name!r} names {len(several)} instruments: {'; '.join(map(candidate, several))}: "
                "say which by its token or Upstox key"
            )
        if found is None:
            import difflib

            near = difflib.get_close_matches(str(name), self.by_key, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise InstrumentError(f"instrument {name!r} is not in today's list{hint}")
        return found


def candidate(row: Instrument) -> str:
    """One of several instruments, told apart from the others."""
    known = [f"token {row.token}", row.segment, row.kind, row.name, row.expiry, row.upstox_key]
    return " ".join(text for text in known if text)


def strike_units(strike: float, scale: int) -> int:
    """A strike in units of 1/scale rupee; 0.0: none. Unlike a price it needs not fit 32 bits.

    Raises:
        PriceError: no number, below 0, or off the unit.
    """
    units = strike * scale
    if not (math.isfinite(units) and units >= 0):
        raise PriceError(f"strike {strike!r} at scale {scale} is no price")
    whole = round(units)
    if abs(units - whole) > OFF_GRID_MAX + units * 2**-51:
        raise PriceError(f"strike {strike!r} is not a multiple of 1/{scale}")
    return whole


def _row(slot: int, cells: dict[str, str], where: str) -> Instrument:
    try:
        token = int(cells["instrument_token"])
        if not 0 < token < 2**32:
            raise ValueError(f"instrument_token {token} does not fit 32 bits")
        scale = scale_of_token(token)
        return Instrument(
            slot=slot,
            token=token,
            exchange_token=int(cells["exchange_token"]),
            symbol=sys.intern(cells["tradingsymbol"]),
            exchange=sys.intern(cells["exchange"]),  # thousands of rows share few texts
            segment=sys.intern(cells["segment"]),
            kind=sys.intern(cells["instrument_type"]),
            tick_px=px_from_price(float(cells["tick_size"] or 0), scale),
            lot_size=int(float(cells["lot_size"] or 0)),
            scale=scale,
            name=sys.intern(cells["name"]),
            expiry=_day(cells["expiry"]),
            strike_px=strike_units(float(cells["strike"] or 0), scale),
            multiplier=_optional(cells.get("multiplier")),
            freeze_quantity=_optional(cells.get("freeze_quantity")),
            upstox_key=cells.get("upstox_key") or "",
            barred=cells.get("barred") or "",
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise InstrumentError(f"{where}: {error}") from error


def _day(text: str) -> str:
    if text and not DAY.fullmatch(text):
        raise ValueError(f"expiry {text!r} is no date YYYY-MM-DD")
    return sys.intern(text)


def _optional(text: str | None) -> int | None:
    return int(text) if text else None


def parse_csv(lines: Iterable[str], where: str = "instruments") -> InstrumentTable:
    """Kite's instrument dump (with or without our extra columns) as a table.

    Raises:
        InstrumentError: a missing column, an unreadable cell or a doubled token, with its line.
    """
    reader = csv.DictReader(lines)
    try:
        missing = [c for c in CSV_COLUMNS if c not in (reader.fieldnames or ())]
        if missing:
            raise InstrumentError(f"{where}: columns missing: {', '.join(missing)}")
        rows = tuple(_row(i, cells, f"{where}, line {i + 2}") for i, cells in enumerate(reader))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InstrumentError(f"{where}: {error}") from error
    return InstrumentTable(rows)


def read_csv(path: Path) -> InstrumentTable:
    """`parse_csv` of a file."""
    try:
        text = plain_text(path, most=DATA_BYTES_MAX)
    except UnicodeDecodeError as error:
        raise InstrumentError(f"{path}: {error}") from error
    return parse_csv(io.StringIO(text, newline=""), str(path))


def write_csv(table: InstrumentTable, path: Path) -> None:
    """The table in Kite's columns plus EXTRA_COLUMNS; `read_csv` reads it back."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*CSV_COLUMNS, *EXTRA_COLUMNS])
        writer.writerows(csv_row(row) for row in table)


def csv_row(row: Instrument) -> list[str]:
    """One line of the dump, in the order of CSV_COLUMNS + EXTRA_COLUMNS."""
    return [
        str(row.token),
        str(row.exchange_token),
        row.symbol,
        row.name,
        "0.0",
        row.expiry,
        repr(row.strike_px / row.scale),
        f"{row.tick_px / row.scale:.7f}".rstrip("0").rstrip(".") or "0",
        str(row.lot_size),
        row.kind,
        row.segment,
        row.exchange,
        "" if row.multiplier is None else str(row.multiplier),
        "" if row.freeze_quantity is None else str(row.freeze_quantity),
        row.upstox_key,
        row.barred,
    ]
