"""The instrument master: Kite's columns, its oddities, slots and scales."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from kite_hft.trading.instruments import (
    CSV_COLUMNS,
    InstrumentError,
    InstrumentTable,
    parse_csv,
    read_csv,
    scale_of_token,
    write_csv,
)

HEAD = ",".join(CSV_COLUMNS)
INFY = "408065,1594,INFY,INFOSYS,0.0,,0.0,0.05,1,EQ,NSE,NSE"
NIFTY = "256265,1001,NIFTY 50,NIFTY 50,0.0,,0.0,0.0,0,EQ,INDICES,NSE"
USDINR = "412675,1612,USDINR26DECFUT,USDINR,0.0,2026-12-29,0,0.0025,1,FUT,CDS-FUT,CDS"


def test_rows_get_slots_in_order_and_scales_by_segment() -> None:
    table = parse_csv([HEAD, INFY, NIFTY, USDINR])
    assert [row.slot for row in table] == [0, 1, 2]
    assert [row.scale for row in table] == [100, 100, 10_000_000]
    assert [row.tick_px for row in table] == [5, 0, 25_000]
    assert table[1].is_index and not table[0].is_index
    assert table.resolve("NSE:INFY").token == 408065 and table.resolve(412675).symbol == "USDINR26DECFUT"


def test_an_unknown_name_gets_near_ones() -> None:
    with pytest.raises(InstrumentError, match="did you mean NSE:INFY"):
        parse_csv([HEAD, INFY]).resolve("NSE:INFYY")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("x" + INFY, "line 2"),
        (INFY.replace("0.05", "0.0501234"), "not a multiple"),
        ("4294967296" + INFY[6:], "32 bits"),
    ],
)
def test_a_bad_cell_names_its_line(line: str, what: str) -> None:
    with pytest.raises(InstrumentError, match=what):
        parse_csv([HEAD, line])


def test_missing_columns_and_doubled_tokens() -> None:
    with pytest.raises(InstrumentError, match=r"columns missing: .*lot_size"):
        parse_csv(["instrument_token,tradingsymbol", "1,A"])
    with pytest.raises(InstrumentError, match="stands twice"):
        parse_csv([HEAD, INFY, INFY])


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    table = parse_csv(
        [HEAD + ",multiplier,freeze_quantity", INFY + ",1,100000", NIFTY + ",,", USDINR + ",1000,"]
    )
    write_csv(table, tmp_path / "i.csv")
    assert read_csv(tmp_path / "i.csv").rows == table.rows


def test_what_a_run_adds_is_read_back_too(tmp_path: Path) -> None:
    strike = "412931,1613,USDINR26DEC84.375CE,USDINR,0.0,2026-12-29,84.375,0.0025,1,CE,CDS-OPT,CDS"
    more = [
        ',1,1800,NSE_EQ|INE009A01021,"lot size 1 at Kite, 2 at Upstox"',
        ",,,NSE_INDEX|Nifty 50,",
        ",1000,,,",
    ]
    columns = ",multiplier,freeze_quantity,upstox_key,barred"
    table = parse_csv([HEAD + columns, INFY + more[0], NIFTY + more[1], strike + more[2]])
    assert table.by_upstox_key["NSE_EQ|INE009A01021"].barred == "lot size 1 at Kite, 2 at Upstox"
    assert table.resolve("NSE_INDEX|Nifty 50").symbol == "NIFTY 50"
    assert table[2].strike_px == 843_750_000, "in the instrument's own unit, as its prices"
    write_csv(table, tmp_path / "i.csv")
    assert read_csv(tmp_path / "i.csv").rows == table.rows
    with pytest.raises(InstrumentError, match="line 2: strike"):
        parse_csv([HEAD, strike.replace("84.375", "84.37500001")])
    for strange in ("nan", "inf", "-5"):
        with pytest.raises(InstrumentError, match="is no price"):
            parse_csv([HEAD, strike.replace("84.375,", f"{strange},", 1)])


def test_a_name_of_two_instruments_stands_for_neither() -> None:
    index = "2313,9,INFY,INFOSYS INDEX,0.0,,0.0,0.0,0,EQ,INDICES,NSE"
    table = parse_csv([HEAD, INFY, index, NIFTY])
    assert "NSE:INFY" not in table.by_key and [r.token for r in table.ambiguous["NSE:INFY"]] == [408065, 2313]
    with pytest.raises(
        InstrumentError, match=r"names 2 instruments: token 408065 NSE EQ INFOSYS; token 2313 INDICES"
    ):
        table.resolve("NSE:INFY")
    assert table.resolve(408065).name == "INFOSYS" and table.select([table[0]]).resolve("NSE:INFY").slot == 0


def test_scale_of_every_segment() -> None:
    assert [scale_of_token(s) for s in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 200)] == [
        100, 100, 10_000_000, 100, 100, 10_000, 100, 100, 100, 10_000, 100,
    ]  # fmt: skip


@pytest.mark.data
def test_the_real_derivatives_master_loads(data_dir: Path) -> None:
    with lzma.open(data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz", "rt") as file:
        table: InstrumentTable = parse_csv(file)
    assert len(table) == 39941
    assert all(row.tick_px > 0 and row.lot_size > 0 for row in table)


@pytest.mark.data
def test_the_official_mock_dump_loads(data_dir: Path) -> None:
    table = read_csv(data_dir / "kite/instruments_nse.csv")
    assert table.resolve("NSE:CENTRALBK-BE").token == 3813889


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "instruments.csv"
    for damage in (b"\xff\xfe", b"instrument_token\0,", b""):
        path.write_bytes(damage)
        with pytest.raises(InstrumentError, match=r"instruments\.csv"):
            read_csv(path)
