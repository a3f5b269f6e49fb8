"""Upstox's quotes, v2 and v3: by key, with their bars, depth, Greeks; what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from sim_tools import SECOND, book_of
from upstox_bench import ELEVEN, EQUITY, INDEX, OPTION, Bench

NAME = "NSE_EQ:SBIN"


def quoted(minutes: int = 2) -> Bench:
    """An equity that ticked in so many minutes, at 100.00, 100.05, ..."""
    bench = Bench(ELEVEN)
    for minute in range(minutes):
        bench.now = ELEVEN + minute * 60 * SECOND
        ticks = book_of(
            0, 10_000 + minute * 5, 10_005 + minute * 5, 10, volume=1000 + 10 * minute, close=9_900
        )
        ticks["exch_ns"], ticks["open_px"], ticks["low_px"] = bench.now, 10_000, 9_950
        ticks["high_px"], ticks["bid_orders"] = 10_100, (7, 3, 2, 1, 1)
        bench.api.on_ticks(ticks, bench.now)
    return bench


def one(bench: Bench, path: str, key: str = EQUITY, name: str = NAME) -> dict[str, Any]:
    word = "symbol" if path.startswith("/v2") else "instrument_key"
    mark = "&" if "?" in path else "?"
    found = bench.data("GET", f"{path}{mark}{word}={key}")
    assert list(found) == [name]
    row: dict[str, Any] = found[name]
    assert row["instrument_token"] == key
    return row


def test_prices_in_both_versions() -> None:
    bench = quoted()
    assert one(bench, "/v2/market-quote/ltp")["last_price"] == 100.05
    new = one(bench, "/v3/market-quote/ltp")
    assert (new["last_price"], new["cp"], new["volume"], new["ltq"]) == (100.05, 99.0, 1010, 0)
    whole, old = one(bench, "/v3/market-quote/quotes"), one(bench, "/v2/market-quote/quotes")
    day = {"open": 100.0, "high": 101.0, "low": 99.5}
    assert whole["ohlc"] == day | {"close": 100.05, "volume": 1010, "ts": (ELEVEN // 10**6) - 11 * 3600_000}
    assert old["ohlc"] == day | {"close": 99.0}  # v2: yesterday's
    assert [level["orders"] for level in old["depth"]["buy"]] == [7, 3, 2, 1, 1]
    assert {level["orders"] for level in whole["depth"]["buy"]} == {0}
    assert whole["depth"]["sell"][0]["price"] == 100.1 and whole["prev_close_price"] == 99.0
    assert whole["net_change"] == old["net_change"] == 1.05
    assert {n: v for n, v in whole.items() if n in old and n not in ("ohlc", "depth")} == {
        n: v for n, v in old.items() if n not in ("ohlc", "depth")
    }
    assert 0 < whole["lower_circuit_limit"] < 99 < whole["upper_circuit_limit"]


def test_bars_that_grow_and_those_before() -> None:
    bench = quoted()
    minute = one(bench, "/v3/market-quote/ohlc?interval=I1")
    assert (minute["live_ohlc"]["close"], minute["prev_ohlc"]["close"]) == (100.05, 100.0)
    assert minute["live_ohlc"]["ts"] == (ELEVEN + 60 * SECOND) // 10**6
    half = one(bench, "/v3/market-quote/ohlc?interval=I30")
    assert half["prev_ohlc"] is None and half["live_ohlc"]["open"] == 100.0
    day = one(bench, "/v3/market-quote/ohlc?interval=1d")
    assert day["live_ohlc"]["open"] == 100.0 and day["live_ohlc"]["high"] == 101.0
    assert day["prev_ohlc"]["close"] == 99.0  # the last trading day's
    assert one(bench, "/v2/market-quote/ohlc?interval=1d")["ohlc"]["close"] == 99.0
    assert one(bench, "/v2/market-quote/ohlc?interval=I1")["ohlc"]["close"] == 100.05


@pytest.mark.parametrize(
    ("path", "code"),
    [("/v3/market-quote/ltp", "UDAPI1026"), ("/v2/market-quote/quotes?symbol=", "UDAPI1026"),
     ("/v3/market-quote/ltp?instrument_key=NSE_EQ|X", "UDAPI100011"),
     (f"/v2/market-quote/ltp?symbol={','.join([EQUITY] * 501)}", "UDAPI100042"),
     (f"/v3/market-quote/option-greek?instrument_key={','.join([OPTION] * 51)}", "UDAPI100042"),
     (f"/v3/market-quote/ohlc?instrument_key={EQUITY}", "UDAPI1027"),
     (f"/v2/market-quote/ohlc?symbol={EQUITY}&interval=I5", "UDAPI1028")],
)  # fmt: skip
def test_what_is_refused(path: str, code: str) -> None:
    assert quoted(1).code("GET", path) == (400, code)
    assert quoted(1).code("GET", path, token="")[1] == "UDAPI100050"


def test_what_has_not_ticked_is_left_out_and_greeks_are_of_options() -> None:
    bench = quoted(1)
    assert list(bench.data("GET", f"/v3/market-quote/ltp?instrument_key={EQUITY},{INDEX},x")) == [NAME]
    assert bench.data("GET", f"/v3/market-quote/option-greek?instrument_key={EQUITY},{OPTION}") == {}
    bench.exchange.on_ticks(book_of(1, 20_000, 20_005, 75), bench.now)
    (row,) = bench.data("GET", f"/v3/market-quote/option-greek?instrument_key={EQUITY},{OPTION}").values()
    assert row["instrument_token"] == OPTION and 0 < row["delta"] < 1
