"""Layer 2, orders process, cold: what the order stage is handed, and what it is set to.

Everything that touches a socket, a clock, a disk or shared memory comes in through Ports, so that
the same stage runs in the engine, in tests and in the simulated world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft.clock import Clock
from kite_hft.memory.journal import Journal, Record
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, Limits, TransportError
from kite_hft.trading.checks import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.lookup import HORIZON_S_MIN

Records = npt.NDArray[np.void]


class Source(Protocol):
    """Consumer end of a queue (INTENT or TEXT)."""

    def drain(self, out: Records) -> int: ...


class Sink(Protocol):
    """Producer end of an ORDER_EVENT queue: takes all or fewer, never blocks."""

    def push(self, records: Records) -> int: ...


class Latest(Protocol):
    """The table of latest ticks."""

    def get(self, slot: int, out: Records) -> bool: ...


class CounterSink(Protocol):
    """Counters and histograms of the stage, by index in layout.COUNTERS and HISTOGRAMS."""

    def add(self, index: int, n: int = 1) -> None: ...
    def set(self, index: int, value: int) -> None: ...
    def record(self, histogram: int, ns: int, n: int = 1) -> None: ...


class Transport(Protocol):
    """Non-blocking calls to the broker. `submit` may write at once; answers come from `poll`."""

    def submit(self, request_id: int, request: HttpRequest) -> None: ...
    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All that is handed in. `events`: strategy -> its worker's queue."""

    instruments: InstrumentTable
    broker: Broker
    transport: Transport
    clock: Clock
    journal: Journal
    counters: CounterSink
    latest: Latest
    intents: Sequence[Source]
    texts: Sequence[Source]
    events: Mapping[int, Sink]
    tags: Tags
    history: Iterable[Record] = ()  # this run's journal so far
    on_order: Callable[[dict[str, Any]], None] = lambda row: None
    on_trade: Callable[[dict[str, Any]], None] = lambda row: None
    alert: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True)
class OrdersConfig:
    """Settings of the order stage.

    Raises:
        ValueError: an absence horizon under 180 s for a server that is not on this machine, or a
            time that is not positive.
    """

    limits: Limits
    risk: RiskLimits = field(default_factory=RiskLimits)
    loopback: bool = False
    absence_horizon_s: float = HORIZON_S_MIN
    poll_period_s: float = 2.0
    poll_gap_s: float = 0.25
    entry_wait_s: float = 1.0  # longest that an opening intent waits for the throttle

    def __post_init__(self) -> None:
        if self.absence_horizon_s < HORIZON_S_MIN and not self.loopback:
            raise ValueError(
                f"absence_horizon_s {self.absence_horizon_s} < {HORIZON_S_MIN}: allowed on loopback only"
            )
        for name in ("absence_horizon_s", "poll_period_s", "poll_gap_s", "entry_wait_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
