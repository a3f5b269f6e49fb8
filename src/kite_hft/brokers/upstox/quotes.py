"""Layer 2, feed process, cold: prices from Upstox by HTTP, where they do not come by the websocket.

GET /v3/market-quote/quotes answers for up to 500 keys with what mode full streams (without the quantity of
the last trade), GET /v3/market-quote/ltp with what mode ltpc does. Rows stand under SEGMENT:SYMBOL; the key
is `instrument_token` in them. Both count as ordinary calls: 50 a second, 500 a minute, 2,000 in half an
hour, with books and positions. Greeks and 30 levels come by the websocket alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from kite_hft.brokers.quoted import in_u32, ist_ns, quoted, tick
from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.calls import auth_headers
from kite_hft.brokers.upstox.doors import refusal_words, token_expiry_ns
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.feed_words import Act, Meaning
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.quote_words import QuoteCall, Quoted, QuoteWords

KEYS_MAX: Final = 500

_OTHER: Final = "refused_other"
MEANINGS: Final[dict[int, Meaning]] = {
    400: Meaning("the call is malformed: the instrument list may not be today's", Act.WAIT_LONG, _OTHER),
    401: Meaning(
        "the access token is dead (it ends at 03:30 IST): log in again (kite-hft login)",
        Act.TOKEN_DEAD,
        _OTHER,
    ),
    403: Meaning(
        "refused, as with a token of too narrow a scope: waiting; if it stays, log in again and look at the "
        "app's permissions",
        Act.WAIT_LONG,
        "refused_403",
    ),
    404: Meaning("no quotes at this address: check upstox.api_url", Act.WAIT_LONG, _OTHER),
    423: Meaning("outside of the broker's service hours (05:30 to 24:00 IST)", Act.WAIT_LONG, _OTHER),
    429: Meaning(
        "too many calls of this user: look for another program that uses the account",
        Act.WAIT_LONG,
        "refused_429",
    ),
}
"""HTTP status of a refused call -> what it means; as of a refused websocket."""


def query(rows: Sequence[Instrument]) -> str:
    return f"instrument_key={quote(','.join(row.upstox_key for row in rows), safe='')}"


def parse_quotes(body: bytes, rows: Sequence[Instrument]) -> Quoted:
    """GET /v3/market-quote/quotes: full ticks.

    Raises:
        AnswerError: no readable answer.
    """
    return _parse(body, rows, whole=True)


def parse_ltp(body: bytes, rows: Sequence[Instrument]) -> Quoted:
    """GET /v3/market-quote/ltp: last price and quantity, day's volume, yesterday's close. Raises as above."""
    return _parse(body, rows, whole=False)


def _parse(body: bytes, rows: Sequence[Instrument], *, whole: bool) -> Quoted:
    data = data_of(body)
    if not isinstance(data, Mapping):
        raise AnswerError("quotes: no mapping of instruments")
    strangers: list[str] = []
    found = quoted(_ours(data, rows, strangers), _full if whole else _last)
    return found._replace(
        wrong={**found.wrong, "unknown_instrument": len(strangers)} if strangers else found.wrong
    )


def _ours(
    data: Mapping[str, Any], rows: Sequence[Instrument], strangers: list[str]
) -> Iterator[tuple[Instrument, Any]]:
    wanted = {row.upstox_key: row for row in rows}
    for name, told in data.items():
        key = told.get("instrument_token") if isinstance(told, Mapping) else None
        row = wanted.pop(key, None) if isinstance(key, str) else None
        if row is None:
            strangers.append(name)
        else:
            yield row, told


def _full(instrument: Instrument, row: Mapping[str, Any]) -> tuple[Any, ...]:
    tradable = not instrument.is_index
    return tick(
        instrument,
        row,
        exch_ns=ist_ns(row.get("timestamp")),
        last_trade_s=in_u32(int(row.get("last_trade_time") or 0) // 1000),
        ohlc=row.get("ohlc"),
        close=row.get("prev_close_price"),
        totals=("total_buy_quantity", "total_sell_quantity") if tradable else None,
        volume="volume" if tradable else "",
        depth=row.get("depth") if tradable else None,
        oi=tradable and bool(row.get("oi")),
    )


def _last(instrument: Instrument, row: Mapping[str, Any]) -> tuple[Any, ...]:
    told = "" if instrument.is_index else "ltq"
    return tick(instrument, row, close=row.get("cp"), last_qty=told)


_WHOLE: Final = QuoteCall("/v3/market-quote/quotes", KEYS_MAX, query, parse_quotes)
UPSTOX_QUOTES: Final = QuoteWords(
    name="upstox",
    calls={"ltpc": QuoteCall("/v3/market-quote/ltp", KEYS_MAX, query, parse_ltp), "full": _WHOLE},
    headers=lambda api_key, access_token: auth_headers("", api_key, access_token),
    refusal=lambda body: refusal_words(0, body),
    meanings=MEANINGS,
    knows=lambda row: bool(row.upstox_key),
    expires_ns=token_expiry_ns,
)
