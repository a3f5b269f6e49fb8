"""A list that is old, cut short or doubled is told from a good one."""

from __future__ import annotations

import datetime as dt
import lzma
from pathlib import Path

import pytest
from master_tools import DAY, MONTH, WEEK, columns, future, share

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.brokers.table import master_columns
from kite_hft.settings import load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentError
from kite_hft.trading.lists.columns import Columns
from kite_hft.trading.lists.list_checks import check_unique, counts, least_of, problems

REBUILT = "08:30"


def listed(shares: int, week: int, month: int) -> Columns:
    rows: list[Instrument] = [share(f"S{n}", n + 1) for n in range(shares)]
    rows += [future(f"W{n}", WEEK, 10_000 + n) for n in range(week)]
    rows += [future(f"M{n}", MONTH, 20_000 + n) for n in range(month)]
    return columns(*rows)


def kinds(now: Columns, before: Columns | None, day: dt.date = DAY) -> list[str]:
    return [problem.kind for problem in problems(now, before, day, REBUILT)]


def test_a_good_list_has_no_problem() -> None:
    assert kinds(listed(100, 100, 100), None) == kinds(listed(100, 100, 100), listed(100, 90, 100)) == []


def test_contracts_that_are_over_show_an_old_list() -> None:
    day = dt.date(2026, 8, 19)
    (found,) = problems(listed(0, 2, 98), None, day, REBUILT)
    assert found.kind == "old" and "2 of 100 contracts are over, the last on 2026-08-18" in found.text
    assert "about 08:30 IST: fetch it after that" in found.text
    assert kinds(listed(0, 1, 99), None, day) == [], "a straggler makes no list old"
    assert kinds(listed(100, 0, 0), None, day) == [], "a list of shares does not age so"


def test_a_fifth_gone_of_what_still_lives() -> None:
    before = listed(100, 100, 100)
    assert kinds(listed(80, 100, 100), before) == []
    (found,) = problems(listed(79, 100, 100), before, DAY, REBUILT)
    assert found.kind == "size" and found.text.startswith("NSE: 79 instruments, and 100 of the list before")
    assert "--accept" in found.text
    assert kinds(listed(100, 0, 100), before) == ["size"]
    after = dt.date(2026, 8, 19)
    assert kinds(listed(100, 0, 100), before, after) == [], "half of the contracts ended the day before"
    assert kinds(listed(100, 0, 79), before, after) == ["size"]


def test_an_exchange_that_is_missing_altogether() -> None:
    assert kinds(listed(0, 100, 100), listed(60, 100, 100)) == ["size"]
    assert kinds(listed(0, 100, 100), listed(49, 100, 100)) == [], "of few nothing can be said"


def test_a_list_that_grew_may_be_doubled() -> None:
    (found,) = problems(listed(151, 0, 0), listed(100, 0, 0), DAY, REBUILT)
    assert found.kind == "size" and "151 instruments after 100: the list may be doubled" in found.text
    assert kinds(listed(150, 0, 0), listed(100, 0, 0)) == []


def test_nothing_stands_twice() -> None:
    check_unique(listed(3, 0, 0), "list")
    with pytest.raises(InstrumentError, match="token 257 stands twice: NSE:A in line 2 and NSE:B in line 4"):
        check_unique(columns(share("A", 1), share("C", 2), share("B", 1)), "list", "line", 2)
    twice = columns(share("A", 1, upstox_key="NSE_EQ|X"), share("B", 2, upstox_key="NSE_EQ|X"))
    with pytest.raises(InstrumentError, match=r"Upstox key NSE_EQ\|X stands twice"):
        check_unique(twice, "list")


def test_counts_by_exchange() -> None:
    made = listed(3, 1, 1)
    assert counts(made) == {"NSE": 3, "NFO": 2} and counts(made, made.expiry == 0) == {"NSE": 3, "NFO": 0}


def least(broker: str) -> dict[str, int]:
    return least_of(limits_from_mapping(load_yaml(Path(f"config/rules/{broker}_2026-04-01.yaml"))).extras)


def test_without_an_earlier_list_each_exchange_has_its_least(data_dir: Path) -> None:
    """Real lists, whole and cut at the end of a row: of Kite's only the derivatives are at hand."""
    body = lzma.decompress((data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz").read_bytes())
    day = dt.date(2026, 8, 1)
    whole = problems(master_columns("kite", body, "list"), None, day, REBUILT, least("kite"))
    assert [text.text.split(" instruments")[0] for text in whole] == ["NSE: 0", "BSE: 0"]
    cut = body[: body.rfind(b"\n", 0, len(body) // 3) + 1]
    found = problems(master_columns("kite", cut, "list"), None, day, REBUILT, least("kite"))
    assert {text.text.split(":")[0] for text in found} > {"NSE", "BSE"}
    assert all(text.kind == "size" and "--accept" in text.text for text in found)

    body = lzma.decompress((data_dir / "instruments/upstox_complete_2025-06.json.xz").read_bytes())
    day = dt.date(2025, 6, 1)
    assert problems(master_columns("upstox", body, "list"), None, day, REBUILT, least("upstox")) == []
    cut = body[: body.rfind(b"},", 0, len(body) // 3) + 1] + b"]"
    assert problems(master_columns("upstox", cut, "list"), None, day, REBUILT, least("upstox"))


def test_with_an_earlier_list_only_that_is_compared() -> None:
    assert problems(listed(60, 0, 0), listed(60, 0, 0), DAY, REBUILT, {"NSE": 4000}) == []
    (found,) = problems(listed(60, 0, 0), None, DAY, REBUILT, {"NSE": 61, "NFO": 0})
    assert found.text.startswith("NSE: 60 instruments, and a whole list has at least 61 (there is no list")
