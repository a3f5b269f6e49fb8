"""Kite's dump as columns: what the row by row reader makes of it, and what is refused."""

from __future__ import annotations

import gzip
import io
import lzma
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from master_tools import at_upstox, market, numbered

from kite_hft.brokers.kite.master import parse_columns
from kite_hft.trading.instruments import (
    CSV_COLUMNS,
    EXTRA_COLUMNS,
    InstrumentError,
    InstrumentTable,
    csv_row,
    parse_csv,
)

HEAD = ",".join(CSV_COLUMNS)
ROW = "14866434,58072,NIFTY26AUGFUT,NIFTY,0.0,2026-08-25,0.0,0.1,65,FUT,NFO-FUT,NFO"
OTHER = "738561,2885,RELIANCE,RELIANCE INDUSTRIES,0,,0,0.1,1,EQ,NSE,NSE"


def text(*rows: str, head: str = HEAD) -> bytes:
    return "".join(f"{row}\n" for row in (head, *rows)).encode()


def test_rows_as_the_slow_reader_makes_them() -> None:
    data = text(ROW, OTHER, "257801,1007,NIFTY FIN SERVICE,NIFTY FIN SERVICE,0.0,,0.0,0.0,0,EQ,INDICES,NSE")
    assert parse_columns(data).table().rows == parse_csv(data.decode().splitlines()).rows
    assert parse_columns(gzip.compress(data)).table().rows == parse_columns(data).table().rows


def test_our_own_columns() -> None:
    rows = numbered(*(at_upstox(row, barred="x, y") for row in market() if not row.is_index))
    out = io.StringIO(newline="")
    import csv

    csv.writer(out).writerows([[*CSV_COLUMNS, *EXTRA_COLUMNS], *(csv_row(row) for row in rows)])
    data = out.getvalue().encode()
    assert list(parse_columns(data).table().rows) == rows == list(parse_csv(data.decode().splitlines()).rows)
    assert InstrumentTable(tuple(rows)).rows[0].barred == "x, y"


ODD = {
    "no token": (ROW.replace("14866434", ""), "line 2: instrument_token does not fit 32 bits"),
    "token too large": (ROW.replace("14866434", str(2**32)), "line 2: instrument_token does not fit"),
    "token no number": (ROW.replace("14866434", "x"), "instrument_token: line 2: invalid value 'x'"),
    "tick off the unit": (ROW.replace(",0.1,", ",0.013,"), "line 2: tick_size is no price"),
    "strike off the unit": (ROW.replace(",0.0,0.1", ",0.013,0.1"), "line 2: strike is no price"),
    "lot no number": (ROW.replace(",65,", ",inf,"), "line 2: lot_size is no number"),
    "expiry no date": (ROW.replace("2026-08-25", "2026-02-30"), "line 2: expiry '2026-02-30' is no date"),
    "expiry written short": (ROW.replace("2026-08-25", "2026-8-25"), "is no date YYYY-MM-DD"),
    "cells missing": (ROW[:-8], "line 2: Expected 12 columns, got 11"),
    "cells too many": (ROW + ",x", "line 2: Expected 12 columns, got 13"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_row_that_cannot_be_read_names_line_and_field(name: str) -> None:
    row, message = ODD[name]
    with pytest.raises(InstrumentError, match=f"the list.*{message}"):
        parse_columns(text(row, OTHER), "the list")


def test_what_is_no_dump() -> None:
    for data, message in (
        (b"", "empty: fetch it again"),
        (text(), "no instrument is in it"),
        (b"<html>busy</html>\n", "columns missing: instrument_token, "),
        (text(ROW, head=HEAD.replace("expiry", "ends")), "columns missing: expiry"),
        (text(ROW, OTHER, ROW), "token 14866434 stands twice: NFO:NIFTY26AUGFUT in line 2 and .* in line 4"),
        (text(ROW) + text(OTHER), "instrument_token: line 3: invalid value 'instrument_token'"),
        (text(ROW).replace(b"NIFTY26", b"\xff"), "line 2: this is no text"),
    ):
        with pytest.raises(InstrumentError, match=message):
            parse_columns(data)


def test_a_torn_last_line() -> None:
    whole = text(ROW, OTHER, ROW.replace("14866434", "14866690"))
    assert len(parse_columns(whole[:-1])) == 3, "only the line end is missing"
    torn = [end for end in range(len(text(ROW, OTHER)) + 1, len(whole) - 1)]
    for end in torn:
        with pytest.raises(InstrumentError, match=r"cut short|no number|columns"):
            parse_columns(whole[:end])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
@example(303, b"\x80")
@example(307, b"\t")
def test_any_damage_is_read_as_the_slow_reader_does_or_refused(at: int, put: bytes) -> None:
    data = bytearray(text(ROW, OTHER, ROW.replace("14866434", "14866690").replace("58072", "58073")))
    at %= len(data)
    data[at : at + len(put)] = put
    try:
        found = parse_columns(bytes(data)).table().rows
    except InstrumentError:
        return
    assert found == parse_csv(io.StringIO(bytes(data).decode(), newline="")).rows


@pytest.mark.data
def test_the_real_dump(data_dir: Path) -> None:
    data = lzma.decompress((data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz").read_bytes())
    found = parse_columns(data)
    assert len(found) == 39_941
    assert found.table().rows == parse_csv(data.decode().splitlines()).rows
