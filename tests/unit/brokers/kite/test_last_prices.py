"""Last prices before a run: what is asked of Kite, and what an answer says."""

from __future__ import annotations

import json

import pytest
from master_tools import index, share

from kite_hft.brokers.kite.last_prices import headers, parse, path
from kite_hft.brokers.values import AnswerError

ROWS = [share("SBIN", 3045), share("M&M", 519), index("NIFTY 50", 1001)]


def test_what_is_asked() -> None:
    assert path(ROWS) == "/quote/ltp?i=NSE:SBIN&i=NSE:M%26M&i=NSE:NIFTY%2050"
    assert ("Authorization", "token k:t") in headers("k", "t")


def test_what_is_answered() -> None:
    data = {"NSE:SBIN": {"last_price": 800.5}, "NSE:M&M": {"last_price": 0}, "NSE:X": {"last_price": 1}}
    body = json.dumps({"status": "success", "data": data}).encode()
    assert parse(body, ROWS) == {ROWS[0].token: 800.5}
    for odd in (b"busy", b'{"status":"error","message":"no"}', b'{"status":"success","data":[]}'):
        with pytest.raises(AnswerError):
            parse(odd, ROWS)
    for price in ('"x"', "null", "NaN", "-1"):
        body = f'{{"status":"success","data":{{"NSE:SBIN":{{"last_price":{price}}}}}}}'.encode()
        if price != "NaN":  # no JSON
            assert parse(body, ROWS) == {}
