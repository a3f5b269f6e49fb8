"""Layer 4, orders process (paper) and the simulated world, cold: the simulated broker without a socket.

The order stage's transport straight into KiteApi: a request arrives after a seeded delay, its
answer comes back after another; time is handed in by the clock, so the same seed gives the same
run. In paper mode the exchange is fed with the ticks of the real feed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kite_hft.clock import Clock
from kite_hft.layout import TEXT, TEXT_BYTES_MAX
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import TOKEN, BrokerSide
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, TransportError
from kite_hft.trading.instruments import InstrumentTable


@dataclass(slots=True)
class InProcessBroker:
    """Exchange and API behind the Transport face of the order stage.

    side, adapter: the broker, and what the stage speaks to him with.
    delay_ns: bounds of the uniform one-way delay of a request and of an answer.
    """

    exchange: Exchange
    api: Any
    side: BrokerSide
    adapter: Broker
    clock: Clock
    delay_ns: tuple[int, int]
    random: random.Random
    _under_way: list[tuple[int, int, int, HttpRequest | HttpResponse, int]] = field(default_factory=list)
    _count: int = 0

    def submit(self, request_id: int, request: HttpRequest) -> None:
        """Send: it arrives at the broker after the delay, also when nobody polls meanwhile."""
        now_ns = self.clock.mono_ns()
        self._push(now_ns + self._delay(), request_id, request, now_ns)

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        """Answers that have come back by now."""
        now_ns = self.clock.mono_ns()
        came: list[tuple[int, HttpResponse | TransportError]] = []
        while self._under_way and self._under_way[0][0] <= now_ns:
            due_ns, _, request_id, message, sent_ns = heapq.heappop(self._under_way)
            if isinstance(message, HttpResponse):
                came.append((request_id, message))
            else:
                self._push(
                    due_ns + self._delay(), request_id, self._answer(message, due_ns, sent_ns), sent_ns
                )
        return came

    def next_due_ns(self) -> int | None:
        """When something arrives next, at the broker or back here (CLOCK_MONOTONIC)."""
        return self._under_way[0][0] if self._under_way else None

    def update_frames(self) -> list[bytes]:
        """Order updates since the last call, as the broker's text frames."""
        return [update.frame for update in self.side.updates(self.api)]

    def _delay(self) -> int:
        return self.random.randint(*self.delay_ns)

    def _push(self, due_ns: int, request_id: int, message: HttpRequest | HttpResponse, sent_ns: int) -> None:
        self._count += 1
        heapq.heappush(self._under_way, (due_ns, self._count, request_id, message, sent_ns))

    def _answer(self, request: HttpRequest, at_ns: int, sent_ns: int) -> HttpResponse:
        real_ns = self.clock.real_ns() + at_ns - self.clock.mono_ns()
        answer = self.side.ask(self.api, self.adapter, request, TOKEN, real_ns)
        return HttpResponse(answer.status, answer.body, sent_ns, at_ns)


def make_broker(
    instruments: InstrumentTable,
    cash_paise: int,
    seed: int,
    clock: Clock,
    delay_ns: tuple[int, int],
    side: BrokerSide = KITE_SIDE,
) -> InProcessBroker:
    """A broker of its own for one account; the instruments have the names that he knows them by."""
    exchange = Exchange(instruments, cash_paise, seed, side.params())
    api, adapter = side.make_api(exchange, False), side.broker(instruments)
    return InProcessBroker(exchange, api, side, adapter, clock, delay_ns, random.Random(seed))


@dataclass(slots=True)
class UpdateTexts:
    """Text frames as the order stage drains them: a queue's consumer face over a plain list."""

    clock: Clock
    frames: list[bytes] = field(default_factory=list)

    def add(self, frames: Sequence[bytes]) -> None:
        self.frames += frames

    def drain(self, out: npt.NDArray[np.void]) -> int:
        """Move up to len(out) frames into TEXT records; returns how many."""
        n = min(len(out), len(self.frames))
        for i in range(n):
            text = self.frames[i]
            if len(text) > TEXT_BYTES_MAX:
                raise ValueError(f"an order update of {len(text)} bytes exceeds {TEXT_BYTES_MAX}")
            row: Any = np.zeros((), TEXT)
            row["recv_ns"], row["length"], row["data"] = self.clock.mono_ns(), len(text), text
            out[i] = row
        del self.frames[:n]
        return n
