"""Layer 4, simulator, cold: the simulator's universe as Upstox's instrument files.

complete.json.gz and the exchanges' own: a JSON array, an object an instrument, with the columns and
units of the real files: tick_size in paise, expiry in epoch ms (23:59:59 IST of the day), the
exchange token as text, names missing where a segment has none. The real files lie on a host of
their own; here they are served beside the API, without a token.
"""

from __future__ import annotations

import datetime as dt
import gzip
import zlib
from typing import Any, Final

from kite_hft.sessions import DAY_S, ist_midnight_ns
from kite_hft.sim.market.keys import (
    SEGMENTS,
    SHARES,
    isin_of,
    segment_of,
    upstox_lot_of,
    upstox_symbol_of,
)
from kite_hft.sim.rest import Call, Response, Route, encode
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.quota import FREE
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import MarketRules
from kite_hft.units import NS_PER_S

PATH: Final = "/market-quote/instruments/exchange/*"
GZIP: Final = "application/gzip"
_EXCHANGE_OF: Final = {"NFO": "NSE", "CDS": "NSE", "NCO": "NSE", "BFO": "BSE", "BCD": "BSE"}
_ASSETS: Final = {"CDS": "CUR", "BCD": "CUR", "MCX": "COM", "NCO": "COM"}
_COMMODITIES: Final = ("MCX", "NCO")
_INDEX_OF: Final = {
    "NIFTY": "NIFTY 50", "BANKNIFTY": "NIFTY BANK", "FINNIFTY": "NIFTY FIN SERVICE",
    "MIDCPNIFTY": "NIFTY MID SELECT", "NIFTYNXT50": "NIFTY NEXT 50",
}  # fmt: skip
"""What contracts call an index -> its symbol, where they differ."""
FREEZE_OF_SHARES: Final = 100_000.0


class MasterRows:
    """The objects of complete.json, by slot."""

    def __init__(self, instruments: InstrumentTable, rules: MarketRules, cas: frozenset[int]) -> None:
        """`cas`: slots that take part in the closing auction."""
        self.rows = [master_row(row, instruments, rules, row.slot in cas) for row in instruments]


class InstrumentFiles:
    """The files, made once."""

    def __init__(self, master: MasterRows) -> None:
        self._rows = master.rows
        self._files: dict[str, bytes] = {}

    def routes(self) -> list[Route]:
        """complete, NSE, BSE, MCX."""
        return [Route("GET", PATH, self._file, FREE, open=True)]

    def _file(self, call: Call) -> Response:
        name = call.args[0].removesuffix(".json.gz")
        if name not in ("complete", "NSE", "BSE", "MCX") or call.args[0] == name:
            raise refusal("UDAPI100060", "Resource not Found.", 404)
        if name not in self._files:
            rows = [row for row in self._rows if name in ("complete", row["exchange"])]
            self._files[name] = gzip.compress(encode(rows), 6, mtime=0)
        return Response(200, GZIP, self._files[name])


def master_row(
    row: Instrument, instruments: InstrumentTable, rules: MarketRules, cas: bool
) -> dict[str, Any]:
    """One object of the file."""
    segment = segment_of(row)
    found: dict[str, Any] = {
        "segment": segment,
        "name": row.name or row.symbol,
        "exchange": _EXCHANGE_OF.get(row.exchange, row.exchange),
        "instrument_type": "INDEX" if row.is_index else row.kind,
        "instrument_key": row.upstox_key,
        "exchange_token": str(row.exchange_token),
        "trading_symbol": upstox_symbol_of(row),
    }
    if row.is_index:
        return found
    lot = upstox_lot_of(row)
    multiplier = (row.multiplier or 1) * lot
    found |= {
        # A commodity's lot is said in units of the goods; orders are in lots.
        "lot_size": multiplier if row.exchange == "MCX" else row.lot_size // lot,
        "freeze_quantity": float(rules.freeze(row) // lot) or FREEZE_OF_SHARES,
        "tick_size": row.tick_px * 100 / row.scale,
        "qty_multiplier": float(multiplier),
    }
    if segment in SHARES:
        return found | {
            "isin": isin_of(row),
            "short_name": row.name or row.symbol,
            "security_type": "NORMAL",
            "cas_eligible": cas,
        }
    asset = _ASSETS.get(row.exchange, "INDEX" if _index_of(row, instruments) else "EQUITY")
    found |= {
        "expiry": _last_ms(row.expiry),
        "strike_price": row.strike_px / row.scale,
        "asset_symbol": row.name,
        "underlying_symbol": row.name,
        "asset_type": asset,
        "underlying_type": asset,
    }
    if row.exchange not in _COMMODITIES:
        found |= {"minimum_lot": row.lot_size // lot, "weekly": False}
    key = _underlying_key(row, instruments)
    return found | ({"asset_key": key, "underlying_key": key} if key else {})


def _underlying(row: Instrument, instruments: InstrumentTable) -> Instrument | None:
    exchange = _EXCHANGE_OF.get(row.exchange, row.exchange)
    return instruments.by_key.get(f"{exchange}:{_INDEX_OF.get(row.name, row.name)}")


def _underlying_key(row: Instrument, instruments: InstrumentTable) -> str:
    """Every contract of a share or an index names what it is on, also where that is not in this market:
    such a share has an ISIN that is made up of its name."""
    if underlying := _underlying(row, instruments):
        return underlying.upstox_key
    if row.exchange not in ("NFO", "BFO"):
        return ""
    segment = SEGMENTS[_EXCHANGE_OF[row.exchange]]
    return f"{segment}|INE9{zlib.crc32(row.name.encode()) % 10**6:06d}01"


def _index_of(row: Instrument, instruments: InstrumentTable) -> bool:
    found = _underlying(row, instruments)
    return found is not None and found.is_index


def _last_ms(expiry: str) -> int:
    """23:59:59 IST of the day; 0: no expiry is known."""
    if not expiry:
        return 0
    return (ist_midnight_ns(dt.date.fromisoformat(expiry)) + (DAY_S - 1) * NS_PER_S) // 1_000_000
