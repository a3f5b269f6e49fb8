"""Layer 1, workers and recorder, hot: one reader over all generations of a ring.

A ring whose writer died is closed by the supervisor and followed by the next generation
(memory/generations.py). `FollowingReader` has the face of a RingReader: it drains the old file to
its end, then goes on in the next one; numbers in between that nobody finished are counted as lost.
Until the supervisor has decided, `drain` returns 0, like for a quiet ring; it never waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kite_hft import _ring
from kite_hft.layout import SegmentKind
from kite_hft.memory.generations import current
from kite_hft.memory.header import Missing
from kite_hft.memory.segment import Segment, attach, file_name


def generation_of(path: Path) -> int:
    """The generation in the name of a segment file."""
    return int(path.name.partition(".g")[2].removesuffix(".seg"))


class FollowingReader:
    """Drains the ring `name` in `directory`, generation after generation.

    start: "oldest" or "newest" of the newest generation, or the number of the record wanted next,
    in whichever generation it lies (what is gone by then is counted as lost). parks: whether a
    Waiter will sleep on it: it needs a writable mapping then.

    Raises:
        SegmentError: the ring cannot be attached.
        ValueError: `start` lies beyond what was published.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        kind: SegmentKind,
        *,
        start: str | int = "oldest",
        parks: bool = False,
    ) -> None:
        self._directory, self._name, self._kind, self._parks = directory, name, kind, parks
        self._lost_before = 0
        self._gap = 0  # lost between two generations, told by the next drain
        self._segment: Segment | None = None
        newest = generation_of(current(directory, name))
        if isinstance(start, int):
            self._attach_at(start, newest)
        else:
            self._take(self._file(newest), start)

    # The face of a RingReader

    def drain(self, out: Any) -> int:
        """Copy what is new into `out`, oldest first; how many. See RingReader.drain.

        Records of two generations never come in one call.
        """
        self._gap = 0
        n = self._reader.drain(out)
        if n or not self._reader.finished():
            return n
        lost = self._reader.lost_last  # the end of the old generation may have been lost as well
        if not self._follow():
            return 0
        n = self._reader.drain(out)
        self._gap += lost
        return n

    @property
    def position(self) -> int:
        """Number of the record wanted next."""
        return self._reader.position

    @property
    def first_seq(self) -> int:
        """Number of the first record of the last drain."""
        return self._reader.first_seq

    @property
    def lost(self) -> int:
        """Records lost since this reader started: overwritten, or announced by a writer that died."""
        return self._lost_before + self._reader.lost

    @property
    def lost_last(self) -> int:
        """Records lost by the last drain."""
        return self._gap + self._reader.lost_last

    @property
    def capacity(self) -> int:
        return self._reader.capacity

    def head(self) -> int:
        """Number after the last record of the generation at hand."""
        return self._reader.head()

    def lag(self) -> int:
        """How many published records of the generation at hand this reader has not seen."""
        return self._reader.lag()

    # What is its own

    @property
    def reader(self) -> _ring.RingReader:
        """Of the generation at hand; another one once `generation` has changed."""
        return self._reader

    @property
    def view(self) -> memoryview:
        """The segment at hand, for a Waiter; another one once `generation` has changed."""
        assert self._segment is not None
        return self._segment.view

    def close(self) -> None:
        """Let go of the segment; harmless when repeated."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            del self._reader
            segment.close()

    def _file(self, generation: int) -> Path:
        return self._directory / file_name(self._name, generation)

    def _take(self, path: Path, start: str | int) -> None:
        """Attach a generation and read it from `start`."""
        segment = attach(path, self._kind, writable=self._parks, claim=False)
        try:
            reader = _ring.RingReader(segment.view, start)
        except BaseException:
            segment.close()
            raise
        old, self._segment = self._segment, segment
        self._reader = reader  # the old reader lets go of the old mapping before it is closed
        self.generation = int(segment.header["generation"])
        if old is not None:
            old.close()

    def _follow(self) -> bool:
        """Go on in the next generation that is still there; False: there is none yet."""
        newest = generation_of(current(self._directory, self._name))
        for generation in range(self.generation + 1, newest + 1):
            position, lost = self._reader.position, self.lost
            with contextlib.suppress(Missing):  # removed meanwhile: its records are lost
                self._take(self._file(generation), position)
                self._lost_before = lost
                self._gap = self._reader.lost
                return True
        return False

    def _attach_at(self, position: int, newest: int) -> None:
        """The oldest generation that still holds `position`, or what comes after it."""
        for generation, first_seq, final_seq in self._kept(newest):
            if position < final_seq or generation == newest:
                self._take(self._file(generation), max(position, first_seq))
                self._lost_before = max(0, first_seq - position)
                return
        raise Missing(f"{self._directory}: no generation of {self._name} is left; is the engine running?")

    def _kept(self, newest: int) -> Iterator[tuple[int, int, int]]:
        """(generation, first number, number after the last) of the files that are still there."""
        for generation in range(1, newest + 1):
            with contextlib.suppress(Missing):
                path = self._file(generation)
                with attach(path, self._kind, writable=False, claim=False) as segment:
                    yield generation, int(segment.header["first_seq"]), int(segment.control()["head"])
