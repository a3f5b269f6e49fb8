"""Layer 4, campaigns and tests, cold: the way between the order stage and the simulated broker.

The stage's transport (submit, poll) and the sources of its order updates, in virtual time: requests
and answers take a drawn time each way and meet the faults of the seed. A request that has left
arrives whatever becomes of the process that sent it; its answer finds only that very process. The
broker's clock is its own.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from kite_hft.sim.brokers.side import API_KEY, PLACE, TOKEN, Api, BrokerSide, Call, Update
from kite_hft.sim.brokers.side import TRIGGER as OF_TRIGGER
from kite_hft.sim.exchange.orders import Order, OrderState
from kite_hft.sim.order_path.faults import (
    CALL_FAULTS,
    COPIES,
    PLACED_FAULTS,
    READ_FAULTS,
    UPDATE_FAULTS,
    Faults,
)
from kite_hft.sim.order_path.lines import QUEUE_NS, Lines
from kite_hft.sim.rest import OTHER
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, TransportError
from kite_hft.trading.sending.egress import Egress
from kite_hft.units import NS_PER_S

MS: Final = 1_000_000
GIVE_UP_NS: Final = 3 * NS_PER_S
"""So long does the transport wait for an answer."""
LATE_NS: Final = 8 * NS_PER_S
TRIGGER: Final = "TRIGGER"
"""In place of an order's id: a trigger at the broker is meant."""
_encode: Final = msgspec.json.Encoder().encode
_UNDONE: Final = {"http_429", "http_500", "http_503", "http_403", "http_400_timed_out"}


@dataclass(slots=True)
class Link:
    """How the seed's network is made: ns each way, how far an order may lag behind in all books, how long a
    moment is in which what arrives is one arrival, and how many connections there are for order calls."""

    delay_ns: tuple[int, int]
    lag_ns: int
    moment_ns: int = 1
    connections: int = 1000


@dataclass(slots=True)
class Texts:
    """Order updates as the stage drains them: the consumer face of a TEXT queue."""

    frames: list[bytes] = field(default_factory=list)

    def drain(self, out: npt.NDArray[np.void]) -> int:
        if not self.frames:
            return 0
        n = min(len(out), len(self.frames))
        for i in range(n):
            row = out[i]
            row["length"], row["data"] = len(self.frames[i]), self.frames[i]
        del self.frames[:n]
        return n


