"""Layer 4, simulator, cold: Upstox's calls about the days: state of an exchange, hours, holidays."""

from __future__ import annotations

from typing import Any, Final

from kite_hft.sessions import CalendarError, ist_date
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.market.keys import SEGMENTS
from kite_hft.sim.rest import Call, Route
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import date_of
from kite_hft.sim.upstox.hours import STATUS_WORDS, Segments, exchange_of, holiday_rows

_MS: Final = 1_000_000


class MarketDesk:
    """When the market is open."""

    def __init__(self, exchange: Exchange, segments: Segments) -> None:
        self._exchange = exchange
        self._segments = segments

    def routes(self) -> list[Route]:
        """None of them needs a token."""
        return [
            Route("GET", "/v2/market/status/*", self._status, open=True),
            Route("GET", "/v2/market/timings/*", self._timings, open=True),
            Route("GET", "/v2/market/holidays", self._holidays, open=True),
            Route("GET", "/v2/market/holidays/*", self._holidays, open=True),
        ]

    def _status(self, call: Call) -> dict[str, Any]:
        exchange = exchange_of(call.args[0])
        if exchange is None:
            raise refusal("UDAPI1088", "Invalid exchange.")
        status = self._segments.status(SEGMENTS[exchange], call.now_ns)
        return {"exchange": call.args[0], "status": STATUS_WORDS[status], "last_updated": call.now_ns // _MS}

    def _timings(self, call: Call) -> list[dict[str, Any]]:
        day, rows = date_of(call.args[0]), []
        for exchange in SEGMENTS:
            try:
                phases = self._exchange.conditions.phases.on(exchange, False, day)
            except CalendarError:
                continue
            opened = [p for p in phases if p.match == "continuous"]
            if opened:
                word = "NSCOM" if exchange == "NCO" else exchange
                start, end = opened[0].start_ns // _MS, opened[-1].end_ns // _MS
                rows.append({"exchange": word, "start_time": start, "end_time": end})
        return rows

    def _holidays(self, call: Call) -> list[dict[str, Any]]:
        day = date_of(call.args[0]) if call.args else None
        year = ist_date(call.now_ns).year if day is None else day.year
        rows = holiday_rows(self._exchange.params.calendar, year)
        return [row for row in rows if day is None or row["date"] == day.isoformat()]
