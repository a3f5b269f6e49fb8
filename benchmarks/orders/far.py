"""The far side of the order benchmarks, one process: broker, feed and strategy.

    python far.py FOLDER      FOLDER/cert.pem, FOLDER/key.pem, FOLDER/far.json (broker, segments, wake fd)

Broker: a TLS server on loopback that answers the calls of Kite Connect, or of Upstox, which an order needs,
and tells by an order update (TEXT queue) what became of an order. Feed: puts fresh ticks into the latest
table. Strategy: pushes INTENTs, each stamped (CLOCK_MONOTONIC) just before the push; to a rival it
writes the stamp into a pipe instead. It is all one process so that on two cores nothing else runs
beside the contender.

Standard input takes one JSON object a line, each is answered by one when it is done:
    {"n": 200, "gap_s": 0.1}                 n intents, one every gap_s (+- 10 %)
    {"n": 200, "gap_s": 0, "fifo": PATH}     to a rival; gap_s 0: PAUSE_S after the answer to the one before
    {"n": 0, "gap_s": 0}                     only answer calls; not answered itself
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import socket
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import numpy as np

from kite_hft import _queue, _table
from kite_hft.layout import (
    INTENT,
    ORDER_EVENT,
    TEXT,
    TICK,
    IntentKind,
    OrderType,
    Product,
    SegmentKind,
    Side,
    Validity,
)
from kite_hft.memory.segment import attach
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import Instrument

INSTRUMENTS: Final = 1000
HELD: Final = 10
"""So many of the first orders fill, each on a slot of its own: the book that risk looks at is not empty."""
ROWS_TOLD: Final = 100
"""Of the orders that ended, so many stand in the book that the engine reads beside."""
PAUSE_S: Final = 500e-6
START_S: Final = 0.05
UPDATE_S: Final = 150e-6
QUANTITY: Final = 1


class Broker:
    """Answers of one account: rows of orders, and what is held. In Kite's words; others differ in some."""

    orders, positions, funds = b"/orders", b"/portfolio/positions", b"/user/margins"
    filled, cancelled = "COMPLETE", "CANCELLED"

    def __init__(self) -> None:
        self.table = with_upstox_keys(default_instruments(INSTRUMENTS, 1)[0])
        self.rows: list[dict[str, Any]] = []
        self.held: dict[int, dict[str, Any]] = {}
        self.number = 0
        self.keep = True  # rivals' orders leave no row

    def answer(self, head: bytes, body: bytes) -> tuple[bytes, dict[str, Any] | None]:
        """(answer, row of a new order)."""
        method, path, _ = head.split(b" ", 2)
        if method == b"POST":
            self.number += 1
            order_id = f"2611210{self.number:08d}"
            return _http(self.placed(order_id)), self._enter(order_id, body) if self.keep else None
        if path == self.orders:
            return _http([*self.rows[:HELD], *self.rows[HELD:][-ROWS_TOLD:]]), None
        if path == self.positions:
            return _http(self.positions_of(list(self.held.values()))), None
        return _http(self.funds_of() if path == self.funds else []), None

    def _enter(self, order_id: str, body: bytes) -> dict[str, Any]:
        terms = self.terms(body)
        found = self.instrument(terms)
        fills = len(self.held) < HELD
        quantity, price = int(terms["quantity"]), float(terms["price"])
        names = self.names(found, terms)
        row: dict[str, Any] = names | {
            "order_id": order_id, "status": self.filled if fills else self.cancelled,
            "transaction_type": terms["transaction_type"],
            "order_type": terms["order_type"], "quantity": quantity, "price": price,
            "filled_quantity": quantity if fills else 0, "pending_quantity": 0,
            "cancelled_quantity": 0 if fills else quantity, "average_price": price if fills else 0,
            "trigger_price": 0, "tag": terms["tag"], "tags": [terms["tag"]],
            "order_timestamp": "2026-11-21 10:00:00",
        }  # fmt: skip
        self.rows.append(row)
        if fills:
            self.held[found.token] = names | {"quantity": quantity, "average_price": price}
        return row

    def terms(self, body: bytes) -> dict[str, Any]:
        """What a placement asks for."""
        return {k: v[0] for k, v in parse_qs(body.decode()).items()}

    def instrument(self, terms: dict[str, Any]) -> Instrument:
        """Of which instrument."""
        return self.table.by_key[f"{terms['exchange']}:{terms['tradingsymbol']}"]

    def names(self, found: Instrument, terms: dict[str, Any]) -> dict[str, Any]:
        """How its rows name it."""
        return {k: terms[k] for k in ("exchange", "tradingsymbol", "product")} | {
            "instrument_token": found.token
        }

    def placed(self, order_id: str) -> Any:
        """`data` of the answer to a placement."""
        return {"order_id": order_id}

    def positions_of(self, held: list[dict[str, Any]]) -> Any:
        """`data` of the positions."""
        return {"net": held, "day": []}

    def funds_of(self) -> Any:
        """`data` of the funds."""
        return {"equity": {"net": 1e6}}

    def update(self, row: dict[str, Any]) -> bytes:
        """The text that tells of an order."""
        return json.dumps({"type": "order", "data": row}).encode()


