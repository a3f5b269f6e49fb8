"""The official Kite clients, unchanged, against the simulator: they cannot tell it from the broker."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from sim_tools import Running, simulator


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    arguments = ("--instruments", "60", "--rate", "5", "--no-limits", "--latency-us", "2000")
    with simulator(*arguments) as process:
        yield process


@pytest.fixture(scope="module")
def kite(running: Running) -> Iterator[KiteConnect]:
    client = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    yield client
    client.reqsession.close()


def eventually(read: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 20
    while not wanted(value := read()):
        assert time.monotonic() < deadline, value
        time.sleep(0.01)
    return value


def last_state(kite: KiteConnect, order_id: str, *statuses: str) -> dict[str, Any]:
    history = eventually(lambda: kite.order_history(order_id), lambda rows: rows[-1]["status"] in statuses)
    return dict(history[-1])


def test_account_calls(kite: KiteConnect) -> None:
    assert kite.profile()["broker"] == "ZERODHA"
    assert kite.margins()["equity"]["net"] <= 10_000_000
    assert kite.margins("equity")["enabled"] is True
    assert kite.holdings() == []
    assert set(kite.positions()) == {"net", "day"}


def test_instruments(kite: KiteConnect) -> None:
    rows = kite.instruments()
    assert len(rows) == 60
    index = next(r for r in rows if r["tradingsymbol"] == "NIFTY 50")
    assert (index["instrument_token"], index["segment"], index["lot_size"]) == (256265, "INDICES", 0)
    assert {r["exchange"] for r in kite.instruments("NFO")} == {"NFO"}
    assert all(isinstance(r["expiry"], datetime.date) for r in kite.instruments("NFO"))


def test_market_order_from_request_to_position(kite: KiteConnect) -> None:
    order_id = kite.place_order(
        kite.VARIETY_REGULAR, kite.EXCHANGE_NSE, "RELIANCE", kite.TRANSACTION_TYPE_BUY, 5, kite.PRODUCT_MIS,
        kite.ORDER_TYPE_MARKET, market_protection=kite.MARKET_PROTECTION_AUTO, tag="conformance",
    )  # fmt: skip
    assert isinstance(order_id, str)
    row = last_state(kite, order_id, "COMPLETE")
    assert (row["order_type"], row["market_protection"], row["filled_quantity"]) == ("LIMIT", 0, 5)
    assert "conformance" in row["tags"] and "mktp" in row["tags"]
    assert isinstance(row["order_timestamp"], datetime.datetime)
    trades = kite.order_trades(order_id)
    assert sum(t["quantity"] for t in trades) == 5
    assert [t for t in kite.trades() if t["order_id"] == order_id] == trades
    value = sum(t["quantity"] * t["average_price"] for t in trades)
    assert row["average_price"] == pytest.approx(value / 5, abs=1e-9)
    (position,) = [p for p in kite.positions()["net"] if p["tradingsymbol"] == "RELIANCE"]
    assert (position["quantity"], position["product"]) == (5, "MIS")
    assert position["buy_value"] == pytest.approx(value, abs=1e-6)
    spent = (
        kite.margins("equity")["available"]["opening_balance"] - kite.margins("equity")["available"]["cash"]
    )
    assert spent == pytest.approx(value, abs=1e-6)


def test_limit_order_modified_and_cancelled(kite: KiteConnect) -> None:
    order_id = kite.place_order("regular", "NSE", "INFY", "BUY", 3, "CNC", "LIMIT", price=1300)
    last_state(kite, order_id, "OPEN")
    assert kite.modify_order("regular", order_id, price=1310.5, quantity=4) == order_id
    row = eventually(
        lambda: kite.order_history(order_id)[-1], lambda r: r["modified"] and r["status"] == "OPEN"
    )
    assert (row["price"], row["quantity"]) == (1310.5, 4)
    assert kite.cancel_order("regular", order_id) == order_id
    row = last_state(kite, order_id, "CANCELLED")
    assert (row["cancelled_quantity"], row["filled_quantity"]) == (4, 0)
    assert [r["status"] for r in kite.order_history(order_id)] == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "MODIFY VALIDATION PENDING",
        "MODIFY PENDING", "MODIFIED", "OPEN", "CANCEL PENDING", "CANCELLED",
    ]  # fmt: skip
    assert next(r for r in kite.orders() if r["order_id"] == order_id)["status"] == "CANCELLED"


def test_errors_surface_as_the_clients_exceptions(kite: KiteConnect, running: Running) -> None:
    with pytest.raises(ex.InputException, match="market protection"):
        kite.place_order("regular", "NSE", "INFY", "BUY", 1, "MIS", "MARKET")
    with pytest.raises(ex.OrderException, match="order_id"):
        kite.cancel_order("regular", "1")
    with pytest.raises(ex.InputException, match="does not exist"):
        kite.place_order("regular", "NSE", "NOSUCH", "BUY", 1, "MIS", "LIMIT", price=10)
    order_id = kite.place_order("regular", "NSE", "RELIANCE", "BUY", 10**7, "MIS", "LIMIT", price=1450)
    assert last_state(kite, order_id, "REJECTED")["status_message_raw"].startswith("RMS:Margin Exceeds")
    stranger = KiteConnect(running.api_key, access_token="wrong", root=running.api)
    with pytest.raises(ex.TokenException):
        stranger.orders()
    stranger.reqsession.close()


def test_quotes(kite: KiteConnect) -> None:
    quote = kite.quote("NSE:RELIANCE", "NSE:NIFTY 50", "NSE:NOSUCH")
    assert set(quote) == {"NSE:RELIANCE", "NSE:NIFTY 50"}
    assert isinstance(quote["NSE:RELIANCE"]["timestamp"], datetime.datetime)
    assert len(quote["NSE:RELIANCE"]["depth"]["sell"]) == 5
    assert kite.ltp(["NSE:RELIANCE"])["NSE:RELIANCE"]["instrument_token"] == 738561
    assert set(kite.ohlc("NSE:RELIANCE")["NSE:RELIANCE"]["ohlc"]) == {"open", "high", "low", "close"}


def test_requests_over_the_limit_are_network_exceptions() -> None:
    with simulator("--instruments", "5") as limited:
        client = KiteConnect(limited.api_key, access_token=limited.access_token, root=limited.api)
        with pytest.raises(ex.NetworkException, match="Too many requests") as error:
            for _ in range(25):
                client.orders()
        assert error.value.code == 429
        client.reqsession.close()


TICKER = """
import json, sys, threading
from kiteconnect import KiteTicker

