"""Layer 6, campaigns, cold: the way between the order stage and a simulated broker, under a made-up clock.

`Line` loses, delays and garbles requests, answers, order updates and book reads as it is told, and
hides young orders from the books. It writes down every call that left, and what came of it.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.clock import ManualClock
from kite_hft.layout import TEXT, Side
from kite_hft.sim.brokers.side import PLACE, TOKEN, Api, BrokerSide, Call, Update
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.units import NS_PER_S

Rows = npt.NDArray[np.void]


@dataclass(slots=True)
class Texts:
    """Order updates that have arrived."""

    frames: list[bytes] = field(default_factory=list)

    def drain(self, out: Rows) -> int:
        n = min(len(out), len(self.frames))
        for i in range(n):
            row: Any = np.zeros((), TEXT)
            row["length"], row["data"] = len(self.frames[i]), self.frames[i]
            out[i] = row
        del self.frames[:n]
        return n


@dataclass(frozen=True, slots=True)
class Strike:
    """What becomes of one order call. `done`: it reaches the exchange; `answer`: an HTTP status and body
    instead of the broker's own, None: his own, "": none at all; `sent`: bytes may have left.
    """

    name: str
    done: bool = True
    answer: tuple[int, bytes] | str | None = None
    wait_ns: int = 0
    sent: bool = True


def ambiguous_of(side: BrokerSide) -> tuple[Strike, ...]:
    """Answers to a placement that prove nothing, each with and without an order behind it."""
    plain: tuple[tuple[str, tuple[int, bytes] | str, int], ...] = (
        ("accept then drop", "", 0),
        ("time-out", "", 7 * NS_PER_S),
        *side.ambiguous,
    )
    return tuple(
        Strike(f"{name}{'' if done else ', not done'}", done, answer, wait_ns)
        for done in (True, False)
        for name, answer, wait_ns in plain
    )


UNSENT: Final = Strike("not sent", done=False, answer="", sent=False)
SLOW: Final = Strike("slow", wait_ns=3 * NS_PER_S)
FINE: Final = Strike("fine")


class Line:
    """Transport and update stream of one account.

    strike(request): what becomes of an order call. lag(): for how long a new order stays hidden from
    the books, ns. spoil_read(path): whether a book read fails. placed: (tag, order ids) of every placement
    that left, in order.
    """

    def __init__(self, side: BrokerSide, api: Api, clock: ManualClock, seed: int) -> None:
        self.side, self.api, self.clock = side, api, clock
        self.exchange: Exchange = api.exchange
        self.broker = side.broker(self.exchange.instruments)
        self.ambiguous = ambiguous_of(side)
        self.random = random.Random(seed)
        self.strike: Callable[[HttpRequest], Strike] = lambda request: FINE
        self.lag: Callable[[], int] = lambda: 0
        self.spoil_read: Callable[[str], bool] = lambda path: False
        self.spoil_updates = False
        self.positions_lag = False
        self.placed: list[tuple[str, list[str]]] = []
        self.calls: list[HttpRequest] = []
        self.shown_ns: dict[str, int] = {}  # order id -> when the books begin to show it
        self.struck: dict[str, Strike] = {}  # tag -> what became of its call
        self.texts = Texts()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._ready: list[tuple[int, HttpResponse | TransportError]] = []
        self._number = 0

    # Time

    def at(self, due_ns: int, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._due, (due_ns, self._number, act))

    def next_ns(self) -> int | None:
        mine = [self._due[0][0]] if self._due else []
        theirs = self.exchange.next_due_ns()
        if theirs is not None:
            mine.append(theirs - self.clock.real + self.clock.mono)
        return min(mine, default=None)

    def run(self) -> None:
        """All that is due, and the updates that come of it."""
        while self._due and self._due[0][0] <= self.clock.mono:
            heapq.heappop(self._due)[2]()
        self.exchange.step(self.clock.real)
        for update in self.side.updates(self.api):
            self._tell(update)

    def dead_process(self) -> None:
        """The process is gone: answers and updates on their way find nobody."""
        self._ready.clear()
        self.texts.frames.clear()
        self._due.clear()

    # Updates

    def _tell(self, update: Update) -> None:
        at_ns = max(self.clock.mono, self.shown_ns.get(update.order_id, 0))
        chance = self.random.random() if self.spoil_updates else 1.0
        if chance < 0.3:
            return
        if chance < 0.5:
            at_ns += self.random.randrange(20 * NS_PER_S)  # late, and behind those that follow it
        for _ in range(1 + (0.5 <= chance < 0.65)):
            self.at(at_ns, lambda: self.texts.frames.append(update.frame))

    # Transport

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.calls.append(request)
        delay_ns = self.random.randint(500_000, 20_000_000)
        if request.method == "GET":
            self.at(self.clock.mono + delay_ns, lambda: self._read(request_id, request))
            return
        strike, call = self.strike(request), self.read(request)
        ids: list[str] = []
        if call.kind == PLACE:
            self.placed.append((call.tag, ids))
            self.struck[call.tag] = strike
        arrives_ns = self.clock.mono + delay_ns
        if strike.done:
            self.at(arrives_ns, lambda: self._do(request_id, request, strike, ids))
        else:
            self._back(arrives_ns + strike.wait_ns, request_id, self._spoiled(strike, None))

    def _do(self, request_id: int, request: HttpRequest, strike: Strike, ids: list[str]) -> None:
        answer = self.ask(request)
        if self.read(request).kind == PLACE and answer.status == 200:
            ids.append(self.side.placed_id(json.loads(answer.body)))
            self.shown_ns[ids[0]] = self.clock.mono + self.lag()
        self._back(self.clock.mono + strike.wait_ns, request_id, self._spoiled(strike, answer))

    def _spoiled(self, strike: Strike, answer: HttpResponse | None) -> HttpResponse | TransportError:
        if strike.answer is None and answer is not None:
            return answer
        if isinstance(strike.answer, tuple):
            return HttpResponse(*strike.answer)
        return TransportError("connection lost", sent=strike.sent)

    def _back(self, at_ns: int, request_id: int, result: HttpResponse | TransportError) -> None:
        self.at(at_ns, lambda: self._ready.append((request_id, result)))

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        ready, self._ready = self._ready, []
        return ready

    def read(self, request: HttpRequest) -> Call:
        """What a request asks for."""
        return self.side.read(request, self.exchange.instruments)

    def ask(self, request: HttpRequest) -> HttpResponse:
        """The broker's answer, at once."""
        answer = self.side.ask(self.api, self.broker, request, TOKEN, self.clock.real)
        return HttpResponse(answer.status, answer.body)

    def _read(self, request_id: int, request: HttpRequest) -> None:
        if self.spoil_read(request.path):
            bad = self.random.choice(
                (HttpResponse(503, b""), HttpResponse(200, b'{"status":"success","data":[{'), "")
            )
            result = bad if isinstance(bad, HttpResponse) else TransportError("timed out", sent=True)
            self._ready.append((request_id, result))
            return
        answer = self.ask(request)
        if answer.status == 200:
            answer = HttpResponse(200, self._hidden(request.path, answer.body))
        self._ready.append((request_id, answer))

    def _hidden(self, path: str, body: bytes) -> bytes:
        """A book without the orders that it does not show yet."""
        hidden = {order_id for order_id, at_ns in self.shown_ns.items() if at_ns > self.clock.mono}
        side = self.side
        if not hidden or path not in (side.orders_path, side.trades_path, side.positions_path):
            return body
        told = json.loads(body)
        if path != side.positions_path:
            told["data"] = [row for row in told["data"] if row["order_id"] not in hidden]
        elif self.positions_lag:
            for row in side.position_rows(told):
                row["quantity"] -= self._filled(hidden, row)
        return json.dumps(told).encode()

    def _filled(self, hidden: Iterable[str], row: dict[str, Any]) -> int:
        orders = (self.exchange.orders[order_id] for order_id in hidden)
        where = self.side.position_of(row, self.exchange.instruments)
        return sum(
            order.now.filled * (1 if order.request.side == Side.BUY else -1)
            for order in orders
            if (order.slot, int(order.request.product)) == where
        )
