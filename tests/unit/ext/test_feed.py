"""FeedSink: frames into ring, latest table and counters; text into its queue."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kite_hft import _counters, _feed, _kite_decode, _queue, _ring, _table, layout
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind, TickFlag
from kite_hft.memory.counters import named
from kite_hft.memory.generations import next_generation, point
from kite_hft.memory.segment import Segment, attach, create, make_directory

TOKENS = np.array([408065, 884737, 265], np.uint32)


def ltp_frame(*quotes: tuple[int, int]) -> bytes:
    return struct.pack(">H", len(quotes)) + b"".join(struct.pack(">HII", 8, *q) for q in quotes)


class Memory:
    """The segments of one feed, and sinks on them, one after the other as processes would be."""

    def __init__(self, tmp_path: Path) -> None:
        self._folder = make_directory(tmp_path, "shm")
        self._opened: list[Segment] = []
        sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
        self._path = self._create("ticks", SegmentKind.TICK_RING, 64)
        self._latest = self._open(self._create("latest", SegmentKind.LATEST_TABLE, 3))
        self._stats = self._open(self._create("slots", SegmentKind.SLOT_STATS, 3))
        self._counters = self._open(self._create("counters", SegmentKind.COUNTERS, 1, **sizes))
        self._texts = self._open(self._create("texts", SegmentKind.TEXT_QUEUE, 2))
        self._frames = self._open(self._create("frames", SegmentKind.FRAME_RING, 4))
        self.latest = _table.TableReader(self._latest)
        self.texts = _queue.QueueConsumer(self._texts)
        self.frames = _ring.RingReader(self._frames)
        self.sink = self.start()

    def _create(self, name: str, kind: SegmentKind, capacity: int, **extra: int) -> Path:
        return create(self._folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **extra)

    def _open(self, path: Path) -> memoryview:
        kind = SegmentKind(int(np.frombuffer(path.read_bytes()[:4096], layout.HEADER)["kind"][0]))
        self._opened.append(attach(path, kind, writable=True, claim=True))
        return self._opened[-1].view

    def start(self) -> _feed.FeedSink:
        """A new process's sink."""
        ring = self._open(self._path)
        self.ring = _ring.RingReader(ring)
        decoder = _kite_decode.KiteDecoder(TOKENS, np.arange(3, dtype=np.uint32), 7)
        return _feed.FeedSink(
            decoder, TOKENS, ring, self._latest, self._counters, self._texts,
            timed=False, batch=4, stats=self._stats, frames=self._frames, connection=7,
        )  # fmt: skip

    def kill(self) -> None:
        """The process ends without a word; the supervisor makes the ring's next generation."""
        del self.sink
        self._opened.pop().close()
        point(self._path)
        self._path = next_generation(self._path, SegmentKind.TICK_RING, now_mono_ns=2, now_real_ns=2)
        self.sink = self.start()

    def counts(self) -> dict[str, int]:
        return named("feed", _counters.CounterReader(self._counters).values())

    def stats(self, slot: int) -> np.void:
        return np.frombuffer(self._stats[8192:], layout.SLOT_STATS, 3)[slot].copy()

    def close(self) -> None:
        del self.sink
        for one in self._opened:
            one.close()


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Memory]:
    memory = Memory(tmp_path)
    yield memory
    memory.close()


def drain(feed: Memory) -> np.ndarray:
    out = np.zeros(64, layout.TICK)
    return out[: feed.ring.drain(out)]


def test_ticks_reach_ring_and_latest_table(feed: Memory) -> None:
    feed.sink.feed_bytes(ltp_frame((408065, 157315), (265, 8074020)), 77)
    ticks = drain(feed)
    assert ticks["slot"].tolist() == [0, 2] and ticks["last_px"].tolist() == [157315, 8074020]
    assert ticks["recv_ns"].tolist() == [77, 77] and ticks["seq"].tolist() == [0, 1]
    out = np.zeros(1, layout.TICK)
    assert feed.latest.get(2, out) and out["last_px"][0] == 8074020 and out["seq"][0] == 1
    assert not feed.latest.get(1, out)


