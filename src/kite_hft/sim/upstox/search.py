"""Layer 4, simulator, cold: Upstox's search for instruments, over the rows of its file.

Every word of the query has to stand in the symbol, the name or the key. Of the broker's expiry
words (current_week, ...) and of atm_offset, which need a chain of the real kind, there is nothing here.
"""

from __future__ import annotations

from typing import Any, Final

from kite_hft.sessions import ist_text
from kite_hft.sim.rest import JSON, Call, Response, Route, encode
from kite_hft.sim.upstox.answers import NOT_BUILT, refusal
from kite_hft.sim.upstox.body import date_of
from kite_hft.sim.upstox.instruments import MasterRows

QUERY_MAX: Final = 50
RECORDS_MAX: Final = 30
_RECORDS: Final = 10
"""Of a page when nothing is said (invented)."""
_WHERE: Final = ("trading_symbol", "name", "short_name", "instrument_key", "isin")


class SearchDesk:
    """Rows of the file by words."""

    def __init__(self, master: MasterRows) -> None:
        self._rows = [
            (" ".join(str(row.get(name, "")) for name in _WHERE).upper(), row) for row in master.rows
        ]

    def routes(self) -> list[Route]:
        """One call."""
        return [Route("GET", "/v2/instruments/search", self._search)]

    def _search(self, call: Call) -> Response:
        query = call.given("query").strip()
        if not query or len(query) > QUERY_MAX:
            raise refusal("UDAPI100036", f"Invalid input: query has 1 to {QUERY_MAX} characters.")
        expiry = call.given("expiry")
        if call.given("atm_offset") or (expiry and not expiry[0].isdigit()):
            raise refusal(
                NOT_BUILT[0], f"{NOT_BUILT[1]} Of expiry it takes dates, of atm_offset nothing.", 501
            )
        if expiry:
            date_of(expiry)
        number, size = _whole(call, "page_number", 1, 10**6), _whole(call, "records", _RECORDS, RECORDS_MAX)
        words = query.upper().split()
        found = [
            row
            for text, row in self._rows
            if all(word in text for word in words) and _fits(row, call, expiry)
        ]
        page = found[(number - 1) * size : number * size]
        meta = {
            "page_number": number,
            "total_pages": -(-len(found) // size),
            "records": len(page),
            "total_records": len(found),
        }
        body = {"status": "success", "data": page, "meta_data": {"page": meta}}
        return Response(200, JSON, encode(body))


def _fits(row: dict[str, Any], call: Call, expiry: str) -> bool:
    """Whether a row passes the lists of exchanges, segments and types, and the expiry."""
    segment = str(row["segment"])
    for name, values in (
        ("exchanges", (row["exchange"],)),
        ("segments", (segment, segment.partition("_")[2])),
        ("instrument_types", (row["instrument_type"],)),
    ):
        wanted = [word.strip().upper() for word in call.given(name).split(",") if word.strip()]
        if wanted and not any(str(value).upper() in wanted for value in values):
            return False
    return not expiry or ist_text(int(row.get("expiry", 0)) * 1_000_000).startswith(expiry)


def _whole(call: Call, name: str, default: int, most: int) -> int:
    text = call.given(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise refusal("UDAPI100036", f"Invalid input: {name} is 1 to {most}.")
    return int(text)
