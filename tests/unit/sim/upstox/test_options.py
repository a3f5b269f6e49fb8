"""Option contracts and chain, by underlying."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_tools import EQUITY, OPTION, SECOND, book_of
from upstox_bench import ELEVEN, Bench

from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.trading.instruments import Instrument, InstrumentTable

CALL = replace(OPTION, slot=1, name="NIFTY", expiry="2026-11-26", strike_px=26_000_00)
PUT = replace(CALL, slot=2, token=CALL.token + 256, exchange_token=40001, symbol="SIMPE", kind="PE")
FAR = replace(
    CALL, slot=3, token=CALL.token + 512, exchange_token=40002, symbol="SIMFAR", expiry="2026-12-31"
)
DEAD = replace(
    CALL, slot=4, token=CALL.token + 768, exchange_token=40003, symbol="SIMOLD", expiry="2026-11-19"
)
NIFTY = Instrument(5, 256265, 1001, "NIFTY 50", "NSE", "INDICES", "EQ", 0, 0)
OTHER = replace(
    CALL, slot=6, token=CALL.token + 1024, exchange_token=40004, symbol="SIMOTHER", name="NOWHERE"
)
CHAIN = with_upstox_keys(InstrumentTable((EQUITY, CALL, PUT, FAR, DEAD, NIFTY, OTHER)))
KEY = "NSE_INDEX|Nifty 50"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(ELEVEN, table=CHAIN)
    for slot, px, oi in ((1, 20_000, 300), (2, 15_000, 600), (5, 2_600_000, 0)):
        ticks = book_of(slot, px, px + 5, 75, close=px - 100)
        ticks["oi"], ticks["exch_ns"] = oi, bench.now
        bench.exchange.on_ticks(ticks, bench.now)
    return bench


def test_contracts_that_live_by_expiry_and_strike(bench: Bench) -> None:
    found = bench.data("GET", f"/v2/option/contract?instrument_key={KEY}")
    assert [row["instrument_key"] for row in found] == ["NSE_FO|40000", "NSE_FO|40001", "NSE_FO|40002"]
    assert found[0] == {
        "name": "NIFTY", "segment": "NSE_FO", "exchange": "NSE", "expiry": "2026-11-26", "weekly": False,
        "instrument_key": "NSE_FO|40000", "exchange_token": "40000", "instrument_type": "CE",
        "trading_symbol": "NIFTY 26000 CE 26 NOV 26", "tick_size": 5.0, "lot_size": 75, "minimum_lot": 75,
        "freeze_quantity": 1800.0, "underlying_key": KEY, "underlying_type": "INDEX",
        "underlying_symbol": "NIFTY", "strike_price": 26000.0,
    }  # fmt: skip
    dated = bench.data("GET", f"/v2/option/contract?instrument_key={KEY}&expiry_date=2026-12-31")
    assert [row["instrument_key"] for row in dated] == ["NSE_FO|40002"]
    # What a contract is on has a key, also where it is not in this market.
    rows = {row["instrument_key"]: row for row in bench.api_rows()}
    unseen = rows["NSE_FO|40004"]["underlying_key"]
    assert [
        row["instrument_key"] for row in bench.data("GET", f"/v2/option/contract?instrument_key={unseen}")
    ] == ["NSE_FO|40004"]
    assert bench.data("GET", "/v2/option/contract?instrument_key=NSE_EQ|INE000304501") == []


def test_the_chain_has_a_row_a_strike(bench: Bench) -> None:
    (row,) = bench.data("GET", f"/v2/option/chain?instrument_key={KEY}&expiry_date=2026-11-26")
    assert (row["strike_price"], row["underlying_spot_price"], row["pcr"]) == (26000.0, 26000.0, 2.0)
    call, put = row["call_options"], row["put_options"]
    assert (call["instrument_key"], put["instrument_key"]) == ("NSE_FO|40000", "NSE_FO|40001")
    assert call["market_data"] == {
        "ltp": 200.0, "volume": 1000, "oi": 300.0, "close_price": 199.0, "bid_price": 200.0, "bid_qty": 75,
        "ask_price": 200.05, "ask_qty": 75, "prev_oi": 0.0,
    }  # fmt: skip
    assert 0 < call["option_greeks"]["delta"] < 1 and -1 < put["option_greeks"]["delta"] < 0
    (far,) = bench.data("GET", f"/v2/option/chain?instrument_key={KEY}&expiry_date=2026-12-31")
    assert far["put_options"] is None and far["call_options"]["market_data"]["ltp"] == 0


@pytest.mark.parametrize(
    ("path", "code"),
    [("/v2/option/contract", "UDAPI1026"), ("/v2/option/contract?instrument_key=X", "UDAPI100011"),
     (f"/v2/option/contract?instrument_key={KEY}&expiry_date=26-11-2026", "UDAPI1015"),
     (f"/v2/option/chain?instrument_key={KEY}", "UDAPI100036")],
)  # fmt: skip
def test_what_is_refused(bench: Bench, path: str, code: str) -> None:
    assert bench.code("GET", path) == (400, code)
    assert bench.code("GET", path, token="") == (401, "UDAPI100050")


def test_greeks_wait_for_no_price(bench: Bench) -> None:
    bench.now += SECOND
    (far,) = bench.data("GET", f"/v2/option/chain?instrument_key={KEY}&expiry_date=2026-12-31")
    assert far["call_options"]["option_greeks"]["delta"] == 0
