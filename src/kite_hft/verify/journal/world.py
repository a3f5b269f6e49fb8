"""Layer 6, campaigns, cold: the order stage over the real journal writer, a scripted broker and chance.

Everything but the stage and the writer is small and in memory. The broker answers at once, after a
while, or never; it fills, reports (also doubled, also not at all) and refuses as its seed says. What
was handed to the writer is kept apart as a plain list; what the broker saw stands in the disk's log.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

import numpy as np

from kite_hft.brokers.kite.rest import KITE
from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.clock import ManualClock
from kite_hft.layout import INTENT, TEXT, IntentKind, OrderType, Product, Side, Validity
from kite_hft.memory.journal import Header, JournalError, Kind
from kite_hft.memory.journal_writer import File, JournalWriter
from kite_hft.settings import load_yaml
from kite_hft.stages.orders import Orders
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.units import NS_PER_S
from kite_hft.verify.campaign import KITE_RULES
from kite_hft.verify.journal.disk import Disk, Op

START_REAL_NS: Final = 1_800_000_000 * NS_PER_S
PX: Final = 10_000
NS_PER_MS: Final = 1_000_000
SLOTS: Final = 3
STRATEGY: Final = 1
HEADER: Final = Header(build=1, config=2, created_real_ns=3, rules=4)
ENDED: Final = ("COMPLETE", "CANCELLED", "REJECTED")


def instruments() -> InstrumentTable:
    """Three shares."""
    return InstrumentTable(
        tuple(
            Instrument(
                slot=n, token=(1000 + n) * 256 + 1, exchange_token=1000 + n, symbol=f"SHARE{n}",
                exchange="NSE", segment="NSE", kind="EQ", tick_px=5, lot_size=1,
            )
            for n in range(SLOTS)
        )
    )  # fmt: skip


@dataclass
class Queue:
    """Both ends of a queue of records."""

    rows: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def push(self, records: np.ndarray[Any, Any]) -> int:
        self.rows += [records[i : i + 1].copy() for i in range(len(records))]
        return len(records)

    def recall(self, out: np.ndarray[Any, Any]) -> int:
        return 0

    def waiting(self) -> int:
        return len(self.rows)

    def peek(self, out: np.ndarray[Any, Any]) -> int:
        n = min(len(out), len(self.rows))
        for i in range(n):
            out[i] = self.rows[i][0]
        return n

    def commit(self, n: int) -> int:
        del self.rows[:n]
        return n

    def drain(self, out: np.ndarray[Any, Any]) -> int:
        return self.commit(self.peek(out))


class Unheard(Queue):
    """A queue that nobody reads: all that goes in is dropped."""

    def push(self, records: np.ndarray[Any, Any]) -> int:
        return len(records)


class NoCounters:
    """Counters that nobody reads."""

    def add(self, index: int, n: int = 1) -> None: ...
    def set(self, index: int, value: int) -> None: ...
    def record(self, histogram: int, ns: int, n: int = 1) -> None: ...


@dataclass
class Broker:
    """The far side. `chance`: how often (of 1) a call is refused, lost before or after it was heard."""

    random: random.Random
    log: list[Op]
    chance: Mapping[str, float]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    placed: list[str] = field(default_factory=list)  # tags, as they came
    cancelled: list[str] = field(default_factory=list)
    texts: Queue = field(default_factory=Queue)
    ready: list[tuple[int, HttpResponse | TransportError]] = field(default_factory=list)

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.ready.append((request_id, self._answer(request)))

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        n = self.random.randint(0, len(self.ready))
        answers, self.ready = self.ready[:n], self.ready[n:]
        return answers

    def _answer(self, request: HttpRequest) -> HttpResponse | TransportError:
        if request.method == "GET":
            return self._read(request.path.partition("?")[0])
        terms = {key: words[0] for key, words in parse_qs(request.body.decode()).items()}
        if request.method == "POST":
            self.placed.append(terms["tag"])
            self.log.append(Op("sent", data=terms["tag"].encode()))
        fate = self.random.random()
        for name in ("unsent", "refused", "unheard", "unanswered"):
            fate -= self.chance.get(name, 0.0)
            if fate < 0:
                return self._mishap(name, request, terms)
        return self._accept(request, terms)

    def _mishap(
        self, name: str, request: HttpRequest, terms: dict[str, str]
    ) -> HttpResponse | TransportError:
        if name == "unsent":
            return TransportError("connection refused", sent=False)
        if name == "refused":
            body = {"status": "error", "error_type": "InputException", "message": "no"}
            return HttpResponse(400, json.dumps(body).encode())
        if name == "unanswered":
            self._accept(request, terms)
        return TransportError("timed out", sent=True)

    def _accept(self, request: HttpRequest, terms: dict[str, str]) -> HttpResponse:
        if request.method == "POST":
            return ok({"order_id": self._enter(terms)})
        row = self.rows[request.path.rsplit("/", 1)[1]]
        if request.method == "DELETE":
            self.cancelled.append(row["order_id"])
            if row["status"] not in ENDED:
                row |= {"status": "CANCELLED", "pending_quantity": 0}
                self._tell(row)
        elif row["status"] not in ENDED:
            row["quantity"] = max(int(terms.get("quantity", row["quantity"])), row["filled_quantity"] + 1)
            row["price"] = float(terms.get("price", row["price"]))
        return ok({"order_id": row["order_id"]})

    def _enter(self, terms: dict[str, str]) -> str:
        order_id = f"26112000{len(self.rows):08d}"
        number = int(terms["tradingsymbol"].removeprefix("SHARE"))
        self.rows[order_id] = {
            "order_id": order_id, "status": "OPEN", "exchange": "NSE", "tradingsymbol": f"SHARE{number}",
            "instrument_token": (1000 + number) * 256 + 1, "quantity": int(terms["quantity"]),
            "transaction_type": terms["transaction_type"], "order_type": terms["order_type"],
            "product": terms["product"], "filled_quantity": 0, "pending_quantity": int(terms["quantity"]),
            "average_price": 0, "price": float(terms.get("price", 0)), "trigger_price": 0,
            "tag": terms["tag"], "tags": [terms["tag"]], "order_timestamp": "2027-01-15 13:30:00",
        }  # fmt: skip
        return order_id

    def live(self) -> list[dict[str, Any]]:
        return [row for row in self.rows.values() if row["status"] not in ENDED]

    def fill(self, row: dict[str, Any]) -> None:
        """A part or the rest of an order is executed."""
        quantity = self.random.randint(1, row["quantity"] - row["filled_quantity"])
        self.trades.append(
            {
                "trade_id": str(len(self.trades)), "order_id": row["order_id"], "quantity": quantity,
                "average_price": PX / 100, "exchange_order_id": "x", "exchange": "NSE",
                **{name: row[name] for name in
                   ("tradingsymbol", "instrument_token", "transaction_type", "product")},
                "fill_timestamp": "2027-01-15 13:30:00", "exchange_timestamp": "2027-01-15 13:30:00",
            }
        )  # fmt: skip
        row["filled_quantity"] += quantity
        row["pending_quantity"] = row["quantity"] - row["filled_quantity"]
        row["average_price"] = PX / 100
        if not row["pending_quantity"]:
            row["status"] = "COMPLETE"
        self._tell(row)

    def _tell(self, row: dict[str, Any]) -> None:
        data = json.dumps({"type": "order", "data": row}).encode()
        text = np.zeros(1, TEXT)
        text["data"], text["length"] = data, len(data)
        for _ in range(self.random.choice((0, 1, 1, 2))):
            self.texts.push(text)

    def _read(self, path: str) -> HttpResponse:
        found: Any = {"equity": {"net": 1e6, "available": {"live_balance": 1e6}}}
        if path == "/orders":
            found = list(self.rows.values())
        elif path == "/trades":
            found = self.trades
        elif path == "/portfolio/positions":
            found = {"net": list(self._positions().values()), "day": []}
        elif path.startswith("/gtt") or path == "/portfolio/holdings":
            found = []
        return ok(found)

    def _positions(self) -> dict[tuple[int, str], dict[str, Any]]:
        net: dict[tuple[int, str], dict[str, Any]] = {}
        for row in self.rows.values():
            key = (row["instrument_token"], row["product"])
            words = {"exchange": "NSE", "tradingsymbol": row["tradingsymbol"], "quantity": 0}
            held = net.setdefault(key, words | {"instrument_token": key[0], "product": key[1]})
            held["quantity"] += row["filled_quantity"] * (1 if row["transaction_type"] == "BUY" else -1)
            held["average_price"] = PX / 100 if held["quantity"] else 0
        return net


def ok(data: Any) -> HttpResponse:
    """A good answer."""
    return HttpResponse(200, json.dumps({"status": "success", "data": data}).encode())


class Tap:
    """The journal as the stage sees it; keeps what was handed over as a plain list."""

    def __init__(self, writer: JournalWriter, log: list[Op], fsync_first: bool) -> None:
        self.writer, self._log, self._fsync_first = writer, log, fsync_first
        self.handed: list[tuple[str, int, bytes]] = []
        self.intents: dict[str, int] = {}  # tag -> seq

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        seq: int = self.writer.append(kind, time_ns, payload)
        self.handed.append((kind.name, time_ns, bytes(payload)))
        if kind is Kind.INTENT:
            self.intents[json.loads(payload)["tag"]] = seq
        return int(seq)


class World:
    """One order process. fsync_first: the mode. file: instead of its own disk. reserve: and its step."""

    def __init__(
        self,
        seed: int,
        *,
        fsync_first: bool,
        file: File | None = None,
        reserve: tuple[int, int] = (0, 1),
        chance: Mapping[str, float] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.disk = Disk(during_sync=self._meanwhile)
        self._nested = False
        self.fsync_first = fsync_first
        self.file: File = self.disk if file is None else file
        self.writer = JournalWriter(self.file, header=HEADER, reserve=reserve[0], reserve_step=reserve[1])
        self.writer.top_up()
        self.tap = Tap(self.writer, self.disk.log, fsync_first)
        self.clock = ManualClock(1_000 * NS_PER_S, START_REAL_NS)
        self.broker = Broker(self.random, self.disk.log, chance if chance is not None else MISHAPS)
        self.intents, self.seq = Queue(), 0
        self.alerts: list[str] = []
        self.stage = Orders(self._ports(), self._config())
        self.stage.start()

    def _ports(self) -> Ports:
        return Ports(
            instruments=instruments(), broker=KITE, transport=self.broker, clock=self.clock,
            journal=self.tap, counters=NoCounters(), latest=self, intents=(self.intents,),
            texts=(self.broker.texts,), events={STRATEGY: Unheard()}, tags=Tags("abc", 7),
            alert=lambda fields: self.alerts.append(f"{fields['code']}: {fields['text']}"),
            synced_seq=lambda: self.writer.synced_seq, journal_state=self.writer.state,
        )  # fmt: skip

    def _config(self) -> OrdersConfig:
        limits = limits_from_mapping(load_yaml(KITE_RULES))
        risk = RiskLimits(max_position_size=1e7, max_exposure=1e8, max_order_value=1e6)
        return OrdersConfig(
            limits, risk, loopback=True, absence_horizon_s=3.0, fsync_before_send=self.fsync_first,
            reject_storm=10**6, entry_wait_s=20.0,
        )  # fmt: skip

    # The table of latest prices

    def last_px(self, slot: int) -> int:
        return PX

    def look(self, slot: int) -> tuple[int, int, int] | None:
        return PX, 1, self.clock.mono

    # What happens

    def step(self) -> None:
        """One round of the process, and what its thread beside and the world do meanwhile."""
        self.clock.advance(self.random.choice((1, 5, 50, 300)) * NS_PER_MS)
        self.stage.step(self.clock.mono)
        if not self._nested and self.writer.behind and self._syncs():
            try:
                self.writer.sync()
                self.writer.top_up()
            except JournalError:
                pass  # latched in the writer

    def _syncs(self) -> bool:
        return self.random.random() < (0.9 if self.fsync_first else 0.35)

    def _meanwhile(self) -> None:
        """The order process goes on while a sync is under way."""
        if hasattr(self, "stage") and self.random.random() < 0.5:
            self._nested = True
            self.step()
            self._nested = False

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def begin(self) -> None:
        """Until the stage is ACTIVE.

        Raises:
            RuntimeError: it does not become so.
        """
        for _ in range(400):
            if self.stage.active:
                return
            self.step()
        raise RuntimeError(f"the stage does not become active: {self.alerts[-3:]}")

    def act(self) -> None:
        """Something happens: a wish of the strategy, or the broker's doing."""
        what = self.random.random()
        working = [o for o in self.stage.book.live() if o.order_id and o.strategy == STRATEGY]
        live = self.broker.live()
        if what < 0.35 or not live:
            self.place()
        elif what < 0.5 and working:
            self.change(self.random.choice(working), IntentKind.CANCEL)
        elif what < 0.6 and working:
            self.change(self.random.choice(working), IntentKind.MODIFY)
        elif what < 0.9:
            self.broker.fill(self.random.choice(live))

    def place(self, **more: int) -> None:
        """A wish for an order."""
        self._wish(
            kind=IntentKind.PLACE, side=self.random.choice((Side.BUY, Side.SELL)),
            slot=self.random.randrange(SLOTS), qty=self.random.randint(1, 40),
            px=PX + 5 * self.random.randint(-9, 9), order_type=OrderType.LIMIT,
            **more,
        )  # fmt: skip

    def change(self, order: Any, kind: IntentKind) -> None:
        """A wish to change or to cancel an order."""
        more = {"qty": order.filled + self.random.randint(1, 50)} if kind is IntentKind.MODIFY else {}
        self._wish(kind=kind, slot=order.slot, target_seq=order.strategy_seq, **more)

    def _wish(self, **words: int) -> None:
        self.seq += 1
        row = np.zeros(1, INTENT)
        base = {"strategy": STRATEGY, "strategy_seq": self.seq, "product": Product.MIS,
                "validity": Validity.DAY, "created_ns": self.clock.mono}  # fmt: skip
        for name, value in (base | words).items():
            row[name] = value
        self.intents.push(row)


MISHAPS: Final = {"unsent": 0.03, "refused": 0.06, "unheard": 0.03, "unanswered": 0.05}
