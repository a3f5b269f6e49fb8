"""Layer 2, orders process, cold: what orders take, by Upstox's calculators.

POST /v2/charges/margin takes up to 20 instruments and answers `required_margin` (one by one) and
`final_margin` (as a whole). GET /v2/charges/brokerage: what one order costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.calls import JSON
from kite_hft.brokers.upstox.keys import key_of, product_word, wire_quantity
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.broker import BasketMargin, HttpRequest, OrderRequest
from kite_hft.units import price_text

LEGS_MAX: Final = 20


def margin(legs: Sequence[OrderRequest]) -> HttpRequest:
    """POST /v2/charges/margin: nothing is placed by it.

    Raises:
        ValueError: more legs than the broker takes, or one that cannot be named to him.
    """
    if len(legs) > LEGS_MAX:
        raise ValueError(f"{len(legs)} legs > {LEGS_MAX} of one margin call")
    body = msgspec.json.encode({"instruments": [_row(leg) for leg in legs]})
    return HttpRequest("POST", "/v2/charges/margin", body, JSON)


def _row(leg: OrderRequest) -> dict[str, Any]:
    row: dict[str, Any] = {
        "instrument_key": key_of(leg.instrument),
        "quantity": wire_quantity(leg.instrument, leg.quantity),
        "product": product_word(leg.product),
        "transaction_type": leg.side.name,
    }
    return row | {"price": _rupees(leg)} if leg.px else row


def _rupees(leg: OrderRequest) -> float:
    return float(price_text(leg.px, leg.instrument.scale))


def parse_margin(body: bytes) -> BasketMargin:
    """Paise of the answer. Raises AnswerError."""
    try:
        data = data_of(body)
        initial, final = (round(float(data[name]) * 100) for name in ("required_margin", "final_margin"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"basket margin: {type(error).__name__}: {error}") from error
    return BasketMargin(initial, final)


def brokerage(order: OrderRequest) -> HttpRequest:
    """GET /v2/charges/brokerage: what one order costs, to check the charges file by."""
    words = {
        "instrument_token": key_of(order.instrument),
        "quantity": wire_quantity(order.instrument, order.quantity),
        "product": product_word(order.product),
        "transaction_type": order.side.name,
        "price": _rupees(order),
    }
    return HttpRequest("GET", f"/v2/charges/brokerage?{urlencode(words)}")


def parse_brokerage(body: bytes) -> dict[str, int]:
    """Paise by component, under the names of trading/costs.py, and `total`. Raises AnswerError."""
    try:
        found = data_of(body)["charges"]
        taxes, other = found["taxes"], found.get("other_taxes") or found["otherTaxes"]
        rupees = {
            "brokerage": found["brokerage"],
            "transaction_tax": taxes["stt"],
            "exchange_charge": other["transaction"],
            "sebi_fee": other["sebi_turnover"],
            "stamp_duty": taxes["stamp_duty"],
            "gst": taxes["gst"],
            "total": found["total"],
        }
        return {name: round(float(value or 0) * 100) for name, value in rupees.items()}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise AnswerError(f"brokerage: {type(error).__name__}: {error}") from error
