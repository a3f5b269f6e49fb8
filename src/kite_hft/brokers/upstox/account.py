"""Layer 2, orders process, cold: the account at Upstox: funds, holdings, registered addresses.

GET /v3/user/get-funds-and-margin is one purse for all segments. `available_to_trade.total` is what new
orders may use: it is read, never rebuilt from the other views.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.values import AnswerError, rows_of
from kite_hft.trading.broker import Funds, HoldingReport, HttpRequest

_UNREADABLE: Final = (KeyError, TypeError, ValueError, OverflowError, AttributeError)


def positions() -> HttpRequest:
    """GET /v2/portfolio/short-term-positions."""
    return HttpRequest("GET", "/v2/portfolio/short-term-positions")


def margins() -> HttpRequest:
    """GET /v3/user/get-funds-and-margin; 423 outside of 05:30 to 24:00 IST."""
    return HttpRequest("GET", "/v3/user/get-funds-and-margin")


def parse_funds(body: bytes) -> Funds:
    """GET /v3/user/get-funds-and-margin.

    Raises:
        AnswerError: no readable `available_to_trade.total`.
    """
    try:
        free = data_of(body)["available_to_trade"]
        cash = free.get("cash_available_to_trade") or {}
        pledge = free.get("pledge_available_to_trade") or {}
        money = _paise(cash.get("total"))
        used = _paise(_of(cash, "margin_used").get("total")) + _paise(_of(pledge, "margin_used").get("total"))
        return Funds(
            net_paise=_paise(free["total"]),
            cash_paise=money,
            live_paise=money,
            opening_paise=_paise(_of(cash, "cash").get("opening_balance")),
            collateral_paise=_paise(_of(pledge, "margin_from_pledge").get("total")),
            used_paise=used,
        )
    except _UNREADABLE as error:
        raise AnswerError(f"funds: {type(error).__name__}: {error}") from error


def _of(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return row.get(key) or {}


def _paise(rupees: Any) -> int:
    value = float(rupees or 0)
    if not math.isfinite(value):
        raise ValueError(f"{rupees!r} is no amount")
    return round(value * 100)


def holdings() -> HttpRequest:
    """GET /v2/portfolio/long-term-holdings."""
    return HttpRequest("GET", "/v2/portfolio/long-term-holdings")


def parse_holdings(names: Names, body: bytes) -> list[HoldingReport]:
    """The rows about instruments of the run.

    The broker's quantity is the total: what is not yet delivered (T1) is taken off. How many of them may
    leave the account today he does not tell: none, so that a sale needs a standing authorisation (DDPI).
    cnc_used_quantity is "blocked towards open or completed order" (SDK 2.30.0): sales at work count in it.

    Raises:
        AnswerError: a row without its numbers.
    """
    try:
        found = [(names.instrument(row["instrument_token"]), row) for row in rows_of(data_of(body))]
        return [_holding(instrument.key, row) for instrument, row in found if instrument is not None]
    except _UNREADABLE as error:
        raise AnswerError(f"holdings: {type(error).__name__}: {error}") from error


def _holding(key: str, row: Mapping[str, Any]) -> HoldingReport:
    total, t1 = int(row["quantity"]), int(row.get("t1_quantity") or 0)
    return HoldingReport(key, max(0, total - t1), t1, int(row.get("cnc_used_quantity") or 0), authorised=0)


def addresses() -> HttpRequest:
    """GET /v2/user/ip: the addresses that order calls may come from. Needs none of them itself."""
    return HttpRequest("GET", "/v2/user/ip")


def parse_addresses(body: bytes) -> tuple[str, ...]:
    """The primary and the secondary address, as far as they are set. Raises AnswerError."""
    data = data_of(body)
    if not isinstance(data, Mapping):
        raise AnswerError("addresses: no mapping")
    return tuple(str(data[name]) for name in ("primary_ip", "secondary_ip") if data.get(name))
