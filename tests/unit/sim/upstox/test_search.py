"""Search for instruments: words, lists, pages."""

from __future__ import annotations

from typing import Any

import pytest
from upstox_bench import CURRENCY, EQUITY, OPTION, Bench

PATH = "/v2/instruments/search"


def found(bench: Bench, query: str) -> tuple[list[str], dict[str, Any]]:
    status, answer = bench.ask("GET", f"{PATH}?{query}")
    assert status == 200, answer
    return [row["instrument_key"] for row in answer["data"]], answer["meta_data"]["page"]


def test_words_lists_and_pages() -> None:
    bench = Bench()
    assert found(bench, "query=sbin")[0] == [EQUITY]
    assert found(bench, "query=sim ce")[0] == [OPTION]
    assert found(bench, "query=NSE sbin ce") == ([], {
        "page_number": 1, "total_pages": 0, "records": 0, "total_records": 0,
    })  # fmt: skip
    assert found(bench, "query=usd&segments=FO&exchanges=NSE&instrument_types=FUT")[0] == [CURRENCY]
    assert found(bench, "query=usd&segments=EQ,INDEX")[0] == []
    assert found(bench, "query=usd&exchanges=BSE")[0] == []
    every, page = found(bench, "query=|&records=30")
    assert len(every) == page["total_records"] == 5
    pages = [found(bench, f"query=|&records=2&page_number={n}") for n in (1, 2, 3)]
    assert [key for keys, _ in pages for key in keys] == every
    assert pages[2][1] == {"page_number": 3, "total_pages": 3, "records": 1, "total_records": 5}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "query=",
        f"query={'x' * 51}",
        "query=x&records=31",
        "query=x&records=0",
        "query=x&page_number=y",
    ],
)
def test_what_is_refused(query: str) -> None:
    assert Bench().code("GET", f"{PATH}?{query}") == (400, "UDAPI100036")


def test_what_the_simulator_has_not_is_said() -> None:
    bench = Bench()
    assert bench.code("GET", f"{PATH}?query=x&atm_offset=1")[0] == 501
    assert bench.code("GET", f"{PATH}?query=x&expiry=current_week")[0] == 501
    assert bench.code("GET", f"{PATH}?query=x&expiry=2026-99-99") == (400, "UDAPI1015")
