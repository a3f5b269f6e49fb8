"""Layer 3, compute process, hot: ticks in, kernel rows and bars computed, intents out.

One step: first the ORDER_EVENTs (positions are up to date before a tick is judged), then one
batch from each ring: kernels over the whole batch, each strategy over it in tick order, the
intents of all strategies pushed in tick order. Nothing here reads a socket or a file; clock,
rings, queues and counters are handed in.

What is taken in is written to the input log before it is worked on: a worker that starts again from
a snapshot is given the same inputs once more (`replaying`, `again_ticks`, `again_events`) and comes
to the same state; intents that were queued before are not queued twice.

Lost ticks (the ring's writer lapped us) are counted and computing goes on with the next one:
filters and bars treat the hole like a quiet market, and day volume keeps bar volumes whole.
A strategy that raises is halted for good; the others and the kernels go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from kite_hft._intents import stamp
from kite_hft._kernels import SNAPSHOT, Kernels
from kite_hft._step import TickStep
from kite_hft._twins import LAST, Twins
from kite_hft.layout import COUNTERS, HISTOGRAMS, ORDER_EVENT
from kite_hft.stages.compute_ports import (
    Again,
    CounterSink,
    EventConsumer,
    InputSink,
    IntentProducer,
    TickReader,
    refuse,
)
from kite_hft.strategies.hosts import Batch, Host, PythonHost, Slots, put_saved
from kite_hft.strategies.intents import Records

COUNTER: Final = {name: index for index, name in enumerate(COUNTERS["compute"])}
HISTOGRAM: Final = {name: index for index, name in enumerate(HISTOGRAMS["compute"])}
REPLAYED: Final = (
    "computed", "lost", "batches", "bars", "late", "signals", "intents", "intents_refused_full",
    "events", "checksum_computed", "strategies_halted", "twins_passed_over",
)  # fmt: skip
"""Counters that a replay brings to the same values."""
C_COMPUTED: Final = COUNTER["computed"]
C_BATCHES: Final = COUNTER["batches"]
C_CHECKSUM: Final = COUNTER["checksum_computed"]
C_PASSED_OVER: Final = COUNTER["twins_passed_over"]
H_DRAINED: Final = HISTOGRAM["read_to_drained"]
H_COMPUTED: Final = HISTOGRAM["read_to_computed"]
H_INTENT: Final = HISTOGRAM["tick_to_intent"]
H_SEND_COMPUTED: Final = HISTOGRAM["send_to_computed"]
H_SEND_INTENT: Final = HISTOGRAM["send_to_intent"]
EVENTS_PER_DRAIN: Final = 256
EVENT_DRAINS_MAX: Final = 64


class Compute:
    """The compute stage of one worker.

    readers: the rings it drains, in this order. batch: its arrays (hosts.new_batch); hosts were
    made with the same ones. inputs: where what is taken in is written down (None: nowhere); sources:
    numbers of the readers' connections in it, queue: number of the event queue.
    clock: CLOCK_MONOTONIC in ns, for stamps and latencies only.
    bars_sink: called with the BARs closed by each batch, valid during the call (None: nobody).
    on_halt: told (strategy name, exception) when a strategy is halted.
    intent_deadline_ns: the deadline of new orders that are no exits, from the socket read of the tick that
    caused them on (from created_ns where none did); 0: none.
    send_stamp: full packets carry when their sender meant to send them (load tests): record that too.
    twins: which ticks are passed over where several readers tell of the same instruments (None: none do).
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
        send_stamp: bool = False,
        inputs: InputSink | None = None,
        sources: Sequence[int] = (),
        queue: int = 0,
        twins: Twins | None = None,
    ) -> None:
        if len({host.number for host in hosts}) != len(hosts):
            raise ValueError("two strategies have one number")
        self.halted: dict[str, str] = {}
        self._readers = readers
        self._inputs = inputs
        self._sources = sources
        self._queue = queue
        self._twins = twins
        self._again: Again | None = None
        self._absent: list[PythonHost] = []
        self._lost_before = 0
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
        self._send_stamp = send_stamp
        self._event_records: Records = np.zeros(EVENTS_PER_DRAIN, ORDER_EVENT)
        self._checked_late = 0
        self._lost = 0

    def start(self) -> None:
        for host in self._hosts:
            host.start()

    def step(self, now_ns: int) -> int:
        """Events, then one batch from each ring; returns how many records were handled.

        `now_ns` goes into the input log; times that count are taken when the work is done.
        """
        work = self._take_events(now_ns)
        for index, reader in enumerate(self._readers):
            n = reader.drain(self._batch.ticks)
            if n:
                drained_ns = self._clock()
                room = self._intents.free() if self._hosts else 0
                if self._inputs is not None:
                    self._inputs.drained(
                        self._sources[index], getattr(reader, "generation", 1), reader.first_seq, n,
                        reader.lost_last, now_ns, room,
                    )  # fmt: skip
                self._take_ticks(n, room, drained_ns)
                work += n
        lost = 0
        for reader in self._readers:
            lost += reader.lost
        if lost != self._lost:
            self._lost = lost
            self._counters.set(COUNTER["lost"], self._lost_before + lost)
        return work

    def compiled(self, slow: Callable[[], object], failed: Callable[[Exception], None] | None) -> TickStep:
        """What `step` does with ticks of the only ring, for the machine's clock; see TickStep.

        Raises:
            TypeError: not all that was handed in is compiled.
        """
        (source,) = self._sources
        return TickStep(
            batch=self._batch, kernels=self._kernels, events=self._events, intents=self._intents,
            counters=self._counters, inputs=self._inputs, source=source,
            intent_deadline_ns=self._intent_deadline_ns, send_stamp=self._send_stamp,
            bars_sink=self._bars_sink, halt=self._halt, push=self._push, refuse=refuse,
            slow=slow, failed=failed,
        )  # fmt: skip

    @property
    def hosts(self) -> list[Host]:
        """The strategies that were not halted."""
        return self._hosts

    def close_bars_through(self, exchange_ns: int) -> int:
        """Close bars that have ended by `exchange_ns` (epoch ns) without waiting for a tick.

        Older ticks are late from here on. Returns how many bars were closed.
        """
        return self._bars_by_time(self._kernels.close_through(exchange_ns, self._batch.bars, self._clock()))

    def start_session(self, open_ns: int, close_ns: int) -> None:
        """A new trading day: what is open is closed, kernels and strategies start afresh."""
        self._bars_by_time(self._kernels.flush(self._kernels.last_ns, self._batch.bars, self._clock()))
        self._kernels.reset()
        self._kernels.set_session(open_ns, close_ns)
        self._kernels.last_ns = 0
        for host in list(self._hosts):
            self._guarded(host, host.new_session)

    def close(self) -> None:
        """Close the open bars (an unfinished one is marked BAR_CUT). No intent leaves any more."""
        n = self._kernels.flush(self._kernels.last_ns, self._batch.bars, self._clock())
        self._counters.add(COUNTER["bars"], n)
        if n and self._bars_sink is not None:
            self._bars_sink(self._batch.bars[:n])

    # ---- a restart -----------------------------------------------------------------------------

    def save(self, slots: Slots) -> dict[str, Any]:
        """All that computing goes on from, between two steps; arrays are those of `slots`."""
        hosts: dict[str, dict[str, Any]] = {}
        for host in list(self._hosts):  # one that cannot tell its state is halted
            self._guarded(host, partial(put_saved, host, slots, hosts))
        return {
            "kernels": self._kernels.snapshot(slots),
            "totals": self._kernels.totals,
            "time_ns": self._kernels.last_ns,
            "halted": self.halted,
            "twins": self._twins.save(slots) if self._twins is not None else b"",
            "hosts": hosts,
        }

    def restore(self, saved: Mapping[str, Any], slots: Slots) -> list[Host]:
        """Go on from what `save` gave, after `start`; returns the hosts that start afresh.

        A strategy that does not take its own state back is halted: it would know half of its orders.

        Raises:
            KeyError, ValueError: saved by another worker: other instruments or strategies.
        """
        names = {str(host.number): host.name for host in self._hosts}
        known = {number: host["name"] for number, host in saved["hosts"].items()}
        gone = set(saved["halted"])
        if {**names, **known} != names or {names[n] for n in set(names) - set(known)} - gone:
            raise ValueError(f"saved with the strategies {known}, now there are {names}")
        if self._twins is not None:
            self._twins.restore(np.frombuffer(saved["twins"], LAST), slots)
        kernels = np.frombuffer(saved["kernels"], SNAPSHOT)
        self._kernels.restore(kernels, slots)
        self._kernels.totals = saved["totals"]
        self._checked_late = self._kernels.late
        self._kernels.last_ns = int(saved["time_ns"])
        self.halted = dict(saved["halted"])
        self._hosts = [host for host in self._hosts if str(host.number) in known]
        exact: list[Host] = []
        for host in list(self._hosts):
            self._guarded(host, partial(self._restore, host, saved, slots, exact))
        return [host for host in self._hosts if host not in exact]

    def _restore(self, host: Host, saved: Mapping[str, Any], slots: Slots, exact: list[Host]) -> None:
        if host.restore(saved["hosts"][str(host.number)], slots):
            exact.append(host)

    def count_on(self, counters: Mapping[str, int]) -> None:
        """Without a state to go on from: at least the running totals go on."""
        checksum, late = counters["checksum_computed"] % 2**64, counters["late"]
        self._kernels.totals = self._kernels.totals | {"checksum": checksum, "late": late}
        self._checked_late = late

    @contextlib.contextmanager
    def replaying(self, again: Again, absent: Sequence[Host] = ()) -> Iterator[None]:
        """Inputs given meanwhile were worked on before. `absent`: hosts that see none of them, but
        take over the positions that order events tell.

        At the end the counters are written, and every strategy numbers on from what it has queued.
        """
        counters, hosts = self._counters, self._hosts
        self._counters, self._again = again, again
        self._absent = [host for host in absent if isinstance(host, PythonHost)]
        self._hosts = [host for host in hosts if host not in absent]
        try:
            yield
        finally:
            self._counters, self._again = counters, None
            self._hosts = [h for h in hosts if h in absent or h in self._hosts]
        for host in self._hosts:
            host.outbox.next_seq = max(host.outbox.next_seq, again.queued.get(host.number, 0) + 1)
        for name in REPLAYED:
            counters.set(COUNTER[name], again.counters[name])
        self._lost_before = again.counters["lost"]
        counters.add(COUNTER["replayed_ticks"], again.ticks)
        counters.add(COUNTER["replayed_events"], again.events)
        counters.add(COUNTER["intents_suppressed"], again.suppressed)

    def again_ticks(self, ticks: Records, room: int, now_ns: int) -> None:
        """One drain once more, with the room for intents that it had. Only while `replaying`."""
        n = len(ticks)
        self._batch.ticks[:n] = ticks
        if self._again is not None:
            self._again.now_ns = now_ns
            self._again.ticks += n
        self._take_ticks(n, room, now_ns)

    def again_events(self, events: Records, room: int, now_ns: int) -> None:
        """The same for order events."""
        if self._again is not None:
            self._again.now_ns = now_ns
            self._again.events += len(events)
            for host in self._absent:
                host.settle(events)
        self._work_on_events(events, room)

    def late_events(self, events: Records, now_ns: int) -> None:
        """Events that were taken from the queue by a process that died before it worked on them."""
        room = self._intents.free() if self._hosts else 0
        if self._inputs is not None:
            self._inputs.events(self._queue, int(events["seq"][0]), len(events), now_ns, room)
        self._work_on_events(events, room)

    # ---- one step ----------------------------------------------------------------------------

    def _take_events(self, now_ns: int) -> int:
        total = 0
        for _ in range(EVENT_DRAINS_MAX):
            n = self._events.drain(self._event_records)
            if n == 0:
                break
            room = self._intents.free() if self._hosts else 0
            if self._inputs is not None:
                self._inputs.events(self._queue, self._events.next_seq - n, n, now_ns, room)
            self._work_on_events(self._event_records[:n], room)
            total += n
        return total

    def _work_on_events(self, events: Records, room: int) -> None:
        self._counters.add(COUNTER["events"], len(events))
        n = len(events)
        self._with_hosts(lambda host: host.events(events, n), room)

    def _take_ticks(self, n: int, room: int, drained_ns: int) -> None:
        """Kernels, strategies, counters. A read of 30 ticks leaves 200 ns for each: every call counts."""
        batch, counters, kernels = self._batch, self._counters, self._kernels
        if self._twins is not None and (kept := self._twins.take(batch.ticks, n)) != n:
            counters.add(C_PASSED_OVER, n - kept)
            if not (n := kept):
                return
        bars = kernels.run(batch.ticks, n, batch.rows, batch.bars)
        if self._hosts:
            self._with_hosts(lambda host: host.run(n), room)
        done_ns = self._clock()
        counters.add(C_COMPUTED, n)
        counters.add(C_BATCHES)
        counters.set(C_CHECKSUM, kernels.checksum)
        late = kernels.late
        if late != self._checked_late:
            self._checked_late = late
            counters.set(COUNTER["late"], late)
        if bars:
            counters.add(COUNTER["bars"], bars)
            if self._bars_sink is not None:
                self._bars_sink(batch.bars[:bars])
        counters.record_reads(H_DRAINED, batch.ticks, n, drained_ns)
        counters.record_reads(H_COMPUTED, batch.ticks, n, done_ns)
        if self._send_stamp:
            counters.record_stamps(H_SEND_COMPUTED, batch.ticks, n, done_ns)

    def _bars_by_time(self, n: int) -> int:
        if n:
            self._counters.add(COUNTER["bars"], n)
            self._with_hosts(lambda host: host.bars_closed(n), self._intents.free() if self._hosts else 0)
            if self._bars_sink is not None:
                self._bars_sink(self._batch.bars[:n])
        return n

    def _with_hosts(self, action: Callable[[Host], object], room: int) -> None:
        """Let every strategy act, then hand on what they want, in tick order.

        room: how many intents go into the queue at most.
        """
        if not self._hosts:
            return
        speaking = []
        for host in self._hosts.copy():  # a host that raises leaves
            outbox = host.outbox
            outbox.begin(room)
            try:
                action(host)
            except Exception as error:  # whatever a user's code may raise
                self._halt(host, error)
            if outbox.n or outbox.refused:
                room -= outbox.n
                speaking.append(host)
        if speaking:
            self._push(speaking)

    def _guarded(self, host: Host, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # whatever a user's code may raise
            self._halt(host, error)

    def _halt(self, host: Host, error: Exception) -> None:
        """Nothing that the failing call asked for goes out: it may be half a decision."""
        host.outbox.begin(0)
        self._hosts.remove(host)
        self._counters.add(COUNTER["strategies_halted"])
        self.halted[host.name] = f"{type(error).__name__}: {error}"
        if self._on_halt is not None:
            self._on_halt(host.name, error)

    def _push(self, hosts: list[Host]) -> None:
        """The intents of all strategies in tick order, stamped, counted, queued."""
        counters, box = self._counters, hosts[0].outbox
        refused = sum(host.outbox.refused for host in hosts)
        records, where, n = box.records, box.tick_index, box.n
        if len(hosts) > 1:
            where = np.concatenate([host.outbox.tick_index[: host.outbox.n] for host in hosts])
            order = np.argsort(where, kind="stable")
            records = np.concatenate([host.outbox.records[: host.outbox.n] for host in hosts])[order]
            where, n = where[order], len(order)
        # Of what is made again: from when it should have been made. What is too old is refused.
        now_ns = self._clock()
        since_ns = now_ns if self._again is None else self._again.now_ns
        placed = stamp(records, n, now_ns, self._intent_deadline_ns, since_ns)
        counters.add(COUNTER["signals"], placed + refused)
        if refused:
            counters.add(COUNTER["intents_refused_full"], refused)
        counters.add(COUNTER["intents"], n)
        if self._again is not None:
            records = self._again.not_queued(records[:n])
            n = len(records)
        if n == 0:
            return
        if self._intents.push(records, n) != n:
            refuse(n)
        at_send = H_SEND_INTENT if self._send_stamp else -1
        counters.record_intents(H_INTENT, at_send, records, where, n, self._batch.ticks, now_ns)