def test_nothing_is_published_before_the_read_ends(feed: Memory) -> None:
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1, False)
    assert len(drain(feed)) == 0
    feed.sink.feed_bytes(ltp_frame((408065, 2)), 1, True)
    assert drain(feed)["last_px"].tolist() == [1, 2]


def test_a_frame_larger_than_the_batch_is_published_in_pieces(feed: Memory) -> None:
    feed.sink.feed_bytes(ltp_frame(*((408065, px) for px in range(1, 12))), 1)
    assert drain(feed)["last_px"].tolist() == list(range(1, 12))
    assert feed.counts()["published"] == 11


def test_the_first_tick_of_a_slot_after_each_connection_is_fresh(feed: Memory) -> None:
    for _ in range(2):
        feed.sink.connected()
        feed.sink.feed_bytes(ltp_frame((408065, 1), (408065, 2), (884737, 3)), 1)
        fresh = (drain(feed)["flags"] & TickFlag.FRESH) != 0
        assert fresh.tolist() == [True, False, True]
    assert feed.counts()["connects"] == 2


def test_counts_and_checksums_of_every_stage(feed: Memory) -> None:
    feed.sink.feed_bytes(b"\0", 1)
    feed.sink.feed_bytes(ltp_frame((408065, 5), (999, 5)) + b"xyz", 2)
    feed.sink.feed_bytes(b"\0\2\0\x08", 3)
    counts = feed.counts()
    assert (counts["heartbeats"], counts["frames"], counts["published"]) == (1, 2, 1)
    assert counts["unknown_instrument"] == 1 and counts["malformed_trailing_bytes"] == 1
    assert counts["malformed_cut_packet"] == 1
    want = tick_checksum(np.array([408065], np.uint32), np.array([5], np.int32), np.array([0], np.int64))
    assert counts["checksum_decoded"] % 2**64 == counts["checksum_published"] % 2**64 == want


def test_text_goes_to_its_own_queue_and_never_blocks(feed: Memory) -> None:
    for text in (b'{"type":"order"}', b"x" * 8192, b"third", b"y" * 8193):
        feed.sink.feed_text(text, 9)
    out = np.zeros(4, layout.TEXT)
    assert feed.texts.drain(out) == 2
    assert bytes(out[0]["data"])[: out[0]["length"]] == b'{"type":"order"}' and out[1]["length"] == 8192
    assert feed.counts()["texts"] == 4 and feed.counts()["texts_dropped"] == 2


def test_only_texts_that_are_no_order_update_are_told(feed: Memory) -> None:
    told: list[bytes] = []
    feed.sink.after_text = told.append
    texts = [
        b'{"type":"order","data":{}}',
        b'{"type":"error","data":"x"}',
        b'{"data":1,"type":"order"}',
        b"{",
    ]
    for text in texts:
        feed.sink.feed_text(text, 9)
    assert told == texts[1:]


def test_ticks_and_texts_carry_the_connection(feed: Memory) -> None:
    feed.sink.feed_bytes(ltp_frame((265, 1)), 1)
    feed.sink.feed_text(b"{}", 1)
    out = np.zeros(1, layout.TEXT)
    feed.texts.drain(out)
    assert drain(feed)["connection"].tolist() == [7] and out["connection"].tolist() == [7]


def subscribe_all(feed: Memory, now_ns: int = 5) -> None:
    for slot in range(3):
        feed.sink.set_mode(slot, 3, now_ns)
    feed.sink.connected()


def test_what_is_known_of_an_instrument(feed: Memory) -> None:
    subscribe_all(feed)
    for at in (100, 130, 135):
        feed.sink.feed_bytes(ltp_frame((408065, 1), (408065, 2)), at)
    row = feed.stats(0)
    assert (row["ticks"], row["last_recv_ns"], row["longest_silence_ns"], row["fresh"]) == (6, 135, 30, 1)
    assert (row["mode"], row["connection"], row["subscribed_ns"]) == (3, 7, 5)
    assert feed.stats(1)["ticks"] == feed.stats(1)["fresh"] == feed.stats(1)["last_recv_ns"] == 0
    assert feed.counts()["last_tick_ns"] == feed.counts()["last_frame_ns"] == 135
    feed.sink.feed_bytes(b"\0", 140)
    assert (feed.counts()["last_tick_ns"], feed.counts()["last_frame_ns"]) == (135, 140)


