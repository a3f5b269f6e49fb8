"""Batches of ticks and intents into histograms, against the slow twin that goes one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import segments
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.compute_doubles import Counts

from kite_hft._counters import CounterReader, CounterWriter, bucket_of
from kite_hft.layout import HISTOGRAM_BUCKETS, INTENT, TICK, SegmentKind, TickKind
from kite_hft.memory import segment

US = 1000
KIND = SegmentKind.COUNTERS


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[CounterWriter, CounterReader]]:
    path = segments.make(tmp_path, KIND, 0, counters=1, histograms=2)
    with segment.attach(path, KIND, writable=True) as held:
        yield CounterWriter(held.view), CounterReader(held.view)


def buckets(counts: Counts, histogram: int) -> np.ndarray:
    out = np.zeros(HISTOGRAM_BUCKETS, np.uint64)
    for ns, n in counts.recorded.get(histogram, []):
        out[bucket_of(ns)] += n
    return out


times = st.integers(0, 10**10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(times, st.sampled_from([3, 5]), st.integers(0, 2**32 - 1)), max_size=30), times)
def test_batches_are_counted_as_one_by_one(
    pair: tuple[CounterWriter, CounterReader], rows: list[tuple[int, int, int]], now_ns: int
) -> None:
    writer, reader = pair
    ticks, intents = np.zeros(len(rows) + 1, TICK), np.zeros(len(rows) + 1, INTENT)
    for at, (recv_ns, kind, stamp) in enumerate(rows):
        ticks[at]["recv_ns"], ticks[at]["kind"], ticks[at]["oi_day_high"] = recv_ns // 2**31, kind, stamp
        intents[at]["tick_recv_ns"] = recv_ns if recv_ns % 3 else 0
    where = np.arange(len(rows) + 1)[::-1].copy()
    for what in ("reads", "stamps", "intents"):
        before = [reader.histogram(0), reader.histogram(1)]
        twin = Counts()
        for counters in (writer, twin):
            if what == "intents":
                counters.record_intents(0, 1, intents, where, len(rows), ticks, now_ns)
            else:
                getattr(counters, f"record_{what}")(0, ticks, len(rows), now_ns)
        for histogram in (0, 1):
            found = reader.histogram(histogram) - before[histogram]
            assert np.array_equal(found, buckets(twin, histogram)), what


@pytest.mark.parametrize("field", ["oi_day_high", "oi"])
def test_a_stamp_counts_from_the_intended_time_over_the_wrap(
    pair: tuple[CounterWriter, CounterReader], field: str
) -> None:
    """A feed that has no highest open interest of the day has the stamp in its open interest."""
    writer, reader = pair
    now_us = 5 * 2**32 + 40  # 40 us after the stamp's clock went through zero
    ticks = np.zeros(5, TICK)
    ticks["kind"] = TickKind.FULL
    ticks["kind"][3] = TickKind.QUOTE  # carries no such field
    # 100 us ago, before the wrap; in the future; none; a quote; 10 us ago
    ticks[field] = [2**32 - 60, 41, 0, 30, 30]
    if field == "oi_day_high":
        ticks["oi"] = 20  # is looked at where there is no other
        ticks["oi"][2] = 0
    writer.record_stamps(0, ticks, 5, now_us * US + 999)
    found = reader.histogram(0)
    assert found.sum() == 2 and found[bucket_of(100 * US)] == 1 and found[bucket_of(10 * US)] == 1


def test_reads_share_a_bucket_and_order_does_not_matter(pair: tuple[CounterWriter, CounterReader]) -> None:
    writer, reader = pair
    ticks = np.zeros(6, TICK)
    ticks["recv_ns"] = [500, 500, 900, 500, 500, 500]
    writer.record_reads(1, ticks, 6, 1000)
    assert reader.histogram(1)[bucket_of(500)] == 5 and reader.histogram(1)[bucket_of(100)] == 1
    writer.record_reads(1, ticks, 0, 1000)
    assert reader.histogram(1).sum() == 6 and reader.histogram(0).sum() == 0


def test_what_does_not_fit_is_refused(pair: tuple[CounterWriter, CounterReader]) -> None:
    writer, _ = pair
    ticks, intents, where = np.zeros(2, TICK), np.zeros(2, INTENT), np.zeros(2, np.int64)
    for call in (
        lambda: writer.record_reads(0, ticks, 3, 1),
        lambda: writer.record_reads(0, ticks, -1, 1),
        lambda: writer.record_reads(0, intents, 1, 1),
        lambda: writer.record_stamps(0, where, 1, 1),
        lambda: writer.record_intents(0, 1, intents, where[:1], 2, ticks, 1),
        lambda: writer.record_intents(0, 1, ticks, where, 2, ticks, 1),
        lambda: writer.record_intents(0, 1, intents, where, 2, intents, 1),
    ):
        with pytest.raises(ValueError):
            call()
    for call in (
        lambda: writer.record_reads(2, ticks, 1, 1),
        lambda: writer.record_stamps(-1, ticks, 1, 1),
        lambda: writer.record_intents(0, 2, intents, where, 1, ticks, 1),
    ):
        with pytest.raises(IndexError):
            call()
    intents["tick_recv_ns"] = 5
    where[:] = [-1, 2]  # caused by no tick of this batch: no stamp to look at
    writer.record_intents(0, 1, intents, where, 2, ticks, 10)
