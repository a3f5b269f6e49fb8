"""The invented instrument list."""

from __future__ import annotations

import pytest

from kite_hft.sim.kite.quotes import dump_csv
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import parse_csv


@pytest.mark.parametrize("n", [1, 4, 5, 10, 49, 50, 1000, 9000])
def test_as_many_as_asked_for_each_once(n: int) -> None:
    table, base = default_instruments(n, 3)
    assert len(table) == len(base) == n
    assert len(table.by_token) == len(table.by_key) == n
    assert sum(row.is_index for row in table) == (0 if n < 5 else 1 if n < 50 else 2)
    for row, px in zip(table, base.tolist(), strict=True):
        assert px % max(row.tick_px, 1) == 0
        assert row.token == row.exchange_token * 256 + row.token % 256 or row.is_index
        assert row.is_index or (row.multiplier and (row.kind == "EQ" or row.freeze_quantity))


def test_every_kind_is_there() -> None:
    table, _ = default_instruments(100, 1)
    assert {row.kind for row in table} == {"EQ", "FUT", "CE", "PE"}
    assert {row.exchange for row in table} == {"NSE", "NFO", "CDS", "MCX", "BSE"}
    assert {row.tick_px for row in table if row.exchange == "NSE" and not row.is_index} == {1, 5}
    assert table.resolve("NSE:NIFTY 50").token == 256265
    assert table.resolve("BSE:SENSEX").token == 265


def test_the_dump_reads_back() -> None:
    table, _ = default_instruments(100, 1)
    again = parse_csv(dump_csv(table, extended=True).decode().splitlines())
    assert again.rows == table.rows


@pytest.mark.parametrize("n", [0, -1, 100_001])
def test_refused(n: int) -> None:
    with pytest.raises(ValueError):
        default_instruments(n, 1)
