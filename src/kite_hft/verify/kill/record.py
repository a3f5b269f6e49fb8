"""Layer 6, by hand and CI, cold: an independent record of what leaves, for `verify kill`.

Stands between the order stage and the simulated broker and writes down every request with its time. It
shares no code with the stage: requests are parsed here, and whether an order opens is counted from the
broker's own books.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.brokers.side import CANCEL, MODIFY, PLACE, Call
from kite_hft.sim.exchange.orders import NewOrder, Order
from kite_hft.sim.in_process import InProcessBroker
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

S: Final = 1_000_000_000
PER_S: Final = 8
SLACK_NS: Final = S
WINDOW_NS: Final = 5 * S // 4
"""Where ten calls have just left, not even one cancel may for so long."""
NO_ANSWER_NS: Final = 7 * S


@dataclass(slots=True)
class Sent:
    """One request that left. call: as the wire has it; opens: counted at that moment; None: no order."""

    at_ns: int
    call: Call
    words: str
    late: bool
    opens: bool | None = None


@dataclass(slots=True)
class Recorder:
    """The transport of the stage: hands everything on to `broker`, and remembers it.

    swallow: share of order placements whose answer is lost (the order stands all the same).
    """

    broker: InProcessBroker
    clock: Clock
    chance: random.Random
    swallow: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    killed_ns: int = 0
    known_ns: dict[str, int] = field(default_factory=dict)  # order id -> when the stage could know it
    _lost: dict[int, int] = field(default_factory=dict)
    _epoch: int = 0
    _calls_left: int = 0
    _at_call: Callable[[], None] = lambda: None

    # The transport's face

    def submit(self, request_id: int, request: HttpRequest) -> None:
        """Remember, judge, hand on."""
        now_ns = self.clock.mono_ns()
        call = self.broker.side.read(request, self.broker.exchange.instruments)
        words = f"{request.method} {request.path} {request.body.decode()}"
        row = Sent(now_ns, call, words, bool(self.killed_ns))
        if call.kind in (PLACE, MODIFY):
            row.opens = self._opens(row)
        self.sent.append(row)
        number = self._epoch << 40 | request_id
        if call.kind == PLACE and self.chance.random() < self.swallow:
            self._lost[number] = now_ns + NO_ANSWER_NS
        self.broker.submit(number, request)
        if self._calls_left and call.kind:
            self._calls_left -= 1
            if not self._calls_left:
                self._at_call()

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        """Answers to the stage that lives now."""
        came: list[tuple[int, HttpResponse | TransportError]] = []
        for number, answer in self.broker.poll():
            if number in self._lost or number >> 40 != self._epoch:
                continue
            if isinstance(answer, HttpResponse):
                self._learn(answer.body)
            came.append((number & (1 << 40) - 1, answer))
        now_ns = self.clock.mono_ns()
        for number in [n for n, due_ns in self._lost.items() if due_ns <= now_ns]:
            del self._lost[number]
            if number >> 40 == self._epoch:
                came.append((number & (1 << 40) - 1, TransportError("no answer within 7 s", sent=True)))
        return came

    def heard(self, frames: list[bytes]) -> None:
        """Order updates that the stage is told."""
        for frame in frames:
            self._learn(frame)

    def forget(self) -> None:
        """Another process takes over: it is answered nothing that was asked before it came."""
        self._epoch += 1

    def at_call(self, calls: int, do: Callable[[], None]) -> None:
        """Call `do` inside the so-manieth order call from now; 0: not any more."""
        self._calls_left, self._at_call = calls, do

    def killed(self) -> None:
        """The latch is set now: from here on everything is late."""
        if not self.killed_ns:
            self.killed_ns = self.clock.mono_ns()

    # The broker's truth

    def book(self) -> dict[str, Order]:
        """The broker's orders."""
        return self.broker.exchange.orders

    def held(self, order: NewOrder) -> int:
        """What the broker holds of the order's instrument and product, positive where the order closes it."""
        position = self.broker.exchange.account.positions.get((order.instrument.slot, order.product))
        net = position.net if position is not None else 0
        return net if order.side == Side.SELL else -net

    def _opens(self, row: Sent) -> bool:
        """Whether this order, or this change of one, could grow or turn a position."""
        call = row.call
        if call.kind == MODIFY:
            target = self.book().get(call.order_id)
            if target is None or target.done:
                return target is None  # the exchange refuses to change what has ended
            more = max(0, (call.quantity or target.now.quantity) - target.now.quantity)
            # An exit at another price: entries beside it, on the same side, are no fault of this call.
            aside = set() if more or target.tag in self._opened() else self._opened()
            return self._beyond(target.request, more, aside)
        instrument = self.broker.exchange.instruments[call.slot]
        words = (instrument, Side(call.side), OrderType.LIMIT, Product(call.product), call.quantity)
        return self._beyond(NewOrder(*words), call.quantity)

    def _opened(self) -> set[str]:
        """Tags of the orders that opened when they left."""
        return {row.call.tag for row in self.sent if row.call.kind == PLACE and row.opens}

    def _beyond(self, order: NewOrder, more: int, aside: Collection[str] = ()) -> bool:
        """What works on the order's side, but for the tags `aside`, and `more` exceed what is held."""
        pending = sum(
            other.remaining
            for other in self.book().values()
            if (other.slot, other.request.product, other.request.side)
            == (order.instrument.slot, order.product, order.side)
            and other.tag not in aside
        )
        return self.held(order) - pending - more < 0

    def _learn(self, body: bytes) -> None:
        """Order ids that stand in what the stage is told."""
        try:
            told = json.loads(body)
        except ValueError:
            return
        data = told.get("data", told)  # an update may be the row itself
        for row in data if isinstance(data, list) else [data]:
            if isinstance(row, dict) and "trade_id" not in row:
                for order_id in row.get("order_ids") or [row.get("order_id")]:
                    if order_id:
                        self.known_ns.setdefault(str(order_id), self.clock.mono_ns())

    # The judgement

    def posts(self) -> int:
        """Orders that have left so far."""
        return sum(1 for row in self.sent if row.call.kind == PLACE)

    def opened_since_kill(self) -> list[Sent]:
        """Orders, and changes of orders, that open and left after the latch."""
        return [row for row in self.sent if row.late and row.opens]

    def judge(self, *, flat: bool) -> dict[str, Any]:
        """Counts, and in `wrong` what must not be. flat: everything was to be closed."""
        wrong = [
            f"{(row.at_ns - self.killed_ns) / 1e6:.1f} ms after the kill: {row.words}"
            for row in self.opened_since_kill()
        ]
        cancels = {
            row.call.order_id: row.at_ns
            for row in reversed(self.sent)
            if row.call.kind == CANCEL and row.late
        }
        late = self._cancelled_late(cancels)
        wrong += [f"order {order_id}: {words}" for order_id, (_ns, words) in late.items() if words]
        for order_id, order in self.book().items():
            if not order.done and self.held(order.request) <= 0:
                wrong.append(f"order {order_id} still works, and closes nothing")
        if flat:
            positions = self.broker.exchange.account.positions
            held = {slot: p.net for (slot, _product), p in positions.items() if p.net}
            wrong += [f"not flat: {held}"] * bool(held)
        return {
            "orders_before": sum(1 for row in self.sent if row.call.kind == PLACE and not row.late),
            "opening_after": len(self.opened_since_kill()),
            "reducing_after": sum(1 for row in self.sent if row.late and row.opens is False),
            "cancelled": len(late),
            "slowest_cancel_ms": round(max((ns for ns, _ in late.values()), default=0) / 1e6, 1),
            "wrong": wrong,
        }

    def _cancelled_late(self, cancels: dict[str, int]) -> dict[str, tuple[int, str]]:
        """Entries that lived at the kill or arrived after it: (ns until the cancel left, what is wrong)."""
        opened = self._opened()
        entries = {
            order_id: order
            for order_id, order in self.book().items()
            if order.tag in opened and not self._ended_by(order, self.killed_ns)
        }
        # Every cancel that left takes its place in the broker's window, also one of a doubtful order.
        bound_ns = max(len(entries.keys() | cancels.keys()) * S // PER_S + SLACK_NS, WINDOW_NS)
        found: dict[str, tuple[int, str]] = {}
        for order_id, order in entries.items():
            if not order.done:
                found[order_id] = (0, f"an entry, still {order.now.status}")
            elif order_id in cancels:
                since_ns = max(self.killed_ns, self.known_ns.get(order_id, self.killed_ns))
                took_ns = max(0, cancels[order_id] - since_ns)
                words = f"cancelled {took_ns / 1e9:.2f} s after it was known" if took_ns > bound_ns else ""
                found[order_id] = (took_ns, words)
        return found

    def _ended_by(self, order: Order, at_ns: int) -> bool:
        ahead_ns = self.clock.real_ns() - self.clock.mono_ns()
        return order.done and order.now.at_ns - ahead_ns < at_ns
