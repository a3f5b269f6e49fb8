"""The official KiteTicker, unchanged, against the simulator: it cannot tell it from the broker."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from kiteconnect import KiteConnect
from official_ticker import Ticker
from sim_tools import Running, simulator

RELIANCE, INFY, SBIN, NIFTY = 738561, 408065, 779521, 256265
TOO_MANY = "Can't subscribe to more than 3000 instruments."


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with simulator("--instruments", "60", "--rate", "8", "--no-limits", "--latency-us", "2000") as process:
        yield process


@pytest.fixture
def ticker(running: Running) -> Iterator[Ticker]:
    with Ticker(running) as made:
        made.until("connect")
        yield made
    deadline = time.monotonic() + 20
    while running.stats()["connections"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_modes_from_a_bare_subscribe_on(ticker: Ticker) -> None:
    ticker.do("subscribe", [RELIANCE, INFY, SBIN, NIFTY])
    ticks = ticker.modes(dict.fromkeys((RELIANCE, INFY, SBIN, NIFTY), "quote"))
    assert "depth" not in ticks[RELIANCE] and "exchange_timestamp" not in ticks[RELIANCE]
    assert ticks[NIFTY]["tradable"] is False and ticks[RELIANCE]["tradable"] is True
    ticker.do("set_mode", "full", [RELIANCE, NIFTY])
    ticker.do("set_mode", "ltp", [SBIN])
    ticks = ticker.modes({RELIANCE: "full", INFY: "quote", SBIN: "ltp", NIFTY: "full"})
    assert len(ticks[RELIANCE]["depth"]["buy"]) == len(ticks[RELIANCE]["depth"]["sell"]) == 5
    assert set(ticks[SBIN]) == {"tradable", "mode", "instrument_token", "last_price"}
    ticker.do("set_mode", "quote", [RELIANCE])
    ticker.do("set_mode", "full", [SBIN])
    ticker.modes({RELIANCE: "quote", INFY: "quote", SBIN: "full", NIFTY: "full"})
    assert [heard for heard in ticker.heard if heard[0] in ("error", "close", "reconnect")] == []


def test_unsubscribe_ends_the_ticks_and_heartbeats_go_on(ticker: Ticker) -> None:
    ticker.do("subscribe", [RELIANCE, INFY])
    ticker.modes({RELIANCE: "quote", INFY: "quote"})
    ticker.do("unsubscribe", [RELIANCE])
    ticker.quiet(0.3)
    tokens = {t["instrument_token"] for kind, *rest in ticker.quiet(0.6) if kind == "ticks" for t in rest[0]}
    assert tokens == {INFY}
    ticker.do("unsubscribe", [INFY])
    ticker.quiet(0.3)
    assert ticker.quiet(0.5) == []
    ticker.until("message", lambda payload: payload == 1, seconds=3)


@pytest.mark.parametrize("kind", ["drop", "reset", "slow_consumer"])
def test_it_reconnects_and_subscribes_again_by_mode(running: Running, ticker: Ticker, kind: str) -> None:
    ticker.do("subscribe", [RELIANCE, INFY])
    ticker.do("set_mode", "full", [RELIANCE])
    ticker.modes({RELIANCE: "full", INFY: "quote"})
    before = len(running.faults())
    lasts = {"for": 0.3} if kind == "slow_consumer" else {}
    running.post("/_sim/inject", {"kind": kind, **lasts})
    code, _ = ticker.until("close")
    assert code == 1006
    ticker.until("connect")
    ticker.modes({RELIANCE: "full", INFY: "quote"})
    assert [row["kind"] for row in running.faults()[before:]] == [kind]


def test_order_updates_from_place_to_cancel(running: Running, ticker: Ticker) -> None:
    kite = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    bought = kite.place_order(
        "regular", "NSE", "INFY", "BUY", 2, "MIS", "MARKET", market_protection=-1, tag="ticker"
    )
    (update,) = ticker.until("order", lambda data: data["status"] == "COMPLETE")
    assert (update["order_id"], update["filled_quantity"], update["unfilled_quantity"]) == (bought, 2, 0)
    assert ("ticker" in update["tags"], update["user_id"], len(update["checksum"])) == (True, "SIM001", 64)
    low = kite.quote("NSE:INFY")["NSE:INFY"]["lower_circuit_limit"]
    resting = kite.place_order("regular", "NSE", "INFY", "BUY", 3, "MIS", "LIMIT", price=low)
    while kite.order_history(resting)[-1]["status"] != "OPEN":
        time.sleep(0.01)
    kite.modify_order("regular", resting, quantity=4)
    (update,) = ticker.until("order", lambda data: data["order_id"] == resting)
    assert (update["status"], update["quantity"]) == ("UPDATE", 4)
    while kite.order_history(resting)[-1]["status"] != "OPEN":
        time.sleep(0.01)
    kite.cancel_order("regular", resting)
    (update,) = ticker.until("order", lambda data: data["status"] == "CANCELLED")
    assert (update["order_id"], update["cancelled_quantity"]) == (resting, 4)
    kite.reqsession.close()


def test_more_than_3000_instruments_is_an_error_and_the_first_stay(ticker: Ticker) -> None:
    ticker.do("subscribe", [RELIANCE])
    ticker.modes({RELIANCE: "quote"})
    ticker.do("subscribe", list(range(1_000_000, 1_003_000)))
    code, reason = ticker.until("error")
    assert (code, reason) == (0, TOO_MANY)
    ticker.modes({RELIANCE: "quote"})
    assert not [heard for heard in ticker.heard if heard[0] == "close"]


def test_tokens_as_texts_give_heartbeats_only(ticker: Ticker) -> None:
    ticker.do("subscribe", [str(RELIANCE), str(INFY)])
    assert ticker.quiet(1.5) == []
    assert ticker.heard.count(["message", 1]) >= 1


def test_a_wrong_token_is_403_again_and_again(running: Running) -> None:
    with Ticker(running, token="wrong") as refused:
        code, reason = refused.until("error")
        assert code == 1006 and "403 - Forbidden" in reason
        assert refused.until("close")[0] == 1006
        refused.until("reconnect")
        refused.until("error", lambda code, reason: "403" in reason)


def test_the_fourth_connection_is_429_until_one_ends(running: Running) -> None:
    three = [websocket.create_connection(running.ws_url, suppress_origin=True) for _ in range(3)]
    with Ticker(running) as fourth:
        code, reason = fourth.until("error")
        assert code == 1006 and "429" in reason
        three.pop().close()
        fourth.until("connect")
    for other in three:
        other.close()


def test_notices_and_errors_of_the_broker(running: Running, ticker: Ticker) -> None:
    assert running.post("/_sim/message", {"type": "message", "data": "Markets are closed"}) == {
        "connections": 1
    }
    (text,) = ticker.until("message", lambda payload: payload != 1)
    assert json.loads(text) == {"type": "message", "data": "Markets are closed"}
    running.post("/_sim/message", {"type": "error", "data": "Something is wrong"})
    assert ticker.until("error") == [0, "Something is wrong"]


def test_the_token_dies_and_a_new_login_brings_it_back(running: Running) -> None:
    with simulator("--instruments", "5", "--rate", "10") as dying:
        with Ticker(dying) as ticker:
            ticker.until("connect")
            dying.post("/_sim/inject", {"kind": "token_death"})
            assert ticker.until("close")[0] == 1006
            ticker.until("error", lambda code, reason: "403 - Forbidden" in reason)
        token = dying.post("/_sim/login")["access_token"]
        with Ticker(dying, token) as ticker:
            ticker.until("connect")


def test_a_frame_with_too_large_a_count_costs_the_official_client_its_connection(
    running: Running, ticker: Ticker
) -> None:
    ticker.do("subscribe", [RELIANCE])
    ticker.modes({RELIANCE: "quote"})
    running.post("/_sim/inject", {"kind": "wrong_count"})
    assert ticker.until("close")[0] == 1006
    ticker.until("connect")
    ticker.modes({RELIANCE: "quote"})


def test_unknown_packets_are_nothing_to_it(running: Running, ticker: Ticker) -> None:
    ticker.do("subscribe", [RELIANCE])
    ticker.modes({RELIANCE: "quote"})
    running.post("/_sim/inject", {"kind": "unknown_packet", "count": 5})
    seen = sum(1 for kind, *_ in ticker.quiet(1.5) if kind == "ticks")
    assert seen >= 8
    assert not [heard for heard in ticker.heard if heard[0] in ("error", "close")]


def test_9000_instruments_over_three_tickers() -> None:
    """Each of three processes holds 3,000 in mode ltp; together they hear all of the market."""
    arguments = ("--instruments", "9000", "--rate", "0.4", "--packets-per-frame", "30")
    with simulator(*arguments, "--start-when-subscribed", "9000", "--market-seconds", "3") as process:
        tokens = [int(line.split(",")[0]) for line in process.get("/instruments").decode().splitlines()[1:]]
        tickers = [Ticker(process) for _ in range(3)]
        try:
            for i, one in enumerate(tickers):
                part = tokens[i * 3000 : (i + 1) * 3000]
                one.until("connect")
                one.do("subscribe", part)
                one.do("set_mode", "ltp", part)
            deadline = time.monotonic() + 60
            while not (stats := process.stats())["ended"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            heard: list[dict[str, Any]] = []
            for one in tickers:
                events = one.quiet(1.0)
                assert not [e for e in events if e[0] in ("error", "close")]
                heard += [tick for kind, *rest in events if kind == "ticks" for tick in rest[0]]
            stats = process.stats()
            assert len(heard) == stats["ticks"] and stats["snapshot_ticks"] == 18_000
            assert {tick["instrument_token"] for tick in heard} == set(tokens)
        finally:
            for one in tickers:
                one.__exit__()


def test_the_handshake_is_that_of_the_protocol(running: Running) -> None:
    """RFC 6455 as an independent client checks it; no extension is offered or taken."""
    ws = websocket.create_connection(running.ws_url, suppress_origin=True)
    headers = {name.lower(): value for name, value in ws.headers.items()}
    assert ws.status == 101 and headers["upgrade"].lower() == "websocket"
    assert "sec-websocket-extensions" not in headers
    ws.send_close(1000, b"bye")
    code, data = ws.recv_data(control_frame=True)
    while code != websocket.ABNF.OPCODE_CLOSE:
        code, data = ws.recv_data(control_frame=True)
    assert struct.unpack(">H", data[:2]) == (1000,)
    ws.shutdown()
