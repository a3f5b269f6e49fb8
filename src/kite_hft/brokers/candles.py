"""Layer 2, metadata job, cold: daily candles of a broker's JSON as rows of trading/history.DAY.

A candle is `[stamp, open, high, low, close, volume(, open interest)]`; its stamp begins with the day in
India. Brokers differ in path, order and what they say of today; what a row has to be is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kite_hft.brokers.values import AnswerError
from kite_hft.trading.history import DAY, Array, HistoryError, check


def days_of(data: Any) -> Array:
    """DAY[n], oldest first, of the `data` of an answer, whichever way round it came.

    Raises:
        AnswerError: no candles, or one that is no bar of a day.
    """
    rows = data.get("candles") if isinstance(data, Mapping) else None
    if not isinstance(rows, list):
        raise AnswerError("no candles in the answer")
    days = np.zeros(len(rows), DAY)
    for i, row in enumerate(rows):
        try:
            stamp, *prices = row
            oi = prices[5] if len(prices) > 5 else 0
            days[i] = (np.datetime64(stamp[:10], "D"), *map(float, prices[:4]), int(prices[4]), int(oi or 0))
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise AnswerError(f"no candle: {str(row)[:100]}") from error
    days = days[np.argsort(days["day"], kind="stable")]
    try:
        check(days)
    except HistoryError as error:
        raise AnswerError(str(error)) from None
    return days
