"""Layer 3, compute process, hot: ticks in, kernel rows and bars computed, intents out.

One step: first the ORDER_EVENTs (positions are up to date before a tick is judged), then one
batch from each ring: kernels over the whole batch, each strategy over it in tick order, the
intents of all strategies pushed in tick order. Nothing here reads a socket or a file; clock,
rings, queues and counters are handed in.

Lost ticks (the ring's writer lapped us) are counted and computing goes on with the next one:
filters and bars treat the hole like a quiet market, and day volume keeps bar volumes whole.
A strategy that raises is halted for good; the others and the kernels go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft._kernels import Kernels, read_runs
from kite_hft.layout import COUNTERS, HISTOGRAMS, ORDER_EVENT, IntentFlag, IntentKind
from kite_hft.strategies.hosts import Batch, Host, signals

Records = npt.NDArray[np.void]

COUNTER: Final = {name: index for index, name in enumerate(COUNTERS["compute"])}
HISTOGRAM: Final = {name: index for index, name in enumerate(HISTOGRAMS["compute"])}
EVENTS_PER_DRAIN: Final = 256
EVENT_DRAINS_MAX: Final = 64


class TickReader(Protocol):
    """A RingReader."""

    @property
    def lost(self) -> int: ...

    def drain(self, out: Any) -> int: ...


class IntentProducer(Protocol):
    """A QueueProducer of INTENT."""

    def push(self, records: Any, n: int = ...) -> int: ...

    def free(self) -> int: ...


class EventConsumer(Protocol):
    """A QueueConsumer of ORDER_EVENT."""

    def drain(self, out: Any) -> int: ...


class CounterSink(Protocol):
    """A CounterWriter of the compute counters."""

    def add(self, index: int, n: int = ...) -> None: ...

    def set(self, index: int, value: int) -> None: ...

    def record(self, histogram: int, ns: int, n: int = ...) -> None: ...


def signed(word: int) -> int:
    """The same 64 bits as the signed number that a counter word takes."""
    return word - 2**64 if word >= 2**63 else word


def _events(records: Records, n: int, host: Host) -> None:
    host.events(records, n)


class QueueContractError(RuntimeError):
    """The intent queue took fewer records than it had said it would: it has a second producer."""


class Compute:
    """The compute stage of one worker.

    readers: the rings it drains, in this order. batch: its arrays (hosts.new_batch); hosts were
    made with the same ones. clock: CLOCK_MONOTONIC in ns, for stamps and latencies only.
    bars_sink: called with the BARs closed by each batch, valid during the call (None: nobody).
    on_halt: told (strategy name, exception) when a strategy is halted.
    intent_deadline_ns: added to created_ns as the deadline of new orders that are no exits; 0: none.
    """

    name = "compute"

    def __init__(
        self,
        *,
        readers: Sequence[TickReader],
        kernels: Kernels,
        batch: Batch,
        hosts: Sequence[Host],
        intents: IntentProducer,
        events: EventConsumer,
        counters: CounterSink,
        clock: Callable[[], int],
        bars_sink: Callable[[Records], None] | None = None,
        on_halt: Callable[[str, Exception], None] | None = None,
        intent_deadline_ns: int = 0,
    ) -> None:
        if len({host.number for host in hosts}) != len(hosts):
            raise ValueError("two strategies have one number")
        self.halted: dict[str, str] = {}
        self._readers = readers
        self._kernels = kernels
        self._batch = batch
        self._hosts = list(hosts)
        self._intents = intents
        self._events = events
        self._counters = counters
        self._clock = clock
        self._bars_sink = bars_sink
        self._on_halt = on_halt
        self._intent_deadline_ns = intent_deadline_ns
        self._event_records: Records = np.zeros(EVENTS_PER_DRAIN, ORDER_EVENT)
        self._run_ns = np.zeros(len(batch.ticks), np.int64)
        self._run_counts = np.zeros(len(batch.ticks), np.int64)
        self._last_time_ns = 0
        self._checked_late = 0
        self._lost = 0

    def start(self) -> None:
        for host in self._hosts:
            host.start()

    def step(self, now_ns: int) -> int:
        """Events, then one batch from each ring; returns how many records were handled.

        `now_ns` is not looked at: every time that counts is taken when the work is done.
        """
        work = self._take_events()
        for reader in self._readers:
            n = reader.drain(self._batch.ticks)
            if n:
                self._take_ticks(n)
                work += n
        lost = sum(reader.lost for reader in self._readers)
        if lost != self._lost:
            self._lost = lost
            self._counters.set(COUNTER["lost"], lost)
        return work

    def close_bars_through(self, exchange_ns: int) -> int:
        """Close bars that have ended by `exchange_ns` (epoch ns) without waiting for a tick.

        Older ticks are late from here on. Returns how many bars were closed.
        """
        return self._bars_by_time(self._kernels.close_through(exchange_ns, self._batch.bars, self._clock()))

    def start_session(self, open_ns: int, close_ns: int) -> None:
        """A new trading day: what is open is closed, kernels and strategies start afresh."""
        self._bars_by_time(self._kernels.flush(self._last_time_ns, self._batch.bars, self._clock()))
        self._kernels.reset()
        self._kernels.set_session(open_ns, close_ns)
        self._last_time_ns = 0
        for host in list(self._hosts):
            self._guarded(host, host.new_session)

    def close(self) -> None:
        """Close the open bars (an unfinished one is marked BAR_CUT). No intent leaves any more."""
        n = self._kernels.flush(self._last_time_ns, self._batch.bars, self._clock())
        self._counters.add(COUNTER["bars"], n)
        if n and self._bars_sink is not None:
            self._bars_sink(self._batch.bars[:n])

    # ---- one step ----------------------------------------------------------------------------

    def _take_events(self) -> int:
        total = 0
        for _ in range(EVENT_DRAINS_MAX):
            n = self._events.drain(self._event_records)
            if n == 0:
                break
            self._counters.add(COUNTER["events"], n)
            self._with_hosts(partial(_events, self._event_records, n))
            total += n
        return total

    def _take_ticks(self, n: int) -> None:
        batch, counters = self._batch, self._counters
        bars = self._kernels.run(batch.ticks, n, batch.rows, batch.bars)
        self._with_hosts(lambda host: host.run(n))
        done_ns = self._clock()
        counters.add(COUNTER["computed"], n)
        counters.add(COUNTER["batches"])
        counters.set(COUNTER["checksum_computed"], signed(self._kernels.checksum))
        if self._kernels.late != self._checked_late:
            self._checked_late = self._kernels.late
            counters.set(COUNTER["late"], self._checked_late)
        if bars:
            counters.add(COUNTER["bars"], bars)
            if self._bars_sink is not None:
                self._bars_sink(batch.bars[:bars])
        runs = read_runs(batch.ticks, n, self._run_ns, self._run_counts)
        read, count = self._run_ns[:runs].tolist(), self._run_counts[:runs].tolist()
        for recv_ns, ticks in zip(read, count, strict=True):
            counters.record(HISTOGRAM["read_to_computed"], done_ns - recv_ns, ticks)
        self._last_time_ns = max(self._last_time_ns, int(batch.rows["time_ns"][n - 1]))

    def _bars_by_time(self, n: int) -> int:
        if n:
            self._counters.add(COUNTER["bars"], n)
            self._with_hosts(lambda host: host.bars_closed(n))
            if self._bars_sink is not None:
                self._bars_sink(self._batch.bars[:n])
        return n

    def _with_hosts(self, action: Callable[[Host], object]) -> None:
        """Let every strategy act, then hand on what they want, in tick order."""
        if not self._hosts:
            return
        room = self._intents.free()
        for host in list(self._hosts):
            host.outbox.begin(room)
            self._guarded(host, partial(action, host))
            room -= host.outbox.n
        self._push([host for host in self._hosts if host.outbox.n or host.outbox.refused])

    def _guarded(self, host: Host, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # whatever a user's code may raise
            # Nothing that the failing call asked for goes out: it may be half a decision.
            host.outbox.begin(0)
            self._hosts.remove(host)
            self.halted[host.name] = f"{type(error).__name__}: {error}"
            if self._on_halt is not None:
                self._on_halt(host.name, error)

    def _push(self, hosts: list[Host]) -> None:
        if not hosts:
            return
        refused = sum(host.outbox.refused for host in hosts)
        self._counters.add(COUNTER["signals"], sum(signals(host.outbox) for host in hosts))
        if refused:
            self._counters.add(COUNTER["intents_refused_full"], refused)
        records = hosts[0].outbox.records[: hosts[0].outbox.n]
        if len(hosts) > 1:
            records = np.concatenate([host.outbox.records[: host.outbox.n] for host in hosts])
            index = np.concatenate([host.outbox.tick_index[: host.outbox.n] for host in hosts])
            records = records[np.argsort(index, kind="stable")]
        n = len(records)
        if n == 0:
            return
        now_ns = self._clock()
        records["created_ns"] = now_ns
        if self._intent_deadline_ns:
            opening = (records["kind"] == IntentKind.PLACE) & (records["flags"] & IntentFlag.EXIT == 0)
            records["deadline_ns"][opening] = now_ns + self._intent_deadline_ns
        if self._intents.push(records, n) != n:
            raise QueueContractError(f"{n} intents did not go into a queue with room for them")
        self._counters.add(COUNTER["intents"], n)
        for recv_ns in records["tick_recv_ns"].tolist():
            if recv_ns:
                self._counters.record(HISTOGRAM["tick_to_intent"], now_ns - recv_ns)
