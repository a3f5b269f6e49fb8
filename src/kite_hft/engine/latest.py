"""Layer 5, orders process, hot: the latest ticks and their freshness, over the connections of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from kite_hft import _table
from kite_hft.engine.segments import Segments
from kite_hft.layout import SLOT_STATS, SegmentKind
from kite_hft.memory.header import PAYLOAD_OFFSET


class LatestOfAll:
    """The latest tick of any slot, from the table of the connection that carries it (ports.Latest)."""

    def __init__(self, connections: list[dict[str, Any]], n_slots: int, segments: Segments) -> None:
        self._of_slot: list[_table.TableReader | None] = [None] * n_slots
        self.last_px, self.look = self._last_px, self._look
        for connection in connections:
            segment = segments.read(f"latest-{connection['number']}", SegmentKind.LATEST_TABLE)
            reader = _table.TableReader(segment.view)
            for slot in connection["slots"]:
                self._of_slot[slot] = reader

        readers = {reader for reader in self._of_slot if reader is not None}
        if len(readers) == 1:  # nothing to choose: its answers need no step between
            only = readers.pop()
            self.last_px, self.look = only.last_px, only.look

    def reader_of(self, slot: int) -> _table.TableReader | None:
        """The table that a slot stands in."""
        return self._of_slot[slot] if slot < len(self._of_slot) else None

    def _last_px(self, slot: int) -> int:
        reader = self._of_slot[slot] if slot < len(self._of_slot) else None
        return reader.last_px(slot) if reader else 0

    def _look(self, slot: int) -> tuple[int, int, int] | None:
        reader = self._of_slot[slot] if slot < len(self._of_slot) else None
        return reader.look(slot) if reader else None


class FreshOfAll:
    """Whether a tick of a slot has come since its connection was made, as its feed process says."""

    def __init__(
        self, connections: list[dict[str, Any]], n_slots: int, segments: Segments, paths: dict[str, str]
    ) -> None:
        self.of_slot: list[Any] = [None] * n_slots  # the array that a slot's byte stands in
        for connection in connections:
            name = f"slots-{connection['number']}"
            if name not in paths:
                continue
            view = segments.read(name, SegmentKind.SLOT_STATS).view
            rows = np.frombuffer(view, SLOT_STATS, count=n_slots, offset=PAYLOAD_OFFSET)
            for slot in connection["slots"]:
                self.of_slot[slot] = rows["fresh"]

    def __call__(self, slot: int) -> bool:
        fresh = self.of_slot[slot]
        return fresh is None or bool(fresh[slot])