def test_a_reconnect_is_a_gap_and_no_silence(feed: Memory) -> None:
    subscribe_all(feed)
    feed.sink.feed_bytes(ltp_frame((408065, 1), (884737, 1)), 100)
    feed.sink.disconnected()
    assert feed.stats(0)["fresh"] == 0 and feed.counts()["connected"] == 0
    feed.sink.connected()
    assert feed.stats(0)["gaps"] == feed.stats(0)["fresh"] == 0
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1100)
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1110)
    row = feed.stats(0)
    assert (row["gaps"], row["gap_ns"], row["longest_silence_ns"], row["fresh"]) == (1, 1000, 10, 1)
    assert feed.stats(1)["gaps"] == feed.stats(1)["fresh"] == 0  # its gap has not ended yet
    assert feed.stats(2)["gaps"] == 0


def test_the_time_without_subscription_is_neither_gap_nor_silence(feed: Memory) -> None:
    subscribe_all(feed)
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 100)
    feed.sink.set_mode(0, 0, 200)
    assert feed.stats(0)["mode"] == feed.stats(0)["fresh"] == feed.stats(0)["subscribed_ns"] == 0
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 201)  # was on its way
    assert feed.stats(0)["fresh"] == 0
    feed.sink.set_mode(0, 2, 900)
    drain(feed)
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1000)
    row = feed.stats(0)
    assert (row["gaps"], row["gap_ns"], row["longest_silence_ns"], row["mode"]) == (0, 0, 0, 2)
    assert row["fresh"] == 1 and row["subscribed_ns"] == 900
    assert drain(feed)["flags"][0] & TickFlag.FRESH


def test_a_change_of_mode_keeps_an_instrument_fresh(feed: Memory) -> None:
    subscribe_all(feed)
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 100)
    feed.sink.set_mode(0, 1, 200)
    row = feed.stats(0)
    assert (row["mode"], row["fresh"], row["subscribed_ns"]) == (1, 1, 5)
    with pytest.raises(IndexError):
        feed.sink.set_mode(3, 1, 200)


def test_a_new_process_goes_on_where_the_dead_one_was(feed: Memory) -> None:
    subscribe_all(feed)
    feed.sink.feed_bytes(ltp_frame((408065, 5), (999, 5)), 100)
    feed.sink.feed_bytes(ltp_frame((884737, 6)), 110)
    before = feed.counts()
    feed.kill()
    counts = feed.counts()
    assert (counts["restarts"], counts["connected"], counts["disconnects"]) == (1, 0, 1)
    same = set(before) - {"restarts", "connected", "disconnects"}
    assert {name: counts[name] for name in same} == {name: before[name] for name in same}
    assert feed.sink.has_predecessor and feed.sink.mode_of(0) == 3
    assert feed.stats(0)["fresh"] == 0 and feed.sink.next_seq == 2
    feed.sink.connected()
    feed.sink.feed_bytes(ltp_frame((408065, 7), (999, 5)), 1100)
    ticks, counts = drain(feed), feed.counts()
    assert ticks["seq"].tolist() == [2] and ticks["flags"][0] & TickFlag.FRESH
    assert (counts["received"], counts["decoded"], counts["published"]) == (5, 3, 3)
    assert counts["unknown_instrument"] == 2 and feed.stats(0)["gap_ns"] == 1000
    tokens = np.array([408065, 884737, 408065], np.uint32)
    want = tick_checksum(tokens, np.array([5, 6, 7], np.int32), np.zeros(3, np.int64))
    assert counts["checksum_decoded"] % 2**64 == counts["checksum_published"] % 2**64 == want


def test_what_was_announced_and_never_finished_counts_as_published(feed: Memory) -> None:
    """Readers count these numbers as lost: got + lost = published holds over a kill."""
    subscribe_all(feed)
    feed.sink.feed_bytes(ltp_frame((408065, 5)), 100)
    control = np.frombuffer(feed._opened[-1].view[layout.PAGE : 2 * layout.PAGE], layout.CONTROL)
    control["intent"] = 4
    del control
    feed.kill()
    assert feed.sink.next_seq == feed.counts()["published"] == 4


