"""Last prices before a run: what is asked of Upstox, and what an answer says."""

from __future__ import annotations

import json

import pytest
from master_tools import share

from kite_hft.brokers.upstox.last_prices import headers, parse, path
from kite_hft.brokers.values import AnswerError

ROWS = [share("SBIN", 3045, upstox_key="NSE_EQ|INE1"), share("M&M", 519, upstox_key="NSE_EQ|INE2")]


def test_what_is_asked() -> None:
    assert path(ROWS) == "/v3/market-quote/ltp?instrument_key=NSE_EQ%7CINE1%2CNSE_EQ%7CINE2"
    assert ("Authorization", "Bearer t") in headers("", "t")


def test_what_is_answered() -> None:
    data = {
        "NSE_EQ:SBIN": {"last_price": 800.5, "instrument_token": "NSE_EQ|INE1"},
        "NSE_EQ:M&M": {"last_price": -1, "instrument_token": "NSE_EQ|INE2"},
        "NSE_EQ:X": {"last_price": 1, "instrument_token": "NSE_EQ|INE3"},
        "NSE_EQ:Y": {},
    }
    assert parse(json.dumps({"status": "success", "data": data}).encode(), ROWS) == {ROWS[0].token: 800.5}
    with pytest.raises(AnswerError):
        parse(b'{"status":"success","data":5}', ROWS)
