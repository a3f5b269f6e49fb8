"""Layer 4, simulator, cold: the market calls: quotes, instrument dumps, candles, trigger ranges."""

from __future__ import annotations

import datetime as dt
import gzip
from typing import Any, Final

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.kite import forms as kite_forms
from kite_hft.sim.kite import quotes as kite_quotes
from kite_hft.sim.kite.candles import BAR, DAY_S, Array, Candles, day_start_s
from kite_hft.sim.kite.quota import HISTORICAL, QUOTE
from kite_hft.sim.rest import CSV, Call, Response, Route
from kite_hft.trading.instruments import Instrument
from kite_hft.units import IST_OFFSET_S, NS_PER_S

DAY: Final = "day"
EXCHANGES: Final = ("NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NCO")
"""Each has a dump; of one without instruments here it is the heading alone."""
SPAN_DAYS: Final = {
    "minute": 60, "3minute": 100, "5minute": 100, "10minute": 100, "15minute": 200, "30minute": 200,
    "60minute": 400, DAY: 2000,
}  # fmt: skip
"""Interval -> longest span of one request, in days."""
EXTENDED: Final = "extended"
"""Query of the dump: our engine asks for two columns that the broker does not have; it ignores this."""

_STAMPS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


class MarketDesk:
    """What the market looks like and looked like."""

    def __init__(self, exchange: Exchange, candles: Candles) -> None:
        self._exchange = exchange
        self._candles = candles
        self._dumps: dict[tuple[str, bool, bool], bytes] = {}

    def routes(self) -> list[Route]:
        """The market calls; quotes and candles have limits of their own."""
        return [
            *(
                Route("GET", path, self._quote_call(depth), QUOTE)
                for path, depth in (("/quote", "quote"), ("/quote/ohlc", "ohlc"), ("/quote/ltp", "ltp"))
            ),
            Route("GET", "/instruments", lambda call: self._dump("", call)),
            Route("GET", "/instruments/*", lambda call: self._dump(call.args[0], call)),
            Route("GET", "/instruments/historical/*/*", self._historical, HISTORICAL),
            Route("GET", "/instruments/trigger_range/*", self._trigger_range),
        ]

    def _quote_call(self, depth: str) -> Any:
        def answer(call: Call) -> dict[str, Any]:
            return kite_quotes.quotes(self._exchange, _keys(call), depth, call.now_ns)

        return answer

    def _dump(self, exchange: str, call: Call) -> Response:
        """The master, whole or of one exchange; packed for whoever says that he can unpack it."""
        packed = "gzip" in call.headers.get("accept-encoding", "").lower()
        extended = call.given(EXTENDED) == "1"
        key = (exchange, extended, packed)
        if key not in self._dumps:
            rows = [r for r in self._exchange.instruments if not exchange or r.exchange == exchange]
            if exchange and exchange not in EXCHANGES:
                raise Refusal("InputException", "Invalid exchange")
            text = kite_quotes.dump_csv(rows, extended=extended)
            self._dumps[key] = gzip.compress(text, 6, mtime=0) if packed else text
        headers = (("Content-Encoding", "gzip"),) if packed else ()
        return Response(200, CSV, self._dumps[key], headers)

    def _historical(self, call: Call) -> dict[str, list[list[Any]]]:
        token, interval = call.args
        row = kite_quotes.find(self._exchange.instruments, token) if token.isdigit() else None
        if row is None:
            raise kite_forms.bad("invalid token")
        if interval not in SPAN_DAYS:
            raise kite_forms.bad("invalid interval")
        from_s, to_s = _stamp(call.given("from"), "from"), _stamp(call.given("to"), "to", last=True)
        if from_s > to_s:
            raise kite_forms.bad("invalid from date: it lies after the to date")
        longest = SPAN_DAYS[interval]
        if (to_s - from_s) // DAY_S > longest:  # whole days count
            raise kite_forms.bad(f"interval exceeds max limit: {longest} days")
        query = dict(call.query)
        continuous, with_oi = kite_forms.flag(query, "continuous"), kite_forms.flag(query, "oi")
        if continuous and (interval != DAY or row.kind != "FUT"):
            raise kite_forms.bad("continuous data is available for futures with interval day only")
        bars = self._candles.bars(
            row, interval, from_s, to_s, self._exchange.latest[row.slot], call.now_ns // NS_PER_S,
            continuous=continuous,
        )  # fmt: skip
        return {"candles": _candle_rows(bars, row, with_oi=with_oi)}

    def _trigger_range(self, call: Call) -> dict[str, Any]:
        """How far a cover order's trigger may lie from the last price (invented: a tenth)."""
        side = call.args[0].upper()
        if side not in kite_forms.SIDES:
            raise kite_forms.bad("Invalid `transaction_type`.")
        found = {}
        for key in _keys(call):
            row = kite_quotes.find(self._exchange.instruments, key)
            if row is None or not self._exchange.seen[row.slot]:
                continue
            last, step = int(self._exchange.latest[row.slot]["last_px"]), max(row.tick_px, 1)
            low, high = (last * 9 // 10, last) if side == "BUY" else (last, last * 11 // 10)
            found[key] = {
                "instrument_token": row.token,
                "lower": -(-low // step) * step / row.scale,
                "upper": high // step * step / row.scale,
            }
        return found


def _keys(call: Call) -> list[str]:
    keys = call.all_given("i")
    if not keys:
        raise kite_forms.missing("i")
    return keys


def _stamp(text: str, name: str, *, last: bool = False) -> int:
    """Epoch seconds of `yyyy-mm-dd hh:mm:ss` in India; of a bare date its first or `last` second.

    Raises:
        Refusal: neither.
    """
    for form in _STAMPS:
        try:
            parsed = dt.datetime.strptime(text, form)
        except ValueError:
            continue
        whole_day = form == _STAMPS[-1] and last
        seconds = parsed.hour * 3600 + parsed.minute * 60 + parsed.second
        return day_start_s(parsed.date()) + (DAY_S - 1 if whole_day else seconds)
    raise kite_forms.bad(f"invalid {name} date")


def _candle_rows(bars: Array, row: Instrument, *, with_oi: bool) -> list[list[Any]]:
    """`[opening time, open, high, low, close, volume]` and, if asked for, open interest."""
    assert bars.dtype == BAR
    local = bars["start_s"] + IST_OFFSET_S
    stamps = (local.astype("datetime64[s]")).astype(str).tolist()
    columns = [bars[name].astype(float) / row.scale for name in ("open_px", "high_px", "low_px", "close_px")]
    numbers: list[list[Any]] = [column.tolist() for column in columns]
    numbers.append(bars["volume"].tolist())
    if with_oi:
        numbers.append(bars["oi"].tolist())
    return [[f"{stamp}+0530", *values] for stamp, *values in zip(stamps, *numbers, strict=True)]