class Upstox(Broker):
    """The same in Upstox's words."""

    orders, positions = b"/v2/order/retrieve-all", b"/v2/portfolio/short-term-positions"
    funds = b"/v3/user/get-funds-and-margin"
    filled, cancelled = "complete", "cancelled"

    def terms(self, body: bytes) -> dict[str, Any]:
        """What a placement asks for."""
        found: dict[str, Any] = json.loads(body)
        return found

    def instrument(self, terms: dict[str, Any]) -> Instrument:
        """Of which instrument."""
        return self.table.by_upstox_key[terms["instrument_token"]]

    def names(self, found: Instrument, terms: dict[str, Any]) -> dict[str, Any]:
        """How its rows name it."""
        return {
            "exchange": found.exchange, "trading_symbol": found.symbol, "product": terms["product"],
            "instrument_token": found.upstox_key,
        }  # fmt: skip

    def placed(self, order_id: str) -> Any:
        """`data` of the answer to a placement."""
        return {"order_ids": [order_id]}

    def positions_of(self, held: list[dict[str, Any]]) -> Any:
        """`data` of the positions."""
        more = {"day_sell_quantity": 0, "overnight_quantity": 0, "multiplier": 1.0}
        return [row | more | {"day_buy_quantity": row["quantity"]} for row in held]

    def funds_of(self) -> Any:
        """`data` of the funds."""
        return {"available_to_trade": {"total": 1e6}}

    def update(self, row: dict[str, Any]) -> bytes:
        """The text that tells of an order."""
        return json.dumps(row | {"update_type": "order"}).encode()


BROKERS: Final[dict[str, type[Broker]]] = {"kite": Broker, "upstox": Upstox}


