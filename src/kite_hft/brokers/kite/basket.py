"""Layer 2, orders process, cold: what a basket of orders takes, by Kite's margin calculator.

POST /margins/basket takes a JSON array and answers `initial` (the orders one by one) and `final` (as a
whole, and beside the positions that are held). Source: Kite Connect v3, margin calculation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kite_hft.brokers.kite.answers import AnswerError, data_of
from kite_hft.layout import OrderType
from kite_hft.trading.broker import BasketMargin, HttpRequest, OrderRequest
from kite_hft.units import price_text

_PATH: Final = "/margins/basket?consider_positions=true&mode=compact"
WORD: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.SL: "SL",
    OrderType.SLM: "SL-M",
}


def margin(legs: Sequence[OrderRequest]) -> HttpRequest:
    """POST /margins/basket: nothing is placed by it."""
    return HttpRequest("POST", _PATH, msgspec.json.encode([_row(leg) for leg in legs]), "application/json")


def _row(leg: OrderRequest) -> dict[str, Any]:
    scale = leg.instrument.scale
    return {
        "exchange": leg.instrument.exchange,
        "tradingsymbol": leg.instrument.symbol,
        "transaction_type": leg.side.name,
        "variety": "regular",
        "product": leg.product.name,
        "order_type": WORD[leg.order_type],
        "quantity": leg.quantity,
        "price": float(price_text(leg.px, scale)),
        "trigger_price": float(price_text(leg.trigger_px, scale)),
    }


def parse_margin(body: bytes) -> BasketMargin:
    """Paise of the answer. Raises AnswerError."""
    try:
        data = data_of(body)
        initial, final = (round(float(data[name]["total"]) * 100) for name in ("initial", "final"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"basket margin: {type(error).__name__}: {error}") from error
    return BasketMargin(initial, final)
