"""The lossless queue in one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import segments
from hypothesis import given
from hypothesis import strategies as st

from kite_hft import _queue, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment

KIND = SegmentKind.INTENT_QUEUE
CAPACITY = 16


@pytest.fixture
def held(tmp_path: Path) -> Iterator[segment.Segment]:
    with segment.attach(segments.make(tmp_path, KIND, CAPACITY), KIND, writable=True, claim=True) as queue:
        yield queue


def intents(first: int, n: int) -> np.ndarray:
    records = np.zeros(n, layout.INTENT)
    records["strategy_seq"] = np.arange(first, first + n)
    return records


def test_full_means_refused_and_nothing_is_lost(held: segment.Segment) -> None:
    producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
    assert producer.push(intents(0, 10)) == 10
    assert producer.free() == 6
    assert producer.push(intents(10, 10)) == 6
    assert producer.push(intents(16, 1)) == 0
    out = np.zeros(5, layout.INTENT)
    assert [consumer.drain(out), out["strategy_seq"].tolist()] == [5, [0, 1, 2, 3, 4]]
    assert out["seq"].tolist() == [0, 1, 2, 3, 4], "each carries its number in the queue"
    assert producer.push(intents(16, 9)) == 5
    everything = np.zeros(99, layout.INTENT)
    assert consumer.drain(everything) == CAPACITY
    assert everything["strategy_seq"][:CAPACITY].tolist() == list(range(5, 21))
    assert consumer.drain(everything) == 0
    assert producer.free() == CAPACITY


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60))
def test_behaves_like_a_bounded_list(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    path = segments.make(tmp_path_factory.mktemp("queue"), KIND, CAPACITY, first_seq=1000)
    with segment.attach(path, KIND, writable=True) as held:
        producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
        waiting: list[int] = []
        pushed = 0
        for push, n in steps:
            if push:
                fit = min(n, CAPACITY - len(waiting))
                assert producer.push(intents(pushed, n)) == fit
                waiting += range(pushed, pushed + fit)
                pushed += fit
            else:
                out = np.zeros(n, layout.INTENT)
                got = consumer.drain(out)
                assert out["strategy_seq"][:got].tolist() == waiting[:n]
                assert (out["seq"][:got] == out["strategy_seq"][:got] + 1000).all()
                del waiting[:n]
            assert consumer.waiting() == len(waiting)
        assert (producer.next_seq, consumer.next_seq) == (1000 + pushed, 1000 + pushed - len(waiting))


def test_either_end_goes_on_where_it_was(held: segment.Segment) -> None:
    _queue.QueueProducer(held.view).push(intents(0, 9))
    _queue.QueueConsumer(held.view).drain(np.zeros(4, layout.INTENT))
    producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
    assert producer.push(intents(9, 99)) == CAPACITY - 5
    out = np.zeros(CAPACITY, layout.INTENT)
    assert consumer.drain(out) == CAPACITY
    assert out["strategy_seq"].tolist() == list(range(4, 20))


def test_the_eventfd_is_written_only_while_the_consumer_is_parked(held: segment.Segment) -> None:
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        producer, consumer = _queue.QueueProducer(held.view, wake_fd), _queue.QueueConsumer(held.view)
        producer.push(intents(0, 1))
        with pytest.raises(BlockingIOError):
            os.eventfd_read(wake_fd)
        assert not consumer.park(), "a record is there: no sleep"
        assert held.control()["parked"] == 0
        consumer.drain(np.zeros(9, layout.INTENT))
        assert consumer.park()
        assert consumer.park(), "parked already, still nothing there"
        assert held.control()["parked"] == 1
        producer.push(intents(1, 2))
        assert os.eventfd_read(wake_fd) == 1
        assert not consumer.park(), "parked, but records came"
        consumer.unpark()
        consumer.unpark()
        assert held.control()["parked"] == 0
        producer.push(intents(3, 1))
        with pytest.raises(BlockingIOError):
            os.eventfd_read(wake_fd)
    finally:
        os.close(wake_fd)


def test_a_full_eventfd_does_not_stop_the_producer(held: segment.Segment) -> None:
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        os.eventfd_write(wake_fd, (1 << 64) - 2)
        producer, consumer = _queue.QueueProducer(held.view, wake_fd), _queue.QueueConsumer(held.view)
        assert consumer.park()
        assert producer.push(intents(0, 2)) == 2
    finally:
        os.close(wake_fd)


def test_a_parked_consumer_that_goes_away_takes_its_mark_along(held: segment.Segment) -> None:
    consumer = _queue.QueueConsumer(held.view)
    assert consumer.park()
    del consumer
    assert held.control()["parked"] == 0


@pytest.mark.parametrize("words", [{"tail": 5}, {"head": 1 << 63}, {"head": 0, "tail": 1}])
def test_wild_control_words_never_leave_the_mapping(held: segment.Segment, words: dict[str, int]) -> None:
    segments.set_control(held, **words)
    producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
    assert producer.push(intents(0, 40)) <= CAPACITY
    assert consumer.drain(np.zeros(40, layout.INTENT)) <= CAPACITY


def test_texts_and_events_travel_too(tmp_path: Path) -> None:
    for kind, dtype in ((SegmentKind.TEXT_QUEUE, layout.TEXT), (SegmentKind.EVENT_QUEUE, layout.ORDER_EVENT)):
        with segment.attach(segments.make(tmp_path, kind, 4), kind, writable=True) as queue:
            sent = np.frombuffer(os.urandom(3 * dtype.itemsize), dtype)
            out = np.zeros(4, dtype)
            assert _queue.QueueProducer(queue.view).push(sent) == 3
            assert _queue.QueueConsumer(queue.view).drain(out) == 3
            assert [row.tobytes()[8:] for row in out[:3]] == [row.tobytes()[8:] for row in sent]


def test_peeked_records_stay_until_they_are_committed(held: segment.Segment) -> None:
    producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
    producer.push(intents(0, 12))
    out = np.zeros(8, layout.INTENT)
    assert consumer.peek(out) == 8 and consumer.peek(out) == 8 and consumer.waiting() == 12
    assert producer.free() == 4
    assert consumer.commit(3) == 3 and producer.free() == 7
    again = _queue.QueueConsumer(held.view)  # the first one died here
    assert again.peek(out) == 8
    assert (out["strategy_seq"].tolist(), again.next_seq) == ([3, 4, 5, 6, 7, 8, 9, 10], 3)
    assert again.commit(8) == 8 and again.drain(out) == 1 and out["strategy_seq"][0] == 11
    assert again.commit(5) == 0 and again.peek(out) == 0, "nothing can be freed that was not there"
    assert producer.push(intents(12, 16)) == 16


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=40))
def test_peek_and_commit_are_a_drain_in_two_steps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    path = segments.make(tmp_path_factory.mktemp("queue"), KIND, CAPACITY)
    with segment.attach(path, KIND, writable=True, claim=True) as queue:
        producer, consumer = _queue.QueueProducer(queue.view), _queue.QueueConsumer(queue.view)
        pushed = taken = 0
        out = np.zeros(CAPACITY, layout.INTENT)
        for push, take in steps:
            pushed += producer.push(intents(pushed, push))
            n = consumer.peek(out)
            assert out["strategy_seq"][:n].tolist() == list(range(taken, pushed))
            taken += consumer.commit(min(take, n))
            assert consumer.next_seq == taken and producer.free() == CAPACITY - (pushed - taken)


def test_a_producer_recalls_what_it_said_also_when_it_was_taken(held: segment.Segment) -> None:
    producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
    out = np.zeros(CAPACITY, layout.INTENT)
    assert producer.recall(out) == 0
    producer.push(intents(0, 10))
    consumer.drain(out)
    producer.push(intents(10, 12))
    fresh = _queue.QueueProducer(held.view)
    assert fresh.recall(out) == CAPACITY
    assert out["strategy_seq"].tolist() == list(range(6, 22)) and out["seq"].tolist() == list(range(6, 22))
    few = np.zeros(3, layout.INTENT)
    assert fresh.recall(few) == 3 and few["strategy_seq"].tolist() == [19, 20, 21]
