"""Daily candles of both brokers: either order, with or without open interest; anything else is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.brokers import candles
from kite_hft.brokers.kite import candles as kite
from kite_hft.brokers.upstox import candles as upstox
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.history import DAY
from kite_hft.trading.instruments import Instrument

SBIN = Instrument(0, 779521, 3045, "SBIN", "NSE", "NSE", "EQ", 5, 1, upstox_key="NSE_EQ|INE062A01020")
FIRST, LAST = dt.date(2020, 12, 21), dt.date(2026, 6, 10)
OLD = ["2026-06-09T00:00:00+0530", 10.0, 12.5, 9.95, 11.0, 5000, 7]
NEW = ["2026-06-10T00:00:00+05:30", 11, 11, 11, 11, 0]
ROWS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12) | st.sampled_from(OLD),
    lambda inner: st.lists(inner, max_size=8),
    max_leaves=30,
)


def test_requests() -> None:
    assert kite.days(SBIN, FIRST, LAST).path == (
        "/instruments/historical/779521/day?from=2020-12-21+00%3A00%3A00&to=2026-06-10+23%3A59%3A59&oi=1"
    )
    base = "/v3/historical-candle"
    key = "NSE_EQ%7CINE062A01020"
    assert upstox.days(SBIN, FIRST, LAST).path == f"{base}/{key}/days/1/2026-06-10/2020-12-21"
    assert upstox.today(SBIN).path == f"{base}/intraday/{key}/days/1"


@pytest.mark.parametrize("rows", [[OLD, NEW], [NEW, OLD]])
def test_oldest_first(rows: list[Any]) -> None:
    body = json.dumps({"status": "success", "data": {"candles": rows}}).encode()
    for parse in (kite.parse, upstox.parse):
        days = parse(body)
        assert days.dtype == DAY and days["day"].astype(str).tolist() == ["2026-06-09", "2026-06-10"]
        assert days[0].tolist()[1:] == (10.0, 12.5, 9.95, 11.0, 5000, 7) and days["oi"][1] == 0


@pytest.mark.parametrize(
    "change",
    [{0: "yesterday"}, {0: None}, {1: "x"}, {4: 0}, {4: -1}, {2: 9.0}, {3: 10.5}, {5: -1}, {4: 1e12},
     {1: float("nan")}, {5: 2**70}],
)  # fmt: skip
def test_what_is_no_bar_is_refused(change: dict[int, Any]) -> None:
    row = [change.get(i, value) for i, value in enumerate(OLD)]
    with pytest.raises(AnswerError):
        candles.days_of({"candles": [row]})


@pytest.mark.parametrize("data", [None, [], {}, {"candles": None}, {"candles": {}}, {"candles": [OLD, OLD]}])
def test_what_is_no_answer_is_refused(data: Any) -> None:
    with pytest.raises(AnswerError):
        candles.days_of(data)


@given(ROWS)
def test_garbage_is_refused_and_nothing_else(rows: Any) -> None:
    try:
        days = candles.days_of({"candles": rows})
    except AnswerError:
        return
    assert len(days) == len(rows) and (np.diff(days["day"]).astype(int) > 0).all()
