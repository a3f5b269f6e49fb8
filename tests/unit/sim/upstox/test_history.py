"""Trades by date: segments, pages, refusals."""

from __future__ import annotations

import pytest
from upstox_bench import EQUITY, Bench

PATH = "/v2/charges/historical-trades"
DAYS = "start_date=2025-12-15&end_date=2025-12-15"


def test_trades_of_the_days_by_pages() -> None:
    bench = Bench()
    for _ in range(3):
        bench.place(price=101.0)
        bench.pass_time()
    status, answer = bench.ask("GET", f"{PATH}?{DAYS}&page_number=1&page_size=2&segment=EQ")
    assert status == 200 and answer["meta_data"] == answer["metaData"] == {
        "page": {"page_number": 1, "page_size": 2, "total_records": 3, "total_pages": 2}
    }  # fmt: skip
    row = answer["data"][0]
    assert len(answer["data"]) == 2 and row["instrument_token"] == EQUITY
    assert (row["quantity"], row["price"], row["amount"], row["trade_date"], row["segment"]) == (
        5, 100.05, 500.25, "2025-12-15", "EQ",
    )  # fmt: skip
    assert len(bench.data("GET", f"{PATH}?{DAYS}&page_number=2&page_size=2")) == 1
    assert bench.data("GET", f"{PATH}?{DAYS}&page_number=1&page_size=9&segment=FO") == []
    early = "start_date=2025-12-01&end_date=2025-12-14"
    assert bench.data("GET", f"{PATH}?{early}&page_number=1&page_size=9") == []


@pytest.mark.parametrize(
    ("query", "code"),
    [("page_number=1&page_size=1", "UDAPI1015"), (f"{DAYS}&page_number=0&page_size=1", "UDAPI100036"),
     (f"{DAYS}&page_number=1", "UDAPI100036"), (f"{DAYS}&page_number=1&page_size=1&segment=X", "UDAPI100036"),
     ("start_date=2025-12-15&end_date=2025-12-14&page_number=1&page_size=1", "UDAPI100036")],
)  # fmt: skip
def test_what_is_refused(query: str, code: str) -> None:
    assert Bench().code("GET", f"{PATH}?{query}") == (400, code)
