"""Layer 2, orders process, cold: Kite's answer about funds.

GET /user/margins has one segment for equity and derivatives and one for commodities (MCX, NCO), each with
money of its own. `net` is what the broker lets new orders use ("net cash balance available for trading",
Kite Connect docs, User, Funds and margins): it is read, never rebuilt from the other views. In the official
sample it equals `available.live_balance`; `available.cash` is what came in, before margins are taken off.
"""

from __future__ import annotations

import math
from typing import Any

from kite_hft.brokers.kite.answers import AnswerError, data_of
from kite_hft.trading.broker import Funds


def parse_funds(body: bytes) -> Funds:
    """GET /user/margins: the equity and derivatives segment whole, of the other one what is free.

    Raises:
        AnswerError: the former has no readable `net`.
    """
    try:
        data = data_of(body)
        segment = data["equity"]
        available = segment.get("available") or {}
        used = segment.get("utilised") or {}
        return Funds(
            net_paise=_paise(segment["net"]),
            cash_paise=_paise(available.get("cash")),
            live_paise=_paise(available.get("live_balance")),
            opening_paise=_paise(available.get("opening_balance")),
            collateral_paise=_paise(available.get("collateral")),
            used_paise=_paise(used.get("debits")),
            commodity_paise=_commodity(data.get("commodity")),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise AnswerError(f"margins: {type(error).__name__}: {error}") from error


def _commodity(segment: Any) -> int | None:
    """Free in the commodity segment; one that is not enabled, or cannot be read, has nothing."""
    if segment is None:
        return None
    try:
        return _paise(segment["net"]) if segment.get("enabled", True) else 0
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return 0


def _paise(rupees: Any) -> int:
    value = float(rupees or 0)
    if not math.isfinite(value):
        raise ValueError(f"{rupees!r} is no amount")
    return round(value * 100)
