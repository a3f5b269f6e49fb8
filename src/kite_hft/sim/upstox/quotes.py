"""Layer 4, simulator, cold: Upstox's quotes, v2 and v3, from the exchange's last ticks.

Asked for by key; the answer names an instrument SEGMENT:SYMBOL and says its key in
`instrument_token`. A key without a tick today is left out. v2 takes its keys under `symbol` too
(the official client), shows yesterday's close as the day's, and tells how many orders a level has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from kite_hft.sessions import ist_date, ist_midnight_ns, ist_text
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.market.keys import segment_of, upstox_symbol_of
from kite_hft.sim.rest import Call, Route
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import BAD_KEY
from kite_hft.sim.upstox.candles import CandlesDesk
from kite_hft.sim.upstox.frames import AUCTION_PART
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.trading.instruments import Instrument
from kite_hft.units import NS_PER_S

KEYS_MAX: Final = 500
GREEK_KEYS_MAX: Final = 50
_LEVELS: Final = 5
_INTERVALS: Final = {"1d": ("days", 1), "I1": ("minutes", 1), "I30": ("minutes", 30)}
"""interval of the ohlc calls -> unit and number of the candles."""
_LOOK_BACK_S: Final = 10 * 86_400
"""Within so long lies the day before this one."""

Quote = dict[str, Any]
Make = Callable[[Instrument, np.void, np.void, Call], Quote | None]


class QuotesDesk:
    """What the market looks like."""

    def __init__(self, exchange: Exchange, rows: FeedRows, candles: CandlesDesk) -> None:
        self._exchange = exchange
        self._rows = rows
        self._candles = candles

    def routes(self) -> list[Route]:
        """All of them count as ordinary requests."""
        return [
            Route("GET", "/v3/market-quote/ltp", self._quotes(_ltp)),
            Route("GET", "/v3/market-quote/ohlc", self._quotes(self._ohlc, interval=True)),
            Route("GET", "/v3/market-quote/quotes", self._quotes(self._whole)),
            Route("GET", "/v3/market-quote/option-greek", self._quotes(greeks, GREEK_KEYS_MAX)),
            Route("GET", "/v2/market-quote/ltp", self._quotes(_ltp_v2)),
            Route("GET", "/v2/market-quote/ohlc", self._quotes(self._ohlc_v2, interval=True)),
            Route("GET", "/v2/market-quote/quotes", self._quotes(self._whole_v2)),
        ]

    def _quotes(
        self, make: Make, most: int = KEYS_MAX, *, interval: bool = False
    ) -> Callable[[Call], dict[str, Any]]:
        def answer(call: Call) -> dict[str, Any]:
            keys = [key for key in (call.given("instrument_key") or call.given("symbol")).split(",") if key]
            if not keys:
                raise refusal("UDAPI1026", "Instrument key is required")
            if len(keys) > most:
                raise refusal("UDAPI100042", f"At most {most} instruments can be asked for at once.")
            if interval:
                _check_interval(call.given("interval"))
            table = self._exchange.instruments
            rows = [table.by_upstox_key[key] for key in keys if key in table.by_upstox_key]
            if not rows:
                raise refusal(*BAD_KEY)
            found = {}
            for row in rows:
                if self._exchange.seen[row.slot]:
                    tick = self._exchange.latest[row.slot : row.slot + 1]
                    made = make(row, tick[0], self._rows.rows(tick)[0], call)
                    if made is not None:
                        found[f"{segment_of(row)}:{upstox_symbol_of(row)}"] = made
            return found

        return answer

    # -- v3

    def _ohlc(self, row: Instrument, tick: np.void, feed: np.void, call: Call) -> Quote:
        """The candle that grows and the one before it; of a day: today and the last trading day."""
        unit, number = _INTERVALS[call.given("interval")]
        now_s = call.now_ns // NS_PER_S
        from_s = ist_midnight_ns(ist_date(call.now_ns)) // NS_PER_S - (_LOOK_BACK_S if unit == "days" else 0)
        bars = self._candles.bars(row, unit, number, from_s, now_s, call.now_ns)
        live = _candle(bars[-1], row.scale) if len(bars) else None
        if unit == "days":
            live = _bar(feed, "day")
        prev = _candle(bars[-2], row.scale) if len(bars) > 1 else None
        return {
            "last_price": float(feed["ltp"]), "instrument_token": row.upstox_key, "prev_ohlc": prev,
            "live_ohlc": live,
        }  # fmt: skip

    def _whole(self, row: Instrument, tick: np.void, feed: np.void, call: Call) -> Quote:
        auction = bool(int(feed["parts"]) & AUCTION_PART)
        return {"ohlc": _bar(feed, "day")} | self._common(row, tick, feed, orders=False) | {
            "prev_close_price": float(feed["cp"]),
            "indicative_equilibrium_price": float(feed["iep"]) if auction else None,
            "reference_price": float(feed["rp"]) if auction else None,
            "indicative_equilibrium_quantity": int(feed["ieq"]) if auction else None,
            "indicative_imbalance_quantity_total": int(feed["iiq_total"]) if auction else None,
            "indicative_imbalance_quantity_market": int(feed["iiq_market"]) if auction else None,
            "cas_eligible": bool(feed["cas_eligible"]),
        }  # fmt: skip

    # -- v2

    def _ohlc_v2(self, row: Instrument, tick: np.void, feed: np.void, call: Call) -> Quote:
        if call.given("interval") == "1d":
            ohlc: Quote | None = _day_v2(tick, row.scale)
        else:
            ohlc = self._ohlc(row, tick, feed, call)["live_ohlc"]
            ohlc = {name: ohlc[name] for name in ("open", "high", "low", "close")} if ohlc else None
        return {"ohlc": ohlc} | _ltp_v2(row, tick, feed, call)

    def _whole_v2(self, row: Instrument, tick: np.void, feed: np.void, call: Call) -> Quote:
        return {"ohlc": _day_v2(tick, row.scale)} | self._common(row, tick, feed, orders=True)

    def _common(self, row: Instrument, tick: np.void, feed: np.void, *, orders: bool) -> Quote:
        """What both versions of a whole quote have."""
        low, high = (0, 0) if row.is_index else self._exchange.band(row.slot)
        depth = {
            word: [
                {
                    "quantity": int(feed[f"{side}_q"][i]),
                    "price": float(feed[f"{side}_p"][i]),
                    "orders": int(tick[f"{side}_orders"][i]) if orders else 0,
                }
                for i in range(_LEVELS)
            ]
            for word, side in (("buy", "bid"), ("sell", "ask"))
        }
        return {
            "depth": depth,
            "timestamp": ist_text(int(tick["exch_ns"])).replace(" ", "T") + "+05:30",
            "instrument_token": row.upstox_key,
            "symbol": upstox_symbol_of(row),
            "last_price": float(feed["ltp"]),
            "volume": int(feed["vtt"]),
            "average_price": float(feed["atp"]),
            "oi": float(feed["oi"]),
            "net_change": (int(tick["last_px"]) - int(tick["close_px"])) / row.scale,
            "total_buy_quantity": float(feed["tbq"]),
            "total_sell_quantity": float(feed["tsq"]),
            "lower_circuit_limit": low / row.scale,
            "upper_circuit_limit": high / row.scale,
            "last_trade_time": str(int(tick["last_trade_s"]) * 1000),
            "oi_day_high": float(tick["oi_day_high"]),
            "oi_day_low": float(tick["oi_day_low"]),
        }


def greeks(row: Instrument, tick: np.void, feed: np.void, call: Call) -> Quote | None:
    """Of an option; of anything else None."""
    if row.kind not in ("CE", "PE"):
        return None
    delta, theta, gamma, vega, _ = feed["greeks"].tolist()
    words = {"iv": float(feed["iv"]), "vega": vega, "gamma": gamma, "theta": theta, "delta": delta}
    return _ltp(row, tick, feed, call) | words | {"oi": float(feed["oi"])}


def _ltp(row: Instrument, tick: np.void, feed: np.void, call: Call) -> Quote:
    return _ltp_v2(row, tick, feed, call) | {
        "ltq": int(feed["ltq"]), "volume": int(feed["vtt"]), "cp": float(feed["cp"]),
    }  # fmt: skip


def _ltp_v2(row: Instrument, tick: np.void, feed: np.void, call: Call) -> Quote:
    return {"last_price": float(feed["ltp"]), "instrument_token": row.upstox_key}


def _check_interval(word: str) -> None:
    if not word:
        raise refusal("UDAPI1027", "Interval is required")
    if word not in _INTERVALS:
        raise refusal("UDAPI1028", f"Interval accepts one of ({','.join(_INTERVALS)})")


def _bar(feed: np.void, name: str) -> Quote:
    prices = dict(zip(("open", "high", "low", "close"), feed[name].tolist(), strict=True))
    return prices | {"volume": int(feed[f"{name}_vol"]), "ts": int(feed[f"{name}_ts"])}


def _candle(bar: np.void, scale: int) -> Quote:
    prices = {name: int(bar[f"{name}_px"]) / scale for name in ("open", "high", "low", "close")}
    return prices | {"volume": int(bar["volume"]), "ts": int(bar["start_s"]) * 1000}


def _day_v2(tick: np.void, scale: int) -> Quote:
    return {name: int(tick[f"{name}_px"]) / scale for name in ("open", "high", "low", "close")}
