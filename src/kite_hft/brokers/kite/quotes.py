"""Layer 2, feed process, cold: prices from Kite by HTTP, where they do not come by the websocket.

GET /quote?i=EXCHANGE:SYMBOL&i=.. answers for up to 500 instruments with what mode full streams, GET
/quote/ltp for up to 1,000 with the last price alone; one call a second for all of them together. What is
unknown or expired is missing in the answer. /quote/ohlc is not asked: it has no volume, and mode quote
promises one. Sources: pages on market quotes and exceptions (2026-07-14).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from kite_hft.brokers.kite.answers import AnswerError, data_of
from kite_hft.brokers.kite.candles import refusal
from kite_hft.brokers.kite.rest import auth_headers
from kite_hft.brokers.quoted import in_u32, ist_ns, quoted, tick
from kite_hft.trading.feed_words import Act, Meaning
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.quote_words import QuoteCall, Quoted, QuoteWords
from kite_hft.units import NS_PER_S

QUOTE_KEYS_MAX: Final = 500
LTP_KEYS_MAX: Final = 1000

_OTHER: Final = "refused_other"
MEANINGS: Final[dict[int, Meaning]] = {
    400: Meaning("the call is malformed: the instrument list may not be today's", Act.WAIT_LONG, _OTHER),
    401: Meaning("the access token is dead: log in again (kite-hft login)", Act.TOKEN_DEAD, _OTHER),
    403: Meaning(
        "the access token is dead or the app has no market data: log in again (kite-hft login)",
        Act.TOKEN_DEAD,
        "refused_403",
    ),
    404: Meaning("no quotes at this address: check kite.api_url", Act.WAIT_LONG, _OTHER),
    429: Meaning(
        "too many quote calls of this key (one a second): look for another program that asks for quotes",
        Act.WAIT_LONG,
        "refused_429",
    ),
}
"""HTTP status of a refused call -> what it means; 403 as of a refused websocket."""


def query(rows: Sequence[Instrument]) -> str:
    return "&".join(f"i={quote(row.key, safe=':')}" for row in rows)


def parse_quotes(body: bytes, rows: Sequence[Instrument]) -> Quoted:
    """GET /quote: full ticks. A row that bears another token than the one asked for is none of ours.

    Raises:
        AnswerError: no readable answer.
    """
    return _parse(body, rows, whole=True)


def parse_ltp(body: bytes, rows: Sequence[Instrument]) -> Quoted:
    """GET /quote/ltp: ticks with the last price alone. Raises as `parse_quotes`."""
    return _parse(body, rows, whole=False)


def _parse(body: bytes, rows: Sequence[Instrument], *, whole: bool) -> Quoted:
    data = data_of(body)
    if not isinstance(data, Mapping):
        raise AnswerError("quotes: no mapping of instruments")
    strangers: list[str] = []
    found = quoted(_ours(data, rows, strangers), _full if whole else tick)
    return found._replace(
        wrong={**found.wrong, "unknown_instrument": len(strangers)} if strangers else found.wrong
    )


def _ours(
    data: Mapping[str, Any], rows: Sequence[Instrument], strangers: list[str]
) -> Iterator[tuple[Instrument, Mapping[str, Any]]]:
    for row in rows:
        told = data.get(row.key)
        if told is None:
            continue
        if isinstance(told, Mapping) and told.get("instrument_token") != row.token:
            strangers.append(row.key)
            continue
        yield row, told


def _full(instrument: Instrument, row: Mapping[str, Any]) -> tuple[Any, ...]:
    ohlc, tradable = row["ohlc"], not instrument.is_index
    return tick(
        instrument,
        row,
        exch_ns=ist_ns(row.get("timestamp")),
        last_trade_s=in_u32(ist_ns(row.get("last_trade_time")) // NS_PER_S) if tradable else 0,
        ohlc=ohlc,
        close=ohlc["close"],
        totals=("buy_quantity", "sell_quantity") if tradable and "volume" in row else None,
        volume="volume" if tradable else "",
        last_qty="last_quantity" if tradable else "",
        depth=row.get("depth") if tradable else None,
        oi=tradable and "oi" in row,
    )


_WHOLE: Final = QuoteCall("/quote", QUOTE_KEYS_MAX, query, parse_quotes)
KITE_QUOTES: Final = QuoteWords(
    name="kite",
    calls={"ltp": QuoteCall("/quote/ltp", LTP_KEYS_MAX, query, parse_ltp), "quote": _WHOLE, "full": _WHOLE},
    headers=auth_headers,
    refusal=refusal,
    meanings=MEANINGS,
)
