"""Upstox's file as columns: the same rows as master.parse_master, its doubts, its refusals."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft.brokers.upstox.master import parse_master
from kite_hft.brokers.upstox.master_columns import parse_columns
from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.columns import NUMBERS, TEXTS, WORDS, Columns

SHARE: dict[str, Any] = {
    "segment": "NSE_EQ", "name": "STATE BANK", "exchange": "NSE", "isin": "INE062A01020",
    "instrument_type": "EQ",
    "instrument_key": "NSE_EQ|INE062A01020", "lot_size": 1, "freeze_quantity": 100000.0,
    "exchange_token": "3045",
    "tick_size": 5.0, "trading_symbol": "SBIN", "qty_multiplier": 1.0,
}  # fmt: skip
CALL: dict[str, Any] = {
    "segment": "NSE_FO", "name": "NIFTY", "exchange": "NSE", "expiry": 1753986599000, "instrument_type": "CE",
    "underlying_symbol": "NIFTY", "instrument_key": "NSE_FO|55785", "lot_size": 75, "freeze_quantity": 1800.0,
    "exchange_token": "55785", "tick_size": 5.0, "trading_symbol": "NIFTY 24650 CE 31 JUL 25",
    "strike_price": 24650.0, "qty_multiplier": 1.0,
}  # fmt: skip
INDEX: dict[str, Any] = {
    "segment": "NSE_INDEX", "name": "Nifty 50", "exchange": "NSE", "instrument_type": "INDEX",
    "instrument_key": "NSE_INDEX|Nifty 50", "exchange_token": "26000", "trading_symbol": "NIFTY",
}  # fmt: skip
FUND: dict[str, Any] = {**INDEX, "segment": "GLOBAL_INDEX", "instrument_key": "GLOBAL_INDEX|X"}
GOLD: dict[str, Any] = {
    **CALL, "segment": "MCX_FO", "instrument_key": "MCX_FO|9", "exchange_token": "9", "lot_size": 100,
    "underlying_symbol": "GOLD", "trading_symbol": "GOLD FUT", "instrument_type": "FUT",
    "qty_multiplier": 100.0,
}  # fmt: skip


def same(*rows: dict[str, Any]) -> None:
    data = json.dumps(rows).encode()
    assert parse_columns(data).table().rows == parse_master(data).rows
    assert parse_columns(gzip.compress(data)).table().rows == parse_master(data).rows


def test_rows_of_other_segments_may_look_as_they_like() -> None:
    same({"segment": "GLOBAL_INDEX", "tick_size": "x"}, SHARE, {"segment": "OTHER"}, CALL)


def test_rows_as_the_slow_reader_makes_them() -> None:
    same(SHARE, CALL, INDEX, FUND, GOLD)
    same({**SHARE, "instrument_type": "BE", "trading_symbol": "ODD"})


@pytest.mark.parametrize(
    "change",
    [
        {"lot_size": None}, {"lot_size": 0}, {"lot_size": 1.5}, {"tick_size": None}, {"tick_size": 0.3},
        {"tick_size": 0}, {"freeze_quantity": None}, {"freeze_quantity": 0.0}, {"qty_multiplier": None},
        {"qty_multiplier": 0}, {"expiry": None}, {"expiry": 1e300}, {"expiry": -1}, {"strike_price": 0},
        {"strike_price": 0.001}, {"instrument_type": "COM"}, {"trading_symbol": "011NSETEST"}, {"name": None},
        {"underlying_symbol": None}, {"instrument_type": "PE"}, {"instrument_type": "FUT"},
    ],
)  # fmt: skip
def test_what_is_doubtful_is_barred_with_the_same_words(change: dict[str, Any]) -> None:
    for row in (SHARE, CALL, GOLD):
        same({**row, **change}, INDEX)


values = st.none() | st.integers(-5, 10**15) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([SHARE, CALL, GOLD, INDEX]),
    st.dictionaries(
        st.sampled_from(
            ["lot_size", "tick_size", "freeze_quantity", "qty_multiplier", "expiry", "strike_price"]
        ),
        values,
    ),
)
def test_any_numbers_are_read_as_the_slow_reader_does(row: dict[str, Any], change: dict[str, Any]) -> None:
    data = json.dumps([{**row, **change}]).encode()
    try:
        expected = parse_master(data).rows
    except (InstrumentError, ValueError):
        return
    assert parse_columns(data).table().rows == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([SHARE, {**CALL, "exchange_token": "x"}], "row 2, exchange_token: 'x' of NSE_FO.55785 is no number"),
        ([{**SHARE, "exchange_token": str(2**24)}], "row 1, exchange_token"),
        (
            [SHARE, {**CALL, "instrument_key": "BSE_FO|1"}],
            "row 2, instrument_key: 'BSE_FO.1' is none of segment",
        ),
        ([SHARE, SHARE], "row 2, instrument_key: .* stands in row 1 too"),
        (
            [SHARE, {**SHARE, "instrument_key": "NSE_EQ|X"}],
            "token 779521 stands twice: NSE:SBIN in row 1 and",
        ),
        ([{**SHARE, "lot_size": "1"}], "row 1, lot_size"),
        ([FUND], "no instrument of a segment that is traded here"),
        ([], "no instrument is in it"),
    ],
)
def test_a_file_that_contradicts_itself(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InstrumentError, match=f"the file.*{message}"):
        parse_columns(json.dumps(rows).encode(), "the file")


def test_a_file_that_is_cut_short() -> None:
    data = json.dumps([SHARE, CALL]).encode()
    for end in range(len(data)):
        with pytest.raises(InstrumentError, match="fetch it again"):
            parse_columns(data[:end])


@pytest.mark.data
def test_the_real_file(data_dir: Path) -> None:
    data = lzma.decompress((data_dir / "instruments/upstox_complete_2025-06.json.xz").read_bytes())
    found = parse_columns(data)
    expected = Columns.of_table(parse_master(data))
    assert len(found) == len(expected) == 95_701
    for name in (*NUMBERS, *TEXTS):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    for name in WORDS:
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert [ours.words[code] for code in ours.codes] == [theirs.words[code] for code in theirs.codes], (
            name
        )
