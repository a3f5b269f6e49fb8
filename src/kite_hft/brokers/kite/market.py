"""Layer 2, orders process, cold: Kite's circuit limits and holdings.

GET /quote?i=EXCHANGE:SYMBOL&i=.. answers for up to 500 instruments at a time, one call a second; an
instrument without a tick today, or unknown, is missing in the answer. Circuit limits stand there alone.
GET /portfolio/holdings: opening_quantity was carried in over night, realised_quantity is delivered,
t1_quantity not yet, used_quantity was sold today, authorised_quantity may leave the account today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from kite_hft.brokers.kite.answers import AnswerError, data_of, rows_of
from kite_hft.trading.broker import HoldingReport, HttpRequest
from kite_hft.units import PriceError, px_from_price

KEYS_MAX: Final = 500


def quotes(keys: Sequence[str]) -> HttpRequest:
    """GET /quote of instruments by EXCHANGE:SYMBOL.

    Raises:
        ValueError: more than the broker takes at a time.
    """
    if len(keys) > KEYS_MAX:
        raise ValueError(f"{len(keys)} instruments > {KEYS_MAX} of one quote call")
    return HttpRequest("GET", "/quote?" + "&".join(f"i={quote(key, safe=':')}" for key in keys))


def parse_bands(body: bytes, scales: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Key -> (lower, upper) circuit limit in the instrument's unit; without those that show none.

    scales: units per rupee of the keys that were asked for; others in the answer are left out.

    Raises:
        AnswerError: no readable answer.
    """
    data = data_of(body)
    if not isinstance(data, Mapping):
        raise AnswerError("quotes: no mapping of instruments")
    found: dict[str, tuple[int, int]] = {}
    for key, row in data.items():
        if key not in scales:
            continue
        try:
            low = px_from_price(float(row["lower_circuit_limit"]), scales[key])
            high = px_from_price(float(row["upper_circuit_limit"]), scales[key])
        except (KeyError, TypeError, ValueError, PriceError):
            continue  # it shows no limits: they stay unknown
        if 0 < low <= high:
            found[key] = low, high
    return found


def holdings() -> HttpRequest:
    """GET /portfolio/holdings."""
    return HttpRequest("GET", "/portfolio/holdings")


def parse_holdings(body: bytes) -> list[HoldingReport]:
    """All rows.

    Raises:
        AnswerError: a row without its numbers.
    """
    try:
        return [_holding(row) for row in rows_of(data_of(body))]
    except (KeyError, TypeError, ValueError) as error:
        raise AnswerError(f"holdings: {type(error).__name__}: {error}") from error


def _holding(row: Mapping[str, Any]) -> HoldingReport:
    used = int(row.get("used_quantity") or 0)
    return HoldingReport(
        key=f"{row['exchange']}:{row['tradingsymbol']}",
        # Delivered shares, before the day's sales; the lesser of two ways to say it.
        settled=min(int(row["opening_quantity"]), int(row["realised_quantity"]) + used),
        t1=int(row.get("t1_quantity") or 0),
        used=used,
        authorised=int(row.get("authorised_quantity") or 0),
    )
