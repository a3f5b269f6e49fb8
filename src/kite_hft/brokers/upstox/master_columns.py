"""Layer 2, supervisor and verbs, cold: Upstox's instrument file as columns.

What the fields mean, and what a row is called in Kite's words, stands in brokers/upstox/master.py; here the
same is done a column at a time. Rows about which master.py has doubts (a size that is no whole number, a tick
off the unit, a test instrument) are few: they are made by master.py itself, so that there is one truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.brokers.packed import unpacked
from kite_hft.brokers.upstox import master
from kite_hft.brokers.upstox.master import COMMODITIES, DERIVATIVES, INDICES, PAISE, PLACES, SHARES, UNITS
from kite_hft.trading.instruments import Instrument, InstrumentError
from kite_hft.trading.lists.column_numbers import scales_of, units_of
from kite_hft.trading.lists.columns import Columns, Words
from kite_hft.trading.lists.list_checks import check_unique
from kite_hft.units import IST_OFFSET_S

REBUILT: Final = "06:00:00"
"""IST: from then on the broker's file is the day's."""
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
DAY_S: Final = 86_400


def parse_columns(data: bytes, where: str = "Upstox instruments") -> Columns:
    """The file's content, packed or not, as columns; equal to master.parse_master row by row.

    Raises:
        InstrumentError: as parse_master.
    """
    rows = [row for row in master.decode(unpacked(data, where), where) if row.segment in PLACES]
    if not rows:
        raise InstrumentError(f"{where}: no instrument of a segment that is traded here is in it")
    found = _columns(rows, where)
    check_unique(found, where)
    return found


def _columns(rows: Sequence[master.MasterRow], where: str) -> Columns:
    n = len(rows)
    segment = Words.of([row.segment for row in rows])
    places = [PLACES[word] for word in segment.words]
    number = np.array([place.number for place in places], np.int64)[segment.codes]
    base = np.array([place.base for place in places], np.int64)[segment.codes]
    own_id = _exchange_tokens(rows, where)
    token = ((own_id + base) * 256 + number).astype(np.uint32)
    scale = scales_of(token)
    share, index = segment.are(SHARES), segment.are(INDICES)
    kind = _kinds(rows, segment)
    contract = kind.are(DERIVATIVES)
    lot, freeze = _floats(rows, "lot_size"), _floats(rows, "freeze_quantity")
    multiplier = _floats(rows, "qty_multiplier")
    multiplier[np.isnan(multiplier) & segment.are(UNITS)] = 1
    tick_px, odd_tick = units_of(np.nan_to_num(_floats(rows, "tick_size")) / PAISE, scale)
    option = kind.are(("CE", "PE"))
    strike = np.nan_to_num(_floats(rows, "strike_price"))
    strike_px, odd_strike = units_of(np.where(option, strike, 0.0), scale, wide=True)
    expiry, odd_day = _days(_floats(rows, "expiry"))
    doubtful = _unwhole(lot) | odd_tick | (tick_px <= 0) | _unwhole(multiplier)
    doubtful |= _unwhole(freeze) & ~(share & np.isnan(freeze))
    odd_strike |= (strike_px <= 0) | (strike_px > master.WHOLE_MAX)
    doubtful |= (contract & odd_day) | (option & odd_strike) | ~(share | contract)
    doubtful |= np.fromiter(("NSETEST" in row.trading_symbol for row in rows), np.bool_, n)
    lot[segment.are(COMMODITIES)] = 1
    numbers: dict[str, Any] = {
        "token": token, "exchange_token": own_id, "tick_px": tick_px.astype(np.int32), "scale": scale,
        "lot_size": _integers(lot), "expiry": np.where(contract, expiry, 0).astype(np.int32),
        "strike_px": strike_px, "multiplier": _integers(multiplier), "freeze_quantity": _integers(freeze),
    }  # fmt: skip
    texts = {
        "exchange": [places[code].exchange for code in segment.codes.tolist()],
        "segment": _segments(segment, kind, places),
        "kind": [kind.words[code] for code in kind.codes.tolist()],
        "name": [row.underlying_symbol or row.name or "" for row in rows],
        "barred": [""] * n,
        "symbol": [master.symbol_of(row) if row.segment == "NSE_EQ" else row.trading_symbol for row in rows],
        "upstox_key": [row.instrument_key for row in rows],
    }
    _check_keys(rows, where)
    days: dict[float, str] = {}
    for at in np.flatnonzero(doubtful | index).tolist():
        _put(numbers, texts, at, master.instrument_of(at, rows[at], places[segment.codes[at]], days))
    numbers |= {name: Words.of(texts.pop(name)) for name in ("exchange", "segment", "kind", "name", "barred")}
    return Columns(**numbers, symbol=texts["symbol"], upstox_key=texts["upstox_key"])


def _put(numbers: dict[str, Any], texts: dict[str, list[str]], at: int, row: Instrument) -> None:
    """A row that was made by itself."""
    for name, column in numbers.items():
        if name != "expiry":
            column[at] = getattr(row, name) or 0
    numbers["expiry"][at] = int(np.datetime64(row.expiry, "D").astype(np.int64)) if row.expiry else 0
    for name, column in texts.items():
        column[at] = getattr(row, name)


def _kinds(rows: Sequence[master.MasterRow], segment: Words) -> Words:
    """EQ for all shares, else the instrument's own."""
    share = [word in SHARES for word in segment.words]
    return Words.of(
        ["EQ" if share[code] else row.instrument_type for row, code in zip(rows, segment.codes, strict=True)]
    )


