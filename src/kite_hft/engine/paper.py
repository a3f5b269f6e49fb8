"""Layer 5, orders process, cold: paper trading: the simulated exchange on the real feed's ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from kite_hft.clock import Clock
from kite_hft.layout import TICK
from kite_hft.memory.follow import FollowingReader
from kite_hft.sim.in_process import UpdateTexts, make_broker
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.instruments import InstrumentTable

DELAY_NS: Final = (15_000_000, 75_000_000)
"""One way; there and back 30 to 150 ms, as a broker takes."""
LOOK_NS: Final = 5_000_000
TICKS_PER_LOOK: Final = 4096


class PaperTransport:
    """The transport of paper mode. Ticks are taken in whenever it is polled."""

    def __init__(
        self,
        instruments: InstrumentTable,
        cash_paise: int,
        seed: int,
        clock: Clock,
        rings: Sequence[FollowingReader],
    ) -> None:
        self._broker = make_broker(instruments, cash_paise, seed, clock, DELAY_NS)
        self._clock, self._rings = clock, rings
        self._ticks = np.zeros(TICKS_PER_LOOK, TICK)
        self.texts = UpdateTexts(clock)

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self._broker.submit(request_id, request)

    def parameters(self) -> dict[str, Any]:
        """By which rules orders are filled, for the report."""
        return self._broker.exchange.parameters()

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        """Let the exchange see the newest ticks, then collect answers and order updates."""
        exchange = self._broker.exchange
        for ring in self._rings:
            while n := ring.drain(self._ticks):
                exchange.on_ticks(self._ticks[:n], self._clock.real_ns())
        exchange.step(self._clock.real_ns())
        answers = self._broker.poll()
        self.texts.add(self._broker.update_frames())
        return answers

    def next_deadline_ns(self) -> int | None:
        """Ticks are looked at every few milliseconds: nobody wakes this process for them."""
        return self._clock.mono_ns() + LOOK_NS

    def fileno(self) -> int:
        return -1

    def last_failure(self) -> str:
        return ""

    def close(self) -> None:
        pass
