"""Layer 2, end of the day, cold: what an order costs by Upstox's calculator: GET /v2/charges/brokerage."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from kite_hft.brokers.charges import Executed, paise_of
from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.keys import key_of, product_word
from kite_hft.trading.broker import HttpRequest


def requests(orders: Sequence[Executed]) -> list[HttpRequest]:
    """One call for each order. Its quantity is in units here, whatever it is at orders.

    Raises:
        ValueError: an instrument without a key there.
    """
    return [HttpRequest("GET", f"/v2/charges/brokerage?{_query(order)}") for order in orders]


def _query(order: Executed) -> str:
    return urlencode(
        {
            "instrument_token": key_of(order.instrument),
            "quantity": order.quantity,
            "product": product_word(order.product),
            "transaction_type": order.side.name,
            "price": order.average_price,
        }
    )


def parse(body: bytes) -> list[int]:
    """Paise of the one order of a call.

    Raises:
        AnswerError: no readable answer.
    """
    data = data_of(body)
    return [paise_of(data.get("charges") if isinstance(data, dict) else None)]
