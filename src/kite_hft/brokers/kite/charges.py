"""Layer 2, end of the day, cold: what orders cost by Kite's calculator.

POST /charges/orders takes a JSON array of orders that were filled and answers a virtual contract note, one
row for each, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kite_hft.brokers.charges import Executed, paise_of
from kite_hft.brokers.kite.answers import data_of
from kite_hft.brokers.kite.basket import WORD
from kite_hft.brokers.values import rows_of
from kite_hft.trading.broker import HttpRequest

ORDERS_A_CALL: Final = 100
_PATH: Final = "/charges/orders"


def requests(orders: Sequence[Executed]) -> list[HttpRequest]:
    """As many calls as it takes."""
    pieces = [orders[i : i + ORDERS_A_CALL] for i in range(0, len(orders), ORDERS_A_CALL)]
    return [
        HttpRequest("POST", _PATH, msgspec.json.encode([_row(o) for o in piece]), "application/json")
        for piece in pieces
    ]


def _row(order: Executed) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "exchange": order.instrument.exchange,
        "tradingsymbol": order.instrument.symbol,
        "transaction_type": order.side.name,
        "variety": "regular",
        "product": order.product.name,
        "order_type": WORD[order.order_type],
        "quantity": order.quantity,
        "average_price": order.average_price,
    }


def parse(body: bytes) -> list[int]:
    """Paise of each order of a call.

    Raises:
        AnswerError: no readable answer.
    """
    return [paise_of(row.get("charges")) for row in rows_of(data_of(body))]
