"""Option chains: strikes, pairs, expiries, at the money."""

from __future__ import annotations

import datetime as dt
import lzma
from pathlib import Path

import pytest
from master_tools import DAY, MONTH, NEXT_MONTH, WEEK, columns, market, option

from kite_hft.brokers.kite.master import parse_columns
from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.chains import chain, underlyings


def test_a_chain() -> None:
    listed = columns(*market())
    found = chain(listed, "NIFTY", DAY)
    assert str(found.expiry) == WEEK and [str(day) for day in found.expiries] == [WEEK, MONTH, NEXT_MONTH]
    assert {str(day) for day in found.monthly} == {MONTH, NEXT_MONTH}
    assert found.strikes == (23_900, 23_950, 24_000, 24_050, 24_100) and len(found) == 5
    for pair in found:
        assert pair.call is not None and pair.put is not None
        call, put = listed.row(pair.call), listed.row(pair.put)
        assert (call.kind, put.kind) == ("CE", "PE") and call.strike_px == put.strike_px == pair.strike * 100
    assert [listed.row(row).expiry for row in found.futures] == [MONTH, NEXT_MONTH]
    assert len(found.rows()) == 10


@pytest.mark.parametrize(
    ("expiry", "day"),
    [
        ("nearest", WEEK),
        ("next", MONTH),
        ("monthly", MONTH),
        ("weekly", WEEK),
        (dt.date(2026, 9, 29), NEXT_MONTH),
    ],
)
def test_expiries(expiry: str | dt.date, day: str) -> None:
    assert str(chain(columns(*market()), "NIFTY", DAY, expiry).expiry) == day


def test_on_the_day_after_an_expiry_the_next_is_the_nearest() -> None:
    found = chain(columns(*market()), "NIFTY", dt.date(2026, 8, 19))
    assert str(found.expiry) == MONTH and WEEK not in map(str, found.expiries)


def test_at_the_money_and_around_it() -> None:
    found = chain(columns(*market()), "NIFTY", DAY)
    assert found.strikes[found.at_the_money(24_024)] == 24_000
    assert found.around(24_024, 1).strikes == (23_950, 24_000, 24_050)
    assert found.around(1.0, 1).strikes == (23_900, 23_950)


def test_what_a_feed_knows_is_laid_beside() -> None:
    listed = columns(*market())
    found = chain(listed, "NIFTY", DAY)
    pair = found.pairs[2]
    assert pair.call is not None
    token = int(listed.token[pair.call])
    row = list(found.beside(listed, {token: {"delta": 0.5, "last_price": 101.0}}))[2]
    assert row["call"] == {"key": listed.key(pair.call), "token": token, "delta": 0.5, "last_price": 101.0}
    assert set(row["put"]) == {"key", "token"} and row["strike"] == 24_000


def test_a_strike_with_one_side() -> None:
    found = chain(columns(option("A", 10, "CE", MONTH, 1), option("A", 20, "PE", MONTH, 2)), "A", DAY)
    assert [(pair.call, pair.put) for pair in found] == [(0, None), (None, 1)]
    assert next(found.beside(columns(*market()), {}))["put"] is None


def test_what_there_is_not() -> None:
    listed = columns(*market(), option("NIFTY", 1, "CE", MONTH, 9, exchange="BFO"))
    with pytest.raises(
        InstrumentError, match=r"no option on 'NIFT' in the list of 2026-08-17; there are NIFTY"
    ):
        chain(listed, "NIFT", DAY)
    with pytest.raises(InstrumentError, match="listed on BFO and NFO: say which"):
        chain(listed, "NIFTY", DAY)
    with pytest.raises(InstrumentError, match=f"ends on 2026-08-20; there are {WEEK}, {MONTH}"):
        chain(listed, "NIFTY", DAY, dt.date(2026, 8, 20), "NFO")
    with pytest.raises(InstrumentError, match="expiry 'soon': a date"):
        chain(listed, "NIFTY", DAY, "soon", "NFO")
    with pytest.raises(InstrumentError, match="no weekly expiry"):
        chain(listed, "NIFTY", DAY, "weekly", "BFO")
    assert underlyings(listed) == ["NIFTY"] and underlyings(listed, "MCX") == []


@pytest.mark.data
def test_every_real_chain(data_dir: Path) -> None:
    data = lzma.decompress((data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz").read_bytes())
    listed = parse_columns(data)
    names = underlyings(listed)
    assert len(names) == 218
    total = 0
    for name in names:
        for exchange in ("NFO", "BFO"):
            if not any(listed.kind.text(int(row)) != "FUT" for row in listed.contracts(name, exchange)):
                continue
            first = chain(listed, name, DAY, exchange=exchange)
            for expiry in first.expiries:
                found = chain(listed, name, DAY, expiry, exchange)
                assert list(found.strikes) == sorted(set(found.strikes))
                total += len(found.rows())
    assert total == 35_043 + 4_246, "every option stands in one chain, once"
