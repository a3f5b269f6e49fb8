"""Counters, histogram buckets, percentiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import segments
from hypothesis import given
from hypothesis import strategies as st

from kite_hft import _counters, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import counters, segment

KIND = SegmentKind.COUNTERS


@pytest.fixture
def held(tmp_path: Path) -> Iterator[segment.Segment]:
    path = segments.make(tmp_path, KIND, 0, counters=11, histograms=2)
    with segment.attach(path, KIND, writable=True) as words:
        yield words


def test_counts_add_up_and_keep_apart(held: segment.Segment) -> None:
    writer, reader = _counters.CounterWriter(held.view), _counters.CounterReader(held.view)
    writer.add(0)
    writer.add(0, 41)
    writer.add(10, -5)
    writer.set(3, 1 << 62)
    assert reader.values().tolist() == [42, 0, 0, 1 << 62, 0, 0, 0, 0, 0, 0, -5]
    assert (reader.value(0), reader.value(10)) == (42, -5)
    writer.record(0, 100)
    writer.record(1, 100, 7)
    assert (reader.histogram(0).sum(), reader.histogram(1).sum()) == (1, 7)
    assert reader.values().tolist()[0] == 42, "histograms lie behind the counters"


def test_indexes_outside_are_refused(held: segment.Segment) -> None:
    writer, reader = _counters.CounterWriter(held.view), _counters.CounterReader(held.view)
    for call in (
        lambda: writer.add(11),
        lambda: writer.add(-1),
        lambda: writer.set(11, 1),
        lambda: writer.record(2, 1),
        lambda: reader.value(11),
        lambda: reader.histogram(2),
        lambda: reader.histogram(-1),
    ):
        with pytest.raises(IndexError):
            call()


@given(st.integers(0, (1 << 63) - 1))
def test_a_bucket_holds_its_value_and_is_narrow(ns: int) -> None:
    bucket = _counters.bucket_of(ns)
    upper = counters.bucket_upper_ns(bucket)
    lower = counters.bucket_upper_ns(bucket - 1) + 1 if bucket else 0
    assert lower <= ns <= upper
    assert upper - lower <= lower / (1 << layout.HISTOGRAM_SUB_BITS)


def test_buckets_follow_one_another() -> None:
    uppers = [counters.bucket_upper_ns(bucket) for bucket in range(layout.HISTOGRAM_BUCKETS)]
    assert uppers == sorted(set(uppers))
    assert _counters.bucket_of((1 << 63) - 1) < layout.HISTOGRAM_BUCKETS
    assert _counters.bucket_of(-1) == _counters.bucket_of(0) == 0


def test_percentiles_are_never_below_the_truth_and_at_most_a_sixteenth_above(held: segment.Segment) -> None:
    writer, reader = _counters.CounterWriter(held.view), _counters.CounterReader(held.view)
    values = np.sort(np.random.default_rng(3).lognormal(9, 2, 5000).astype(np.int64))
    for value in values:
        writer.record(0, int(value))
    found = counters.percentiles(reader.histogram(0))
    assert found.pop("n") == 5000
    assert list(found) == ["p50", "p90", "p99", "p999", "max"]
    for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999"), (1.0, "max")):
        truth_us = values[int(np.ceil(share * 5000)) - 1] / 1000
        assert truth_us <= found[name] <= truth_us * (1 + 1 / 16)


def test_percentiles_of_nothing_and_of_the_wrong_thing() -> None:
    empty = np.zeros(layout.HISTOGRAM_BUCKETS, np.uint64)
    assert counters.percentiles(empty) == {"p50": 0, "p90": 0, "p99": 0, "p999": 0, "max": 0, "n": 0}
    with pytest.raises(ValueError, match="1024 buckets"):
        counters.percentiles(np.zeros(10, np.uint64))


def test_every_stage_has_names_for_its_words() -> None:
    for stage, names in layout.COUNTERS.items():
        values = np.arange(len(names))
        assert counters.named(stage, values) == dict(zip(names, range(len(names)), strict=True))
        assert counters.COUNTER_INDEX[stage][names[-1]] == len(names) - 1
        assert list(counters.HISTOGRAM_INDEX[stage]) == list(layout.HISTOGRAMS[stage])
