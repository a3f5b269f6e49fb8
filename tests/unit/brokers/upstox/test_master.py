"""Upstox's instrument files: their oddities, what is refused, what is kept and not traded."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import lzma
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.brokers.upstox.master import PLACES, parse_master, read_master
from kite_hft.trading.gate.checks_form import untradable
from kite_hft.trading.instruments import InstrumentError, InstrumentTable, parse_csv, read_csv, write_csv

EXPIRY_MS = 1_767_119_399_000  # 2025-12-30 23:59:59 in India
SHARE: dict[str, Any] = {
    "segment": "NSE_EQ", "exchange": "NSE", "name": "RELIANCE INDUSTRIES LTD", "isin": "INE002A01018",
    "instrument_type": "EQ", "instrument_key": "NSE_EQ|INE002A01018", "exchange_token": "2885",
    "trading_symbol": "RELIANCE", "lot_size": 1, "freeze_quantity": 100000.0, "tick_size": 10.0,
    "qty_multiplier": 1.0, "security_type": "NORMAL",
}  # fmt: skip
CALL: dict[str, Any] = {
    "segment": "NSE_FO", "exchange": "NSE", "name": "BANKNIFTY", "instrument_type": "CE", "weekly": False,
    "instrument_key": "NSE_FO|50904", "exchange_token": "50904", "expiry": EXPIRY_MS,
    "underlying_symbol": "BANKNIFTY", "trading_symbol": "BANKNIFTY 51200 CE 30 DEC 25", "lot_size": 35,
    "strike_price": 51200.0, "freeze_quantity": 875.0, "tick_size": 5.0, "qty_multiplier": 1.0,
}  # fmt: skip
INDEX: dict[str, Any] = {
    "segment": "NSE_INDEX", "exchange": "NSE", "name": "Nifty 50", "instrument_type": "INDEX",
    "instrument_key": "NSE_INDEX|Nifty 50", "exchange_token": "26000", "trading_symbol": "NIFTY",
}  # fmt: skip


def packed(*rows: dict[str, Any]) -> bytes:
    return json.dumps(rows).encode()


def other(row: dict[str, Any], **words: Any) -> dict[str, Any]:
    """None takes a key away."""
    return {key: value for key, value in (row | words).items() if value is not None}


def debenture() -> dict[str, Any]:
    return other(
        SHARE, instrument_key="NSE_EQ|INE002A07X", exchange_token="19000", instrument_type="N0",
        name="RIL 8%",
    )  # fmt: skip


def test_a_share_a_contract_and_an_index() -> None:
    share, call, index = parse_master(packed(SHARE, CALL, INDEX))
    assert (share.key, share.token, share.kind, share.segment) == (
        "NSE:RELIANCE",
        2885 * 256 + 1,
        "EQ",
        "NSE",
    )
    assert (share.tick_px, share.lot_size, share.freeze_quantity, share.multiplier) == (10, 1, 100_000, 1)
    assert (call.key, call.token, call.kind) == ("NFO:BANKNIFTY 51200 CE 30 DEC 25", 50904 * 256 + 2, "CE")
    assert (call.name, call.expiry, call.strike_px, call.segment) == (
        "BANKNIFTY", "2025-12-30", 5_120_000, "NFO-OPT",
    )  # fmt: skip
    assert (call.tick_px, call.lot_size, call.freeze_quantity, call.multiplier) == (5, 35, 875, 1)
    assert (index.key, index.token, index.segment) == ("NSE:NIFTY", 26000 * 256 + 9, "INDICES")
    assert index.is_index and index.upstox_key == "NSE_INDEX|Nifty 50"
    assert [untradable(row) is None for row in (share, call, index)] == [True, True, False]


@pytest.mark.parametrize(
    ("segment", "exchange", "number", "tick", "tick_px", "strike", "strike_px"),
    [
        ("NSE_FO", "NFO", 2, 5.0, 5, 100.0, 10_000),
        ("NCD_FO", "CDS", 3, 0.25, 25_000, 84.375, 843_750_000),
        ("BSE_FO", "BFO", 5, 5.0, 5, 89_100.0, 8_910_000),
        ("BCD_FO", "BCD", 6, 0.25, 25, 88.8, 888_000),
        ("MCX_FO", "MCX", 7, 1.0, 1, 267.5, 26_750),
        ("NSE_COM", "NCO", 12, 50.0, 5_000, 101_900.0, 1_019_000_000),
    ],
)
def test_segments_and_their_units(
    segment: str, exchange: str, number: int, tick: float, tick_px: int, strike: float, strike_px: int
) -> None:
    row = other(CALL, segment=segment, instrument_key=f"{segment}|7", exchange_token="7", tick_size=tick,
                strike_price=strike)  # fmt: skip
    (found,) = parse_master(packed(row))
    assert (found.exchange, found.token) == (exchange, 7 * 256 + number)
    assert (found.tick_px, found.strike_px, found.barred) == (tick_px, strike_px, "")
    assert found.tick_px / found.scale == pytest.approx(tick / 100, rel=1e-12)


def test_a_contract_is_named_by_its_underlying_and_its_day_in_india() -> None:
    evening = other(CALL, name="SJVN LTD", underlying_symbol="SJVN", expiry=1_767_033_000_000)  # 18:30 UTC
    (row,) = parse_master(packed(evening))
    assert (row.name, row.expiry) == ("SJVN", "2025-12-30")
    assert parse_master(packed(other(evening, expiry=1_767_033_000_000 - 1)))[0].expiry == "2025-12-29"
    assert parse_master(packed(other(SHARE, name=None)))[0].name == ""


def test_a_series_stands_behind_the_symbol_as_at_kite() -> None:
    table = parse_master(packed(SHARE, debenture()))
    assert [row.symbol for row in table] == ["RELIANCE", "RELIANCE-N0"]
    assert table.resolve("NSE:RELIANCE").upstox_key == SHARE["instrument_key"] and not table.ambiguous
    bse = other(SHARE, segment="BSE_EQ", instrument_key="BSE_EQ|X", instrument_type="XT")
    assert parse_master(packed(bse))[0].symbol == "RELIANCE", "BSE's groups are no part of a symbol"
    named = other(SHARE, instrument_type="BE", trading_symbol="RELIANCE-BE")
    assert parse_master(packed(named))[0].symbol == "RELIANCE-BE"


def test_commodities_are_traded_in_lots() -> None:
    zinc = other(CALL, segment="MCX_FO", instrument_key="MCX_FO|457048", lot_size=5, qty_multiplier=5000.0)
    (row,) = parse_master(packed(zinc))
    assert (row.lot_size, row.multiplier) == (1, 5000)


@pytest.mark.parametrize(
    ("base", "words", "why"),
    [
        (CALL, {"lot_size": None}, "lot size missing"),
        (CALL, {"lot_size": 0}, "lot size 0"),
        (CALL, {"lot_size": 7.5}, "lot size 7.5"),
        (CALL, {"tick_size": None}, "tick size missing"),
        (CALL, {"tick_size": 0.3}, "tick size 0.3 paise"),
        (CALL, {"tick_size": 1e300}, "tick size 1e+300 paise"),
        (CALL, {"freeze_quantity": None}, "freeze quantity missing"),
        (CALL, {"freeze_quantity": -1.0}, "freeze quantity -1"),
        (CALL, {"expiry": None}, "expiry missing"),
        (CALL, {"expiry": 10**30}, "is no time"),
        (CALL, {"strike_price": None}, "strike missing"),
        (CALL, {"strike_price": 100.001}, "not a multiple"),
        (CALL, {"instrument_type": "SWAP"}, "a SWAP is no contract"),
        (CALL, {"trading_symbol": "011NSETEST FUT 30 DEC 25"}, "a test instrument"),
        (CALL, {"segment": "MCX_FO", "instrument_key": "MCX_FO|1", "qty_multiplier": None}, "multiplier"),
        (SHARE, {"lot_size": None}, "lot size missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_traded_stays_with_its_reason(
    base: dict[str, Any], words: dict[str, Any], why: str
) -> None:
    good, bad = parse_master(
        packed(other(CALL, instrument_key="NSE_FO|9", exchange_token=9), other(base, **words))
    )
    assert untradable(good) is None
    assert why in bad.barred
    assert why in str(untradable(bad))


def test_keys_that_a_segment_does_not_have() -> None:
    sensex = other(CALL, segment="BSE_FO", instrument_key="BSE_FO|821343", qty_multiplier=None)
    assert parse_master(packed(sensex))[0].multiplier == 1, "quantities are units there"
    share = other(SHARE, freeze_quantity=None, qty_multiplier=None)
    assert (
        parse_master(packed(share))[0].freeze_quantity is None
        and untradable(parse_master(packed(share))[0]) is None
    )
    future = other(CALL, instrument_type="FUT", strike_price=0.0)
    assert (parse_master(packed(future))[0].strike_px, parse_master(packed(future))[0].barred) == (0, "")


def test_what_is_no_instrument_here_is_left_out() -> None:
    fund = other(SHARE, segment="MF_EQ", instrument_key="MF_EQ|1")
    assert [row.key for row in parse_master(packed(fund, SHARE))] == ["NSE:RELIANCE"]


def test_rows_of_other_segments_may_look_as_they_like() -> None:
    """The broker adds to its file without a word; what is not traded here keeps no run from its day."""
    odd = {
        "segment": "GLOBAL_INDEX",
        "instrument_key": "NSE_EQ|INE002A01018",
        "tick_size": "x",
    }
    rows = packed(odd, SHARE, {"segment": "OTHER"}, odd, CALL)
    assert list(parse_master(rows)) == list(parse_master(packed(SHARE, CALL)))
    with pytest.raises(InstrumentError, match="file, row 3, tick_size: Expected `float"):
        parse_master(packed(odd, SHARE, odd | {"segment": "NSE_EQ", "exchange_token": "1"}), "file")


def test_two_segments_of_indices_that_count_from_one_both() -> None:
    rows = [
        other(INDEX, segment=f"{e}_INDEX", instrument_key=f"{e}_INDEX|X", exchange_token="1")
        for e in ("BSE", "MCX")
    ]
    assert len(parse_master(packed(*rows)).tokens()) == 2


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "file: empty"),
        (b"[]", "file: no instrument is in it"),
        (packed(SHARE)[:-20], "file: cut short or damaged"),
        (gzip.compress(packed(SHARE))[:-9], "file: cut short: its gzip has no end"),
        (b"\x1f\x8b\x08 no gzip", "file: damaged"),
        (b"\xff\xfe", "file: cut short or damaged"),
        (b"{}", "file: Expected `array`"),
        (packed(SHARE, other(SHARE, segment=None)), "file, row 2: .*`segment`"),
        (packed(SHARE, other(CALL, tick_size="5")), "file, row 2, tick_size: Expected `float"),
        (packed(other(SHARE, instrument_key=7)), "file, row 1, instrument_key"),
        (packed(SHARE, CALL, SHARE), "file, row 3, instrument_key: NSE_EQ.INE002A01018 stands in row 1 too"),
        (packed(other(SHARE, exchange_token="2 885")), "file, row 1, exchange_token: '2 885'"),
        (packed(other(SHARE, exchange_token=str(2**24))), "row 1, exchange_token: .* 24 bits"),
        (packed(other(SHARE, exchange_token="0")), "row 1, exchange_token"),
        (packed(other(SHARE, instrument_key="BSE_EQ|INE002A01018")), "row 1, instrument_key: .* none of"),
        (packed(SHARE, other(SHARE, instrument_key="NSE_EQ|OTHER")), "token 738561 stands twice"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_with_its_place(content: bytes, what: str) -> None:
    with pytest.raises(InstrumentError, match=what):
        parse_master(content, "file")


@given(st.data())
def test_no_half_written_file_passes(data: st.DataObject) -> None:
    whole = packed(SHARE, CALL, INDEX)
    for content in (whole, gzip.compress(whole, mtime=0)):
        cut = data.draw(st.integers(0, len(content) - 1))
        with pytest.raises(InstrumentError, match="file"):
            parse_master(content[:cut], "file")


NUMBERS = st.one_of(
    st.none(), st.integers(-(10**40), 10**40), st.floats(allow_nan=False, allow_infinity=False)
)


SIZES = ("lot_size", "tick_size", "freeze_quantity", "qty_multiplier", "expiry", "strike_price")
WORDS = {
    "instrument_type": st.sampled_from(["CE", "FUT", "X"]),
    "segment": st.sampled_from(["NSE_FO", "NCD_FO"]),
}


@given(st.fixed_dictionaries({}, optional={name: NUMBERS for name in SIZES} | WORDS))
def test_whatever_numbers_stand_there_it_is_tradable_or_says_why_not(words: dict[str, Any]) -> None:
    row = other(CALL, **words)
    row["instrument_key"] = f"{row['segment']}|50904"
    try:
        (found,) = parse_master(packed(row))
    except InstrumentError as error:
        assert "row 1, " in str(error), "a number that no float holds"
        return
    assert bool(found.barred) == (untradable(found) is not None)
    if not found.barred:
        assert found.lot_size == row["lot_size"] and found.freeze_quantity == row["freeze_quantity"]
        assert found.tick_px == pytest.approx(row["tick_size"] / 100 * found.scale)


def test_only_what_is_wanted_in_that_order() -> None:
    rows = packed(SHARE, CALL, INDEX, debenture())
    names = ["NSE:RELIANCE-N0", 50904 * 256 + 2, "NSE_INDEX|Nifty 50"]
    table = parse_master(rows, wanted=names)
    assert [row.upstox_key for row in table] == ["NSE_EQ|INE002A07X", "NSE_FO|50904", "NSE_INDEX|Nifty 50"]
    assert [row.slot for row in table] == [0, 1, 2]
    whole = parse_master(rows)
    assert [whole.resolve(name).upstox_key for name in names] == [row.upstox_key for row in table]
    with pytest.raises(InstrumentError, match=r"file: instrument 'NSE:RELIANC' is not in it; .*NSE:RELIANCE"):
        parse_master(rows, "file", wanted=["NSE:RELIANC"])


def test_a_name_of_two_is_an_error_that_lists_them() -> None:
    index = other(INDEX, segment="NSE_INDEX", instrument_key="NSE_INDEX|R", trading_symbol="RELIANCE")
    for wanted in (None, ["NSE:RELIANCE"]):
        with pytest.raises(InstrumentError, match=r"2 instruments: token 738561 .*; token 6656009 INDICES"):
            parse_master(packed(SHARE, index), wanted=wanted).resolve("NSE:RELIANCE")


def test_what_resembles_another_table() -> None:
    kite = parse_csv(
        [
            "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
            "instrument_type,segment,exchange",
            "1,999,BANKNIFTY26JANFUT,BANKNIFTY,0,2026-01-27,0,0.05,35,FUT,NFO-FUT,NFO",
            "2,19000,SBIN,STATE BANK,0,,0,0.05,1,EQ,NSE,NSE",
        ]
    )
    found = parse_master(packed(SHARE, CALL, INDEX, debenture()), beside=kite)
    assert [row.upstox_key for row in found] == ["NSE_FO|50904", "NSE_INDEX|Nifty 50", "NSE_EQ|INE002A07X"]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "complete.json.gz"
    path.write_bytes(gzip.compress(packed(SHARE)))
    assert read_master(path)[0].key == "NSE:RELIANCE"
    with pytest.raises(InstrumentError, match=r"none\.json: cannot be read"):
        read_master(tmp_path / "none.json")


def test_the_run_keeps_the_key_and_the_reason(tmp_path: Path) -> None:
    table = parse_master(packed(SHARE, other(CALL, lot_size=None), INDEX))
    write_csv(table, tmp_path / "instruments.csv")
    assert read_csv(tmp_path / "instruments.csv").rows == table.rows


# The real list of June 2025, read once more by plain json


@cache
def real(data_dir: Path) -> tuple[list[dict[str, Any]], bytes, InstrumentTable]:
    content = lzma.decompress((data_dir / "instruments/upstox_complete_2025-06.json.xz").read_bytes())
    return json.loads(content), content, parse_master(content)


@pytest.mark.data
def test_every_real_row_is_an_instrument(data_dir: Path) -> None:
    rows, _content, table = real(data_dir)
    assert len(table) == len(rows) == 95_701
    low = {"NSE_EQ": 1, "NSE_FO": 2, "NCD_FO": 3, "BSE_EQ": 4, "BSE_FO": 5, "BCD_FO": 6, "MCX_FO": 7,
           "NSE_COM": 12, "NSE_INDEX": 9, "BSE_INDEX": 9}  # fmt: skip
    epoch = dt.datetime(1970, 1, 1)
    for row, made in zip(rows, table, strict=True):
        assert made.upstox_key == row["instrument_key"] and made.exchange == PLACES[row["segment"]].exchange
        assert made.token == int(row["exchange_token"]) * 256 + low[row["segment"]]
        if "expiry" in row:
            day = epoch + dt.timedelta(milliseconds=row["expiry"], minutes=330)
            assert made.expiry == f"{day:%Y-%m-%d}" and made.name == row["underlying_symbol"]
        if "tick_size" in row:
            assert abs(made.tick_px / made.scale - row["tick_size"] / 100) < 1e-12
            assert made.freeze_quantity == row["freeze_quantity"]


@pytest.mark.data
def test_what_of_the_real_list_cannot_be_traded(data_dir: Path) -> None:
    rows, _content, table = real(data_dir)
    expected = Counter(
        "index" if row["segment"].endswith("_INDEX")
        else "commodity" if row["instrument_type"] == "COM"
        else "test" if "NSETEST" in row["trading_symbol"] else "tradable"
        for row in rows
    )  # fmt: skip
    found = Counter(
        "index" if row.is_index
        else "commodity" if "a COM is no contract" in row.barred
        else "test" if "a test instrument" in row.barred else "tradable" if untradable(row) is None else "?"
        for row in table
    )  # fmt: skip
    assert found == expected == {"tradable": 95_442, "index": 194, "test": 41, "commodity": 24}


@pytest.mark.data
def test_one_name_of_the_real_list_is_a_share_and_an_index(data_dir: Path) -> None:
    _rows, content, table = real(data_dir)
    assert list(table.ambiguous) == ["BSE:METAL"]
    wanted = ["NSE:BSE", "NSE:MOTHERSON", "NSE_INDEX|India VIX", 50917 * 256 + 2]
    chosen = parse_master(gzip.compress(content, 1), wanted=wanted)
    assert [row.upstox_key for row in chosen] == [
        "NSE_EQ|INE118H01025", "NSE_EQ|INE775A01035", "NSE_INDEX|India VIX", "NSE_FO|50917",
    ]  # fmt: skip
