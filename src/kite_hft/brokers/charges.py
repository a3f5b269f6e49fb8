"""Layer 2, end of the day, cold: what orders that were filled cost, by the brokers' own calculators.

They calculate and place nothing; neither is the contract note of the day.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from kite_hft.brokers.values import AnswerError
from kite_hft.layout import OrderType, Product, Side
from kite_hft.trading.instruments import Instrument


class Executed(NamedTuple):
    """An order and what of it filled; average_price in rupees."""

    order_id: str
    instrument: Instrument
    side: Side
    product: Product
    order_type: OrderType
    quantity: int
    average_price: float


def paise_of(charges: Any) -> int:
    """The total of a `charges` object.

    Raises:
        AnswerError: there is none.
    """
    try:
        total = float(charges["total"])
    except (KeyError, TypeError, ValueError):
        raise AnswerError("charges without a total") from None
    if not math.isfinite(total) or total < 0:
        raise AnswerError(f"charges of {total}")
    return round(total * 100)
