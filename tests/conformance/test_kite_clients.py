"""The two official Kite clients, unchanged, side by side: what KiteTicker is told, KiteConnect reads."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kiteconnect import KiteConnect
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
        assert update["tags"] == ["mktp", "mktp:0.50", "update"]
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