def _segments(segment: Words, kind: Words, places: Sequence[master.Place]) -> list[str]:
    """NSE of shares, NFO-OPT of options."""
    pairs = {
        (s, k): places[s].exchange
        if segment.words[s] in SHARES
        else f"{places[s].exchange}-{DERIVATIVES.get(kind.words[k], kind.words[k])}"
        for s in range(len(places))
        for k in range(len(kind.words))
    }
    return [pairs[pair] for pair in zip(segment.codes.tolist(), kind.codes.tolist(), strict=True)]


def _exchange_tokens(rows: Sequence[master.MasterRow], where: str) -> npt.NDArray[np.int64]:
    try:
        found = np.fromiter((int(row.exchange_token) for row in rows), np.int64, len(rows))
        if not ((found <= 0) | (found > master.EXCHANGE_TOKEN_MAX)).any():
            return found
    except (ValueError, OverflowError):
        pass
    for at, row in enumerate(rows, 1):
        try:
            master.exchange_token_of(row)
        except InstrumentError as error:
            raise InstrumentError(f"{where}, row {at}, {error}") from None
    raise InstrumentError(f"{where}: an exchange_token is no number of 24 bits")


def _check_keys(rows: Sequence[master.MasterRow], where: str) -> None:
    for at, row in enumerate(rows, 1):
        if not row.instrument_key.startswith(row.segment) or row.instrument_key[len(row.segment)] != "|":
            raise InstrumentError(
                f"{where}, row {at}, instrument_key: {row.instrument_key!r} is none of segment {row.segment}"
            )


def _floats(rows: Sequence[master.MasterRow], name: str) -> Floats:
    """float64[n]; NaN: the object does not have it."""
    return np.array(list(map(attrgetter(name), rows)), np.float64)


def _unwhole(values: Floats) -> Mask:
    """bool[n]: no whole number above 0."""
    return np.asarray(~((values > 0) & (values == np.floor(values)) & (values <= master.WHOLE_MAX)))


def _integers(values: Floats) -> npt.NDArray[np.int64]:
    return np.where(_unwhole(values), 0, values).astype(np.int64)


def _days(expiry_ms: Floats) -> tuple[npt.NDArray[np.int64], Mask]:
    """(days since 1970 in India, where there is none or no time)."""
    odd = ~((expiry_ms >= master.EXPIRY_MS_MIN) & (expiry_ms <= master.EXPIRY_MS_MAX))
    found = np.where(odd, 0, expiry_ms) / 1000 + IST_OFFSET_S
    return (found // DAY_S).astype(np.int64), odd
