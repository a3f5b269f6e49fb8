"""An instrument list as columns: the same rows, and the same answers, as row by row."""

from __future__ import annotations

import datetime as dt
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from master_tools import MONTH, WEEK, at_upstox, columns, future, index, market, numbered, option, share

from kite_hft.trading.instruments import Instrument, InstrumentError, InstrumentTable, parse_csv
from kite_hft.trading.lists.columns import Columns, NotListed, Words, day_number, day_of

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
numbers = st.integers(0, 2**62)


@st.composite
def rows(draw: st.DrawFn) -> Instrument:
    """Any row that a reader may make."""
    token = draw(st.integers(1, 2**32 - 1))
    day = draw(st.dates(dt.date(1971, 1, 1), dt.date(2100, 1, 1)))
    return Instrument(
        0, token, draw(st.integers(0, 2**31)), draw(texts), draw(texts), draw(texts), draw(texts),
        draw(st.integers(-(2**31), 2**31 - 1)), draw(numbers), draw(st.sampled_from([100, 10_000,
        10_000_000])),
        draw(texts), draw(st.sampled_from(["", day.isoformat()])), draw(numbers),
        draw(st.none() | st.integers(1, 2**40)), draw(st.none() | st.integers(1, 2**40)), draw(texts),
        draw(texts),
    )  # fmt: skip


@given(st.lists(rows(), max_size=12))
def test_rows_come_back_as_they_were(given_rows: list[Instrument]) -> None:
    listed = numbered(*given_rows)
    made = Columns.of_table(listed)
    assert len(made) == len(listed)
    assert [made.row(at, at) for at in range(len(made))] == listed


def test_columns_of_different_lengths_are_refused() -> None:
    made = columns(*market())
    with pytest.raises(InstrumentError, match="column tick_px has 2 rows, the list has 36"):
        replace(made, tick_px=made.tick_px[:2])


def test_words() -> None:
    made = Words.of(["a", "b", "a"])
    assert made.words == ("a", "b") and made.codes.tolist() == [0, 1, 0] and made.text(1) == "b"
    assert made.are(["a", "z"]).tolist() == [True, False, True]
    assert made.hashes()[0] == Words.of(["c", "a"]).hashes()[1]
    assert day_of(day_number(dt.date(2026, 8, 17))) == dt.date(2026, 8, 17)


def test_look_ups_answer_as_the_table_does() -> None:
    listed = [*(at_upstox(row) for row in market() if not row.is_index), index("NIFTY 50", 1001)]
    made, table = columns(*listed), InstrumentTable(tuple(numbered(*listed)))
    for row in table:
        for name in filter(None, (row.token, row.key, row.upstox_key, str(row.token))):
            assert made.resolve(name) == table.resolve(name).slot, name


def test_a_name_that_is_not_there_names_the_nearest() -> None:
    made = columns(*market())
    with pytest.raises(NotListed, match=r"'NSE:SBIM' is not in today's list; did you mean NSE:SBIN\?"):
        made.resolve("NSE:SBIM")
    for name in (12345, "NSE_EQ|X", "SBIN", "BSE:SBIN"):
        with pytest.raises(NotListed):
            made.resolve(name)


def test_a_name_of_several_lists_them() -> None:
    twins = share("SAME", 1), index("SAME", 2)
    made = columns(*twins, share("SAME", 3, exchange="BSE"))
    assert made.rows_of("NSE:SAME") == [0, 1] and made.resolve("BSE:SAME") == 2
    with pytest.raises(InstrumentError, match=r"names 2 instruments: token 257 .*; token 521 .*by its token"):
        made.resolve("NSE:SAME")


def test_contracts_by_what_they_are() -> None:
    made = columns(*market())
    month = dt.date.fromisoformat(MONTH)
    found = made.row(made.find("NIFTY", month, "CE", 24_050))
    assert (found.kind, found.expiry, found.strike_px) == ("CE", MONTH, 2_405_000)
    assert made.row(made.find("NIFTY", month, "FUT")).symbol.endswith("FUT")
    assert len(made.contracts("NIFTY")) == 32 and len(made.contracts("NIFTY", "BFO")) == 0
    with pytest.raises(InstrumentError, match="with strike 24049; the nearest are 24050, 24000"):
        made.find("NIFTY", month, "CE", 24_049)
    with pytest.raises(InstrumentError, match=f"ends on 2026-08-19; there are {WEEK}, {MONTH}"):
        made.find("NIFTY", dt.date(2026, 8, 19), "PE", 24_000)
    with pytest.raises(InstrumentError, match="no contract on 'NFTY'"):
        made.find("NFTY", month, "CE", 24_000)
    with pytest.raises(InstrumentError, match="5 contracts are a CE on NIFTY"):
        made.find("NIFTY", month, "CE")


def test_terms_are_equal_for_one_instrument_and_differ_for_others() -> None:
    ours = columns(*market())
    theirs = columns(*reversed([at_upstox(row) for row in market() if not row.is_index]))
    assert len(np.intersect1d(ours.terms, theirs.terms)) == len(theirs) == len(market()) - 1
    assert np.count_nonzero(ours.terms == 0) == 1, "an index has none"
    one = columns(option("A", 100, "CE", MONTH, 1)).terms[0]
    others = (
        option("B", 100, "CE", MONTH, 1), option("A", 101, "CE", MONTH, 1), option("A", 100, "PE", MONTH, 1),
        option("A", 100, "CE", WEEK, 1), option("A", 100, "CE", MONTH, 1, exchange="BFO"), future("A", MONTH,
        1),
    )  # fmt: skip
    assert one not in [columns(row).terms[0] for row in others]
    assert columns(option("A", 100, "CE", MONTH, 2, symbol="OTHER WORDS")).terms[0] == one


def test_what_is_over() -> None:
    made = columns(share("A", 1), future("A", WEEK, 2), future("A", MONTH, 3))
    assert made.over(dt.date(2026, 8, 19)).tolist() == [False, True, False]
    assert made.over(dt.date(2026, 8, 18)).tolist() == [False, False, False], "it trades on its last day"


@pytest.mark.data
def test_the_real_list_through_columns(data_dir: Path) -> None:
    with lzma.open(data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz", "rt") as file:
        table = parse_csv(file)
    made = Columns.of_table(table)
    assert made.table().rows == table.rows
    assert len(np.unique(made.terms)) == len(made) == 39_941, "no two contracts have the same terms"
