"""Funds, holdings and registered addresses."""

from __future__ import annotations

from typing import Any

import pytest
from upstox_rows import answer, sdk, table

from kite_hft.brokers.upstox.account import parse_addresses, parse_funds, parse_holdings
from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.broker import Funds, HoldingReport

NAMES = Names(table())
FUNDS: dict[str, Any] = {
    "available_to_trade": {
        "total": 15000.55,
        "cash_available_to_trade": {
            "total": 10000.5,
            "cash": {"opening_balance": 12000.25, "added_today": 0, "withdrawn_today": 0,
                     "amount_from_stock_sale": 0, "unpaid_charges": 0},
            "margin_used": {"total": 1999.75, "mtf": 0},
        },
        "pledge_available_to_trade": {
            "margin_from_pledge": {"total": 5000.05, "equity": 5000.05, "mutual_funds": 0},
            "margin_used": {"total": 0.25},
        },
    },
    "unavailable_to_trade": {},
}  # fmt: skip


def test_funds() -> None:
    found = parse_funds(answer(FUNDS).body)
    assert found == Funds(1500055, 1000050, 1000050, 1200025, 500005, 200000)
    assert found.free_paise("MCX") == found.free_paise("NSE") == 1500055


def test_funds_with_only_what_counts() -> None:
    found = parse_funds(answer({"available_to_trade": {"total": 7}}).body)
    assert (found.net_paise, found.used_paise) == (700, 0)


@pytest.mark.parametrize(
    "data", [{}, None, [], {"available_to_trade": {}}, {"available_to_trade": {"total": "much"}}]
)
def test_no_funds(data: Any) -> None:
    with pytest.raises(AnswerError):
        parse_funds(answer(data).body)


HOLDING: dict[str, Any] = {
    "isin": "INE002A01018", "cnc_used_quantity": 3, "collateral_type": "WC", "company_name": "RELIANCE",
    "haircut": 0.2, "product": "D", "quantity": 36, "tradingsymbol": "RELIANCE", "trading_symbol": "RELIANCE",
    "last_price": 1420.0, "close_price": 1400.0, "pnl": 61.2, "day_change": 0, "day_change_percentage": 0,
    "instrument_token": "NSE_EQ|INE002A01018", "average_price": 1300.0, "collateral_quantity": 0,
    "collateral_update_quantity": 0, "t1_quantity": 6, "exchange": "NSE",
}  # fmt: skip


def test_holdings_of_the_run() -> None:
    other = HOLDING | {"instrument_token": "NSE_EQ|INE000000000", "quantity": "?"}
    assert parse_holdings(NAMES, answer([HOLDING, other]).body) == [
        HoldingReport("NSE:RELIANCE", settled=30, t1=6, used=3, authorised=0)
    ]
    (bare,) = parse_holdings(NAMES, answer([HOLDING | {"t1_quantity": 40}]).body)
    assert bare.settled == 0


@pytest.mark.parametrize("more", [{"quantity": None}, {"quantity": "x"}, {"instrument_token": []}])
def test_a_holding_without_its_numbers(more: dict[str, Any]) -> None:
    with pytest.raises(AnswerError):
        parse_holdings(NAMES, answer([HOLDING | more]).body)


def test_registered_addresses() -> None:
    data = {"primary_ip": "203.0.113.7", "secondary_ip": None}
    assert parse_addresses(answer(data).body) == ("203.0.113.7",)
    with pytest.raises(AnswerError):
        parse_addresses(answer([]).body)


def test_the_sdk_reads_the_same() -> None:
    funds, held = sdk(
        {"api": "UserApi", "call": "get_user_fund_margin_v3", "reply": FUNDS},
        {"api": "PortfolioApi", "call": "get_holdings", "args": ["2.0"], "reply": [HOLDING]},
    )
    assert parse_funds(answer(FUNDS).body).net_paise == round(
        funds.result["data"]["available_to_trade"]["total"] * 100
    )
    (theirs,) = held.result["data"]
    (ours,) = parse_holdings(NAMES, answer([HOLDING]).body)
    assert (ours.settled + ours.t1, ours.t1, ours.used) == (
        theirs["quantity"], theirs["t1_quantity"], theirs["cnc_used_quantity"],
    )  # fmt: skip
