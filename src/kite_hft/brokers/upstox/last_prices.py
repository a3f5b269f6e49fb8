"""Layer 2, supervisor and verbs, cold: last prices from Upstox before anything is subscribed.

GET /v3/market-quote/ltp?instrument_key=A,B answers for up to 500 keys; the rows stand under SEGMENT:SYMBOL,
and `instrument_token` in them is the key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.instruments import Instrument

KEYS_MAX: Final = 500


def headers(api_key: str, access_token: str) -> list[tuple[str, str]]:
    """Of the call; the key of the application is not asked for."""
    return [("Accept", "application/json"), ("Authorization", f"Bearer {access_token}")]


def path(rows: Sequence[Instrument]) -> str:
    """What to GET."""
    return f"/v3/market-quote/ltp?instrument_key={quote(','.join(row.upstox_key for row in rows), safe='')}"


def parse(body: bytes, rows: Sequence[Instrument]) -> dict[int, float]:
    """Token -> last price in rupees; without those that have none.

    Raises:
        AnswerError: no readable answer.
    """
    data = data_of(body)
    if not isinstance(data, Mapping):
        raise AnswerError("last prices: no mapping of instruments")
    tokens = {row.upstox_key: row.token for row in rows}
    found = {}
    for quoted in data.values():
        try:
            token, price = tokens[quoted["instrument_token"]], float(quoted["last_price"])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(price) and price > 0:
            found[token] = price
    return found
