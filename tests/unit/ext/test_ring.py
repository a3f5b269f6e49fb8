"""The overwriting ring in one process."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import segments

from kite_hft import _ring, layout
from kite_hft.layout import SegmentKind, SegmentState
from kite_hft.memory import segment

KIND = SegmentKind.TICK_RING
CAPACITY = 64


@pytest.fixture
def held(tmp_path: Path) -> Iterator[segment.Segment]:
    with segment.attach(segments.make(tmp_path, KIND, CAPACITY, first_seq=7), KIND, writable=True) as ring:
        yield ring


def test_records_come_back_in_order_with_their_numbers(held: segment.Segment) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    records = segments.ticks(7, 10)
    before = records.copy()
    assert writer.publish(records) == 7
    assert np.array_equal(records, before), "the caller's array is left alone"
    out = np.zeros(6, layout.TICK)
    assert [reader.drain(out), reader.first_seq] == [6, 7]
    assert out["seq"].tolist() == out["slot"].tolist() == list(range(7, 13))
    assert [reader.drain(out), reader.first_seq, reader.lag()] == [4, 13, 0]
    assert [reader.drain(out), reader.lost, reader.position] == [0, 0, 17]


def test_all_of_a_record_comes_back(held: segment.Segment) -> None:
    record = np.frombuffer(np.random.default_rng(1).bytes(192 * 3), layout.TICK)
    reader, out = _ring.RingReader(held.view), np.zeros(3, layout.TICK)
    _ring.RingWriter(held.view).publish(record)
    assert reader.drain(out) == 3
    assert out.view("<u8").reshape(3, 24)[:, 1:].tolist() == record.view("<u8").reshape(3, 24)[:, 1:].tolist()


def test_only_the_first_n_are_published(held: segment.Segment) -> None:
    writer = _ring.RingWriter(held.view)
    writer.publish(segments.ticks(7, 10), 3)
    assert writer.next_seq == 10
    with pytest.raises(ValueError, match="11 records asked for, the array holds 10"):
        writer.publish(segments.ticks(7, 10), 11)


def test_a_lapped_reader_knows_what_it_lost(held: segment.Segment) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    for first in range(7, 7 + 200, 50):
        writer.publish(segments.ticks(first, 50))
    out = np.zeros(500, layout.TICK)
    assert reader.drain(out) == CAPACITY
    assert reader.lost == reader.lost_last == 200 - CAPACITY
    assert reader.first_seq == 7 + 200 - CAPACITY
    assert reader.drain(out) == 0
    assert (reader.lost, reader.lost_last) == (200 - CAPACITY, 0)


def test_a_batch_larger_than_the_ring_is_published_in_pieces(held: segment.Segment) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    writer.publish(segments.ticks(7, 1000))
    out = np.zeros(CAPACITY, layout.TICK)
    assert reader.drain(out) == CAPACITY
    assert out["slot"].tolist() == list(range(7 + 1000 - CAPACITY, 7 + 1000))
    assert reader.lost == 1000 - CAPACITY


@pytest.mark.parametrize("announced", [0, 1, 10])
def test_what_a_batch_in_progress_may_overwrite_is_lost(held: segment.Segment, announced: int) -> None:
    """The odd mark: `intent` beyond `head` takes the oldest records away, and only those."""
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    writer.publish(segments.ticks(7, CAPACITY))
    segments.set_control(held, intent=writer.next_seq + announced)
    out = np.zeros(CAPACITY, layout.TICK)
    kept = CAPACITY - announced
    assert reader.writer_mid_batch() == (announced > 0)
    assert [reader.drain(out), reader.lost, reader.first_seq] == [kept, announced, 7 + announced]
    assert out["slot"][:kept].tolist() == list(range(7 + announced, 7 + CAPACITY))


def test_an_intent_from_the_past_loses_everything_and_nothing_else(held: segment.Segment) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    writer.publish(segments.ticks(7, 300))
    segments.set_control(held, intent=200)
    around = np.zeros(3 * CAPACITY, layout.TICK)
    out = around[CAPACITY : 2 * CAPACITY]
    assert reader.drain(out) == 0
    assert reader.lost == reader.position - 7
    assert not around[:CAPACITY]["seq"].any(), "nothing before the array was touched"


def test_a_copy_that_was_overwritten_whole_resumes_in_the_middle(held: segment.Segment) -> None:
    """Otherwise a reader that is slower than the writer would start where it writes, for ever."""
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    writer.publish(segments.ticks(7, CAPACITY))
    segments.set_control(held, intent=writer.next_seq + 20)
    out = np.zeros(10, layout.TICK)
    assert reader.drain(out) == 10
    assert reader.first_seq == 7 + CAPACITY // 2
    assert reader.lost == CAPACITY // 2


def test_a_record_under_another_number_is_never_returned(held: segment.Segment) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    writer.publish(segments.ticks(7, 20))
    at = 8192 + (12 % CAPACITY) * 192
    held.view[at : at + 8] = (12 + CAPACITY).to_bytes(8, "little")
    out = np.zeros(CAPACITY, layout.TICK)
    assert [reader.drain(out), reader.first_seq, reader.lost] == [14, 13, 6]


@pytest.mark.parametrize("word", ["head", "intent"])
@pytest.mark.parametrize("value", [0, 1, 8, (1 << 63), (1 << 64) - 1])
def test_wild_control_words_lose_records_and_nothing_else(
    held: segment.Segment, word: str, value: int
) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    writer.publish(segments.ticks(7, 30))
    segments.set_control(held, **{word: value})
    out = np.zeros(CAPACITY, layout.TICK)
    got = sum(reader.drain(out) for _ in range(4))
    assert got <= 30
    assert got + reader.lost == reader.position - 7


def test_readers_start_where_they_ask_to(held: segment.Segment) -> None:
    writer = _ring.RingWriter(held.view)
    writer.publish(segments.ticks(7, 100))
    out = np.zeros(1, layout.TICK)
    assert _ring.RingReader(held.view, "newest").drain(out) == 0
    oldest = _ring.RingReader(held.view)
    assert [oldest.drain(out), oldest.first_seq, oldest.lost] == [1, 107 - CAPACITY, 0]
    given = _ring.RingReader(held.view, 100)
    assert [given.drain(out), given.first_seq, given.lost] == [1, 100, 0]
    late = _ring.RingReader(held.view, 2)
    assert late.lost == 5, "numbers before this generation"
    with pytest.raises(ValueError, match="start at 108, but only 107"):
        _ring.RingReader(held.view, 108)
    with pytest.raises(ValueError, match="'oldest', 'newest' or a number"):
        _ring.RingReader(held.view, "latest")


def test_other_arrays_are_refused(held: segment.Segment) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    with pytest.raises(ValueError, match="records of 192 bytes, the array 128"):
        writer.publish(np.zeros(3, layout.INTENT))
    with pytest.raises(ValueError, match="contiguous"):
        writer.publish(segments.ticks(0, 6)[::2])
    frozen = segments.ticks(0, 6)
    frozen.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        reader.drain(frozen)


def test_other_buffers_are_refused(tmp_path: Path, held: segment.Segment) -> None:
    with pytest.raises(ValueError, match="smaller than its header says"):
        _ring.RingReader(held.view[:10_000])
    with pytest.raises(ValueError, match="does not start with a segment header"):
        _ring.RingReader(mmap.mmap(-1, 3 * layout.PAGE))
    with pytest.raises(ValueError, match="does not start on a cache line"):
        _ring.RingReader(held.view[8:])
    queue = segments.make(tmp_path, SegmentKind.INTENT_QUEUE)
    with (
        segment.attach(queue, SegmentKind.INTENT_QUEUE, writable=True) as other,
        pytest.raises(ValueError, match="its kind does not fit"),
    ):
        _ring.RingWriter(other.view)


def test_a_read_only_mapping_has_no_writer(held: segment.Segment) -> None:
    with segment.attach(held.path, KIND, writable=False) as reading:
        _ring.RingReader(reading.view)
        with pytest.raises(BufferError):
            _ring.RingWriter(reading.view)


def test_closing_tells_readers_that_nothing_follows(held: segment.Segment) -> None:
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    writer.publish(segments.ticks(7, 3))
    assert not reader.finished()
    writer.close_clean()
    assert not reader.finished(), "three records are still unread"
    reader.drain(np.zeros(9, layout.TICK))
    assert reader.finished()
    assert held.control()["state"] == SegmentState.CLEAN
    with pytest.raises(ValueError, match="closed: create the next"):
        _ring.RingWriter(held.view)


def test_no_second_life_inside_a_batch(held: segment.Segment) -> None:
    segments.set_control(held, intent=9)
    with pytest.raises(ValueError, match="died inside a batch"):
        _ring.RingWriter(held.view)


def test_wakes_only_who_parks(held: segment.Segment) -> None:
    writer = _ring.RingWriter(held.view)
    writer.publish(segments.ticks(7, 1))
    assert held.control()["wake_word"] == 0
    segments.set_control(held, parked=1)
    writer.publish(segments.ticks(8, 1))
    assert held.control()["wake_word"] == 1
