"""The simulated master: Upstox's columns and units, as a real file has them."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.market.keys import isin_of, upstox_key_of, upstox_symbol_of, with_upstox_keys
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.upstox.instruments import master_row

TABLE = with_upstox_keys(default_instruments(200, 1)[0])
ROWS = [master_row(row, TABLE, default_market_rules(), row.slot == 0) for row in TABLE]


def test_keys_and_units_by_segment() -> None:
    by_segment = {row["segment"]: row for row in ROWS}
    assert set(by_segment) == {"NSE_EQ", "NSE_FO", "NSE_INDEX", "BSE_INDEX", "NCD_FO", "MCX_FO"}
    share = next(row for row in ROWS if row["trading_symbol"] == "RELIANCE")
    assert (share["instrument_key"], share["tick_size"], share["cas_eligible"]) == (
        f"NSE_EQ|{share['isin']}", 5.0, True,
    )  # fmt: skip
    currency = by_segment["NCD_FO"]
    assert (currency["tick_size"], currency["qty_multiplier"]) == (0.25, 1000.0)
    option = next(row for row in ROWS if row["instrument_type"] == "PE")
    assert option["instrument_key"] == f"NSE_FO|{option['exchange_token']}"
    assert option["expiry"] == 1_798_568_999_000 and option["expiry"] % 1000 == 0  # 23:59:59 IST
    assert by_segment["NSE_INDEX"]["instrument_key"] == "NSE_INDEX|Nifty 50"
    assert "lot_size" not in by_segment["NSE_INDEX"]
    assert by_segment["MCX_FO"]["lot_size"] == 100


def test_keys_are_single_and_lasting() -> None:
    assert len({row.upstox_key for row in TABLE}) == len(TABLE)
    assert [upstox_key_of(row) for row in default_instruments(200, 1)[0]] == [r.upstox_key for r in TABLE]
    assert len({isin_of(row) for row in TABLE if row.kind == "EQ" and not row.is_index}) > 100
    assert upstox_symbol_of(TABLE[3]) == "SIM00003 FUT 29 DEC 26"


@pytest.mark.data
def test_columns_and_their_types_are_those_of_a_real_file(data_dir: Path) -> None:
    with lzma.open(data_dir / "instruments/upstox_complete_2025-06.json.xz", "rt") as file:
        real: list[dict[str, Any]] = json.load(file)
    known: dict[tuple[str, str], dict[str, set[type]]] = {}
    for row in real:
        kinds = known.setdefault((row.get("segment", ""), row.get("instrument_type", "")), {})
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    for row in ROWS:
        columns = known[row["segment"], row["instrument_type"]]
        for name, value in row.items():
            if name != "cas_eligible":  # younger than the file
                assert name in columns, (row["instrument_key"], name)
                assert type(value) in columns[name] | {int}, (row["instrument_key"], name)