class Network:
    """`now()`: virtual ns; `server_ns()`: the broker's wall clock. `on_submit(request)` sees each call leave,
    `on_done(request, response)` each one that the broker has answered. `states(order_id, tag)` tells in
    which states the engine has an order, `states("", "")` in which it has any."""

    def __init__(
        self, side: BrokerSide, api: Api, rng: random.Random, faults: Faults, link: Link,
        now: Callable[[], int],
    ) -> None:  # fmt: skip
        self.side, self.api, self.rng, self.faults, self.link, self.now = side, api, rng, faults, link, now
        self.broker: Broker = side.broker(api.exchange.instruments)
        self.skew_ns = 0
        self.start_real_ns = 0
        self.token = TOKEN
        self.texts = Texts()
        self.tick: Callable[[], None] = lambda: None
        self.on_submit: Callable[[HttpRequest], None] = lambda request: None
        self.on_done: Callable[[HttpRequest, HttpResponse], None] = lambda request, response: None
        self.on_gone: Callable[[HttpRequest, bool], None] = lambda request, unsent: None
        self.on_given_up: Callable[[HttpRequest, str], None] = lambda request, why: None
        self.on_answer: Callable[[HttpRequest, int], None] = lambda request, status: None
        self.on_unseen: Callable[[Order], None] = lambda order: None
        self.states: Callable[[str, str], Iterable[str]] = lambda order_id, tag: ()
        self.hears: Callable[[], bool] = lambda: True  # whether an order update that comes finds anybody
        self.outage_until_ns = 0
        self.slow_until_ns = 0
        self.shown_from: dict[str, int] = {}  # order id -> since when the books show it
        self._held_back: list[tuple[int, Update]] = []  # updates of orders not shown yet
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._ready: list[tuple[int, HttpRequest, HttpResponse | TransportError]] = []
        self._process = 0
        self._rows: dict[str, tuple[OrderState, bytes]] = {}
        self._trade_rows: list[bytes] = []
        self._missed: set[str] = set()
        self._read: dict[int, tuple[HttpRequest, Call]] = {}
        self.in_flight = 0
        self.lines = Lines(link.connections, now, self._leave, self._give_up)
        self.lines.wake = lambda at_ns: self.at(at_ns, lambda: None)
        self._telling = 0  # order updates on their way

    def server_ns(self) -> int:
        return self.start_real_ns + self.now() + self.skew_ns

    # Time

    def at(self, due_ns: int, act: Callable[[], None]) -> None:
        """Do it at a time (virtual ns)."""
        self._number += 1
        heapq.heappush(self._due, (due_ns, self._number, act))

    def _arrive(self, after_ns: int, act: Callable[[], None]) -> None:
        """Something comes to the engine's machine, which takes what came within a moment at once."""
        due_ns = self.now() + after_ns
        self.at(due_ns + -due_ns % self.link.moment_ns, act)

    def next_ns(self) -> int | None:
        """When something happens next here or at the broker."""
        mine = self._due[0][0] if self._due else None
        theirs = self.api.exchange.next_due_ns()
        if theirs is None:
            return mine
        theirs -= self.start_real_ns + self.skew_ns
        return theirs if mine is None else min(mine, theirs)

    def run(self) -> bool:
        """All that is due by now, then the updates that it caused on their way; True: something has come
        to the engine's end, or was done there."""
        now_ns = self.now()
        came = False
        due = self._due
        while due and due[0][0] <= now_ns:
            heapq.heappop(due)[2]()
            came = True
        self.api.exchange.step(self.server_ns())
        for row in self.side.updates(self.api):
            shown_ns = self.shown_from.get(row.order_id, 0)
            if shown_ns > now_ns:
                self._held_back.append((shown_ns, row))
            else:
                self._tell(row)
        if self._held_back:
            ripe = [row for due, row in self._held_back if due <= now_ns]
            self._held_back = [held for held in self._held_back if held[0] > now_ns]
            for row in ripe:
                self._tell(row)
        return came

    def busy(self) -> bool:
        """Something is under way that is not of the agenda's making."""
        calls = self.in_flight or self.lines.waiting or self._ready
        return bool(calls or self.texts.frames or self._held_back or self._telling)

    def reborn(self) -> None:
        """The process is another one: its connections are new, the old ones' answers find nobody."""
        self._process += 1
        self._ready.clear()
        self.lines.cut()
        self.in_flight = 0

    # The transport's face

    @property
    def follower(self) -> Egress | None:
        """Who is told of calls that wait for a connection."""
        return self.lines.follower

    @follower.setter
    def follower(self, told: Egress) -> None:
        self.lines.follower = told

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.tick()
        if request.method == "GET":
            self._leave(request_id, request)
        elif not self.lines.submit(request_id, request):
            self.at(self.now() + QUEUE_NS, lambda: None)
        self.tick()

    def _give_up(self, request_id: int, request: HttpRequest, why: str) -> None:
        self.on_given_up(request, why)
        self._ready.append((request_id, request, TransportError(why, sent=False)))

    def _leave(self, request_id: int, request: HttpRequest) -> None:
        call = self.read(request)
        read = not call.kind
        self.on_submit(request)
        self.in_flight += 1
        kind = self.faults.strikes(READ_FAULTS if read else CALL_FAULTS)
        if self.now() < self.slow_until_ns and not read:
            kind = "slow_answer"
        if self.now() < self.outage_until_ns:
            kind = "read_lost" if read else self.rng.choice(("request_lost", "unsent"))
        if kind == "read_misses_row" and request.path not in (self.side.orders_path, self.side.triggers_path):
            kind = ""
        if kind:
            order_id, tag = (TRIGGER, "") if call.kind == OF_TRIGGER else (call.order_id, call.tag)
            self.faults.struck(kind, self.states(order_id, tag))
        self._send(request_id, request, kind)

    def read(self, request: HttpRequest) -> Call:
        """What it asks for. The world and its checkers ask several times on the way of one request."""
        known = self._read.get(id(request))
        if known is None:  # the request is kept with it: its id is nobody else's
            known = self._read[id(request)] = request, self.side.read(request, self.api.exchange.instruments)
        return known[1]

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        self.lines.serve()
        if not self._ready:
            return []
        ready, self._ready = self._ready, []
        for _, request, result in ready:
            self.on_answer(request, _status_of(result))
        return [(request_id, result) for request_id, _, result in ready]

    def _send(self, request_id: int, request: HttpRequest, kind: str) -> None:
        process, now_ns = self._process, self.now()

        def answer(result: HttpResponse | TransportError, after_ns: int) -> None:
            def arrive() -> None:
                if process == self._process:
                    self.in_flight -= 1
                    if request.method != "GET":
                        self.lines.answered()
                    self._ready.append((request_id, request, result))

            self._arrive(after_ns, arrive)

        if kind in ("unsent", "read_unsent"):
            self.on_gone(request, True)
            answer(TransportError("connection refused", sent=False), self._delay())
            return
        if kind in ("request_lost", "read_lost"):
            self.on_gone(request, False)
            answer(
                TransportError("timed out", sent=True),
                self.rng.choice((self._delay(), self._delay(), GIVE_UP_NS)),
            )
            return
        arrives_ns = now_ns + self._delay()
        if kind == "request_late":
            answer(TransportError("timed out", sent=True), GIVE_UP_NS)
            arrives_ns = now_ns + self.rng.randrange(GIVE_UP_NS // 2, max(GIVE_UP_NS, self.link.lag_ns))
        self.at(arrives_ns, lambda: self._arrived(request, kind, now_ns, answer))

    def _delay(self) -> int:
        return self.rng.randint(*self.link.delay_ns)

    def _arrived(
        self,
        request: HttpRequest,
        kind: str,
        sent_ns: int,
        answer: Callable[[HttpResponse | TransportError, int], None],
    ) -> None:
        if kind in _UNDONE or kind in ("read_429", "read_503"):
            self.on_gone(request, False)
            answer(HttpResponse(*self.side.answers[kind]), self._delay())
            return
        response = self._handle(request, kind, sent_ns)
        self.on_done(request, response)
        if kind == "request_late":
            return
        delay_ns = self._delay()
        if kind == "answer_lost":
            answer(TransportError("connection closed", sent=True), delay_ns)
            return
        if kind in ("body_cut", "read_cut"):
            response = HttpResponse(response.status, response.body[: len(response.body) // 2])
        elif kind == "body_empty":
            response = HttpResponse(response.status, b"")
        elif kind in ("slow_answer", "read_slow"):
            delay_ns = self.rng.randrange(NS_PER_S, GIVE_UP_NS)
        elif kind in self.side.answers:
            response = HttpResponse(*self.side.answers[kind])
        answer(response, delay_ns)

    # The broker

    def _handle(self, request: HttpRequest, kind: str, sent_ns: int) -> HttpResponse:
        server_ns = self.server_ns()
        if request.method == "GET" and request.path in (self.side.orders_path, self.side.trades_path):
            return self._book(request.path, server_ns, miss=kind == "read_misses_row")
        placing = self.read(request).kind == PLACE
        placed = self.faults.strikes(PLACED_FAULTS) if placing else ""
        exchange = self.api.exchange
        if placed == "order_stuck":
            exchange.hold_order_ns = self.rng.randrange(1, max(2, min(83 * NS_PER_S, self.link.lag_ns)))
        elif placed == "margin_reject":
            exchange.reject_next_margin(1)
        # However it comes to be late: the order is in the books within the lag of its call.
        lag_ns = self.rng.randrange(self.link.lag_ns // 2, self.link.lag_ns) if placed == "book_lag" else 0
        left_ns = max(0, sent_ns + lag_ns - self.now())
        fills_unseen = self.rng.random() < 0.3
        if lag_ns and not fills_unseen:
            exchange.hold_order_ns = left_ns
        answered = self.side.ask(self.api, self.broker, request, self.token, server_ns)
        exchange.hold_order_ns = 0
        exchange.reject_next_margin(0)
        if placing and answered.status == 200:
            order = next(reversed(exchange.orders.values()))
            if placed:
                self.faults.struck(placed, self.states("", order.request.tag or ""))
            if placed == "tag_dropped":
                order.tag = None
            elif placed == "book_lag":
                self.shown_from[order.order_id] = self.now() + left_ns
                if fills_unseen:  # positions tell of it before the book does
                    self.on_unseen(order)
        body = answered.body
        triggers = request.path == self.side.triggers_path
        if kind == "read_misses_row" and triggers and answered.status == 200:
            body = self._without_one(body)
        return HttpResponse(answered.status, body)

    def _without_one(self, body: bytes) -> bytes:
        """The list of triggers without one of them: once in its life, as an order in the book."""
        told = msgspec.json.decode(body)
        number = self.side.trigger_id
        candidates = [number(row) for row in told["data"] if f"{TRIGGER} {number(row)}" not in self._missed]
        if not candidates:
            return body
        left_out = self.rng.choice(candidates)
        self._missed.add(f"{TRIGGER} {left_out}")
        told["data"] = [row for row in told["data"] if number(row) != left_out]
        return _encode(told)

    def _book(self, path: str, server_ns: int, *, miss: bool) -> HttpResponse:
        """The two books that are read all the time, with each row encoded once."""
        api, now_ns = self.api, self.now()
        api.step(server_ns)
        if not api.authorised(API_KEY, self.token):
            return HttpResponse(*self.side.answers["token_dead"])
        if not api.quota.allows(OTHER, server_ns):
            return HttpResponse(*self.side.answers["read_429"])
        if path == self.side.trades_path:
            trades, orders = api.exchange.account.trades, api.exchange.orders
            self._trade_rows += [
                _encode(self.side.trade_row(trade, orders[trade.order_id]))
                for trade in trades[len(self._trade_rows) :]
            ]
            rows = [
                row
                for row, trade in zip(self._trade_rows, trades, strict=True)
                if self.shown_from.get(trade.order_id, 0) <= now_ns
            ]
        else:
            shown = [o for o in api.exchange.orders.values() if self.shown_from.get(o.order_id, 0) <= now_ns]
            left_out = ""
            if miss and shown:
                candidates = [order.order_id for order in shown if order.order_id not in self._missed]
                left_out = self.rng.choice(candidates) if candidates else ""
                self._missed.add(left_out)  # once in an order's life: two reads in a row are to be believed
            rows = [self._row(order) for order in shown if order.order_id != left_out]
        return HttpResponse(200, b'{"status":"success","data":[' + b",".join(rows) + b"]}")

    def _row(self, order: Order) -> bytes:
        known = self._rows.get(order.order_id)
        if known is None or known[0] is not order.now:
            known = self._rows[order.order_id] = order.now, _encode(self.side.order_row(order))
        return known[1]

    # Order updates

    def _tell(self, row: Update) -> None:
        frame = row.frame
        delay_ns = self._delay()
        kind, copies = self.faults.strikes(UPDATE_FAULTS), self.faults.times(COPIES)
        if kind or copies:
            states = list(self.states(row.order_id or TRIGGER, row.tag))
            for one in (*([kind] if kind else []), *[COPIES] * copies):
                self.faults.struck(one, states)
        for _ in range(copies):
            self._send_frame(frame, delay_ns + self.rng.randrange(NS_PER_S // 2))
        if kind == "update_lost":
            return
        if kind == "update_garbage":
            frame = frame[: self.rng.randrange(1, len(frame))]
        elif kind == "update_late":
            delay_ns += self.rng.randrange(LATE_NS)
        elif kind == "update_reorder":
            delay_ns += self.rng.randrange(400 * MS)
        self._send_frame(frame, delay_ns)

    def _send_frame(self, frame: bytes, delay_ns: int) -> None:
        self._telling += 1
        self._arrive(delay_ns, lambda: self._deliver(frame))

    def _deliver(self, frame: bytes) -> None:
        self._telling -= 1
        if self.hears() and self.now() >= self.outage_until_ns:
            self.texts.frames.append(frame)


def _status_of(result: HttpResponse | TransportError) -> int:
    """HTTP status; 0: no answer, -1: it never left."""
    if isinstance(result, HttpResponse):
        return result.status
    return 0 if result.sent else -1
