"""What still stands in a queue's slots behind its consumer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import segments

from kite_hft import _queue
from kite_hft.layout import INTENT, ORDER_EVENT, SegmentKind
from kite_hft.memory import segment
from kite_hft.memory.leftovers import last_of_each, read_back


def test_consumed_events_are_read_back_until_they_may_be_overwritten(tmp_path: Path) -> None:
    path = segments.make(tmp_path, SegmentKind.EVENT_QUEUE, 16)
    with segment.attach(path, SegmentKind.EVENT_QUEUE, writable=True, claim=True) as held:
        producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
        out = np.zeros(16, ORDER_EVENT)
        for first in range(0, 20, 5):
            events = np.zeros(5, ORDER_EVENT)
            events["strategy_seq"] = np.arange(first, first + 5) + 100
            assert producer.push(events) == 5 and consumer.drain(out) == 5
        found = read_back(held, ORDER_EVENT, 10, 10)
        assert found is not None and found["strategy_seq"].tolist() == list(range(110, 120))
        found[:] = np.zeros((), ORDER_EVENT)  # a copy
        assert read_back(held, ORDER_EVENT, 19, 1)["strategy_seq"].tolist() == [119]
        assert read_back(held, ORDER_EVENT, 7, 1) is None, "its producer may be at that slot now"
        assert read_back(held, ORDER_EVENT, 3, 2) is None, "overwritten"
        assert read_back(held, ORDER_EVENT, 18, 3) is None, "never published"
        assert read_back(held, ORDER_EVENT, 0, 17) is None, "more than the queue holds"
        del producer, consumer


def test_the_last_intent_of_each_strategy(tmp_path: Path) -> None:
    path = segments.make(tmp_path, SegmentKind.INTENT_QUEUE, 8)
    with segment.attach(path, SegmentKind.INTENT_QUEUE, writable=True, claim=True) as held:
        producer, consumer = _queue.QueueProducer(held.view), _queue.QueueConsumer(held.view)
        assert last_of_each(held, INTENT, "strategy", "strategy_seq") == {}
        out = np.zeros(8, INTENT)
        for number in range(1, 13):
            intent = np.zeros(1, INTENT)
            intent["strategy"], intent["strategy_seq"] = 1 + (number == 6), number
            assert producer.push(intent) == 1 and consumer.drain(out) == 1
        assert last_of_each(held, INTENT, "strategy", "strategy_seq") == {1: 12, 2: 6}
        # The producer died while it wrote record 12 into the slot of record 4.
        slots = np.frombuffer(held.view, INTENT, 8, 8192)
        slots[12 % 8]["strategy_seq"], slots[12 % 8]["seq"] = 999, 0
        assert last_of_each(held, INTENT, "strategy", "strategy_seq") == {1: 12, 2: 6}
        del producer, consumer, slots
