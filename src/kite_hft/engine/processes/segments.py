"""Layer 5, child processes, cold: the shared memory of a child, attached by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kite_hft.layout import SegmentKind
from kite_hft.memory.segment import Segment, attach


class Segments:
    """Attaches segments of the run as they are asked for, and lets go of all of them at the end."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._open: list[Segment] = []

    def own(self, name: str, kind: SegmentKind) -> Segment:
        """As the one writer (of a queue: the producer)."""
        return self._attach(name, kind, writable=True, claim=True)

    def share(self, name: str, kind: SegmentKind) -> Segment:
        """Writable without being its writer: consumers, and readers that park."""
        return self._attach(name, kind, writable=True, claim=False)

    def read(self, name: str, kind: SegmentKind) -> Segment:
        """Read-only."""
        return self._attach(name, kind, writable=False, claim=False)

    def _attach(self, name: str, kind: SegmentKind, *, writable: bool, claim: bool) -> Segment:
        segment = attach(Path(self._paths[name]), kind, writable=writable, claim=claim)
        self._open.append(segment)
        return segment

    def heartbeat(self, now_ns: int) -> None:
        """Sign of life in every segment that this process writes."""
        for segment in self._open:
            if segment.claimed:
                segment.heartbeat(now_ns)

    def close(self) -> None:
        while self._open:
            self._open.pop().close()
