"""market_cap.csv, refreshed from a file or an address."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from history_tools import at_ist

from kite_hft.engine.history.caps import FILE, read_caps, refresh
from kite_hft.trading.lists.market_caps import MarketCapError

NOW = at_ist("2026-06-10", 16)


def never(url: str) -> tuple[int, bytes]:
    raise AssertionError(url)


def test_an_address_is_asked_and_remembered(tmp_path: Path) -> None:
    assert read_caps(tmp_path) is None
    asked: list[str] = []

    def fetch(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return 200, b'{"SBIN": 7}'

    refresh(tmp_path / "new", "https://x/caps?key=1", NOW, fetch)
    found = read_caps(tmp_path / "new")
    assert found is not None and asked == ["https://x/caps?key=1"]
    assert (found.crores, found.as_of) == ({"NSE:SBIN": 7.0}, dt.date(2026, 6, 10))
    assert found.source == "https://x/caps?key=1"


def test_a_file_may_say_of_which_day_it_is(tmp_path: Path) -> None:
    source = tmp_path / "caps.csv"
    source.write_text("symbol,market_cap,as_of\nSBIN,7,2026-05-01\n")
    assert refresh(tmp_path, str(source), NOW, never).age_days(dt.date(2026, 6, 10)) == 40


@pytest.mark.parametrize(
    "answer", [(404, b""), (200, b"\xff\xfe"), (200, b"<html>"), ConnectionError("gone"), ValueError("bad")]
)
def test_what_cannot_be_had_leaves_the_table_before_it(tmp_path: Path, answer: object) -> None:
    refresh(tmp_path, "https://x/caps", NOW, lambda url: (200, b'{"SBIN": 7}'))
    before = (tmp_path / FILE).read_text()

    def fetch(url: str) -> tuple[int, bytes]:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    with pytest.raises(MarketCapError, match="https://x/caps") as error:
        refresh(tmp_path, "https://x/caps?key=secret", NOW, fetch)
    assert "secret" not in str(error.value)
    assert (tmp_path / FILE).read_text() == before
