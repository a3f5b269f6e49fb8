"""Layer 2, orders process, cold: what the order stage is handed, and what it is set to.

Everything that touches a socket, a clock, a disk or shared memory comes in through Ports, so that
the same stage runs in the engine, in tests and in the simulated world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft.clock import Clock
from kite_hft.memory.journal import Journal, Record
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, Limits, TransportError
from kite_hft.trading.costs import Schedule
from kite_hft.trading.day_so_far import DaySoFar
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.gate.facts import OPEN_FACTS, AlwaysFresh, Facts
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.polling import PollPace
from kite_hft.trading.recovery.lookup import HORIZON_S_MIN
from kite_hft.trading.sending.evidence import Left

Records = npt.NDArray[np.void]
ALWAYS_NS: Final = 2**62
"""So long is a session open that knows no hours."""
EVERY_SEQ: Final = 2**63 - 1
"""synced_seq of a journal without a disk."""


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


class UpdateLink(NamedTuple):
    """What the process of a connection that brings order updates has counted.

    connects, disconnects: how often it was made, and lost. dropped: texts that could not be handed on.
    alive_ns: its last sign of life (CLOCK_MONOTONIC).
    """

    up: bool
    connects: int
    disconnects: int
    dropped: int
    alive_ns: int


@dataclass(frozen=True, slots=True)
class Written:
    """What orders.csv and trades.csv hold already: of this run, and of those that it continues.

    orders: order number -> status of its last row, by name: an order that was taken for refused may live, and
    ends once more. trades: order number -> (quantity, value in paise) told.
    """

    orders: Mapping[int, str] = field(default_factory=dict)
    trades: Mapping[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ports:
    """All that is handed in. `events`: strategy -> its worker's queue.

    history: records of the journals of runs that this one continues, oldest first, then those of
    this run's own journal, when the process was `restarted` in it. on_call: gets a row for each call
    that left; it must not block. calls_left: such rows of the account's processes of today before this
    one, as far as there are any. flush: writes what on_call has kept, ten times a second. alert: gets the
    fields of an alert (see alerts.py).
    on_book(read, body, asked_ns): gets each book of the broker's that could be read, as it came.
    fresh(slot): a tick has come since its connection was made. open_for(slot): for how many ns its session
    is open, -1: it is closed. use_token: the transport goes on with another access token. killed: why the
    account is killed (the latch outside, engine/orders/latch.py), "": it is not; asked before each call that
    leaves. kill_flat, killed_by: what else the latch says. kill(reason, flatten) sets it, unkill(by) ends it.
    holds: strategies that are held, as keep_holds keeps them beside the runs; a person may take them out of
    there while no engine runs. None: nothing keeps them. synced_seq: the last record of the journal that is
    on the disk. journal_state: why it cannot be written, and why its disk is nearly full, "": neither; asked
    in each step. leaves_from: the address of this machine that order calls leave from, "": not known.
    update_links: the connections that bring order updates, in an order that stays; none: nobody knows of any.
    log: one line for people.
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
    boot: str = ""  # id of the machine's boot, whose CLOCK_MONOTONIC a later process can go by; "": unknown
    on_order: Callable[[dict[str, Any]], None] = lambda row: None
    on_trade: Callable[[dict[str, Any]], None] = lambda row: None
    on_call: Callable[[Left], None] = lambda row: None
    calls_left: Sequence[Left] = ()
    flush: Callable[[], None] = lambda: None
    alert: Callable[[dict[str, Any]], None] = lambda fields: None
    on_book: Callable[[str, bytes, int], None] = lambda read, body, asked_ns: None
    fresh: Callable[[int], bool] = field(default_factory=AlwaysFresh)
    open_for: Callable[[int], int] = lambda slot: ALWAYS_NS
    use_token: Callable[[str], None] = lambda access_token: None
    workers: Mapping[int, Sequence[int]] = field(default_factory=dict)  # worker -> its strategies
    facts: Facts = OPEN_FACTS  # what the market takes now and the account may do
    killed: Callable[[], str] = lambda: ""
    kill_flat: Callable[[], bool] = lambda: False
    killed_by: Callable[[], str] = lambda: ""
    kill: Callable[[str, bool], None] = lambda reason, flatten: None
    unkill: Callable[[str], None] = lambda by: None
    holds: Mapping[int, Hold] | None = None
    keep_holds: Callable[[Mapping[int, Hold]], None] = lambda holds: None
    day_so_far: DaySoFar | None = None  # what runs of the day before came to; None: its journal tells
    strategy_names: Mapping[int, str] = field(default_factory=dict)
    day_net_paise: int = 0  # of the day's runs that are over and not continued, for the loss limit
    synced_seq: Callable[[], int] = lambda: EVERY_SEQ
    journal_state: Callable[[], tuple[str, str]] = lambda: ("", "")
    leaves_from: Callable[[], str] = lambda: ""
    update_links: Callable[[], Sequence[UpdateLink]] = lambda: ()
    log: Callable[[str], None] = lambda text: None


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
    slices_max: int = 10  # orders that one intent above the freeze quantity may become
    stop_gap_percent: float = 1.0  # an SL's limit price lies so far behind its trigger
    market_read_s: float | None = None  # circuit limits and holdings are read this often; None: not at all
    quote_pace: PollPace | None = None  # whose turn it is, where a feed asks for quotes, too
    ddpi: bool = False  # holdings may be sold without an authorisation of the day
    stop_rest_s: float = 2.0  # a triggered stop that rests so long is priced anew, nearer to the circuit
    group_wait_s: float = 1.0  # legs of a group come within this time
    group_leg_s: float = 15.0  # a leg that is neither filled nor refused by then breaks the group
    group_next: str = "filled"  # what lets the next leg go: filled, or accepted
    settlement: str = "warn"  # what becomes of contracts that are about to settle in shares: warn, or close
    group_partial: str = "unwind"  # what becomes of a group that broke: unwind, or keep
    charges: Schedule | None = None  # of the day; None: nothing costs anything
    max_daily_loss_paise: int | None = None  # net; None: no limit
    fsync_before_send: bool = False  # an order leaves when its record is on the disk
    prove_address: bool = False  # the broker is asked whether he takes order calls from here
    on_daily_loss: str = "reduce"  # or kill, or flatten (kill and close positions)

    def __post_init__(self) -> None:
        if self.absence_horizon_s < HORIZON_S_MIN and not self.loopback:
            raise ValueError(
                f"absence_horizon_s {self.absence_horizon_s} < {HORIZON_S_MIN}: allowed on loopback only"
            )
        for name in ("absence_horizon_s", "poll_period_s", "poll_gap_s", "entry_wait_s", "positions_s",
                     "stale_position_s", "reprice_s", "stop_gap_percent", "stop_rest_s", "group_wait_s",
                     "group_leg_s", "slices_max"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
