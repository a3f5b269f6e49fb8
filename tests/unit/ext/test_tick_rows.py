"""TICK rows as frames: what goes in comes out, stamped here; what is none is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import segments as made_segments

from kite_hft import _counters, _feed, _ring, _tick_rows
from kite_hft.layout import COUNTERS, HISTOGRAMS, TICK, SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.segment import attach

TOKENS = np.array([738561, 408065, 256265], np.uint32)


def rows(n: int, slots: int = 3) -> np.ndarray:
    rng = np.random.default_rng(n)
    raw = np.frombuffer(rng.bytes(n * TICK.itemsize), TICK).copy()
    raw["slot"] = np.arange(n) % slots
    return raw


@pytest.fixture
def sink(tmp_path: Path):  # type: ignore[no-untyped-def]
    sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
    paths = {
        "ring": made_segments.make(tmp_path, SegmentKind.TICK_RING, 1 << 14, name="ring"),
        "latest": made_segments.make(tmp_path, SegmentKind.LATEST_TABLE, 3, name="latest"),
        "counters": made_segments.make(tmp_path, SegmentKind.COUNTERS, 1, name="counters", **sizes),
    }
    kinds = {
        "ring": SegmentKind.TICK_RING,
        "latest": SegmentKind.LATEST_TABLE,
        "counters": SegmentKind.COUNTERS,
    }
    held = {name: attach(Path(path), kinds[name], writable=True) for name, path in paths.items()}
    decoder = _tick_rows.TickRowDecoder(TOKENS, 5)
    made = _feed.FeedSink(
        decoder, TOKENS, held["ring"].view, held["latest"].view, held["counters"].view, None, connection=5
    )
    readers = [_ring.RingReader(held["ring"].view)]

    def drained() -> np.ndarray:
        out = np.zeros(1 << 13, TICK)
        return out[: readers[0].drain(out)]

    def counts() -> dict[str, int]:
        return named("feed", _counters.CounterReader(held["counters"].view).values())

    yield made, drained, counts
    del made
    readers.clear()
    for segment in held.values():
        segment.close()


@pytest.mark.parametrize("n", [0, 1, 7, 500, 5000])  # more than a staging batch
def test_rows_go_the_way_of_every_tick_and_are_stamped_here(sink, n: int) -> None:  # type: ignore[no-untyped-def]
    feed, drained, counts = sink
    given = rows(n)
    feed.connected()
    feed.feed_bytes(given.tobytes(), 123_456)
    found, counted = drained(), counts()
    assert len(found) == n and found["seq"].tolist() == list(range(n))
    assert set(found["recv_ns"].tolist()) <= {123_456} and set(found["connection"].tolist()) <= {5}
    for name in TICK.names or ():
        if name not in ("seq", "recv_ns", "connection", "flags"):
            assert (found[name] == given[name]).all(), name
    assert ((found["flags"] | 128) == (given["flags"] | 128)).all()  # FRESH is the sink's to say
    assert (counted["received"], counted["decoded"], counted["published"], counted["frames"]) == (n, n, n, 1)
    assert counted["checksum_decoded"] == counted["checksum_published"]
    assert feed.last_frame_at_ns == 123_456


def test_a_row_of_no_slot_and_a_cut_one_are_counted_and_are_no_ticks(sink) -> None:  # type: ignore[no-untyped-def]
    feed, drained, counts = sink
    given = rows(3)
    given["slot"][1] = 77
    feed.feed_bytes(given.tobytes() + b"abc", 1)
    assert drained()["slot"].tolist() == [0, 2]
    assert counts()["unknown_instrument"] == 1 and counts()["malformed_trailing_bytes"] == 1
    feed.feed_bytes(b"x", 2)
    assert counts()["malformed_trailing_bytes"] == 2 and counts()["heartbeats"] == 0


def test_tokens_must_be_what_they_are() -> None:
    with pytest.raises(ValueError, match="uint32"):
        _tick_rows.TickRowDecoder(np.zeros(3, np.int64))
