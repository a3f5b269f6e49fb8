"""Layer 2, tools and last resort, cold: Upstox's bulk calls: several orders, all cancels, all exits in one.

The engine's own path sends every order by itself (each judged, counted, journalled). These are for the
sandbox, for tools, and for a person whose engine is gone. Cancel and exit reach at most ten orders or
positions a call; where more are there the broker refuses the whole call (UDAPI1110): a caller takes a segment
or a tag at a time, or one by one. Source: official pages of 2026-09.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from kite_hft.brokers.upstox.answers import ORDER, errors_of, refused
from kite_hft.brokers.upstox.calls import JSON, place
from kite_hft.brokers.values import envelope_of
from kite_hft.trading.broker import (
    Ambiguous,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderRequest,
    Outcome,
    Refused,
)

MULTI_PATH: Final = "/v2/order/multi/place"
LINES_MAX: Final = 10
CORRELATION_MAX: Final = 20


def multi_place(orders: Mapping[str, OrderRequest]) -> HttpRequest:
    """POST /v2/order/multi/place, by correlation id (of 1 to 20 characters). Buys go first, at the broker.

    Raises:
        ValueError: too many lines, a correlation id that the broker refuses, or as `place`.
    """
    if not 0 < len(orders) <= LINES_MAX:
        raise ValueError(f"{len(orders)} orders: 1 to {LINES_MAX} go into one call")
    lines = []
    for name, order in orders.items():
        if not 0 < len(name) <= CORRELATION_MAX:
            raise ValueError(f"correlation id {name!r}: 1 to {CORRELATION_MAX} characters")
        lines.append(msgspec.json.decode(place(order).body) | {"correlation_id": name})
    return HttpRequest("POST", MULTI_PATH, msgspec.json.encode(lines), JSON)


def parse_multi(response: HttpResponse, names: Sequence[str]) -> dict[str, Outcome]:
    """What the answer (200, 207 or 400) proves of each line; of one that it does not name: nothing."""
    envelope = envelope_of(response.body)
    if response.status == 429:
        return dict.fromkeys(names, Refused("RateLimited", "too many requests", 429))
    ids = {row.get("correlation_id"): row.get("order_id") for row in _maps(envelope.get("data"))}
    found: dict[str, Outcome] = {}
    for name in names:
        errors = [row for row in _maps(envelope.get("errors")) if row.get("correlation_id") == name]
        order_id = ids.get(name)
        if isinstance(order_id, str) and order_id and response.status < 300 and not errors:
            found[name] = Confirmed(order_id)
            continue
        told = errors_of({"errors": errors})
        proof = refused(told, response.status, ORDER) if response.status < 500 and not order_id else None
        text = "; ".join(f"{code} {message}" for code, message in told)
        found[name] = proof or Ambiguous(f"HTTP {response.status} {text}".strip())
    return found


def _maps(rows: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def cancel_all(segment: str = "", tag: str = "") -> HttpRequest:
    """DELETE /v2/order/multi/cancel: at most ten open orders, of a segment (NSE_FO) or with a tag."""
    return HttpRequest("DELETE", _filtered("/v2/order/multi/cancel", segment, tag))


def exit_all(segment: str = "", tag: str = "") -> HttpRequest:
    """POST /v2/order/positions/exit: market orders against at most ten positions, buys first; no delivery
    shares. The broker cuts and protects them by himself."""
    return HttpRequest("POST", _filtered("/v2/order/positions/exit", segment, tag), b"{}", JSON)


def _filtered(path: str, segment: str, tag: str) -> str:
    words = {name: value for name, value in (("segment", segment), ("tag", tag)) if value}
    return f"{path}?{urlencode(words)}" if words else path


def parse_many(response: HttpResponse) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(ids of orders cancelled or placed, complaints) of `cancel_all` and `exit_all`."""
    envelope = envelope_of(response.body)
    data = envelope.get("data")
    ids = data.get("order_ids") if isinstance(data, Mapping) else None
    done = tuple(str(one) for one in ids) if isinstance(ids, list) else ()
    told = tuple(f"{code} {message}".strip() for code, message in errors_of(envelope))
    if response.status >= 300 and not told:
        told = (f"HTTP {response.status}",)
    return done, told
