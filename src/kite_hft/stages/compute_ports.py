"""Layer 3, compute process, cold: what the compute stage is handed, and what it knows of an earlier life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft.layout import COUNTERS


class QueueContractError(RuntimeError):
    """The intent queue took fewer records than it had said it would: it has a second producer."""


def refuse(n: int) -> None:
    raise QueueContractError(f"{n} intents did not go into a queue with room for them")


class TickReader(Protocol):
    """A RingReader, or a FollowingReader (which has a `generation`)."""

    @property
    def lost(self) -> int: ...

    @property
    def lost_last(self) -> int: ...

    @property
    def first_seq(self) -> int: ...

    def drain(self, out: Any) -> int: ...


class IntentProducer(Protocol):
    """A QueueProducer of INTENT."""

    def push(self, records: Any, n: int = ...) -> int: ...

    def free(self) -> int: ...


class EventConsumer(Protocol):
    """A QueueConsumer of ORDER_EVENT."""

    @property
    def next_seq(self) -> int: ...

    def drain(self, out: Any) -> int: ...


class InputSink(Protocol):
    """An InputLog."""

    def drained(
        self, source: int, generation: int, first_seq: int, n: int, lost: int, now_ns: int, room: int
    ) -> None: ...

    def events(self, source: int, first_seq: int, n: int, now_ns: int, room: int) -> None: ...


class CounterSink(Protocol):
    """A CounterWriter of the compute counters."""

    def add(self, index: int, n: int = ...) -> None: ...

    def set(self, index: int, value: int) -> None: ...

    def record_reads(self, histogram: int, ticks: Any, n: int, now_ns: int) -> None: ...

    def record_stamps(self, histogram: int, ticks: Any, n: int, now_ns: int) -> None: ...

    def record_intents(
        self, histogram: int, stamp_histogram: int, intents: Any, where: Any, n: int, ticks: Any, now_ns: int
    ) -> None: ...


@dataclass(slots=True)
class Again:
    """What a worker knows of its earlier life while it replays its inputs.

    queued: strategy -> number of its last intent that stands, or stood, in the queue. counters: by
    name, as the snapshot had them; they go on from there and are written when the replay is over.
    """

    queued: Mapping[int, int]
    counters: dict[str, int]
    now_ns: int = 0  # when the input at hand was first taken in
    suppressed: int = 0
    ticks: int = 0
    events: int = 0
    _names: tuple[str, ...] = field(default=COUNTERS["compute"], init=False)

    def not_queued(self, records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Those intents that the earlier life of this worker did not queue."""
        numbers, strategies = records["strategy_seq"].tolist(), records["strategy"].tolist()
        fresh = [n > self.queued.get(s, 0) for n, s in zip(numbers, strategies, strict=True)]
        self.suppressed += len(records) - sum(fresh)
        return records[np.array(fresh, np.bool_)]

    def add(self, index: int, n: int = 1) -> None:
        self.counters[self._names[index]] += n

    def set(self, index: int, value: int) -> None:
        self.counters[self._names[index]] = value

    def record_reads(self, histogram: int, ticks: Any, n: int, now_ns: int) -> None:
        """Latencies were counted the first time."""

    record_stamps = record_reads

    def record_intents(
        self, histogram: int, stamp_histogram: int, intents: Any, where: Any, n: int, ticks: Any, now_ns: int
    ) -> None:
        """Those of intents too; what is queued only now waited for the restart and tells nothing."""
