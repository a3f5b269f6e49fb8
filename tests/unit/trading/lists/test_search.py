"""Words that people type, and what comes first."""

from __future__ import annotations

from typing import Any

import pytest
from master_tools import DAY, at_upstox, columns, future, market

from kite_hft.trading.lists.search import search


def found(text: str, **words: Any) -> list[str]:
    listed = columns(*market(), future("NIFTY", "2026-08-11", 9), at_upstox(future("X", "2026-08-25", 77)))
    return [listed.key(row) for row in search(listed, text, DAY, **words)]


def test_what_comes_first() -> None:
    assert found("sbin") == ["NSE:SBIN", "NFO:SBIN260825FUT"], "the share before its contracts"
    assert found("nifty")[:2] == ["NFO:NIFTY26081823900CE", "NFO:NIFTY26081823900PE"]
    assert found("nifty 50")[0] == "NSE:NIFTY 50", "exactly that"
    assert found("nifty fut")[-1] == "NFO:NIFTY260811FUT", "what is over comes last"
    assert found("NIFTY 24000 ce")[0] == "NFO:NIFTY26081824000CE"


@pytest.mark.parametrize(
    ("text", "words", "count"),
    [
        ("nifty", {"kind": "fut"}, 3), ("nifty", {"kind": "INDEX"}, 1), ("sbin", {"exchange": "nse"}, 1),
        ("reliance ltd", {}, 1), ("nse_fo|77", {}, 1), ("nfo:sbin", {}, 1), ("nothing", {}, 0), ("",
        {"kind": "EQ"}, 2),
    ],
)  # fmt: skip
def test_words_and_conditions(text: str, words: dict[str, str], count: int) -> None:
    assert len(found(text, **words)) == count
