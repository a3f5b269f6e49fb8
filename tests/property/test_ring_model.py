"""Any sequence of publishes, drains, laps and restarts: the ring answers as its slow twin does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import segments
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from reference import ring_model

from kite_hft import _ring, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import generations, segment

KIND = SegmentKind.TICK_RING


class RingAgainstTwin(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.parent = Path(tempfile.mkdtemp(prefix="khft-test-"))
        self.pairs: list[tuple[Any, ring_model.Reader]] = []
        self.held: list[segment.Segment] = []

    @initialize(bits=st.integers(1, 6))
    def start(self, bits: int) -> None:
        self.twin = ring_model.Ring(1 << bits)
        self.path = segments.make(self.parent, KIND, 1 << bits)
        self.open_writer()

    def open_writer(self) -> None:
        self.writing = segment.attach(self.path, KIND, writable=True)
        self.held.append(self.writing)
        self.writer = _ring.RingWriter(self.writing.view)

    def open_reader(self, start: str | int) -> Any:
        reading = segment.attach(self.path, KIND, writable=False)
        self.held.append(reading)
        return _ring.RingReader(reading.view, start)

    @rule(n=st.integers(0, 200))
    def publish(self, n: int) -> None:
        first = len(self.twin.records)
        assert self.writer.publish(segments.ticks(first, n)) == first
        self.twin.publish(list(range(first, first + n)))

    @rule(newest=st.booleans())
    def join(self, newest: bool) -> None:
        if len(self.pairs) < 4:
            reader = self.open_reader("newest" if newest else "oldest")
            position = len(self.twin.records) if newest else self.twin.oldest
            self.pairs.append((reader, ring_model.Reader(self.twin, position)))

    def drain_one(self, pair: tuple[Any, ring_model.Reader], room: int) -> int:
        reader, twin = pair
        out = np.zeros(room, layout.TICK)
        got = reader.drain(out)
        assert [int(slot) for slot in out["slot"][:got]] == twin.drain(room)
        assert out["seq"][:got].tolist() == list(range(reader.first_seq, reader.first_seq + got))
        assert (reader.position, reader.lost, reader.lost_last) == (twin.position, twin.lost, twin.lost_last)
        return got

    @rule(which=st.integers(0, 3), room=st.integers(0, 150))
    def drain(self, which: int, room: int) -> None:
        if which < len(self.pairs):
            self.drain_one(self.pairs[which], room)

    @rule(unfinished=st.integers(0, 5))
    def restart(self, unfinished: int) -> None:
        """The writer dies, maybe inside a batch; readers finish the old file, then take the new one."""
        unfinished = min(unfinished, self.twin.capacity // 2)
        for pair in self.pairs:
            while self.drain_one(pair, 40):
                pass
        segments.set_control(self.writing, intent=self.writer.next_seq + unfinished)
        self.writing.close()
        self.path = generations.next_generation(self.path, KIND, **segments.now())
        self.twin.restart(unfinished)
        self.open_writer()
        for index, (reader, twin) in enumerate(self.pairs):
            assert reader.finished()
            fresh = self.open_reader(reader.position)
            assert fresh.lost == unfinished
            behind = ring_model.Reader(self.twin, twin.position + unfinished)
            behind.lost = unfinished
            self.pairs[index] = (fresh, behind)

    @invariant()
    def numbers_agree(self) -> None:
        if self.held:
            assert self.writer.next_seq == len(self.twin.records)
            for reader, twin in self.pairs:
                assert reader.lag() == len(self.twin.records) - twin.position

    def teardown(self) -> None:
        for held in self.held:
            held.close()
        shutil.rmtree(self.parent)


TestRingAgainstTwin = RingAgainstTwin.TestCase
TestRingAgainstTwin.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