def _http(data: Any) -> bytes:
    body = json.dumps({"status": "success", "data": data}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class Far:
    """The loop."""

    def __init__(self, folder: Path) -> None:
        words = json.loads((folder / "far.json").read_text())
        self.broker = BROKERS[words["broker"]]()
        wake_fd, paths = words["wake_fd"], {k: Path(v) for k, v in words["segments"].items()}
        self._held = [
            attach(paths["intents"], SegmentKind.INTENT_QUEUE, writable=True, claim=True),
            attach(paths["texts"], SegmentKind.TEXT_QUEUE, writable=True, claim=True),
            attach(paths["latest"], SegmentKind.LATEST_TABLE, writable=True),
            attach(paths["events"], SegmentKind.EVENT_QUEUE, writable=True),
        ]
        self.intents = _queue.QueueProducer(self._held[0].view, wake_fd=wake_fd)
        self.texts = _queue.QueueProducer(self._held[1].view, wake_fd=wake_fd)
        self.latest = _table.TableWriter(self._held[2].view)
        self.events = _queue.QueueConsumer(self._held[3].view)
        self.drained = np.zeros(1024, ORDER_EVENT)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.poll.register(0, select.EPOLLIN)
        self.peers: dict[int, tuple[ssl.SSLSocket, bytearray]] = {}
        self.random = random.Random(1)
        self.seq, self.asked, self.left, self.gap_s, self.fifo = 0, 0, 0, 0.0, -1
        self.wanted = ""
        self.due: float | None = None
        self.update: tuple[float, dict[str, Any]] | None = None
        self.answered = True
        self._prepare()

    def _prepare(self) -> None:
        table, base_px = default_instruments(INSTRUMENTS, 1)
        self.slots = [i.slot for i in table if i.exchange == "NSE" and not i.is_index][: HELD + 1]
        self.ticks = np.zeros(len(self.slots), TICK)
        self.ticks["slot"], self.ticks["last_px"] = self.slots, base_px[self.slots]
        self.row = np.zeros(1, INTENT)
        self.row["kind"], self.row["strategy"], self.row["side"] = IntentKind.PLACE, 1, Side.BUY
        self.row["order_type"], self.row["product"] = OrderType.LIMIT, Product.MIS
        self.row["validity"], self.row["qty"] = Validity.DAY, QUANTITY
        self.base_px = base_px

    def run(self) -> None:
        """Serve until standard input ends."""
        print(json.dumps({"port": self.listener.getsockname()[1]}), flush=True)
        while True:
            times = [t for t in (self.due, self.update[0] if self.update else None) if t is not None]
            wait_s = max(0.0, min(times) - time.monotonic()) if times else 0.01 if self.wanted else 1.0
            for fd, _ in self.poll.poll(wait_s if wait_s > 1e-3 else 0):  # the last ms is spun
                if fd == 0:
                    if not self._hear():
                        return
                elif fd == self.listener.fileno():
                    self._accept()
                else:
                    self._read(fd)
            if self.wanted:
                self._open()
            now = time.monotonic()
            if self.update and now >= self.update[0]:
                self._tell(self.update[1])
                self.update = None
            if self.due is not None and now >= self.due:
                self._push()

    def _hear(self) -> bool:
        line = os.read(0, 65536)
        if not line:
            return False
        words = json.loads(line)
        self.asked, self.gap_s, self.wanted = words["n"], words["gap_s"], words.get("fifo", "")
        self.broker.keep = self.asked > 0 and not self.wanted
        if self.broker.keep:
            self._begin()
        return True

    def _begin(self) -> None:
        self.left, self.due = self.asked, time.monotonic() + START_S

    def _open(self) -> None:
        """The pipe, as soon as the rival has opened its end: it is connected then."""
        with contextlib.suppress(OSError):
            self.fifo = os.open(self.wanted, os.O_WRONLY | os.O_NONBLOCK)
            self.wanted = ""
            self._begin()

    def _accept(self) -> None:
        plain, _ = self.listener.accept()
        plain.settimeout(5)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            peer = self.context.wrap_socket(plain, server_side=True)
            peer.setblocking(False)
            self.peers[peer.fileno()] = (peer, bytearray())
            self.poll.register(peer, select.EPOLLIN)

    def _read(self, fd: int) -> None:
        peer, buffer = self.peers[fd]
        try:
            data = peer.recv(65536)
        except ssl.SSLWantReadError:
            return
        except OSError:
            data = b""
        if not data:
            self.poll.unregister(fd)
            peer.close()
            del self.peers[fd]
            return
        buffer += data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(buffer[:end])
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(buffer) < end + 4 + length:
                return
            body = bytes(buffer[end + 4 : end + 4 + length])
            del buffer[: end + 4 + length]
            text, row = self.broker.answer(head, body)
            peer.setblocking(True)
            peer.sendall(text)
            peer.setblocking(False)
            if head.startswith(b"POST"):
                self._answered(row)

    def _answered(self, row: dict[str, Any] | None) -> None:
        now = time.monotonic()
        if row is not None:
            self.update = (now + UPDATE_S, row)
        if self.left and not self.gap_s:
            self.due = now + PAUSE_S
        elif not self.left and self.due is None and (self.fifo >= 0 or row is not None):
            print("{}", flush=True)
            if self.fifo >= 0:
                os.close(self.fifo)
                self.fifo = -1

    def _tell(self, row: dict[str, Any]) -> None:
        data = self.broker.update(row)
        text = np.zeros(1, TEXT)
        text["data"], text["length"] = data, len(data)
        self.texts.push(text)

    def _push(self) -> None:
        self.left -= 1
        self.due = None
        if self.gap_s and self.left:
            self.due = time.monotonic() + self.gap_s * self.random.uniform(0.9, 1.1)
        if self.fifo >= 0:
            os.write(self.fifo, struct.pack("<q", time.monotonic_ns()))
            return
        self.events.drain(self.drained)
        self.seq += 1
        at = min(self.seq - 1, HELD)
        self.row["strategy_seq"], self.row["slot"] = self.seq, self.slots[at]
        self.row["px"] = self.base_px[self.slots[at]]
        self.ticks["recv_ns"] = self.row["tick_recv_ns"] = time.monotonic_ns()
        self.latest.put(self.ticks)
        self.row["created_ns"] = time.monotonic_ns()
        self.intents.push(self.row)


if __name__ == "__main__":
    Far(Path(sys.argv[1])).run()
