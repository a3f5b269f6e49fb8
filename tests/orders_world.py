"""The order stage with a scripted broker, a made-up clock and everything else in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import yaml

from kite_hft.brokers.kite.rest import KITE
from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.clock import ManualClock
from kite_hft.layout import (
    INTENT,
    TEXT,
    EventKind,
    IntentKind,
    OrderStatus,
    OrderType,
    Product,
    Reason,
    Side,
    Validity,
)
from kite_hft.memory.journal import JournalError, Kind, Record
from kite_hft.stages.orders import Orders
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, Limits, TransportError
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.intents import Intent, Tags, intents_of
from kite_hft.trading.ports import OrdersConfig, Ports

RULES = Path(__file__).resolve().parent.parent / "config/rules/kite_2026-04-01.yaml"
S = 1_000_000_000
REAL0 = 1_800_000_000 * S
PX = 10_000  # 100 rupees


def limits() -> Limits:
    return limits_from_mapping(yaml.safe_load(RULES.read_text()))


def instrument(slot: int, **more: Any) -> Instrument:
    base = Instrument(
        slot=slot,
        token=(1000 + slot) * 256 + 1,
        exchange_token=1000 + slot,
        symbol=f"SHARE{slot}",
        exchange="NSE",
        segment="NSE",
        kind="EQ",
        tick_px=5,
        lot_size=1,
    )
    return replace(base, **more)


def instruments() -> InstrumentTable:
    return InstrumentTable(
        (
            instrument(0),
            instrument(1),
            instrument(2, token=(1002 << 8) + 9, segment="INDICES"),
            instrument(
                3, exchange="NFO", segment="NFO-FUT", kind="FUT", lot_size=75, multiplier=1,
                freeze_quantity=1800, token=(1003 << 8) + 2,
            ),
            instrument(4, exchange="NFO", segment="NFO-FUT", kind="FUT", lot_size=75, token=(1004 << 8) + 2),
        )
    )  # fmt: skip


def intent_row(strategy_seq: int, **more: Any) -> np.ndarray:
    row = np.zeros(1, INTENT)
    base: dict[str, Any] = {
        "strategy_seq": strategy_seq, "strategy": 1, "slot": 0, "kind": IntentKind.PLACE, "side": Side.BUY,
        "order_type": OrderType.LIMIT, "product": Product.MIS, "validity": Validity.DAY, "qty": 10, "px": PX,
    }  # fmt: skip
    for name, value in (base | more).items():
        row[name] = value
    return row


def intent(strategy_seq: int = 1, **more: Any) -> Intent:
    return intents_of(intent_row(strategy_seq, **more).tobytes(), 1)[0]


@dataclass
class Queue:
    """Both ends of a queue; `room` limits what a push takes, `pushed` is all that ever went in."""

    rows: list[np.ndarray] = field(default_factory=list)
    room: int = 10**9
    pushed: list[np.ndarray] = field(default_factory=list)

    def push(self, records: np.ndarray) -> int:
        n = min(len(records), self.room - len(self.rows))
        self.rows += [records[i : i + 1].copy() for i in range(n)]
        self.pushed += [records[i : i + 1].copy() for i in range(n)]
        return n

    def recall(self, out: np.ndarray) -> int:
        newest = self.pushed[-len(out) :]
        for i, row in enumerate(newest):
            out[i] = row[0]
        return len(newest)

    def peek(self, out: np.ndarray) -> int:
        n = min(len(out), len(self.rows))
        for i in range(n):
            out[i] = self.rows[i][0]
        return n

    def commit(self, n: int) -> int:
        del self.rows[:n]
        return n

    def waiting(self) -> int:
        return len(self.rows)

    def drain(self, out: np.ndarray) -> int:
        n = min(len(out), len(self.rows))
        for i in range(n):
            out[i] = self.rows.pop(0)[0]
        return n


@dataclass
class MemoryJournal:
    records: list[Record] = field(default_factory=list)
    fail: bool = False

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        if self.fail:
            raise JournalError("journal write failed: No space left on device")
        self.records.append(Record(len(self.records) + 1, kind, time_ns, payload))
        return len(self.records)

    def kinds(self) -> list[str]:
        return [record.kind.name for record in self.records]


@dataclass
class MemoryCounters:
    values: dict[int, int] = field(default_factory=dict)
    samples: dict[int, list[int]] = field(default_factory=dict)

    def add(self, index: int, n: int = 1) -> None:
        self.values[index] = self.values.get(index, 0) + n

    def set(self, index: int, value: int) -> None:
        self.values[index] = value

    def record(self, histogram: int, ns: int, n: int = 1) -> None:
        self.samples.setdefault(histogram, []).append(int(np.int64(ns)))  # as the compiled one: 64 bits


@dataclass
class LatestTable:
    rows: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def last_px(self, slot: int) -> int:
        found = self.look(slot)
        return found[0] if found else 0

    def look(self, slot: int) -> tuple[int, int, int] | None:
        return self.rows.get(slot)

    def put(self, slot: int, px: int, recv_ns: int, seq: int = 1) -> None:
        self.rows[slot] = (px, seq, recv_ns)


Answer = HttpResponse | TransportError | None
Handler = Callable[[HttpRequest], Answer]


def ok(data: Any) -> HttpResponse:
    return HttpResponse(200, json.dumps({"status": "success", "data": data}).encode())


def error(status: int, error_type: str, message: str) -> HttpResponse:
    body = {"status": "error", "error_type": error_type, "message": message}
    return HttpResponse(status, json.dumps(body).encode())


@dataclass
class ScriptedBroker:
    """Answers reads from `rows`, `trades`, `held`; order calls by `on_call`, else accepts them.

    Positions are what the rows have filled, and `held` beyond that.
    """

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    on_call: Handler | None = None
    on_read: Handler | None = None
    sent: list[HttpRequest] = field(default_factory=list)
    ready: list[tuple[int, HttpResponse | TransportError]] = field(default_factory=list)
    hold: bool = False

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.sent.append(request)
        if request.method == "GET":
            answer = self.on_read(request) if self.on_read else self.read(request)
        else:
            answer = self.on_call(request) if self.on_call else self.accept(request)
        if answer is not None:
            self.ready.append((request_id, answer))

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        if self.hold:
            return []
        answers, self.ready = self.ready, []
        return answers

    def read(self, request: HttpRequest) -> HttpResponse:
        return ok(
            {
                "/orders": list(self.rows.values()),
                "/trades": self.trades,
                "/portfolio/positions": {"net": self.positions(), "day": []},
                "/gtt/triggers": self.triggers,
                "/user/margins": {"equity": {"net": 1000.5}},
            }[request.path]
        )

    def positions(self) -> list[dict[str, Any]]:
        net: dict[tuple[int, str], dict[str, Any]] = {}
        for row in self.held:
            carried = {"overnight_quantity": row["quantity"]}  # it was there before the day began
            net[row["instrument_token"], row["product"]] = carried | row
        for row in self.rows.values():
            key = (row["instrument_token"], row["product"])
            words = {"exchange": row["exchange"], "tradingsymbol": row["tradingsymbol"], "quantity": 0}
            told = net.setdefault(key, words | {"instrument_token": key[0], "product": key[1]})
            sign = 1 if row["transaction_type"] == "BUY" else -1
            told["quantity"] += sign * row["filled_quantity"]
            told["average_price"] = row["average_price"] if told["quantity"] else 0
        return list(net.values())

    def accept(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            return ok({"order_id": self.enter(request)})
        order_id = request.path.rsplit("/", 1)[1]
        if request.method == "DELETE":
            self.rows[order_id] |= {"status": "CANCELLED"}
        else:
            terms = form(request)
            kinds = {"quantity": int, "price": float, "trigger_price": float, "order_type": str}
            changed = {name: kind(terms[name]) for name, kind in kinds.items() if name in terms}
            self.rows[order_id] |= changed
        return ok({"order_id": order_id})

    def enter(self, request: HttpRequest, status: str = "OPEN") -> str:
        """The order now stands in the book; returns its id."""
        terms = form(request)
        order_id = f"26112000000{len(self.rows):04d}"
        symbol, quantity = terms["tradingsymbol"], int(terms["quantity"])
        segment = 1 if terms["exchange"] == "NSE" else 2
        self.rows[order_id] = {
            "order_id": order_id, "status": status, "exchange": terms["exchange"], "tradingsymbol": symbol,
            "instrument_token": (1000 + int(symbol[-1])) * 256 + segment, "quantity": quantity,
            "transaction_type": terms["transaction_type"], "order_type": terms["order_type"],
            "product": terms["product"], "filled_quantity": 0, "pending_quantity": quantity,
            "average_price": 0, "price": float(terms.get("price", 0)),
            "trigger_price": float(terms.get("trigger_price", 0)),
            "tag": terms["tag"], "tags": [terms["tag"]], "order_timestamp": "2027-01-15 13:30:00",
        }  # fmt: skip
        return order_id

    def calls(self, method: str) -> list[HttpRequest]:
        return [request for request in self.sent if request.method == method]


def form(request: HttpRequest) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(request.body.decode(), strict_parsing=True).items()}


@dataclass
class World:
    """One order stage and everything around it."""

    broker: ScriptedBroker = field(default_factory=ScriptedBroker)
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000 * S, REAL0))
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    latest: LatestTable = field(default_factory=LatestTable)
    history: list[Record] = field(default_factory=list)
    config: OrdersConfig = field(default_factory=lambda: OrdersConfig(limits()))
    tags: Tags = field(default_factory=lambda: Tags("abc", 7))
    intents: Queue = field(default_factory=Queue)
    texts: Queue = field(default_factory=Queue)
    events: Queue = field(default_factory=Queue)
    counters: MemoryCounters = field(default_factory=MemoryCounters)
    more: dict[str, Any] = field(default_factory=dict)  # further fields of Ports
    adapter: Broker = KITE
    table: InstrumentTable = field(default_factory=instruments)

    def __post_init__(self) -> None:
        self.order_rows: list[dict[str, Any]] = []
        self.trade_rows: list[dict[str, Any]] = []
        self.alerts: list[str] = []  # CODE key: text
        self.alert_fields: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.stale_slots: set[int] = set()  # no tick since their connection was made
        self.told: list[np.void] = []
        self.stage = Orders(
            Ports(
                self.table, self.adapter, self.broker, self.clock, self.journal, self.counters, self.latest,
                (self.intents,), (self.texts,), {1: self.events, 2: self.events}, self.tags, self.history,
                on_order=self.order_rows.append, on_trade=self.trade_rows.append, alert=self._alert,
                fresh=lambda slot: slot not in self.stale_slots, use_token=self.tokens.append,
                workers={0: (1,), 1: (2,)}, **self.more,
            ),
            self.config,
        )  # fmt: skip

    def _alert(self, fields: dict[str, Any]) -> None:
        self.alert_fields.append(fields)
        if not fields.get("cleared"):
            self.alerts.append(f"{fields['code']} {fields['key']}: {fields['text']}")

    def codes(self) -> list[str]:
        """Codes of the alerts so far."""
        return [text.split(" ", 1)[0] for text in self.alerts]

    def do(self, what: str, **more: Any) -> None:
        """A message of the supervisor."""
        self.stage.control({"do": what} | more, self.clock.mono)

    def start(self) -> World:
        self.stage.start()
        self.run(3.0)
        assert self.stage.active, self.alerts
        return self

    def step(self, n: int = 1) -> None:
        for _ in range(n):
            self.stage.step(self.clock.mono)
        while self.events.rows:
            self.told.append(self.events.rows.pop(0)[0])

    def run(self, seconds: float, step_s: float = 0.05, fresh: bool = True) -> None:
        """Let time pass; prices stay fresh unless told."""
        for _ in range(round(seconds / step_s)):
            self.clock.advance(round(step_s * S))
            if fresh:
                self.quote()
            self.step()

    def quote(self, px: int = PX) -> None:
        for slot in (0, 1, 3, 4):
            self.latest.put(slot, px, self.clock.mono)

    def wish(self, strategy_seq: int, **more: Any) -> None:
        self.intents.push(intent_row(strategy_seq, created_ns=self.clock.mono, **more))

    def send(self, strategy_seq: int, **more: Any) -> None:
        """An intent, and two steps: out and the answer in."""
        self.quote()
        self.wish(strategy_seq, **more)
        self.step(2)

    def update(self, row: dict[str, Any], **more: Any) -> None:
        """An order update by the websocket."""
        data = json.dumps({"type": "order", "data": row | more}).encode()
        text = np.zeros(1, TEXT)
        text["data"], text["length"] = data, len(data)
        self.texts.push(text)
        self.step()

    def row(self, index: int = -1) -> dict[str, Any]:
        return list(self.broker.rows.values())[index]

    def order(self, strategy_seq: int, strategy: int = 1) -> Any:
        found = self.stage.book.by_strategy(strategy, strategy_seq)
        assert found is not None
        return found

    def status(self, strategy_seq: int) -> OrderStatus:
        status: OrderStatus = self.order(strategy_seq).status
        return status

    def kinds(self, strategy_seq: int) -> list[str]:
        return [EventKind(e["kind"]).name for e in self.told if e["strategy_seq"] == strategy_seq]

    def reason(self, strategy_seq: int) -> str:
        """Reason of the last event about an intent."""
        return [Reason(e["reason"]).name for e in self.told if e["strategy_seq"] == strategy_seq][-1]

    def quantity(self, strategy: int = 1, slot: int = 0, product: int = Product.MIS) -> int:
        return self.stage.book.standing(strategy, slot, product).quantity


def filled(world: World, quantity: int, px: int = PX, **more: object) -> None:
    """The last order of the book has `quantity` filled, said by an update."""
    row = world.row()
    row |= {"filled_quantity": quantity, "average_price": px / 100}
    if quantity == row["quantity"]:
        row["status"] = "COMPLETE"
    world.update(row | more)


def lost(world: World, *, entered: bool, then: Callable[[], None] = lambda: None) -> None:
    """Order 1 is sent and no answer comes; it did or did not enter the book, and `then` happens."""

    def call(request: HttpRequest) -> TransportError:
        if entered:
            world.broker.enter(request)
        then()
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.send(1)
    world.broker.on_call = None
