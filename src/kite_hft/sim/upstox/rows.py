"""Layer 4, simulator, hot: TICK records to the rows of content that Upstox's feed has.

Prices become rupees by one division, times milliseconds. What the wire has and a TICK has not: the
last whole minute (minutes.py); the day's bar, whose volume is one trade behind; Greeks of options,
reckoned as if the contract were at the money; the figures of an auction. A recorded tick that
nothing has changed since gets its recorded row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import TICK
from kite_hft.sessions import DAY_S, ist_midnight_ns
from kite_hft.sim.market.source import Ticks
from kite_hft.sim.upstox.frames import (
    AUCTION_PART,
    DAY_PART,
    FEED,
    GREEKS_PART,
    LEVEL_PART,
    LEVELS,
    MINUTE_PART,
    Feeds,
)
from kite_hft.sim.upstox.minutes import MINUTE_NS, MinuteBars
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.units import IST_OFFSET_S, NS_PER_S

NS_PER_MS: Final = 1_000_000
_YEAR_NS: Final = 365 * DAY_S * NS_PER_S
_CLOSE_NS: Final = (15 * 3600 + 30 * 60) * NS_PER_S
_WORDS: Final = TICK.itemsize // 8
_PLACES: Final = 4
"""Decimals of a Greek on the wire."""


class FeedRows:
    """Makes rows of one market's ticks. `auctions(slots)`: bool, in an auction now; `cas`: bool[slots].

    recorded: FEED rows by the ticks' `seq`, of `recorded_ticks`.
    """

    def __init__(
        self,
        instruments: InstrumentTable,
        cas: npt.NDArray[np.bool_] | None = None,
        auctions: Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]] | None = None,
        recorded: Feeds | None = None,
        recorded_ticks: Ticks | None = None,
    ) -> None:
        n = len(instruments)
        self.minutes = MinuteBars(n)
        self._scales = instruments.scales()
        self._index = np.array([row.is_index for row in instruments], bool)
        self._option = np.array([row.kind in ("CE", "PE") for row in instruments], bool)
        self._put = np.array([row.kind == "PE" for row in instruments], bool)
        self._strike = np.array([row.strike_px / row.scale for row in instruments])
        self._expiry_ns = np.array([_expiry_ns(row.expiry) for row in instruments], np.int64)
        self._cas = np.zeros(n, bool) if cas is None else cas
        self._auctions = auctions
        self._recorded = recorded
        self._recorded_words = None if recorded_ticks is None else _words(recorded_ticks)

    def see(self, ticks: Ticks) -> None:
        """The market moves on, in order; before any row of these ticks is made."""
        self.minutes.see(ticks)

    def rows(self, ticks: Ticks) -> Feeds:
        """FEED[n]: the whole content of each tick."""
        rows = np.zeros(len(ticks), FEED)
        if not len(ticks):
            return rows
        slots = ticks["slot"]
        scale = self._scales[slots]
        rows["index"] = self._index[slots]
        rows["ltp"], rows["cp"] = ticks["last_px"] / scale, ticks["close_px"] / scale
        # An index has no trades; its time is that of the exchange.
        trade_ms = np.where(ticks["last_trade_s"] > 0, ticks["last_trade_s"].astype(np.int64) * 1000, 0)
        rows["ltt"] = np.where(trade_ms > 0, trade_ms, ticks["exch_ns"] // NS_PER_MS)
        rows["ltq"], rows["vtt"], rows["oi"] = ticks["last_qty"], ticks["volume"], ticks["oi"]
        rows["atp"] = ticks["average_px"] / scale
        rows["tbq"], rows["tsq"] = ticks["total_buy_qty"], ticks["total_sell_qty"]
        for side in ("bid", "ask"):
            rows[f"{side}_p"][:, 0] = ticks[f"{side}_px"] / scale
            rows[f"{side}_p"][:, 1:] = ticks[f"{side}_px_deep"] / scale[:, None]
            rows[f"{side}_q"] = ticks[f"{side}_qty"]
        rows["levels"] = LEVELS
        rows["parts"] = LEVEL_PART | GREEKS_PART | DAY_PART
        self._bars(rows, ticks, scale)
        self._option_fields(rows, ticks)
        self._auction_fields(rows, slots)
        if self._recorded is not None:
            self._take_recorded(rows, ticks)
        return rows

    def _bars(self, rows: Feeds, ticks: Ticks, scale: npt.NDArray[np.float64]) -> None:
        for i, name in enumerate(("open_px", "high_px", "low_px", "last_px")):
            rows["day"][:, i] = ticks[name] / scale
        rows["day_vol"] = np.maximum(ticks["volume"] - ticks["last_qty"], 0)
        local_s = ticks["exch_ns"] // NS_PER_S + IST_OFFSET_S
        rows["day_ts"] = (local_s // DAY_S * DAY_S - IST_OFFSET_S) * 1000
        bars = self.minutes.whole(ticks["slot"], ticks["exch_ns"] // MINUTE_NS)
        known = bars["minute"] >= 0
        for i, name in enumerate(("open", "high", "low", "close")):
            rows["minute"][:, i] = bars[name] / scale
        rows["minute_vol"], rows["minute_ts"] = bars["vol"], bars["minute"] * 60_000
        rows["parts"][known] |= MINUTE_PART

    def _option_fields(self, rows: Feeds, ticks: Ticks) -> None:
        at = np.flatnonzero(self._option[ticks["slot"]] & (ticks["last_px"] > 0))
        if not len(at):
            return
        slots, price = ticks["slot"][at], rows["ltp"][at]
        years = np.maximum(self._expiry_ns[slots] - ticks["exch_ns"][at], 3600 * NS_PER_S) / _YEAR_NS
        strike = np.where(self._strike[slots] > 0, self._strike[slots], price * 20)
        rows["iv"][at], rows["greeks"][at] = at_the_money(price, strike, years, self._put[slots])

    def _auction_fields(self, rows: Feeds, slots: npt.NDArray[Any]) -> None:
        rows["cas_eligible"] = self._cas[slots]
        if self._auctions is None:
            return
        at = np.flatnonzero(self._auctions(slots))
        if len(at):
            rows["parts"][at] |= AUCTION_PART
            rows["iep"][at], rows["rp"][at] = rows["ltp"][at], rows["cp"][at]
            more = (rows["tbq"] - rows["tsq"])[at].astype(np.int64)
            rows["ieq"][at], rows["iiq_total"][at] = rows["ltq"][at], more
            rows["iiq_market"][at] = more // 4

    def _take_recorded(self, rows: Feeds, ticks: Ticks) -> None:
        assert self._recorded is not None and self._recorded_words is not None
        seqs = np.minimum(ticks["seq"], len(self._recorded) - 1).astype(np.intp)
        same = np.flatnonzero((self._recorded_words[seqs] == _words(ticks)).all(axis=1))
        rows[same] = self._recorded[seqs[same]]


def at_the_money(
    price: npt.NDArray[np.float64],
    strike: npt.NDArray[np.float64],
    years: npt.NDArray[np.float64],
    put: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(implied volatility as a fraction, Greeks (n, 5)) as if the underlying stood at the strike.

    Volatility after Brenner and Subrahmanyam (1988), the rest after Black and Scholes without
    interest: invented figures of the usual size and sign.
    """
    root = np.sqrt(years)
    iv = price * np.sqrt(2 * np.pi) / (strike * root)
    half = iv * root / 2
    density = np.exp(-half * half / 2) / np.sqrt(2 * np.pi)
    above = 1 / (1 + np.exp(-1.5976 * half - 0.07056 * half**3))  # the normal distribution, near enough
    delta = np.where(put, above - 1, above)
    theta = -strike * density * iv / (2 * root) / 365
    gamma = density / (strike * iv * root)
    vega = strike * density * root / 100
    rho = strike * years * np.where(put, -above, 1 - above) / 100
    return iv, np.round(np.stack([delta, theta, gamma, vega, rho], axis=1), _PLACES)


def _expiry_ns(text: str) -> int:
    return ist_midnight_ns(dt.date.fromisoformat(text)) + _CLOSE_NS if text else 0


def _words(ticks: Ticks) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(ticks).view(np.uint64).reshape(-1, _WORDS)
