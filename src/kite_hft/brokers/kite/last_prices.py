"""Layer 2, supervisor and verbs, cold: last prices from Kite before anything is subscribed.

GET /quote/ltp?i=EXCHANGE:SYMBOL&i=.. answers for up to 1,000 instruments, one call a second; what is
unknown, or had no tick, is missing in the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from kite_hft.brokers.kite.answers import data_of
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.instruments import Instrument

KEYS_MAX: Final = 500


def headers(api_key: str, access_token: str) -> list[tuple[str, str]]:
    """Of the call."""
    return [("X-Kite-Version", "3"), ("Authorization", f"token {api_key}:{access_token}")]


def path(rows: Sequence[Instrument]) -> str:
    """What to GET."""
    return "/quote/ltp?" + "&".join(f"i={quote(row.key, safe=':')}" for row in rows)


def parse(body: bytes, rows: Sequence[Instrument]) -> dict[int, float]:
    """Token -> last price in rupees; without those that have none.

    Raises:
        AnswerError: no readable answer.
    """
    data = data_of(body)
    if not isinstance(data, Mapping):
        raise AnswerError("last prices: no mapping of instruments")
    found = {}
    for row in rows:
        try:
            price = float(data[row.key]["last_price"])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(price) and price > 0:
            found[row.token] = price
    return found
