"""Layer 5, orders process, hot: the latest ticks and their freshness, over the connections of a run.

Two brokers' feeds may carry the same instruments: the fresher tick counts, and the two are held against
each other (trading/gate/diverging.py). What a connection brings late, by the exchange's stamps, counts as
received when it should have been: so it is old for the gate, and the other feed's tick is the fresher one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft import _table
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import SLOT_STATS, SegmentKind
from kite_hft.memory.header import PAYLOAD_OFFSET
from kite_hft.trading.gate.diverging import DivergenceLimits, FeedPair
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.units import NS_PER_S

LATE_NS: Final = 2 * NS_PER_S
"""No connection is late by less: one second is the stamps' resolution, the rest for clocks that differ and
for the way."""


class LatestOfAll:
    """The latest tick of any slot, from the tables of the connections that carry it (ports.Latest).

    ahead_ns: what to add to CLOCK_MONOTONIC for the clock of the exchange's stamps; None: nobody is late.
    second: slot -> (broker, table) of its other connection, where two carry it.
    """

    def __init__(
        self,
        connections: Sequence[Mapping[str, Any]],
        n_slots: int,
        segments: Segments,
        ahead_ns: int | None = None,
    ) -> None:
        self._of_slot: list[_table.TableReader | None] = [None] * n_slots
        self._broker_of: list[str] = [""] * n_slots
        self.second: dict[int, tuple[str, _table.TableReader]] = {}
        self.last_px, self.look = self._last_px, self._look
        for connection in connections:
            segment = segments.read(f"latest-{connection['number']}", SegmentKind.LATEST_TABLE)
            reader, broker = _table.TableReader(segment.view), connection.get("broker", "")
            if ahead_ns is not None:
                reader.judge_stamps(ahead_ns, LATE_NS)
            for slot in connection["slots"]:
                if self._of_slot[slot] is None:
                    self._of_slot[slot], self._broker_of[slot] = reader, broker
                else:
                    self.second[slot] = broker, reader

        readers = {reader for reader in self._of_slot if reader is not None}
        if len(readers) == 1 and not self.second:  # nothing to choose: its answers need no step between
            only = readers.pop()
            self.last_px, self.look = only.last_px, only.look
        elif self.second:
            self.last_px, self.look = self._fresher_px, self._fresher

    def reader_of(self, slot: int) -> _table.TableReader | None:
        """The table that a slot stands in; of two the first."""
        return self._of_slot[slot] if slot < len(self._of_slot) else None

    def pair(self, instruments: InstrumentTable, limits: DivergenceLimits) -> FeedPair | None:
        """The two feeds of what both carry, to be held against each other; None: there is one feed."""
        if not self.second:
            return None
        slots = sorted(self.second)
        first = {slot: (self._broker_of[slot], reader) for slot in slots if (reader := self._of_slot[slot])}
        return FeedPair([instruments[slot] for slot in slots], Told(first), Told(self.second), limits)

    def _last_px(self, slot: int) -> int:
        reader = self._of_slot[slot] if slot < len(self._of_slot) else None
        return reader.last_px(slot) if reader else 0

    def _look(self, slot: int) -> tuple[int, int, int] | None:
        reader = self._of_slot[slot] if slot < len(self._of_slot) else None
        return reader.look(slot) if reader else None

    def _fresher(self, slot: int) -> tuple[int, int, int] | None:
        """Of two feeds what was received last, or should have been."""
        found = self._look(slot)
        if (second := self.second.get(slot)) is None:
            return found
        other = second[1].look(slot)
        if found is None or other is None:
            return found or other
        return other if other[2] > found[2] else found

    def _fresher_px(self, slot: int) -> int:
        found = self._fresher(slot)
        return found[0] if found else 0


class Told:
    """What one broker's feed has told of some instruments (diverging.Prices).

    readers: slot -> (broker, table), in the order of the instruments.
    """

    def __init__(self, readers: Mapping[int, tuple[str, _table.TableReader]]) -> None:
        places = sorted(readers)
        self.name = " and ".join(sorted({broker for broker, _reader in readers.values()}))
        self._parts = []
        for table in dict.fromkeys(reader for _broker, reader in readers.values()):
            at = [i for i, slot in enumerate(places) if readers[slot][1] is table]
            slots = np.array([places[i] for i in at], np.uint32)
            room = np.zeros(len(at), np.int32), np.zeros(len(at), np.int64)
            self._parts.append((table, np.array(at), slots, *room))

    def read(self, px: npt.NDArray[np.int32], recv_ns: npt.NDArray[np.int64]) -> None:
        for table, at, slots, told_px, told_ns in self._parts:
            table.heads(slots, told_px, told_ns)
            px[at], recv_ns[at] = told_px, told_ns


class FreshOfAll:
    """Whether a tick of a slot has come since its connection was made, as its feed process says.

    of_slot: the array that each slot's byte stands in; None where two connections carry a slot: either
    will do, and there is no one byte.
    """

    def __init__(
        self,
        connections: Iterable[Mapping[str, Any]],
        n_slots: int,
        segments: Segments,
        paths: Mapping[str, str],
    ) -> None:
        of_slot: list[Any] = [None] * n_slots
        self._second: dict[int, Any] = {}
        for connection in connections:
            name = f"slots-{connection['number']}"
            if name not in paths:
                continue
            view = segments.read(name, SegmentKind.SLOT_STATS).view
            rows = np.frombuffer(view, SLOT_STATS, count=n_slots, offset=PAYLOAD_OFFSET)
            for slot in connection["slots"]:
                if of_slot[slot] is None:
                    of_slot[slot] = rows["fresh"]
                else:
                    self._second[slot] = rows["fresh"]
        self._first = of_slot
        self.of_slot: list[Any] | None = None if self._second else of_slot

    def __call__(self, slot: int) -> bool:
        fresh, second = self._first[slot], self._second.get(slot)
        return fresh is None or bool(fresh[slot]) or (second is not None and bool(second[slot]))
