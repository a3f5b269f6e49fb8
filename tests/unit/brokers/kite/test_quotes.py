"""Quotes of Kite as ticks: held against the exchange's own ticks and the official client's answer."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import numpy as np
import pytest
from kiteconnect import KiteConnect
from sim_tools import AUTH, NOW, SECOND, TABLE, api_of, exchange_at, settle

from kite_hft.brokers.kite.quotes import KITE_QUOTES, MEANINGS, parse_ltp, parse_quotes, query
from kite_hft.brokers.kite.wire import HANDSHAKES, tick_dict
from kite_hft.brokers.values import AnswerError
from kite_hft.layout import TICK, TickFlag, TickKind
from kite_hft.sim.exchange.exchange import Exchange

ROWS = list(TABLE)
F = TickFlag
IST: Final = dt.timezone(dt.timedelta(hours=5, minutes=30))
WHOLE = F.TRADE | F.OHLC | F.DEPTH | F.OI | F.EXCHANGE_TIME | F.LAST_TRADE_TIME


def market(seed: int) -> Exchange:
    """An exchange on which every instrument has just ticked, with every field that a feed has."""
    exchange, rng = exchange_at(), np.random.default_rng(seed)
    ticks = np.zeros(len(ROWS), TICK)
    for tick, row in zip(ticks, ROWS, strict=True):
        tick["slot"], tick["kind"] = row.slot, TickKind.INDEX_FULL if row.is_index else TickKind.FULL
        tick["last_px"], tick["close_px"] = rng.integers(1, 2**31 - 1, 2)
        tick["open_px"], tick["high_px"], tick["low_px"] = rng.integers(1, 2**31 - 1, 3)
        tick["exch_ns"] = NOW // SECOND * SECOND
        if row.is_index:
            continue
        tick["last_trade_s"] = NOW // SECOND - 3
        tick["average_px"] = rng.integers(1, 2**31 - 1)
        for name in ("last_qty", "total_buy_qty", "total_sell_qty", "oi", "oi_day_high", "oi_day_low"):
            tick[name] = rng.integers(0, 2**32)
        tick["volume"] = rng.integers(0, 2**40)
        for side in ("bid", "ask"):
            tick[f"{side}_px"] = rng.integers(1, 2**31 - 1)
            tick[f"{side}_px_deep"] = rng.integers(1, 2**31 - 1, 4)
            tick[f"{side}_qty"] = rng.integers(0, 2**32, 5)
            tick[f"{side}_orders"] = rng.integers(0, 2**16, 5)
    exchange.on_ticks(ticks, NOW)
    settle(exchange)
    return exchange


def answer(exchange: Exchange, path: str, rows: Any = ROWS) -> bytes:
    pairs = [("i", row.key) for row in rows]
    return api_of(exchange).handle("GET", path, pairs, AUTH, b"", NOW).body


@pytest.mark.parametrize("seed", range(20))
def test_a_quote_is_the_tick_that_the_exchange_has(seed: int) -> None:
    exchange = market(seed)
    found = parse_quotes(answer(exchange, "/quote"), ROWS)
    assert not found.wrong and len(found.ticks) == len(ROWS)
    for tick in found.ticks:
        row, want = ROWS[tick["slot"]], exchange.latest[tick["slot"]].copy()
        want["flags"] = (F.OHLC | F.EXCHANGE_TIME | F.INDEX) if row.is_index else WHOLE
        for name in ("seq", "recv_ns", "connection"):
            want[name] = 0
        assert tick == want, [n for n in TICK.names if (tick[n] != want[n]).any()]


@pytest.mark.parametrize("seed", range(5))
def test_a_quote_says_what_the_official_client_says(seed: int) -> None:
    body = answer(market(seed), "/quote")
    theirs = {k: KiteConnect._format_response(None, row) for k, row in json.loads(body)["data"].items()}
    for tick in parse_quotes(body, ROWS).ticks:
        row = ROWS[tick["slot"]]
        ours, official = tick_dict(tick, row.token), theirs[row.key]
        assert ours["last_price"] == official["last_price"] and ours["ohlc"] == official["ohlc"]
        if row.is_index:
            continue
        for mine, name in (
            ("last_traded_quantity", "last_quantity"), ("average_traded_price", "average_price"),
            ("volume_traded", "volume"), ("total_buy_quantity", "buy_quantity"),
            ("total_sell_quantity", "sell_quantity"), ("oi", "oi"), ("oi_day_high", "oi_day_high"),
            ("oi_day_low", "oi_day_low"), ("depth", "depth"),
        ):  # fmt: skip
            assert ours[mine] == official[name], name
        aware = tick_dict(tick, row.token, IST)
        assert aware["exchange_timestamp"].replace(tzinfo=None) == official["timestamp"]
        assert aware["last_trade_time"].replace(tzinfo=None) == official["last_trade_time"]


def test_last_prices_alone_are_ticks_of_mode_ltp() -> None:
    exchange = market(1)
    found = parse_ltp(answer(exchange, "/quote/ltp"), ROWS)
    for tick in found.ticks:
        want = np.zeros(1, TICK)[0]
        want["slot"], want["kind"] = tick["slot"], TickKind.LTP
        want["last_px"] = exchange.latest[tick["slot"]]["last_px"]
        want["flags"] = F.INDEX if ROWS[tick["slot"]].is_index else 0
        assert tick == want
    assert len(found.ticks) == len(ROWS)


def test_who_has_not_ticked_is_missing_and_that_is_no_fault() -> None:
    found = parse_quotes(answer(exchange_at(), "/quote"), ROWS)
    assert found.ticks["slot"].tolist() == [0] and not found.wrong


def changed(**fields: Any) -> bytes:
    data = json.loads(answer(exchange_at(), "/quote"))["data"]
    (row,) = data.values()
    row |= fields
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"last_price": 100.001}, "malformed_price_range"),
        ({"last_price": -1.0}, "malformed_price_range"),
        ({"last_price": 1e12}, "malformed_price_range"),
        ({"volume": -5}, "malformed_price_range"),
        ({"last_price": "100"}, "malformed_message"),
        ({"last_price": None}, "malformed_message"),
        ({"ohlc": None}, "malformed_message"),
        ({"ohlc": {"open": 1}}, "malformed_message"),
        ({"depth": {"buy": 7, "sell": []}}, "malformed_message"),
        ({"volume": True}, "malformed_message"),
        ({"instrument_token": 42}, "unknown_instrument"),
    ],
)
def test_a_row_that_is_none_makes_no_tick_and_is_counted(fields: dict[str, Any], fault: str) -> None:
    found = parse_quotes(changed(**fields), ROWS)
    assert len(found.ticks) == 0 and found.wrong == {fault: 1}


def test_what_a_row_leaves_out_is_a_group_that_its_tick_does_not_have() -> None:
    body = changed(depth=None, last_trade_time=None, timestamp=None)
    (tick,) = parse_quotes(body, ROWS).ticks
    assert tick["flags"] == F.TRADE | F.OHLC | F.OI
    assert not tick["bid_px"] and not tick["exch_ns"] and not tick["last_trade_s"]


def test_a_price_of_nothing_is_no_tick_and_no_fault() -> None:
    assert [len(part) for part in parse_quotes(changed(last_price=0), ROWS)] == [0, 0]


def test_more_levels_than_five_are_not_told_and_fewer_are_nothing() -> None:
    level = {"price": 100.0, "quantity": 2**40, "orders": 70_000}
    (tick,) = parse_quotes(changed(depth={"buy": [level] * 9, "sell": [level]}), ROWS).ticks
    assert tick["bid_qty"].tolist() == [2**32 - 1] * 5 and tick["bid_orders"].tolist() == [65_535] * 5
    assert tick["ask_px"] == 10_000 and tick["ask_px_deep"].tolist() == [0] * 4


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"status":"error"}', b'{"status":"success","data":[1]}'])
def test_an_answer_that_cannot_be_read_says_so(body: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_quotes(body, ROWS)


def test_calls_and_their_limits() -> None:
    assert KITE_QUOTES.paths == ("/quote", "/quote/ltp")
    assert {mode: (c.path, c.keys_max) for mode, c in KITE_QUOTES.calls.items()} == {
        "ltp": ("/quote/ltp", 1000), "quote": ("/quote", 500), "full": ("/quote", 500),
    }  # fmt: skip
    assert query(ROWS[:3]) == "i=NSE:SBIN&i=NFO:SIMCE&i=NSE:NIFTY%2050"
    assert ("Authorization", "token k:t") in KITE_QUOTES.headers("k", "t")


def test_a_403_means_what_it_means_to_the_websocket() -> None:
    assert MEANINGS[403] == HANDSHAKES[403] and MEANINGS[401] == HANDSHAKES[401]
