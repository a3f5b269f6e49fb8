"""Circuit limits."""

from __future__ import annotations

from typing import Any

import pytest
from upstox_rows import answer, same_call, sdk, table

from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.upstox.market import KEYS_MAX, parse_bands, quotes
from kite_hft.brokers.values import AnswerError

NAMES = Names(table())
SCALES = {"NSE:RELIANCE": 100, "CDS:USDINR26NOVFUT": 10_000_000}


def row(key: str, low: Any, high: Any) -> dict[str, Any]:
    return {"instrument_token": key, "lower_circuit_limit": low, "upper_circuit_limit": high, "symbol": "X"}


DATA = {
    "NSE_EQ:RELIANCE": row("NSE_EQ|INE002A01018", 1278.0, 1562.0),
    "NCD_FO:USDINR26NOVFUT": row("NCD_FO|14294", 80.1175, 90.25),
    "NSE_FO:OTHER": row("NSE_FO|1", 1.0, 2.0),
    "NSE_FO:NIFTY26000CE": row("NSE_FO|55775", 1.0, 2.0),  # not asked for
}


def test_limits_by_our_names() -> None:
    found = parse_bands(NAMES, answer(DATA).body, SCALES)
    assert found == {"NSE:RELIANCE": (127_800, 156_200), "CDS:USDINR26NOVFUT": (801_175_000, 902_500_000)}


@pytest.mark.parametrize(
    ("low", "high"), [(None, 1.0), (0, 0), (5.0, 4.0), ("x", 1), (1.001, 2.0), (float("1e30"), 1.0), (-1, 2)]
)
def test_limits_that_are_none_stay_unknown(low: Any, high: Any) -> None:
    data = {"NSE_EQ:RELIANCE": row("NSE_EQ|INE002A01018", low, high)}
    assert parse_bands(NAMES, answer(data).body, SCALES) == {}


def test_odd_rows_and_answers() -> None:
    assert parse_bands(NAMES, answer({"a": 1, "b": None, "c": {}}).body, SCALES) == {}
    with pytest.raises(AnswerError):
        parse_bands(NAMES, answer([]).body, SCALES)


def test_quotes_as_the_sdk() -> None:
    names = ["NSE:RELIANCE", "NSE:UNKNOWN", "NSE:Nifty 50"]
    (theirs,) = sdk(
        {"api": "MarketQuoteV3Api", "call": "get_full_market_quote_v3",
         "kwargs": {"instrument_key": "NSE_EQ|INE002A01018,NSE_INDEX|Nifty 50"}, "reply": DATA},
    )  # fmt: skip
    same_call(quotes(NAMES, names), theirs)
    assert theirs.result["data"]["NSE_EQ:RELIANCE"]["upper_circuit_limit"] == 1562.0
    with pytest.raises(ValueError, match="501 instruments > 500"):
        quotes(NAMES, ["NSE:RELIANCE"] * (KEYS_MAX + 1))
