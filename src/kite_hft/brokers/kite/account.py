"""Layer 2, orders process, cold: Kite's answer about funds.

GET /user/margins has one segment for equity and derivatives and one for commodities. `net` is what
the broker lets new orders use: it is read, never rebuilt from the other views.
"""

from __future__ import annotations

import math
from typing import Any

from kite_hft.brokers.kite.answers import AnswerError, data_of
from kite_hft.trading.broker import Funds


def parse_funds(body: bytes) -> Funds:
    """The equity and derivatives segment of GET /user/margins.

    Raises:
        AnswerError: it has no readable `net`.
    """
    try:
        segment = data_of(body)["equity"]
        available = segment.get("available") or {}
        used = segment.get("utilised") or {}
        return Funds(
            net_paise=_paise(segment["net"]),
            cash_paise=_paise(available.get("cash")),
            live_paise=_paise(available.get("live_balance")),
            opening_paise=_paise(available.get("opening_balance")),
            collateral_paise=_paise(available.get("collateral")),
            used_paise=_paise(used.get("debits")),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise AnswerError(f"margins: {type(error).__name__}: {error}") from error


def _paise(rupees: Any) -> int:
    value = float(rupees or 0)
    if not math.isfinite(value):
        raise ValueError(f"{rupees!r} is no amount")
    return round(value * 100)
