"""Layer 4, simulator, cold: Upstox's option contracts and option chain, by underlying.

A contract is a row of the instrument file with its expiry as a date; a chain has a row for each
strike of one expiry, with market data and Greeks of call and put. An underlying of which nothing is
listed here has no contracts: an empty list, as at the broker.
"""

from __future__ import annotations

from typing import Any, Final

from kite_hft.sessions import ist_date
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.rest import Call, Route
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import BAD_KEY, date_of
from kite_hft.sim.upstox.instruments import MasterRows
from kite_hft.sim.upstox.quotes import greeks
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.trading.instruments import Instrument

_NO_OI: Final = 0.0


class OptionsDesk:
    """Options by what they are options on."""

    def __init__(self, exchange: Exchange, rows: FeedRows, master: MasterRows) -> None:
        self._exchange = exchange
        self._rows = rows
        self._by_underlying: dict[str, list[tuple[Instrument, dict[str, Any]]]] = {}
        for instrument, row in zip(exchange.instruments, master.rows, strict=True):
            if instrument.kind in ("CE", "PE") and row.get("underlying_key"):
                self._by_underlying.setdefault(row["underlying_key"], []).append((instrument, row))

    def routes(self) -> list[Route]:
        """Contracts and chain."""
        return [
            Route("GET", "/v2/option/contract", self._contracts),
            Route("GET", "/v2/option/chain", self._chain),
        ]

    def _asked(self, call: Call) -> tuple[str, list[tuple[Instrument, dict[str, Any]]]]:
        """(key, contracts that live) of the underlying. Raises Refusal."""
        key = call.given("instrument_key")
        if not key:
            raise refusal("UDAPI1026", "Instrument key is required")
        if key not in self._by_underlying and key not in self._exchange.instruments.by_upstox_key:
            raise refusal(*BAD_KEY)
        wanted, today = call.given("expiry_date"), ist_date(call.now_ns).isoformat()
        if wanted:
            date_of(wanted)
        found = self._by_underlying.get(key, [])
        return key, [(i, row) for i, row in found if i.expiry >= today and wanted in ("", i.expiry)]

    def _contracts(self, call: Call) -> list[dict[str, Any]]:
        _, found = self._asked(call)
        left_out = ("name", "expiry", "asset_key", "asset_symbol", "asset_type", "qty_multiplier")
        return [
            {"name": row["name"], "expiry": i.expiry}
            | {name: value for name, value in row.items() if name not in left_out}
            for i, row in sorted(found, key=lambda pair: (pair[0].expiry, pair[0].strike_px, pair[0].kind))
        ]

    def _chain(self, call: Call) -> list[dict[str, Any]]:
        if not call.given("expiry_date"):
            raise refusal("UDAPI100036", "Invalid input: expiry_date")
        key, found = self._asked(call)
        strikes: dict[float, dict[str, Instrument]] = {}
        for instrument, row in found:
            strikes.setdefault(row["strike_price"], {})[instrument.kind] = instrument
        return [
            {
                "expiry": call.given("expiry_date"),
                "pcr": self._put_call_ratio(sides),
                "strike_price": strike,
                "underlying_key": key,
                "underlying_spot_price": self._spot(key),
                "call_options": self._side(sides.get("CE"), call),
                "put_options": self._side(sides.get("PE"), call),
            }
            for strike, sides in sorted(strikes.items())
        ]

    def _spot(self, key: str) -> float:
        """Last price of the underlying; 0: it is not in this market."""
        row = self._exchange.instruments.by_upstox_key.get(key)
        return int(self._exchange.latest[row.slot]["last_px"]) / row.scale if row is not None else 0.0

    def _put_call_ratio(self, sides: dict[str, Instrument]) -> float | None:
        call, put = (
            int(self._exchange.latest[s.slot]["oi"]) if s else 0 for s in map(sides.get, ("CE", "PE"))
        )
        return round(put / call, 4) if call else None

    def _side(self, row: Instrument | None, call: Call) -> dict[str, Any] | None:
        """One contract of the chain; None: there is none at this strike."""
        if row is None:
            return None
        ticks = self._exchange.latest[row.slot : row.slot + 1]
        feed = self._rows.rows(ticks)[0]
        told = greeks(row, ticks[0], feed, call) or {}
        words = {name: told.get(name) for name in ("vega", "theta", "gamma", "delta", "iv")}
        return {
            "instrument_key": row.upstox_key,
            "market_data": {
                "ltp": float(feed["ltp"]),
                "volume": int(feed["vtt"]),
                "oi": float(feed["oi"]),
                "close_price": float(feed["cp"]),
                "bid_price": float(feed["bid_p"][0]),
                "bid_qty": int(feed["bid_q"][0]),
                "ask_price": float(feed["ask_p"][0]),
                "ask_qty": int(feed["ask_q"][0]),
                "prev_oi": _NO_OI,  # of yesterday nothing is known here
            },
            # The chance to end in the money, which the broker calls pop, is near the size of delta.
            "option_greeks": words | {"pop": round(100 * abs(words["delta"] or 0.0), 2)},
        }
