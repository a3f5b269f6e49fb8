"""Quotes of Upstox as ticks: held against the exchange's own ticks and the official client's models."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import upstox_client
from sim_tools import SECOND
from upstox_bench import ELEVEN, EQUITY, Bench

from kite_hft.brokers.upstox.quotes import MEANINGS, UPSTOX_QUOTES, parse_ltp, parse_quotes, query
from kite_hft.brokers.upstox.wire import HANDSHAKES
from kite_hft.brokers.values import AnswerError
from kite_hft.layout import TICK, TickFlag, TickKind
from kite_hft.trading.feed_words import Act

F = TickFlag
TOLD = F.TRADE | F.OHLC | F.DEPTH | F.EXCHANGE_TIME


def market(seed: int) -> Bench:
    """Every instrument with a key has ticked once, at random on its grid."""
    bench, rng = Bench(ELEVEN), np.random.default_rng(seed)
    rows = [row for row in bench.exchange.instruments if row.upstox_key]
    ticks = np.zeros(len(rows), TICK)
    for tick, row in zip(ticks, rows, strict=True):
        step, index = row.tick_px or 5, row.is_index
        tick["slot"], tick["kind"] = row.slot, TickKind.INDEX_FULL if index else TickKind.FULL
        for name in ("last_px", "close_px", "open_px", "high_px", "low_px"):
            tick[name] = rng.integers(1, 80_000) * step
        tick["exch_ns"], tick["last_trade_s"] = ELEVEN, 0 if index else ELEVEN // SECOND - 2
        if index:
            continue
        tick["average_px"] = rng.integers(1, 80_000) * step
        tick["volume"] = rng.integers(1, 2**33)
        for name in ("total_buy_qty", "total_sell_qty", "oi", "oi_day_high", "oi_day_low"):
            tick[name] = rng.integers(1, 2**32)
        for side in ("bid", "ask"):
            tick[f"{side}_px"] = rng.integers(1, 80_000) * step
            tick[f"{side}_px_deep"] = rng.integers(1, 80_000, 4) * step
            tick[f"{side}_qty"] = rng.integers(1, 2**31, 5)
    bench.api.on_ticks(ticks, ELEVEN)
    return bench


def rows_of(bench: Bench) -> list[Any]:
    return [row for row in bench.exchange.instruments if row.upstox_key]


def answer(bench: Bench, path: str) -> bytes:
    data = bench.data("GET", f"{path}?{unquote(query(rows_of(bench)))}")
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize("seed", range(20))
def test_a_quote_is_the_tick_that_the_exchange_has(seed: int) -> None:
    bench = market(seed)
    found = parse_quotes(answer(bench, "/v3/market-quote/quotes"), rows_of(bench))
    assert not found.wrong and len(found.ticks) == len(rows_of(bench)) > 3
    for tick in found.ticks:
        row, want = bench.exchange.instruments[tick["slot"]], bench.exchange.latest[tick["slot"]].copy()
        for name in ("seq", "recv_ns", "connection", "last_qty", "bid_orders", "ask_orders"):
            want[name] = 0  # this call says neither the last quantity nor how many orders a level has
        want["flags"] = (
            (F.OHLC | F.EXCHANGE_TIME | F.INDEX) if row.is_index else TOLD | F.LAST_TRADE_TIME | F.OI
        )
        assert tick == want, (row.key, [n for n in TICK.names if np.any(tick[n] != want[n])])


def test_a_quote_says_what_the_official_clients_model_says() -> None:
    bench = market(3)
    body = answer(bench, "/v3/market-quote/quotes")
    client = upstox_client.ApiClient(upstox_client.Configuration())
    read = client.deserialize(SimpleNamespace(data=body), "GetFullMarketQuoteResponseV3")
    theirs = {row.instrument_token: row for row in read.data.values()}
    for tick in parse_quotes(body, rows_of(bench)).ticks:
        row = bench.exchange.instruments[tick["slot"]]
        told, scale = theirs[row.upstox_key], row.scale
        assert (
            tick["last_px"] / scale == told.last_price and tick["close_px"] / scale == told.prev_close_price
        )
        assert tick["open_px"] / scale == told.ohlc.open and tick["low_px"] / scale == told.ohlc.low
        if not row.is_index:
            assert tick["volume"] == told.volume and tick["oi"] == told.oi
            assert tick["bid_px"] / scale == told.depth.buy[0].price
            assert tick["ask_qty"].tolist() == [level.quantity for level in told.depth.sell]


def test_last_prices_alone_are_ticks_of_mode_ltpc() -> None:
    bench = market(2)
    found = parse_ltp(answer(bench, "/v3/market-quote/ltp"), rows_of(bench))
    assert len(found.ticks) == len(rows_of(bench))
    for tick in found.ticks:
        want = bench.exchange.latest[tick["slot"]]
        assert (tick["last_px"], tick["close_px"]) == (want["last_px"], want["close_px"])
        assert tick["kind"] == TickKind.LTP and tick["flags"] & ~F.INDEX == 0 and tick["volume"] == 0


def changed(bench: Bench, **fields: Any) -> bytes:
    data = bench.data("GET", f"/v3/market-quote/quotes?instrument_key={EQUITY}")
    (row,) = data.values()
    row |= fields
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"last_price": 1.0001}, "malformed_price_range"),
        ({"total_buy_quantity": -1.0}, "malformed_price_range"),
        ({"average_price": -1.0}, "malformed_price_range"),
        ({"prev_close_price": -1.0}, "malformed_price_range"),
        ({"last_price": []}, "malformed_message"),
        ({"last_trade_time": "soon"}, "malformed_message"),
        ({"depth": []}, "malformed_message"),
        ({"instrument_token": "NSE_EQ|NONE"}, "unknown_instrument"),
        ({"instrument_token": None}, "unknown_instrument"),
    ],
)
def test_a_row_that_is_none_makes_no_tick_and_is_counted(fields: dict[str, Any], fault: str) -> None:
    bench = market(1)
    found = parse_quotes(changed(bench, **fields), rows_of(bench))
    assert len(found.ticks) == 0 and found.wrong == {fault: 1}


@pytest.mark.parametrize(("close", "close_px"), [(100.337, 10_034), (100.333, 10_033), (0, 0), (None, 0)])
def test_a_close_off_the_unit_costs_no_price(close: float | None, close_px: int) -> None:
    """An adjusted one has more decimals."""
    bench = market(1)
    (tick,) = parse_quotes(changed(bench, prev_close_price=close), rows_of(bench)).ticks
    assert tick["close_px"] == close_px and tick["last_px"] > 0


@pytest.mark.parametrize(("value", "px"), [(13.5725, 1357), (13.5775, 1358), (13.57, 1357)])
def test_an_index_may_have_more_decimals(value: float, px: int) -> None:
    """As in the frames of the websocket (test_upstox_decode); a share may not (above)."""
    bench = market(1)
    index = next(row for row in rows_of(bench) if row.is_index)
    told = {"instrument_token": index.upstox_key, "last_price": value, "prev_close_price": 13.0}
    told["ohlc"] = {"open": 13.0, "high": value, "low": 12.3351, "close": 13.0}
    body = json.dumps({"status": "success", "data": {"NSE_INDEX:India VIX": told}}).encode()
    (tick,) = parse_quotes(body, [index]).ticks
    assert (tick["last_px"], tick["high_px"], tick["low_px"]) == (px, px, 1234)


def test_what_a_row_leaves_out_is_a_group_that_its_tick_does_not_have() -> None:
    bench = market(1)
    (tick,) = parse_quotes(
        changed(bench, depth=None, ohlc=None, oi=None, timestamp="", last_trade_time=None), rows_of(bench)
    ).ticks
    assert tick["flags"] == F.TRADE and not tick["open_px"] and not tick["bid_px"] and not tick["exch_ns"]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"status":"error"}', b'{"status":"success","data":[1]}'])
def test_an_answer_that_cannot_be_read_says_so(body: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_quotes(body, [])


def test_calls_and_their_limits() -> None:
    assert UPSTOX_QUOTES.paths == ("/v3/market-quote/ltp", "/v3/market-quote/quotes")
    assert {mode: call.keys_max for mode, call in UPSTOX_QUOTES.calls.items()} == {"ltpc": 500, "full": 500}
    rows = rows_of(Bench(ELEVEN))[:2]
    asked = query(rows)
    assert unquote(asked) == "instrument_key=" + ",".join(row.upstox_key for row in rows)
    assert set("|, ").isdisjoint(asked)
    assert UPSTOX_QUOTES.headers("k", "t")[0] == ("Authorization", "Bearer t")


def test_refusals_mean_what_they_mean_to_the_websocket() -> None:
    for status in (401, 403, 423, 429):
        assert MEANINGS[status].act is HANDSHAKES[status].act, status
    assert MEANINGS[401].act is Act.TOKEN_DEAD
