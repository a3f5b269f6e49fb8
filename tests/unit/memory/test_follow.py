"""One reader over the generations of a ring: nothing twice, nothing missing without being counted."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import segments
from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft import _ring
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory import segment
from kite_hft.memory.follow import FollowingReader, generation_of
from kite_hft.memory.generations import next_generation, point

KIND = SegmentKind.TICK_RING
NAME = "ticks-0"


class Feed:
    """A writer that dies and comes back."""

    def __init__(self, folder: Path, capacity: int = 64) -> None:
        self.path = segments.make(folder, KIND, capacity, name=NAME)
        self.home = self.path.parent
        point(self.path)
        self._attach()

    def _attach(self) -> None:
        self.held = segment.attach(self.path, KIND, writable=True)
        self.writer = _ring.RingWriter(self.held.view)

    def publish(self, n: int) -> None:
        self.writer.publish(segments.ticks(self.writer.next_seq, n))

    def die(self, announced: int = 0) -> None:
        """`announced`: records of a batch that it died in."""
        if announced:
            segments.set_control(self.held, intent=self.writer.next_seq + announced)
        del self.writer
        gc.collect()
        self.held.close()

    def come_back(self) -> None:
        self.path = next_generation(self.path, KIND, **segments.now())
        self._attach()


def take(reader: FollowingReader, n: int = 1000) -> list[int]:
    """Numbers of all that is there; each record must carry the number that it is given."""
    out, found = np.zeros(n, TICK), []
    while got := reader.drain(out):
        assert out["seq"][:got].tolist() == list(range(reader.first_seq, reader.first_seq + got))
        assert out["slot"][:got].tolist() == out["seq"][:got].tolist()
        found += out["seq"][:got].tolist()
    return found


def test_goes_on_in_the_next_generation(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    reader = FollowingReader(feed.home, NAME, KIND, parks=True)
    feed.publish(5)
    assert take(reader, 2) == [0, 1, 2, 3, 4] and reader.lag() == 0
    feed.publish(3)
    first = reader.view
    feed.die()
    assert take(reader) == [5, 6, 7] and take(reader) == [], "dead, and nobody has decided yet"
    assert reader.generation == 1
    feed.come_back()
    assert take(reader) == [] and reader.generation == 2 and reader.view is not first
    feed.publish(4)
    assert take(reader) == [8, 9, 10, 11] and reader.lost == 0 and reader.capacity == 64
    reader.close()
    reader.close()


def test_a_batch_that_was_never_finished_is_lost_and_counted(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    reader = FollowingReader(feed.home, NAME, KIND)
    feed.publish(5)
    feed.die(announced=7)
    assert take(reader) == [0, 1, 2, 3, 4]
    feed.come_back()
    feed.publish(1)
    out = np.zeros(10, TICK)
    assert reader.drain(out) == 1 and reader.first_seq == 12
    assert (reader.lost, reader.lost_last, reader.position) == (7, 7, 13)
    assert reader.drain(out) == 0 and reader.lost_last == 0
    reader.close()


def test_generations_that_are_gone_are_lost(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    reader = FollowingReader(feed.home, NAME, KIND)
    for n in (3, 4, 5):
        feed.publish(n)
        feed.die()
        feed.come_back()
    feed.publish(2)
    segment.unlink(feed.home / segment.file_name(NAME, 2))
    assert take(reader) == [0, 1, 2, 7, 8, 9, 10, 11, 12, 13] and reader.lost == 4
    reader.close()


@pytest.mark.parametrize(
    ("start", "first", "generation", "lost"),
    [("oldest", 8, 3, 0), ("newest", 10, 3, 0), (1, 1, 1, 0), (3, 3, 2, 0), (6, 6, 2, 0), (8, 8, 3, 0)],
)
def test_starts_anywhere(tmp_path: Path, start: str | int, first: int, generation: int, lost: int) -> None:
    feed = Feed(tmp_path)
    for n in (3, 5):
        feed.publish(n)
        feed.die()
        feed.come_back()
    feed.publish(2)
    reader = FollowingReader(feed.home, NAME, KIND, start=start)
    assert (reader.position, reader.generation, reader.lost) == (first, generation, lost)
    assert take(reader) == list(range(first, 10))
    reader.close()


def test_a_start_in_a_generation_that_is_gone_counts_what_is_lost(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.publish(5)
    old = feed.path
    feed.die(announced=2)
    feed.come_back()
    feed.publish(1)
    segment.unlink(old)
    reader = FollowingReader(feed.home, NAME, KIND, start=3)
    assert take(reader) == [7] and reader.lost == 4
    reader.close()
    assert generation_of(feed.path) == 2


@given(st.lists(st.tuples(st.sampled_from(["publish", "die", "drain"]), st.integers(1, 40)), max_size=25))
@settings(max_examples=12, deadline=None)
def test_got_and_lost_is_all_there_was(tmp_path_factory: pytest.TempPathFactory, acts) -> None:  # type: ignore[no-untyped-def]
    feed = Feed(tmp_path_factory.mktemp("follow"), capacity=32)
    reader = FollowingReader(feed.home, NAME, KIND)
    found: list[int] = []
    for act, n in acts:
        if act == "publish":
            feed.publish(n)
        elif act == "die":
            feed.die(announced=n % 9)
            found += take(reader)
            feed.come_back()
        else:
            found += take(reader, n)
    found += take(reader)
    assert found == sorted(set(found)), "in order, none twice"
    assert len(found) + reader.lost == reader.position == feed.writer.next_seq
    reader.close()
    feed.die()
