"""FeedSink: frames into ring, latest table and counters; text into its queue."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kite_hft import _counters, _feed, _kite_decode, _queue, _ring, _table, layout
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind, TickFlag
from kite_hft.memory.counters import named
from kite_hft.memory.segment import attach, create, make_directory

TOKENS = np.array([408065, 884737, 265], np.uint32)


def ltp_frame(*quotes: tuple[int, int]) -> bytes:
    return struct.pack(">H", len(quotes)) + b"".join(struct.pack(">HII", 8, *q) for q in quotes)


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[SimpleNamespace]:
    folder = make_directory(tmp_path, "shm")
    opened = []

    def segment(name: str, kind: SegmentKind, capacity: int, **extra: int) -> memoryview:
        path = create(folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **extra)
        opened.append(attach(path, kind, writable=True, claim=True))
        return opened[-1].view

    counters = segment(
        "counters",
        SegmentKind.COUNTERS,
        1,
        counters=len(COUNTERS["feed"]),
        histograms=len(HISTOGRAMS["feed"]),
    )
    ring = segment("ticks", SegmentKind.TICK_RING, 64)
    latest = segment("latest", SegmentKind.LATEST_TABLE, 3)
    texts = segment("texts", SegmentKind.TEXT_QUEUE, 2)
    decoder = _kite_decode.KiteDecoder(TOKENS, np.arange(3, dtype=np.uint32))
    sink = _feed.FeedSink(decoder, TOKENS, ring, latest, counters, texts, timed=False, batch=4)
    reader = _counters.CounterReader(counters)
    yield SimpleNamespace(
        sink=sink,
        ring=_ring.RingReader(ring),
        latest=_table.TableReader(latest),
        texts=_queue.QueueConsumer(texts),
        counts=lambda: named("feed", reader.values()),
    )
    del sink, decoder
    for one in opened:
        one.close()


def drain(feed: SimpleNamespace) -> np.ndarray:
    out = np.zeros(64, layout.TICK)
    return out[: feed.ring.drain(out)]


def test_ticks_reach_ring_and_latest_table(feed: SimpleNamespace) -> None:
    feed.sink.feed_bytes(ltp_frame((408065, 157315), (265, 8074020)), 77)
    ticks = drain(feed)
    assert ticks["slot"].tolist() == [0, 2] and ticks["last_px"].tolist() == [157315, 8074020]
    assert ticks["recv_ns"].tolist() == [77, 77] and ticks["seq"].tolist() == [0, 1]
    out = np.zeros(1, layout.TICK)
    assert feed.latest.get(2, out) and out["last_px"][0] == 8074020 and out["seq"][0] == 1
    assert not feed.latest.get(1, out)


def test_nothing_is_published_before_the_read_ends(feed: SimpleNamespace) -> None:
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1, False)
    assert len(drain(feed)) == 0
    feed.sink.feed_bytes(ltp_frame((408065, 2)), 1, True)
    assert drain(feed)["last_px"].tolist() == [1, 2]


def test_a_frame_larger_than_the_batch_is_published_in_pieces(feed: SimpleNamespace) -> None:
    feed.sink.feed_bytes(ltp_frame(*((408065, px) for px in range(1, 12))), 1)
    assert drain(feed)["last_px"].tolist() == list(range(1, 12))
    assert feed.counts()["published"] == 11


def test_the_first_tick_of_a_slot_after_each_connection_is_fresh(feed: SimpleNamespace) -> None:
    for _ in range(2):
        feed.sink.connected()
        feed.sink.feed_bytes(ltp_frame((408065, 1), (408065, 2), (884737, 3)), 1)
        fresh = (drain(feed)["flags"] & TickFlag.FRESH) != 0
        assert fresh.tolist() == [True, False, True]
    assert feed.counts()["connects"] == 2


def test_counts_and_checksums_of_every_stage(feed: SimpleNamespace) -> None:
    feed.sink.feed_bytes(b"\0", 1)
    feed.sink.feed_bytes(ltp_frame((408065, 5), (999, 5)) + b"xyz", 2)
    feed.sink.feed_bytes(b"\0\2\0\x08", 3)
    counts = feed.counts()
    assert (counts["heartbeats"], counts["frames"], counts["published"]) == (1, 2, 1)
    assert counts["unknown_instrument"] == 1 and counts["malformed_trailing_bytes"] == 1
    assert counts["malformed_cut_packet"] == 1
    want = tick_checksum(np.array([408065], np.uint32), np.array([5], np.int32), np.array([0], np.int64))
    assert counts["checksum_decoded"] % 2**64 == counts["checksum_published"] % 2**64 == want


def test_text_goes_to_its_own_queue_and_never_blocks(feed: SimpleNamespace) -> None:
    for text in (b'{"type":"order"}', b"x" * 8192, b"third", b"y" * 8193):
        feed.sink.feed_text(text, 9)
    out = np.zeros(4, layout.TEXT)
    assert feed.texts.drain(out) == 2
    assert bytes(out[0]["data"])[: out[0]["length"]] == b'{"type":"order"}' and out[1]["length"] == 8192
    assert feed.counts()["texts"] == 4 and feed.counts()["texts_dropped"] == 2


def test_after_read_is_called_once_per_read(feed: SimpleNamespace) -> None:
    calls = []
    feed.sink.after_read = lambda: calls.append(len(drain(feed)))
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1, False)
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1, True)
    assert calls == [2]


def test_a_wrong_segment_is_refused_by_name(tmp_path: Path) -> None:
    folder = make_directory(tmp_path, "shm")
    path = create(folder, "q", SegmentKind.INTENT_QUEUE, 4, now_mono_ns=1, now_real_ns=1)
    decoder = _kite_decode.KiteDecoder(TOKENS, np.arange(3, dtype=np.uint32))
    with (
        attach(path, SegmentKind.INTENT_QUEUE, writable=True) as queue,
        pytest.raises(ValueError, match="ring"),
    ):
        _feed.FeedSink(decoder, TOKENS, queue.view, queue.view, queue.view, None)
