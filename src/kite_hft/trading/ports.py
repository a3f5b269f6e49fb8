"""Layer 2, orders process, cold: what the order stage is handed, and what it is set to.

Everything that touches a socket, a clock, a disk or shared memory comes in through Ports, so that
the same stage runs in the engine, in tests and in the simulated world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft.clock import Clock
from kite_hft.memory.journal import Journal, Record
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, Limits, TransportError
from kite_hft.trading.costs import Schedule
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.recovery.lookup import HORIZON_S_MIN

Records = npt.NDArray[np.void]
ALWAYS_NS: Final = 2**62
"""So long is a session open that knows no hours."""


class Source(Protocol):
    """Consumer end of a TEXT queue."""

    def drain(self, out: Records) -> int: ...


class IntentSource(Protocol):
    """Consumer end of an INTENT queue: what was peeked stays in until it is committed."""

    def peek(self, out: Records) -> int: ...
    def commit(self, n: int) -> int: ...
    def waiting(self) -> int: ...


class Sink(Protocol):
    """Producer end of an ORDER_EVENT queue: takes all or fewer, never blocks.

    `recall` copies the newest records ever pushed, oldest first.
    """

    def push(self, records: Records) -> int: ...
    def recall(self, out: Records) -> int: ...


class Latest(Protocol):
    """The table of latest ticks. A slot without a row, as NO_SLOT, has no tick.

    last_px: 0 when there is none. look: (last price, tick sequence, time of receipt) of one record.
    """

    def last_px(self, slot: int) -> int: ...
    def look(self, slot: int) -> tuple[int, int, int] | None: ...


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
class Written:
    """What orders.csv and trades.csv hold already: of this run, and of those that it continues.

    orders: numbers that have a row. trades: order number -> (quantity, value in paise) told.
    """

    orders: frozenset[int] = frozenset()
    trades: Mapping[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ports:
    """All that is handed in. `events`: strategy -> its worker's queue.

    history: records of the journals of runs that this one continues, oldest first, then those of
    this run's own journal, when the process was `restarted` in it. alert: gets the fields of an
    alert (see alerts.py). fresh(slot): a tick has come since its connection was made. open_for(slot): for
    how many ns its session is open, -1: it is closed. use_token: the transport goes on with another
    access token.
    """

    instruments: InstrumentTable
    broker: Broker
    transport: Transport
    clock: Clock
    journal: Journal
    counters: CounterSink
    latest: Latest
    intents: Sequence[IntentSource]
    texts: Sequence[Source]
    events: Mapping[int, Sink]
    tags: Tags
    history: Iterable[Record] = ()
    restarted: bool = False
    continues: Sequence[str] = ()  # names of those runs
    not_continued: str = ""  # why an earlier run of the day, although unfinished, is not
    counted: Mapping[str, int] = field(default_factory=dict)  # counters of this run so far
    written: Written = field(default_factory=Written)
    broker_name: str = ""  # the broker that the journal is about, by address; for its START record
    on_order: Callable[[dict[str, Any]], None] = lambda row: None
    on_trade: Callable[[dict[str, Any]], None] = lambda row: None
    alert: Callable[[dict[str, Any]], None] = lambda fields: None
    fresh: Callable[[int], bool] = lambda slot: True
    open_for: Callable[[int], int] = lambda slot: ALWAYS_NS
    use_token: Callable[[str], None] = lambda access_token: None
    workers: Mapping[int, Sequence[int]] = field(default_factory=dict)  # worker -> its strategies


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
    positions_s: float = 15.0  # the broker's positions are compared this often
    reject_storm: int = 5  # rejected in a row: REDUCING
    stale_position_s: float = 15.0  # without a price of something that we hold: an alert
    reprice_s: float = 3.0  # a closing order that rests is replaced this often
    charges: Schedule | None = None  # of the day; None: nothing costs anything

    def __post_init__(self) -> None:
        if self.absence_horizon_s < HORIZON_S_MIN and not self.loopback:
            raise ValueError(
                f"absence_horizon_s {self.absence_horizon_s} < {HORIZON_S_MIN}: allowed on loopback only"
            )
        for name in ("absence_horizon_s", "poll_period_s", "poll_gap_s", "entry_wait_s", "positions_s",
                     "stale_position_s", "reprice_s"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