url, key, token, tokens = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
ticker = KiteTicker(key, token, root=url)
out = threading.Lock()

def tell(kind, data):
    with out:
        print(json.dumps([kind, data], default=str), flush=True)

def on_connect(ws, response):
    ws.subscribe(tokens)
    ws.set_mode(ws.MODE_FULL, tokens[:2])
    ws.set_mode(ws.MODE_LTP, tokens[2:3])
    tell("connected", None)

ticker.on_connect = on_connect
ticker.on_ticks = lambda ws, ticks: tell("ticks", ticks)
ticker.on_order_update = lambda ws, data: tell("order", data)
ticker.on_error = lambda ws, code, reason: tell("error", [code, str(reason)])
ticker.connect(threaded=True)
sys.stdin.read()
"""


def test_ticker_modes_ticks_and_order_updates(running: Running, kite: KiteConnect) -> None:
    tokens = [738561, 256265, 408065, 779521]
    arguments = [
        sys.executable,
        "-c",
        TICKER,
        running.ws,
        running.api_key,
        running.access_token,
        json.dumps(tokens),
    ]
    ticker = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert ticker.stdin and ticker.stdout
    said: list[tuple[str, Any]] = []

    def until(kind: str, enough: Callable[[Any], bool]) -> Any:
        while True:
            line = ticker.stdout.readline()  # type: ignore[union-attr]
            assert line, said[-3:]
            said.append(tuple(json.loads(line)))
            if said[-1][0] == kind and enough(said[-1][1]):
                return said[-1][1]

    try:
        until("connected", lambda _: True)
        modes: dict[int, str] = {}

        def settled(ticks: list[dict[str, Any]]) -> bool:
            modes.update({t["instrument_token"]: t["mode"] for t in ticks})
            return modes == dict(zip(tokens, ["full", "full", "ltp", "quote"], strict=True))

        until("ticks", settled)
        order_id = kite.place_order(
            "regular", "NSE", "RELIANCE", "BUY", 1, "MIS", "MARKET", market_protection=-1, tag="update"
        )
        update = until("order", lambda data: data["status"] == "COMPLETE")
        assert (update["order_id"], update["tag"], update["unfilled_quantity"]) == (order_id, "update", 0)
        # What the ticker is told is what the exchange has: a tick against the quote of its moment.
        deadline = time.monotonic() + 20
        while True:
            quote = kite.quote("NSE:RELIANCE")["NSE:RELIANCE"]
            tick = until("ticks", lambda ticks: ticks[0]["instrument_token"] == 738561)[0]
            seen = [t for k, ts in said if k == "ticks" for t in ts if t["instrument_token"] == 738561]
            same = [t for t in seen if t["volume_traded"] == quote["volume"] and t["mode"] == "full"]
            if same:
                break
            assert time.monotonic() < deadline, (quote, tick)
        assert same[0]["last_price"] == quote["last_price"]
        assert same[0]["depth"] == quote["depth"]
        assert same[0]["ohlc"] == quote["ohlc"]
        assert not [entry for entry in said if entry[0] == "error"]
    finally:
        ticker.stdin.close()
        ticker.kill()
        ticker.wait()
        ticker.stdout.close()
