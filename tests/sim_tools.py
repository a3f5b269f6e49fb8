"""What the simulator's tests share: instruments, snapshots, and a simulator process."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kite_hft.layout import TICK, TickKind
from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.kite.api import Credentials, KiteApi, Response
from kite_hft.sim.kite.quota import UNLIMITED, RateLimits, broker_limits
from kite_hft.trading.instruments import Instrument, InstrumentTable

NOW = 1_765_771_368_000_000_000
"""2025-12-15 09:32:48 in India."""
MS = 1_000_000
SECOND = 1_000_000_000

EQUITY = Instrument(0, 779521, 3045, "SBIN", "NSE", "NSE", "EQ", 5, 1, multiplier=1)
OPTION = Instrument(
    1, 40000 * 256 + 2, 40000, "SIMCE", "NFO", "NFO-OPT", "CE", 5, 75, multiplier=1, freeze_quantity=1800
)
INDEX = Instrument(2, 256265, 1001, "NIFTY 50", "NSE", "INDICES", "EQ", 0, 0)
CURRENCY = Instrument(
    3,
    1100 * 256 + 3,
    1100,
    "USDINRFUT",
    "CDS",
    "CDS-FUT",
    "FUT",
    25_000,
    1,
    scale=10_000_000,
    multiplier=1000,
)
COMMODITY = Instrument(
    4, 220_000 * 256 + 7, 220_000, "GOLDM", "MCX", "MCX-FUT", "FUT", 100, 1, multiplier=100
)
TABLE = InstrumentTable((EQUITY, OPTION, INDEX, CURRENCY, COMMODITY))


def snapshot(
    slot: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    last: int = 0,
    volume: int = 1000,
    close: int = 0,
) -> np.ndarray:
    """One TICK with the given (price, quantity) levels, best first."""
    tick = np.zeros(1, TICK)
    tick["slot"], tick["kind"], tick["volume"] = slot, TickKind.FULL, volume
    tick["last_px"] = last or (bids or asks)[0][0]
    tick["close_px"] = close or tick["last_px"]
    for side, levels in (("bid", bids), ("ask", asks)):
        for i, (px, quantity) in enumerate(levels):
            if i == 0:
                tick[f"{side}_px"] = px
            else:
                tick[f"{side}_px_deep"][0, i - 1] = px
            tick[f"{side}_qty"][0, i] = quantity
    return tick


def book_of(slot: int, bid: int, ask: int, quantity: int, step: int = 5, **more: int) -> np.ndarray:
    """Five even levels of `quantity` a side."""
    bids = [(bid - i * step, quantity) for i in range(5)]
    asks = [(ask + i * step, quantity) for i in range(5)]
    return snapshot(slot, bids, asks, **more)


def exchange_at(bid: int = 10_000, ask: int = 10_005, quantity: int = 10, **options: Any) -> Exchange:
    """An exchange of TABLE whose equity has a book; delays of 1 ms a stage."""
    cash = options.pop("cash_paise", 100_000_000)
    params = ExchangeParams(**{"latency_ns": (MS, MS), **options})
    exchange = Exchange(TABLE, cash, seed=1, params=params)
    exchange.on_ticks(book_of(0, bid, ask, quantity), NOW)
    return exchange


def settle(exchange: Exchange, now: int = NOW) -> int:
    """Let every stage pass; returns the time after it."""
    exchange.step(now + SECOND)
    return now + SECOND


def own_limits(**changed: Any) -> RateLimits:
    """The broker's own limits of today's rules, some of them changed."""
    return replace(broker_limits(default_market_rules()), **changed)


def api_of(exchange: Exchange, limits: RateLimits = UNLIMITED) -> KiteApi:
    """The REST API of an exchange, with fixed credentials."""
    return KiteApi(exchange, TABLE, Credentials("key", "secret", "token"), limits)


AUTH = {"authorization": "token key:token", "x-kite-version": "3"}


def ask(api: KiteApi, method: str, path: str, form: str = "", now: int = NOW) -> tuple[int, Any]:
    """(status, data or error type) of one authorised request."""
    query = (
        [tuple(pair.split("=", 1)) for pair in form.split("&") if pair] if method in ("GET", "DELETE") else []
    )
    answer = api.handle(method, path, query, AUTH, form.encode(), now)
    return answer.status, told(answer)


def told(answer: Response) -> Any:
    """The data of an answer, or its error type."""
    body = json.loads(answer.body)
    return body["data"] if body["status"] == "success" else body["error_type"]


@dataclass
class Running:
    """A simulator process that listens."""

    process: subprocess.Popen[str]
    ws: str
    api: str
    api_key: str
    access_token: str

    @property
    def ws_url(self) -> str:
        return f"{self.ws}?api_key={self.api_key}&access_token={self.access_token}"

    def get(self, path: str) -> bytes:
        """GET with the token in the header."""
        headers = {"Authorization": f"token {self.api_key}:{self.access_token}", "X-Kite-Version": "3"}
        with urllib.request.urlopen(
            urllib.request.Request(self.api + path, headers=headers), timeout=20
        ) as got:
            return got.read()

    def post(self, path: str, value: Any = None) -> Any:
        """POST of JSON to one of the simulator's own calls; its answer."""
        body = json.dumps(value).encode()
        request = urllib.request.Request(self.api + path, data=body, method="POST")
        with urllib.request.urlopen(request, timeout=20) as got:
            return json.loads(got.read())

    def faults(self) -> list[dict[str, Any]]:
        """The injection log."""
        return json.loads(self.get("/_sim/faults"))

    def stats(self) -> dict[str, Any]:
        return json.loads(self.get("/_sim/stats"))

    def end(self) -> dict[str, Any]:
        """Close its input, wait, and return what it says it sent."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        words = self.process.stdout.read().split(" ", 1)
        assert self.process.wait(20) == 0
        assert words[0] == "sent"
        return json.loads(words[1])


@contextmanager
def simulator(*arguments: str) -> Iterator[Running]:
    """A simulator process with these arguments; it ends with the block, whatever happens."""
    command = [sys.executable, "-m", "kite_hft.sim", "--die-with-parent", "--duration", "120", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith("ready "), line
        words = dict(word.split("=", 1) for word in line.split()[1:])
        yield Running(process, words["ws"], words["api"], words["api_key"], words["access_token"])
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