def test_raw_frames_are_recorded_as_they_came(feed: Memory) -> None:
    frames = [b"\0", ltp_frame((408065, 5)), ltp_frame(*((408065, px) for px in range(1500)))]
    for number, frame in enumerate(frames):
        feed.sink.feed_bytes(frame, 100 + number)
    out = np.zeros(4, layout.FRAME)
    got = out[: feed.frames.drain(out)]
    assert got["frame_no"].tolist() == [1, 2, 3, 3] and got["connection"].tolist() == [7] * 4
    assert got["recv_ns"].tolist() == [100, 101, 102, 102] and got["offset"].tolist() == [0, 0, 0, 8192]
    assert got["total"].tolist() == [len(frames[i]) for i in (0, 1, 2, 2)]
    parts = [row["data"][: row["length"]].tobytes() for row in got]
    assert [parts[0], parts[1], parts[2] + parts[3]] == frames
    assert feed.counts()["frames_recorded"] == 3 and feed.counts()["frames_unrecorded"] == 0


def test_a_frame_that_its_ring_cannot_hold_is_counted(feed: Memory) -> None:
    feed.sink.feed_bytes(ltp_frame(*((408065, px) for px in range(2000))), 1)
    assert feed.counts()["frames_unrecorded"] == 1 and feed.counts()["frames_recorded"] == 0
    assert feed.counts()["decoded"] == 2000


def test_events_of_the_connection_are_counted_by_name(feed: Memory) -> None:
    feed.sink.count("pings")
    feed.sink.count("pings", 2)
    feed.sink.gauge("subscribed", 9)
    assert (feed.counts()["pings"], feed.counts()["subscribed"]) == (3, 9)
    with pytest.raises(KeyError):
        feed.sink.count("no such counter")


def test_after_read_is_called_once_per_read(feed: Memory) -> None:
    calls = []
    feed.sink.after_read = lambda: calls.append(len(drain(feed)))
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1, False)
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 1, True)
    assert calls == [2]


def test_after_read_is_also_called_where_a_read_fills_the_batch(feed: Memory) -> None:
    """Else a read that is larger than the ring would lap whoever computes in the same process."""
    calls = []
    feed.sink.after_read = lambda: calls.append(len(drain(feed)))
    frame = ltp_frame(*((408065, px) for px in range(1, 6)))
    feed.sink.feed_bytes(frame, 1, False)
    feed.sink.feed_bytes(frame, 1, True)
    assert calls == [4, 4, 2] and feed.counts()["published"] == 10


def test_a_wrong_segment_is_refused_by_name(tmp_path: Path) -> None:
    folder = make_directory(tmp_path, "shm")
    path = create(folder, "q", SegmentKind.INTENT_QUEUE, 4, now_mono_ns=1, now_real_ns=1)
    decoder = _kite_decode.KiteDecoder(TOKENS, np.arange(3, dtype=np.uint32))
    with (
        attach(path, SegmentKind.INTENT_QUEUE, writable=True) as queue,
        pytest.raises(ValueError, match="ring"),
    ):
        _feed.FeedSink(decoder, TOKENS, queue.view, queue.view, queue.view, None)


def test_what_a_broken_connection_has_left_over_is_no_tick_of_the_next(feed: Memory) -> None:
    """One read held it and a frame that broke the protocol: it is older than the gap."""
    subscribe_all(feed)
    feed.sink.feed_bytes(ltp_frame((408065, 1)), 90)
    feed.sink.feed_bytes(ltp_frame((408065, 2)), 100, False)
    feed.sink.disconnected()
    feed.sink.connected()
    assert feed.stats(0)["fresh"] == 0
    feed.sink.feed_bytes(ltp_frame((884737, 3)), 1100)
    ticks = drain(feed)
    assert ticks["last_px"].tolist() == [1, 2, 3]
    assert ((ticks["flags"] & TickFlag.FRESH) != 0).tolist() == [True, False, True]
    assert feed.stats(0)["fresh"] == 0 and feed.stats(1)["fresh"] == 1
