"""One instrument, one strategy of either form, and a broker who answers each order before the next tick."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from reference.compute_doubles import Counts, ListQueue, ListReader

from kite_hft._kernels import Kernels
from kite_hft.layout import INTENT, ORDER_EVENT, TICK, EventKind, IntentKind, OrderStatus, Side
from kite_hft.stages.compute import Compute
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy
from kite_hft.strategies.hosts import CompiledHost, PythonHost, new_batch
from kite_hft.strategies.slots import SlotFacts

OPEN_S = 1_765_770_000 + 300
"""2025-12-15 09:15:00 in India."""


def event(intent: np.void, kind: EventKind, status: OrderStatus, position: int, **fields: int) -> np.ndarray:
    """One ORDER_EVENT about an intent."""
    made = np.zeros(1, ORDER_EVENT)
    for name in ("strategy", "slot", "product", "strategy_seq", "side", "order_type", "qty"):
        made[name] = intent[name]
    made["kind"], made["status"], made["position"] = kind, status, position
    made["order_no"] = intent["strategy_seq"]
    for name, value in fields.items():
        made[name] = value
    return made


@dataclass
class Market:
    """Answers: everything fills at the last price and stops are kept, unless `answers` says otherwise.

    answers: strategy_seq -> what is told instead, given (intent, position).
    """

    strategy: BaseStrategy | CompiledStrategy
    cache_dir: Path | None = None
    scale: float = 100.0
    tick_px: int = 5
    facts: SlotFacts | None = None
    answers: dict[int, Callable[[np.void, int], list[np.ndarray]]] = field(default_factory=dict)
    x0: float = 0.0
    position: int = 0
    intents: list[np.void] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)  # index of the tick of each intent

    def __post_init__(self) -> None:
        scales, tokens = np.array([self.scale]), np.array([408065], np.uint32)
        batch = new_batch(1, tokens, scales)
        self.strategy.prepare(self.facts or SlotFacts(scales, np.array([self.tick_px])))
        if isinstance(self.strategy, BaseStrategy):
            self.host = PythonHost(self.strategy, 1, batch)
        else:
            self.host = CompiledHost(self.strategy, 1, batch, cache_dir=self.cache_dir)
        self._reader = ListReader(np.zeros(1, TICK))
        self._queue, self._events = ListQueue(INTENT), ListQueue(ORDER_EVENT)
        self.compute = Compute(
            readers=[self._reader],
            kernels=Kernels(1, scale=scales, token=tokens, x0=self.x0, x02=self.x0),
            batch=batch,
            hosts=[self.host],
            intents=self._queue,
            events=self._events,
            counters=Counts(),
            clock=lambda: 77,
        )
        self.compute.start()
        self.at = 0

    def run(self, prices: Iterable[float], second: float = 0.0, step_s: float = 1.0) -> Market:
        """Prices in rupees, the first one `second` seconds after the open."""
        for price in prices:
            tick = np.zeros(1, TICK)
            tick["last_px"] = round(price * self.scale)
            tick["bid_px"], tick["ask_px"] = tick["last_px"] - 5, tick["last_px"] + 5
            tick["seq"] = self.at
            tick["exch_ns"] = round((OPEN_S + second) * 1e9)
            self._reader.records, self._reader.position, self._reader.stop = tick, 0, 1
            self.compute.step(0)
            assert not self.compute.halted, self.compute.halted
            out = np.zeros(8, INTENT)
            for intent in out[: self._queue.drain(out)]:
                self._answer(intent.copy(), int(tick["last_px"][0]))
            second, self.at = second + step_s, self.at + 1
        self.compute.step(0)
        return self

    def tell(self, *events: np.ndarray) -> None:
        """Order events before the next tick."""
        for one in events:
            self._events.push(one)

    def _answer(self, intent: np.void, last_px: int) -> None:
        self.intents.append(intent)
        self.ticks.append(self.at)
        if intent["strategy_seq"] in self.answers:
            self.tell(*self.answers[int(intent["strategy_seq"])](intent, self.position))
        elif intent["kind"] == IntentKind.EXITS:
            self.tell(event(intent, EventKind.ACCEPTED, OrderStatus.OPEN, self.position, side=Side.SELL))
        elif intent["kind"] == IntentKind.PLACE:
            self.position += int(intent["qty"]) * (1 if intent["side"] == Side.BUY else -1)
            done = {"fill_qty": int(intent["qty"]), "fill_px": last_px, "filled_qty": int(intent["qty"])}
            self.tell(event(intent, EventKind.ACCEPTED, OrderStatus.OPEN, self.position))
            self.tell(event(intent, EventKind.COMPLETE, OrderStatus.COMPLETE, self.position, **done))

    def made(self) -> list[tuple[int, str, int]]:
        """(index of the tick, kind or side, quantity) of every intent."""
        return [(at, _name(i), int(i["qty"])) for at, i in zip(self.ticks, self.intents, strict=True)]


def _name(intent: np.void) -> str:
    kind = IntentKind(int(intent["kind"]))
    return Side(int(intent["side"])).name if kind == IntentKind.PLACE else kind.name


def refused(intent: np.void, position: int) -> list[np.ndarray]:
    """We refuse it ourselves."""
    return [event(intent, EventKind.REFUSED, OrderStatus.REFUSED, position)]


def unanswered(intent: np.void, position: int) -> list[np.ndarray]:
    """It rests at the exchange."""
    return [event(intent, EventKind.ACCEPTED, OrderStatus.OPEN, position)]


def ended_meanwhile(intent: np.void, position: int) -> list[np.ndarray]:
    """It rests, the order process dies, and the next one tells what has become of it."""
    later = event(intent, EventKind.SNAPSHOT, OrderStatus.CANCELLED, position)
    return [*unanswered(intent, position), later]
