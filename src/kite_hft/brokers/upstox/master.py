"""Layer 2, supervisor, cold: Upstox's instrument files (complete.json, .json.gz) as instruments.

One JSON array of objects, rebuilt about 06:00 IST. Facts that shape this module: `tick_size` is in
paise, `expiry` in epoch ms (the end of the day in India), sizes are floats; which keys an object has
depends on its segment; `name` is a company's name, the underlying stands in `underlying_symbol`.

What names an instrument follows Kite's dump, so that the rest of the engine knows one language:
the exchange (NFO, not NSE), the kind EQ for all shares, the token exchange_token * 256 + segment, and
the series behind a symbol of NSE (`BYKE-BE`): without it a share and its debenture have one name.

A row with numbers that nothing can be traded by stays in the table, so that a position in it can be
named; `Instrument.barred` says why it is not tradable. A file that contradicts itself is refused.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from kite_hft.brokers.packed import unpacked
from kite_hft.plain import DATA_BYTES_MAX, plain_bytes
from kite_hft.trading.instruments import (
    INDEX_SEGMENT,
    Instrument,
    InstrumentError,
    InstrumentTable,
    scale_of_token,
    strike_units,
)
from kite_hft.units import IST_OFFSET_S, PriceError, px_from_price

EXCHANGE_TOKEN_MAX: Final = 2**24 - 1
PAISE: Final = 100
WHOLE_MAX: Final = 2**53
"""Of a size, and of a strike in its unit: a float holds every whole number up to there."""
EXPIRY_MS_MIN: Final = 86_400_000
EXPIRY_MS_MAX: Final = 4_102_444_800_000
"""Of a time at which a contract may end: 1970-01-02 to 2100-01-01."""


class Place(NamedTuple):
    """What a segment is called in Kite's words. number: low byte of its tokens. base: added to the
    exchange token, where two segments that share a number count from 1 both.
    """

    exchange: str
    number: int
    base: int = 0


PLACES: Final = {
    "NSE_EQ": Place("NSE", 1),
    "NSE_FO": Place("NFO", 2),
    "NCD_FO": Place("CDS", 3),
    "BSE_EQ": Place("BSE", 4),
    "BSE_FO": Place("BFO", 5),
    "BCD_FO": Place("BCD", 6),
    "MCX_FO": Place("MCX", 7),
    "NSE_COM": Place("NCO", 12),
    "NSE_INDEX": Place("NSE", INDEX_SEGMENT),
    "BSE_INDEX": Place("BSE", INDEX_SEGMENT),
    "MCX_INDEX": Place("MCX", INDEX_SEGMENT, 1 << 20),
}
"""Rows of other segments (funds, foreign indices) are no instruments of this engine: left out."""
SHARES: Final = frozenset({"NSE_EQ", "BSE_EQ"})
INDICES: Final = frozenset({"NSE_INDEX", "BSE_INDEX", "MCX_INDEX"})
COMMODITIES: Final = frozenset({"MCX_FO", "NSE_COM"})
"""Quantities are lots here, whatever lot_size says; a lot's content is qty_multiplier."""
UNITS: Final = frozenset({"NSE_EQ", "BSE_EQ", "NSE_FO", "BSE_FO"})
"""Quantities are units of the underlying here; BSE_FO rows have no qty_multiplier."""
PLAIN_SERIES: Final = frozenset({"EQ"})
DERIVATIVES: Final = {"FUT": "FUT", "CE": "OPT", "PE": "OPT"}


class MasterRow(msgspec.Struct, gc=False):
    """What is read of one object; None: its segment does not have the key."""

    segment: str
    instrument_key: str
    exchange_token: str | int
    trading_symbol: str
    instrument_type: str
    name: str | None = None
    underlying_symbol: str | None = None
    expiry: float | None = None
    strike_price: float | None = None
    lot_size: float | None = None
    tick_size: float | None = None
    freeze_quantity: float | None = None
    qty_multiplier: float | None = None


class _Placed(msgspec.Struct, gc=False):
    """Whatever an object is, its segment says whether it counts."""

    segment: str


_DECODER: Final = msgspec.json.Decoder(list[MasterRow])
LEFT_OUT: Final = msgspec.json.encode(MasterRow("", "", "", "", ""))


def read_master(
    path: Path, *, wanted: Sequence[str | int] | None = None, beside: InstrumentTable | None = None
) -> InstrumentTable:
    """`parse_master` of a file."""
    try:
        data = plain_bytes(path, DATA_BYTES_MAX)
    except OSError as error:
        raise InstrumentError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_master(data, str(path), wanted=wanted, beside=beside)


