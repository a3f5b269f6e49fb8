"""Layer 5, compute process, cold: a worker goes on where the one before it died.

It takes the newest snapshot, gives itself the logged inputs since then once more (the ticks are
still in their rings, the order events still in their queue's memory), and has the state of its
earlier life, to the bit. Intents that stand in the queue already are not queued again; counters
are brought to where they belong and count nothing twice; the bars file is cut to the snapshot and
written on. Where something is gone (a ring was lapped, an event overwritten) that is said, counted
as lost, and ORDERS repeats its book (EventKind.SNAPSHOT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft.layout import INPUT, INTENT, ORDER_EVENT, TICK, InputKind, SegmentKind
from kite_hft.memory.follow import FollowingReader
from kite_hft.memory.header import SegmentError
from kite_hft.memory.leftovers import Records, last_of_each, read_back
from kite_hft.memory.segment import Segment
from kite_hft.memory.snapshots import read_newest
from kite_hft.stages.compute import Compute
from kite_hft.stages.compute_ports import Again
from kite_hft.strategies.hosts import Slots

INPUTS_PER_READ: Final = 4096


def snapshot_name(worker: int) -> str:
    return f"snapshot-{worker}"


@dataclass(slots=True)
class Earlier:
    """What the process before this one left behind.

    state: its newest snapshot, None: there is none that fits. inputs: what it took in since.
    positions: connection -> number of the tick wanted next. doubts: why going on is not exact.
    """

    state: dict[str, Any] | None
    inputs: Records
    positions: dict[int, int]
    events: int  # number of the order event wanted next
    doubts: list[str] = field(default_factory=list)

    @property
    def bars_length(self) -> int | None:
        """Bytes of the bars file that the snapshot vouches for."""
        return None if self.state is None else int(self.state["bars"])


def look_back(directory: Path, worker: int, slots: Slots) -> Earlier:
    """Gather what is there; nothing is changed.

    directory: the run's folder of shared memory. slots: the worker's, as its snapshots have them.

    Raises:
        SegmentError: there is no input log.
    """
    doubts: list[str] = []
    found = read_newest(directory, snapshot_name(worker))
    state = found[1] if found else None
    if state is None:
        doubts.append("no snapshot")
    elif not np.array_equal(np.frombuffer(state["slots"], np.uint32), slots):
        doubts.append("a snapshot of other instruments")
        state = None
    first = int(state["inputs"]) if state else 0
    log = FollowingReader(directory, f"inputs-{worker}", SegmentKind.INPUT_RING, start=first)
    oldest = log.generation
    parts, buffer = [np.zeros(0, INPUT)], np.zeros(INPUTS_PER_READ, INPUT)
    while n := log.drain(buffer):
        parts.append(buffer[:n].copy())
    inputs, lost, deaths = np.concatenate(parts), log.lost, log.generation - oldest
    log.close()
    # A record that a writer died in was never worked on: its number is no loss.
    if lost > deaths:
        doubts.append(f"{lost} entries of the input log are gone")
    positions = {int(source): int(at) for source, at in (state["rings"] if state else {}).items()}
    events = int(state["events"]) if state else 0
    for entry in inputs:
        end = int(entry["first_seq"]) + int(entry["n"])
        if entry["kind"] == InputKind.DRAIN:
            positions[int(entry["source"])] = end
        else:
            events = end
    return Earlier(state, inputs, positions, events, doubts)


@dataclass(slots=True)
class Recovery:
    """Brings a fresh, started compute stage to where the earlier one was.

    events, intents: the worker's queues. counters: its values as they stand. say: the log.
    """

    directory: Path
    earlier: Earlier
    compute: Compute
    slots: Slots
    events: Segment
    intents: Segment
    counters: Mapping[str, int]
    say: Callable[[str], None]
    lost: int = 0
    _readers: dict[int, FollowingReader] = field(default_factory=dict)

    def run(self, batch: int) -> None:
        """Restore and replay. batch: the most ticks that one drain can have taken."""
        earlier = self.earlier
        queued = last_of_each(self.intents, INTENT, "strategy", "strategy_seq")
        state = earlier.state
        absent = self._restore(state) if state is not None else []
        counters = dict(state["counters"]) if state is not None else dict(self.counters)
        for number, host in (state["hosts"] if state is not None else {}).items():
            queued[int(number)] = max(queued.get(int(number), 0), int(host["next_seq"]) - 1)
        if self.earlier.state is None:
            self.compute.count_on(self.counters)
            counters = dict(self.counters)
        counters["strategies_halted"] = len(self.compute.halted)
        again = Again(queued, counters)
        with self.compute.replaying(again, absent):
            if self.earlier.state is not None:
                self._replay(again, np.zeros(batch, TICK))
        for reader in self._readers.values():
            reader.close()
        self._tell(again)

    def _restore(self, state: dict[str, Any]) -> Sequence[Any]:
        try:
            absent = self.compute.restore(state, self.slots)
        except (KeyError, ValueError) as error:
            self.earlier.doubts.append(f"the snapshot does not fit: {error}")
            self.earlier.state = None
            return []
        for host in absent:
            self.say(
                f"strategy {host.name} keeps no state of its own: it starts afresh, with its positions and "
                "with its working orders as the order process repeats them"
            )
        return absent

    def _replay(self, again: Again, ticks: Records) -> None:
        for entry in self.earlier.inputs:
            first_seq, n = int(entry["first_seq"]), int(entry["n"])
            room, now_ns = int(entry["room"]), int(entry["now_ns"])
            if entry["kind"] == InputKind.DRAIN:
                again.counters["lost"] += int(entry["lost"])
                got = self._ticks(int(entry["source"]), first_seq, ticks[:n])
                if got == n:
                    self.compute.again_ticks(ticks[:n], room, now_ns)
                else:
                    again.counters["lost"] += n
                    self.lost += n
                continue
            events = read_back(self.events, ORDER_EVENT, first_seq, n)
            if events is None:
                self.earlier.doubts.append(f"{n} order events are gone")
            else:
                self.compute.again_events(events, room, now_ns)

    def _ticks(self, source: int, first_seq: int, out: Records) -> int:
        """Ticks [first_seq, first_seq + len(out)) of a connection; how many could be read."""
        reader = self._readers.get(source)
        try:
            if reader is None or reader.position != first_seq:
                if reader is not None:
                    reader.close()
                reader = FollowingReader(
                    self.directory, f"ticks-{source}", SegmentKind.TICK_RING, start=first_seq
                )
                self._readers[source] = reader
            n = reader.drain(out)
        except (SegmentError, ValueError):  # its generation is gone
            self._readers.pop(source, None)
            return 0
        return n if reader.first_seq == first_seq else 0

    def late_events(self, taken: int, now_ns: int) -> None:
        """Order events that were taken from the queue and worked on by nobody; `taken`: its index."""
        missing = taken - self.earlier.events
        if missing <= 0 or self.earlier.state is None:
            return
        events = read_back(self.events, ORDER_EVENT, self.earlier.events, missing)
        if events is None:
            self.say(f"{missing} order events are gone; the order process repeats its book")
        else:
            self.compute.late_events(events, now_ns)

    def _tell(self, again: Again) -> None:
        doubts = list(dict.fromkeys(self.earlier.doubts))
        if self.lost:
            doubts.append(f"{self.lost} ticks are no longer in their ring")
        done = (
            f"{again.ticks} ticks and {again.events} order events replayed, "
            f"{again.suppressed} intents suppressed"
        )
        if doubts:
            self.say(f"started again, not exactly where it stopped: {', '.join(doubts)}; {done}")
        else:
            self.say(f"started again where it stopped: {done}")
