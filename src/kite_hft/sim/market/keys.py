"""Layer 4, simulator, cold: names of an instrument beyond its own: ISIN, Upstox key, Upstox symbol.

Where a key is known (recorded data, a joined master) it stays; else it is made up from the exchange
token, the same at any time and in any process, so that two simulated brokers agree.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Final

from kite_hft.trading.instruments import Instrument, InstrumentTable

SEGMENTS: Final = {
    "NSE": "NSE_EQ", "BSE": "BSE_EQ", "NFO": "NSE_FO", "BFO": "BSE_FO", "CDS": "NCD_FO", "BCD": "BCD_FO",
    "MCX": "MCX_FO", "NCO": "NSE_COM",
}  # fmt: skip
"""Kite's exchange -> Upstox's segment, of all but indices."""
SHARES: Final = frozenset(("NSE_EQ", "BSE_EQ"))
IN_LOTS: Final = frozenset({"MCX", "NCO", "CDS", "BCD"})
"""Exchanges of whose contracts Upstox counts lots: commodities by his page on placing orders, currencies by
his sample of a position (quantity 1, multiplier 1000)."""
_INDEX_NAMES: Final = {"NIFTY 50": "Nifty 50", "NIFTY BANK": "Nifty Bank", "INDIA VIX": "India VIX"}
_TOKEN_DIGITS: Final = 7


def isin_of(row: Instrument) -> str:
    """A share's ISIN: of its Upstox key, or a made-up one."""
    segment, _, ident = row.upstox_key.partition("|")
    return ident if segment in SHARES else f"INE{row.exchange_token:0{_TOKEN_DIGITS}d}01"


def segment_of(row: Instrument) -> str:
    """Upstox's segment: `NSE_EQ`, `NSE_INDEX`, ..."""
    if row.is_index:
        return f"{row.exchange}_INDEX"
    return SEGMENTS[row.exchange]


def upstox_key_of(row: Instrument) -> str:
    """`SEGMENT|IDENT`: shares by ISIN, indices by name, all else by exchange token."""
    if row.upstox_key:
        return row.upstox_key
    if row.is_index:
        return f"{segment_of(row)}|{_INDEX_NAMES.get(row.symbol, row.symbol)}"
    segment = segment_of(row)
    return f"{segment}|{isin_of(row) if segment in SHARES else row.exchange_token}"


def upstox_symbol_of(row: Instrument) -> str:
    """Upstox's trading symbol: `BANKNIFTY 51200 CE 30 DEC 25`, `SJVN FUT 28 AUG 25`, `RELIANCE`."""
    if row.kind == "EQ":
        return _INDEX_NAMES.get(row.symbol, row.symbol) if row.is_index else row.symbol
    day = dt.date.fromisoformat(row.expiry).strftime("%d %b %y").upper() if row.expiry else ""
    strike = f"{row.strike_px / row.scale:g} " if row.kind in ("CE", "PE") else ""
    return f"{row.name or row.symbol} {strike}{row.kind} {day}".strip()


def upstox_lot_of(row: Instrument) -> int:
    """How many of our units are one of Upstox's wire: a lot, where he counts lots and the table does not."""
    return max(1, row.lot_size) if row.exchange in IN_LOTS else 1


def with_upstox_keys(table: InstrumentTable) -> InstrumentTable:
    """The table with a key in every row."""
    return InstrumentTable(tuple(replace(row, upstox_key=upstox_key_of(row)) for row in table))