def parse_master(
    data: bytes,
    where: str = "Upstox instruments",
    *,
    wanted: Sequence[str | int] | None = None,
    beside: InstrumentTable | None = None,
) -> InstrumentTable:
    """The file's content, packed or not, as a table; slots as they stand in it.

    wanted: only these (EXCHANGE:SYMBOL, token or Upstox key), in this order. beside: only what may be
    one of these instruments, for lists/joining.py: the same symbol, underlying or exchange id, and all
    indices. Both save the making of 100,000 objects of which 500 are used.

    Raises:
        InstrumentError: cut short, damaged, empty, a key that stands twice, a field of another type, an
            exchange token that is none: with file, row (from 1) and field. A wanted name that is not
            there, or that names several.
    """
    rows = decode(unpacked(data, where), where)
    chosen: Iterable[int] = range(len(rows))
    if wanted is not None:
        wanted = [int(name) if isinstance(name, str) and name.isdecimal() else name for name in wanted]
    if beside is not None:
        chosen = _resembling(rows, beside)
    if wanted is not None:
        chosen = _named(rows, wanted)
    made = _made(rows, chosen, where)
    if wanted is None:
        return InstrumentTable(tuple(made))
    return _select(InstrumentTable(tuple(made)), wanted, rows, where)


def _rows(data: bytes) -> list[MasterRow]:
    """All rows. Those of segments that are left out may look as they like: empty ones stand for them then.

    Raises:
        msgspec.MsgspecError: no list of objects, or a row of a segment that counts is none of ours.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError:
        rows = msgspec.json.decode(data, type=list[msgspec.Raw])
        filled = [LEFT_OUT if _is_left_out(row) else bytes(row) for row in rows]
        return _DECODER.decode(b"[%b]" % b",".join(filled))


def _is_left_out(row: msgspec.Raw) -> bool:
    """By its segment. What names none is not left out unseen."""
    try:
        return msgspec.json.decode(row, type=_Placed).segment not in PLACES
    except msgspec.ValidationError:
        return False


def decode(data: bytes, where: str) -> list[MasterRow]:
    try:
        rows = _rows(data)
    except msgspec.ValidationError as error:
        at = re.search(r" - at `\$(?:\[(\d+)\](?:\.(\w+))?)?`", str(error))
        place = f", row {int(at[1]) + 1}" if at and at[1] else ""
        place += f", {at[2]}" if at and at[2] else ""
        raise InstrumentError(f"{where}{place}: {str(error).partition(' - at ')[0]}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InstrumentError(f"{where}: cut short or damaged: {error}: fetch it again") from error
    if not rows:
        raise InstrumentError(f"{where}: no instrument is in it: fetch it again")
    if len({row.instrument_key for row in rows}) != len(rows):
        seen: dict[str, int] = {}
        for at_row, row in enumerate(rows, 1):
            if row.segment in PLACES and (first := seen.setdefault(row.instrument_key, at_row)) != at_row:
                raise InstrumentError(
                    f"{where}, row {at_row}, instrument_key: {row.instrument_key} stands in row {first} too"
                )
    return rows


# What is chosen


def _base(symbol: str) -> str:
    """A symbol without the series behind it."""
    head, dash, tail = symbol.rpartition("-")
    return head if dash and 1 <= len(tail) <= 2 else symbol


def _named(rows: Sequence[MasterRow], wanted: Collection[str | int]) -> list[int]:
    """Rows that may be meant, a few more than are."""
    texts = {name for name in wanted if isinstance(name, str)}
    symbols = {name.partition(":")[2] for name in texts}
    symbols |= {_base(symbol) for symbol in symbols}
    ids = {str(token >> 8) for token in wanted if isinstance(token, int)}
    ids |= {str((token >> 8) - (1 << 20)) for token in wanted if isinstance(token, int)}
    return [
        at
        for at, row in enumerate(rows)
        if row.trading_symbol in symbols or row.instrument_key in texts or str(row.exchange_token) in ids
    ]


def _resembling(rows: Sequence[MasterRow], table: InstrumentTable) -> list[int]:
    names = {row.name for row in table if row.expiry}
    symbols = {_base(row.symbol) for row in table} | {row.symbol for row in table}
    ids = {str(row.exchange_token) for row in table}
    return [
        at
        for at, row in enumerate(rows)
        if str(row.exchange_token) in ids
        or (row.underlying_symbol in names if row.underlying_symbol else row.trading_symbol in symbols)
        or row.segment in INDICES
    ]


def _select(
    table: InstrumentTable, wanted: Iterable[str | int], rows: Sequence[MasterRow], where: str
) -> InstrumentTable:
    found = []
    for name in dict.fromkeys(wanted):
        try:
            found.append(table.resolve(name))
        except InstrumentError as error:
            if name in table.ambiguous:
                raise InstrumentError(f"{where}: {error}") from None
            known = [row.instrument_key for row in rows]
            known += [f"{p.exchange}:{symbol_of(row)}" for row in rows if (p := PLACES.get(row.segment))]
            near = difflib.get_close_matches(str(name), known, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise InstrumentError(f"{where}: instrument {name!r} is not in it{hint}") from None
    return table.select(found)


# One row


def _made(rows: Sequence[MasterRow], chosen: Iterable[int], where: str) -> list[Instrument]:
    days: dict[float, str] = {}
    found: list[Instrument] = []
    for at in chosen:
        row = rows[at]
        place = PLACES.get(row.segment)
        if place is None:
            continue
        try:
            found.append(instrument_of(len(found), row, place, days))
        except InstrumentError as error:
            raise InstrumentError(f"{where}, row {at + 1}, {error}") from error
    return found


def symbol_of(row: MasterRow) -> str:
    """The trading symbol; of a share of NSE with its series, as at Kite."""
    symbol, series = row.trading_symbol, row.instrument_type
    if row.segment != "NSE_EQ" or series in PLAIN_SERIES or symbol.endswith(f"-{series}"):
        return symbol
    return f"{symbol}-{series}"


def exchange_token_of(row: MasterRow) -> int:
    text = str(row.exchange_token)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= EXCHANGE_TOKEN_MAX):
        raise InstrumentError(
            f"exchange_token: {row.exchange_token!r} of {row.instrument_key} is no number of 24 bits"
        )
    return int(text)


def instrument_of(slot: int, row: MasterRow, place: Place, days: dict[float, str]) -> Instrument:
    if not row.instrument_key.startswith(f"{row.segment}|"):
        raise InstrumentError(f"instrument_key: {row.instrument_key!r} is none of segment {row.segment}")
    exchange_token = exchange_token_of(row)
    token = (exchange_token + place.base) * 256 + place.number
    if row.segment in INDICES:
        return Instrument(
            slot, token, exchange_token, row.trading_symbol, place.exchange, "INDICES", "EQ", 0, 0,
            name=row.name or "", upstox_key=row.instrument_key,
        )  # fmt: skip
    scale = scale_of_token(token)
    kind, segment = "EQ", place.exchange
    if row.segment not in SHARES:
        kind = row.instrument_type
        segment = f"{segment}-{DERIVATIVES.get(kind, kind)}"
    doubts: list[str] = []
    lot = _whole(row.lot_size, "lot size", doubts)
    return Instrument(
        slot=slot,
        token=token,
        exchange_token=exchange_token,
        symbol=symbol_of(row),
        exchange=place.exchange,
        segment=sys.intern(segment),
        kind=sys.intern(kind),
        tick_px=_tick(row.tick_size, scale, doubts),
        scale=scale,
        name=sys.intern(row.underlying_symbol or row.name or ""),
        expiry=_day(row.expiry, days, doubts) if kind in DERIVATIVES else "",
        strike_px=_strike(row, scale, doubts) if kind in ("CE", "PE") else 0,
        multiplier=_multiplier(row, doubts),
        freeze_quantity=_freeze(row, doubts),
        upstox_key=row.instrument_key,
        lot_size=_lot(row, lot, kind, doubts),
        barred="; ".join(doubts),
    )


def _whole(value: float | None, what: str, doubts: list[str]) -> int:
    """A whole number above 0, else 0 and a doubt."""
    if value is not None and 0 < value <= WHOLE_MAX and value == int(value):
        return int(value)
    doubts.append(f"{what} {'missing' if value is None else f'{value:g}'}")
    return 0


def _tick(paise: float | None, scale: int, doubts: list[str]) -> int:
    try:
        px = px_from_price((paise or 0.0) / PAISE, scale)
    except PriceError:
        px = 0
    if px <= 0:
        doubts.append(f"tick size {'missing' if paise is None else f'{paise:g} paise'}")
        return 0
    return px


def _day(expiry_ms: float | None, days: dict[float, str], doubts: list[str]) -> str:
    """The day in India on which a contract ends; the same few come again and again."""
    if expiry_ms is None:
        doubts.append("expiry missing")
        return ""
    found = days.get(expiry_ms)
    if found is None:
        if not EXPIRY_MS_MIN <= expiry_ms <= EXPIRY_MS_MAX:
            doubts.append(f"expiry {expiry_ms:g} is no time")
            return ""
        day = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=expiry_ms / 1000 + IST_OFFSET_S)
        found = days[expiry_ms] = day.date().isoformat()
    return found


def _strike(row: MasterRow, scale: int, doubts: list[str]) -> int:
    try:
        strike_px = strike_units(row.strike_price or 0.0, scale)
    except PriceError as error:
        doubts.append(str(error))
        return 0
    if not 0 < strike_px <= WHOLE_MAX:
        doubts.append(f"strike {row.strike_price:g}" if strike_px else "strike missing")
        return 0
    return strike_px


def _multiplier(row: MasterRow, doubts: list[str]) -> int | None:
    if row.qty_multiplier is None and row.segment in UNITS:
        return 1
    return _whole(row.qty_multiplier, "quantity multiplier", doubts) or None


def _freeze(row: MasterRow, doubts: list[str]) -> int | None:
    if row.freeze_quantity is None and row.segment in SHARES:
        return None  # as at Kite: shares have none
    return _whole(row.freeze_quantity, "freeze quantity", doubts) or None


def _lot(row: MasterRow, lot: int, kind: str, doubts: list[str]) -> int:
    """The step of quantities; 0 for what cannot be traded."""
    if row.segment not in SHARES and kind not in DERIVATIVES:
        doubts.append(f"a {kind} is no contract")
    if "NSETEST" in row.trading_symbol:
        doubts.append("a test instrument of the exchange")
    if doubts:
        return 0
    return 1 if row.segment in COMMODITIES else lot
