"""Layer 2, orders process, cold: circuit limits from Upstox.

GET /v3/market-quote/quotes answers for up to 500 keys with lower and upper circuit limit of each (the feed
has none). The answer's rows stand under SEGMENT:SYMBOL; `instrument_token` in them is the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.broker import HttpRequest
from kite_hft.units import PriceError, px_from_price

KEYS_MAX: Final = 500


def quotes(names: Names, keys: Sequence[str]) -> HttpRequest:
    """GET /v3/market-quote/quotes of instruments by EXCHANGE:SYMBOL; those without a key are left out.

    Raises:
        ValueError: more than the broker takes at a time (UDAPI100042).
    """
    if len(keys) > KEYS_MAX:
        raise ValueError(f"{len(keys)} instruments > {KEYS_MAX} of one quote call")
    named = ",".join(key for key in map(names.of_name, keys) if key)
    return HttpRequest("GET", f"/v3/market-quote/quotes?instrument_key={quote(named, safe='')}")


def parse_bands(names: Names, body: bytes, scales: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """EXCHANGE:SYMBOL -> (lower, upper) circuit limit in the instrument's unit; without those that show none.

    scales: units per rupee of the instruments that were asked for; others are left out.

    Raises:
        AnswerError: no readable answer.
    """
    data = data_of(body)
    if not isinstance(data, Mapping):
        raise AnswerError("quotes: no mapping of instruments")
    found: dict[str, tuple[int, int]] = {}
    for row in data.values():
        try:
            instrument = names.instrument(row["instrument_token"])
            if instrument is None or instrument.key not in scales:
                continue
            scale = scales[instrument.key]
            low = px_from_price(float(row["lower_circuit_limit"]), scale)
            high = px_from_price(float(row["upper_circuit_limit"]), scale)
        except (KeyError, TypeError, ValueError, AttributeError, PriceError):
            continue  # it shows no limits: they stay unknown
        if 0 < low <= high:
            found[instrument.key] = low, high
    return found
