"""UpstoxApi without sockets, over an exchange whose equity has a book: for tests of its calls."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from typing import Any
from urllib.parse import unquote

from sim_tools import MS, NOW, SECOND, TABLE, book_of

from kite_hft.sessions import ist_midnight_ns
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.upstox.api import Terms, UpstoxApi
from kite_hft.sim.upstox.quota import NO_LIMITS
from kite_hft.sim.upstox.session import Credentials
from kite_hft.trading.instruments import InstrumentTable

KEYED = with_upstox_keys(TABLE)
EQUITY, OPTION, INDEX, CURRENCY, COMMODITY = (row.upstox_key for row in KEYED)
DAY = ist_midnight_ns(dt.date(2026, 11, 20))
HOUR = 3600 * SECOND
ELEVEN = DAY + 11 * HOUR


class Bench:
    """An API over an exchange whose equity has a book at 100.00 and 100.05."""

    def __init__(
        self, now: int = NOW, hours: str = "always", table: InstrumentTable = KEYED, **terms: Any
    ) -> None:
        self.now = now
        params = ExchangeParams(latency_ns=(MS, MS), hours=hours)  # type: ignore[arg-type]
        self.exchange = Exchange(table, 100_000_000, 1, params)
        self.exchange.on_ticks(book_of(0, 10_000, 10_005, 10), now)
        keys = Credentials("key", "secret", "token")
        self.api = UpstoxApi(self.exchange, keys, terms=Terms(**{"limits": NO_LIMITS, **terms}))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str = "token",
        remote: str = "127.0.0.1",
        algo: str = "",
    ) -> Any:
        target, _, query = path.partition("?")
        pairs = [tuple(pair.split("=", 1)) for pair in query.split("&") if pair]
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token}"} | ({"x-algo-name": algo} if algo else {})
        answer = self.api.handle(method, unquote(target), pairs, headers, data, self.now, remote)  # type: ignore[arg-type]
        return answer.status, json.loads(answer.body) if answer.body else None

    def data(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        return answer["data"]

    def code(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        status, answer = self.ask(method, path, body, **more)
        assert answer["status"] == "error"
        return status, answer["errors"][0]["errorCode"]

    def api_rows(self) -> list[dict[str, Any]]:
        """The objects of the instrument file."""
        path = "/market-quote/instruments/exchange/complete.json.gz"
        answer = self.api.handle("GET", path, [], {}, b"", self.now)
        rows: list[dict[str, Any]] = json.loads(gzip.decompress(answer.body))
        return rows

    def place(self, **changed: Any) -> str:
        (order_id,) = self.data("POST", "/v3/order/place", order(**changed))["order_ids"]
        return str(order_id)

    def words(self, order_id: str) -> list[str]:
        return [row["status"] for row in self.data("GET", f"/v2/order/history?order_id={order_id}")]

    def pass_time(self, ns: int = SECOND) -> None:
        self.now += ns
        self.api.step(self.now)


def order(**changed: Any) -> dict[str, Any]:
    return {
        "quantity": 5, "product": "I", "validity": "DAY", "price": 99.0, "instrument_token": EQUITY,
        "order_type": "LIMIT", "transaction_type": "BUY", "disclosed_quantity": 0, "trigger_price": 0.0,
        "is_amo": False, **changed,
    }  # fmt: skip


def change(order_id: str, **changed: Any) -> dict[str, Any]:
    return {"order_id": order_id, "validity": "DAY", "price": 99.5, "order_type": "LIMIT", "trigger_price": 0,
            **changed}  # fmt: skip
