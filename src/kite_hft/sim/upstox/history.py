"""Layer 4, simulator, cold: Upstox's call for trades by date, over the trades that this account made."""

from __future__ import annotations

from typing import Any, Final

from kite_hft.sessions import ist_date
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Trade
from kite_hft.sim.market.keys import isin_of, segment_of, upstox_lot_of, upstox_symbol_of
from kite_hft.sim.rest import JSON, Call, Response, Route, encode
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import date_of
from kite_hft.sim.upstox.order_rows import exchange_word

SEGMENTS: Final = {"EQ": ("NSE_EQ", "BSE_EQ"), "FO": ("NSE_FO", "BSE_FO"), "COM": ("MCX_FO", "NSE_COM"),
                   "CD": ("NCD_FO", "BCD_FO")}  # fmt: skip
"""Words of the query -> segments; MF is known and holds nothing here."""
PAGE_MAX: Final = 5000


class HistoryDesk:
    """What was traded on which day."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """One call."""
        return [Route("GET", "/v2/charges/historical-trades", self._trades)]

    def _trades(self, call: Call) -> Response:
        first, last = date_of(call.given("start_date")), date_of(call.given("end_date"))
        word = call.given("segment")
        if word not in ("", "MF", *SEGMENTS) or first > last:
            raise refusal("UDAPI100036", "Invalid input: segment is EQ, FO, COM, CD or MF; dates in order.")
        number, size = _page(call, "page_number", 10**6), _page(call, "page_size", PAGE_MAX)
        found = [
            trade
            for trade in self._exchange.account.trades
            if first <= ist_date(trade.at_ns) <= last
            and (not word or segment_of(trade.instrument) in SEGMENTS.get(word, ()))
        ]
        page = {
            "page_number": number,
            "page_size": size,
            "total_records": len(found),
            "total_pages": -(-len(found) // size),
        }
        rows = [_row(trade) for trade in found[(number - 1) * size : number * size]]
        meta = {"page": page}
        # The official client reads the second spelling.
        return Response(
            200, JSON, encode({"status": "success", "data": rows, "meta_data": meta, "metaData": meta})
        )


def _row(trade: Trade) -> dict[str, Any]:
    row = trade.instrument
    option, segment = row.kind in ("CE", "PE"), segment_of(row)
    price = trade.px / row.scale
    return {
        "exchange": exchange_word(row),
        "segment": next(word for word, names in SEGMENTS.items() if segment in names),
        "option_type": row.kind if option else "",
        "quantity": trade.quantity // upstox_lot_of(row),
        "amount": round(price * trade.quantity * (row.multiplier or 1), 2),
        "trade_id": trade.trade_id,
        "trade_date": ist_date(trade.at_ns).isoformat(),
        "transaction_type": trade.side.name,
        "scrip_name": row.name or row.symbol,
        "strike_price": f"{row.strike_px / row.scale:.1f}",
        "expiry": row.expiry,
        "price": price,
        "isin": isin_of(row) if row.kind == "EQ" else "",
        "symbol": upstox_symbol_of(row),
        "instrument_token": row.upstox_key,
    }


def _page(call: Call, name: str, most: int) -> int:
    text = call.given(name)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise refusal("UDAPI100036", f"Invalid input: {name} is 1 to {most}.")
    return int(text)
