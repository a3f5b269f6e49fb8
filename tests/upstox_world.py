"""The order stage over Upstox, with a scripted broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from orders_world import PX, World, instruments
from upstox_rows import answer, order_row

from kite_hft.brokers.upstox.rest import upstox
from kite_hft.layout import TEXT, IntentFlag, IntentKind, Product
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.instruments import InstrumentTable

Answer = HttpResponse | TransportError
KEYS = ("NSE_EQ|INE000A01000", "NSE_EQ|INE000A01001", "NSE_INDEX|Two", "NSE_FO|1003", "NSE_FO|1004")
TABLE = InstrumentTable(
    tuple(replace(row, upstox_key=key) for row, key in zip(instruments(), KEYS, strict=True))
)
READS = {
    "/v2/order/trades/get-trades-for-day": [],
    "/v3/user/get-funds-and-margin": {"available_to_trade": {"total": 1000.5}},
}


@dataclass
class ScriptedUpstox:
    """Answers reads from `rows` and `gtts`; order calls by `on_call`, else accepts them."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    gtts: dict[str, dict[str, Any]] = field(default_factory=dict)
    on_call: Callable[[HttpRequest], Answer] | None = None
    on_read: Callable[[HttpRequest], Answer] | None = None
    sent: list[HttpRequest] = field(default_factory=list)
    ready: list[tuple[int, Answer]] = field(default_factory=list)

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.sent.append(request)
        if request.method == "GET":
            found = self.on_read(request) if self.on_read else self.read(request)
        else:
            found = self.on_call(request) if self.on_call else self.accept(request)
        self.ready.append((request_id, found))

    def poll(self) -> list[tuple[int, Answer]]:
        answers, self.ready = self.ready, []
        return answers

    def read(self, request: HttpRequest) -> HttpResponse:
        path = urlsplit(request.path).path
        if path == "/v2/order/retrieve-all":
            return answer(list(self.rows.values()))
        if path == "/v2/portfolio/short-term-positions":
            return answer(self.positions())
        return answer(list(self.gtts.values()) if path == "/v3/order/gtt" else READS[path])

    def positions(self) -> list[dict[str, Any]]:
        net: dict[tuple[str, str], dict[str, Any]] = {}
        for row in self.rows.values():
            names = {name: row[name] for name in ("instrument_token", "product", "exchange")}
            told = net.setdefault((names["instrument_token"], names["product"]), names | {"quantity": 0})
            sign = 1 if row["transaction_type"] == "BUY" else -1
            told["quantity"] += sign * row["filled_quantity"]
            told["average_price"] = row["average_price"] if told["quantity"] else 0
        return list(net.values())

    def accept(self, request: HttpRequest) -> HttpResponse:
        words = json.loads(request.body) if request.body else {}
        if request.path.startswith("/v3/order/gtt"):
            return self.gtt(request, words)
        if request.method == "POST":
            return answer({"order_ids": [self.enter(words)]})
        order_id = words.get("order_id") or parse_qs(urlsplit(request.path).query)["order_id"][0]
        if request.method == "DELETE":
            self.rows[order_id] |= {"status": "cancelled"}
        self.rows[order_id] |= {name: words[name] for name in words if name != "market_protection"}
        return answer({"order_id": order_id})

    def gtt(self, request: HttpRequest, words: dict[str, Any]) -> HttpResponse:
        name = words.get("gtt_order_id") or f"GTT-C{len(self.gtts)}"
        rules = [
            {"status": "SCHEDULED", "message": "", "order_id": None, "transaction_type": "SELL", **rule}
            for rule in words.get("rules", ())
        ]
        if request.method == "DELETE":
            self.gtts[name]["rules"][0]["status"] = "CANCELLED"
        else:
            self.gtts.setdefault(name, {}).update(words | {"rules": rules, "gtt_order_id": name})
        return answer({"gtt_order_ids": [name]})

    def enter(self, words: dict[str, Any]) -> str:
        """The order stands in the book; returns its id."""
        order_id = f"2611230000{len(self.rows):05d}"
        more = {"order_id": order_id, "pending_quantity": words["quantity"], "exchange": "NSE"}
        self.rows[order_id] = order_row(**words, **more) | {"order_timestamp": "2027-01-15 13:30:00"}
        return order_id

    def calls(self, method: str) -> list[HttpRequest]:
        return [request for request in self.sent if request.method == method]


def begin(**more: Any) -> tuple[World, ScriptedUpstox]:
    scripted = ScriptedUpstox()
    world = World(broker=scripted, adapter=upstox(TABLE), table=TABLE, **more)  # type: ignore[arg-type]
    return world.start(), scripted


def told(world: World, row: dict[str, Any]) -> None:
    """An order update by the portfolio socket."""
    data = json.dumps({"update_type": "order"} | row).encode()
    text = np.zeros(1, TEXT)
    text["data"], text["length"] = data, len(data)
    world.texts.push(text)
    world.step()


def fill(world: World, scripted: ScriptedUpstox, quantity: int, px: int = PX) -> None:
    row = list(scripted.rows.values())[-1]
    row |= {"filled_quantity": quantity, "average_price": px / 100}
    if quantity == row["quantity"]:
        row["status"] = "complete"
    told(world, row)


def held() -> tuple[World, ScriptedUpstox]:
    world, scripted = begin()
    world.send(1, product=Product.CNC)
    fill(world, scripted, 10)
    return world, scripted


def exits(world: World, **prices: int) -> None:
    words = {"order_type": 0, "side": 0, "qty": 0, "px": 0, "validity": 0, "product": Product.CNC}
    world.send(2, kind=IntentKind.EXITS, flags=IntentFlag.GTT, **(words | prices))
    world.run(0.5)
