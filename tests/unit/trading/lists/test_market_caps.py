"""Tables of market caps, as people have them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.trading.lists.market_caps import MarketCapError, MarketCaps, csv_text, parse

WANTED = {"NSE:SBIN": 700000.0, "BSE:X": 12.5}


@pytest.mark.parametrize(
    "text",
    [
        "exchange,symbol,market_cap_crore\nNSE,SBIN,700000\nBSE,X,12.5\n",
        "Instrument,Market_Cap\r\nNSE:SBIN,700000\r\nBSE:X,12.5\r\n",
        'tradingsymbol,exchange,market_cap_inr\nSBIN,,"7,000,000,000,000"\nX,BSE,125000000\nY,NSE,\n',
        '{"SBIN": 700000, "BSE:X": 12.5}',
        '[{"symbol": "SBIN", "market_cap": 7e5}, {"symbol": "X", "exchange": "BSE", "market_cap": 12.5}]',
    ],
)
def test_forms(text: str) -> None:
    assert parse(text, "t").crores == pytest.approx(WANTED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,price\nSBIN,1\n", "no column"),
        ("symbol,market_cap\nSBIN,x\n", "line 2.*no number"),
        ("symbol,market_cap\nSBIN,7000000000000\n", "market_cap_inr"),
        ("symbol,market_cap\nSBIN,-1\n", "no value"),
        ("symbol,market_cap\nSBIN,nan\n", "no value"),
        ("symbol,market_cap\nSBIN,1\nSBIN,2\n", "line 3.*twice"),
        ("symbol,market_cap\n,1\n", "no instrument"),
        ("symbol,market_cap\nSBIN,\n", "not one"),
        ('{"SBIN": ', "no JSON"),
        ("[1]", "no list of objects"),
        ("symbol,market_cap,as_of\nSBIN,1,tomorrow\n", "no date"),
        ("", "no column"),
    ],
)
def test_refusals(text: str, words: str) -> None:
    with pytest.raises(MarketCapError, match=words):
        parse(text, "t")


@given(st.dictionaries(st.from_regex(r"[A-Z]{3}:[A-Z0-9&-]{1,10}", fullmatch=True), st.integers(0, 10**10)))
def test_the_csv_is_read_back(values: dict[str, int]) -> None:
    caps = MarketCaps({k: v / 100 for k, v in values.items()}, dt.date(2026, 6, 10), "https://x/caps")
    if values:
        assert parse(csv_text(caps), "t") == caps


def test_range_and_age() -> None:
    caps = MarketCaps({"NSE:SBIN": 5000.0}, dt.date(2026, 6, 10))
    assert caps.within("NSE:SBIN", 5000, 100000) is True
    assert caps.within("NSE:SBIN", 5001, 100000) is False
    assert caps.within("NSE:X", 0, 1) is None
    assert caps.age_days(dt.date(2026, 6, 12)) == 2
    assert MarketCaps({}).age_days(dt.date(2026, 6, 12)) is None
