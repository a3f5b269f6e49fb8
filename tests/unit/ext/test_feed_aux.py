"""FeedSink over Upstox's decoder: AUX records on their own ring, counters, what a reconnect forgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upstox_tools import make_decoder

from kite_hft import _counters, _feed, _kite_decode, _ring, layout
from kite_hft._upstox_decode import SEGMENTS
from kite_hft.layout import COUNTERS, HISTOGRAMS, AuxKind, SegmentKind, TickFlag
from kite_hft.memory.counters import named
from kite_hft.memory.segment import Segment, attach, create, make_directory
from kite_hft.verify.prices.upstox_cases import Element, Field, packed

KEYS = ["NSE_FO|1", "NSE_FO|2", "NSE_INDEX|Nifty 50"]
TOKENS = (np.arange(3, dtype=np.uint32) * 256 + 1).astype(np.uint32)


class Memory:
    """The segments of one feed."""

    def __init__(self, tmp_path: Path) -> None:
        self._folder = make_directory(tmp_path, "shm")
        self._opened: list[Segment] = []
        sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
        self.ring = self.made("ticks", SegmentKind.TICK_RING, 4096)
        self.latest = self.made("latest", SegmentKind.LATEST_TABLE, 3)
        self.counters = self.made("counters", SegmentKind.COUNTERS, 1, **sizes)
        self.aux = self.made("aux", SegmentKind.AUX_RING, 8192)
        self.ticks_read, self.aux_read = _ring.RingReader(self.ring), _ring.RingReader(self.aux)

    def made(self, name: str, kind: SegmentKind, capacity: int, **extra: int) -> memoryview:
        path = create(self._folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **extra)
        self._opened.append(attach(path, kind, writable=True, claim=True))
        return self._opened[-1].view

    def sink(self, decoder: Any = None, **more: Any) -> _feed.FeedSink:
        return _feed.FeedSink(
            decoder or make_decoder(KEYS), TOKENS, self.ring, self.latest, self.counters, None,
            timed=False, **more,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        return named("feed", _counters.CounterReader(self.counters).values())

    def ticks(self) -> np.ndarray:
        out = np.zeros(4096, layout.TICK)
        return out[: self.ticks_read.drain(out)]

    def records(self) -> np.ndarray:
        out = np.zeros(8192, layout.AUX)
        return out[: self.aux_read.drain(out)]

    def close(self) -> None:
        for one in self._opened:
            one.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory(tmp_path)
    yield made
    made.close()


def double(number: int, value: float) -> Field:
    return number, 1, np.float64(value).tobytes()


def frame(*keys: str, levels: int = 0, iv: float = 0.0, kind: int = 1) -> bytes:
    """A live frame: price and so many levels of each key, and implied volatility."""
    quotes = [Element([(1, 0, 5), double(2, 10 + i), (3, 0, 6), double(4, 20 + i)]) for i in range(levels)]
    body: list[Field] = [(1, 2, [double(1, 15.0), (2, 0, 1_795_416_300_000)])]
    body += [(2, 2, [(1, 2, quote) for quote in quotes])] if levels else []
    body += [double(8, iv)] if iv else []
    feed: list[Field] = [(2, 2, [(1, 2, body)])]
    entries: list[Field] = [(2, 2, [(1, 2, key.encode()), (2, 2, feed)]) for key in keys]
    return packed([(1, 0, kind), *entries, (3, 0, 1_795_416_300_000)])


def test_aux_records_go_to_their_own_ring(memory: Memory) -> None:
    sink = memory.sink(aux=memory.aux)
    sink.feed_bytes(frame(*KEYS[:2], levels=8, iv=0.1), 7, False)
    assert len(memory.records()) == 0  # nothing before the read ends
    sink.feed_bytes(frame(KEYS[0], iv=0.2), 7)
    records = memory.records()
    assert records["seq"].tolist() == [0, 1, 2, 3, 4]
    assert records["kind"].tolist() == [AuxKind.GREEKS, AuxKind.DEPTH] * 2 + [AuxKind.GREEKS]
    assert records["slot"].tolist() == [2, 2, 1, 1, 2] and (records["recv_ns"] == 7).all()
    assert records["values"][4][5] == 0.2
    assert len(memory.ticks()) == 3 and memory.counts()["aux_published"] == 5
    assert memory.counts()["aux_dropped"] == 0


def test_only_the_kinds_that_are_asked_for(memory: Memory) -> None:
    sink = memory.sink(aux=memory.aux, aux_kinds=(AuxKind.GREEKS,))
    sink.feed_bytes(frame(KEYS[0], levels=8, iv=0.1), 7)
    assert memory.records()["kind"].tolist() == [AuxKind.GREEKS] and memory.counts()["aux_published"] == 1


def test_more_records_than_are_staged_at_once(memory: Memory) -> None:
    """A frame makes 10 records of each of 500 keys: 1,024 are staged. All arrive, ticks too."""
    keys = [f"NSE_FO|{i}" for i in range(500)]
    tokens = (np.arange(500, dtype=np.uint32) * 256 + 1).astype(np.uint32)
    latest = memory.made("latest-500", SegmentKind.LATEST_TABLE, 500)
    sink = _feed.FeedSink(
        make_decoder(keys), tokens, memory.ring, latest, memory.counters, None, timed=False, aux=memory.aux
    )
    reads: list[int] = []
    sink.after_read = lambda: reads.append(1)
    sink.feed_bytes(frame(*keys, levels=30, iv=0.1), 7)
    records, ticks = memory.records(), memory.ticks()
    assert len(ticks) == 500 and len(records) == 5000 and len(reads) > 4
    assert records["slot"].tolist() == np.repeat(ticks["slot"], 10).tolist()
    counts = memory.counts()
    assert (counts["aux_published"], counts["published"], counts["decoded"]) == (5000, 500, 500)
    assert counts["checksum_decoded"] == counts["checksum_published"]


def markets() -> bytes:
    """A market_info of all segments in the three phases: more records than one message makes."""
    entries: list[Field] = []
    for segment in SEGMENTS:
        status = [(1, 2, segment.encode()), (2, 0, 2)]
        told = [(1, 2, segment.encode()), (2, 2, [(1, 2, b"CAS_M_STOP"), (2, 0, 5)])]
        entries += [(1, 2, status), (2, 2, told), (3, 2, told)]
    return packed([(1, 0, 2), (4, 2, entries)])


def test_what_a_frame_says_of_the_markets_finds_room_behind_others_of_its_read(memory: Memory) -> None:
    """1,020 of 1,024 records are staged when a frame comes that makes 33 at once."""
    keys = [f"NSE_FO|{i}" for i in range(102)]
    tokens = (np.arange(102, dtype=np.uint32) * 256 + 1).astype(np.uint32)
    latest = memory.made("latest-102", SegmentKind.LATEST_TABLE, 102)
    decoder, beyond = make_decoder(keys), np.zeros(2048, layout.AUX)
    sink = _feed.FeedSink(
        decoder, tokens, memory.ring, latest, memory.counters, None, timed=False, aux=memory.aux
    )
    decoder.aux_out(beyond[:1024])
    sink.feed_bytes(frame(*keys, levels=30, iv=0.1), 7, False)
    sink.feed_bytes(markets(), 8, False)
    sink.feed_bytes(frame(keys[0], iv=0.2), 9)
    assert not beyond[1024:]["recv_ns"].any()
    kinds = memory.records()["kind"]
    assert len(kinds) == 1020 + 3 * len(SEGMENTS) + 1 == memory.counts()["aux_published"]
    assert (kinds[1020:-1] == AuxKind.MARKET).all() and len(memory.ticks()) == 103
    for _ in range(64):  # markets alone, all in one read
        sink.feed_bytes(markets(), 10, False)
    sink.feed_bytes(b"", 11)
    assert not beyond[1024:]["recv_ns"].any() and len(memory.records()) == 64 * 3 * len(SEGMENTS)
    assert memory.counts()["malformed_message"] == 0


def test_where_nobody_asked_nothing_counts_as_dropped(memory: Memory) -> None:
    memory.sink().feed_bytes(frame(KEYS[0], levels=8, iv=0.1), 7)
    assert memory.counts()["aux_dropped"] == 0 and memory.counts()["aux_published"] == 0
    assert memory.counts()["decoded"] == 1


def test_a_reconnect_carries_nothing_over(memory: Memory) -> None:
    sink = memory.sink()
    sink.connected()
    sink.feed_bytes(frame(KEYS[0], levels=5), 1)
    sink.feed_bytes(frame(KEYS[0]), 2)
    sink.connected()
    sink.feed_bytes(frame(KEYS[0]), 3)
    ticks = memory.ticks()
    assert ticks["bid_px"].tolist() == [1000, 1000, 0]
    carried = (ticks["flags"] & TickFlag.CARRIED) != 0
    fresh = (ticks["flags"] & TickFlag.FRESH) != 0
    assert carried.tolist() == [False, True, False] and fresh.tolist() == [True, False, True]
    assert memory.counts()["carried"] == 1


def test_a_subscription_carries_nothing_over(memory: Memory) -> None:
    stats = memory.made("slots", SegmentKind.SLOT_STATS, 3)
    sink = memory.sink(stats=stats)
    for slot in range(3):
        sink.set_mode(slot, 3, 1)
    sink.feed_bytes(frame(*KEYS[:2], levels=5), 1)
    sink.set_mode(2, 0, 2)
    sink.set_mode(2, 3, 3)
    sink.set_mode(1, 4, 3)  # another mode is no new subscription
    sink.feed_bytes(frame(*KEYS[:2]), 4)
    ticks = memory.ticks()
    assert ticks["slot"].tolist() == [2, 1, 2, 1] and ticks["bid_px"].tolist() == [1000, 1000, 0, 1000]


def test_frames_that_are_kites_heartbeat_or_nothing(memory: Memory) -> None:
    """Upstox has no heartbeat of its own: one byte is malformed there; no byte at all is an empty message."""
    sink = memory.sink()
    sink.feed_bytes(b"\0", 1)
    sink.feed_bytes(b"", 2)
    counts = memory.counts()
    assert (counts["heartbeats"], counts["frames"], counts["malformed_message"]) == (0, 2, 1)


def test_market_status_is_counted(memory: Memory) -> None:
    sink = memory.sink(aux=memory.aux)
    sink.feed_bytes(packed([(1, 0, 2), (4, 2, [(1, 2, [(1, 2, b"NSE_FO"), (2, 0, 2)])])]), 4)
    assert memory.counts()["market_infos"] == 1 and len(memory.ticks()) == 0
    (record,) = memory.records()
    assert (record["kind"], record["slot"], record["part"]) == (AuxKind.MARKET, layout.NO_SLOT, 1)
    assert record["values"][:2].tolist() == [2, 1]


def test_kites_frames_hold_nothing_for_such_a_ring(memory: Memory) -> None:
    decoder = _kite_decode.KiteDecoder(TOKENS, np.arange(3, dtype=np.uint32))
    with pytest.raises(ValueError, match="hold nothing for it"):
        memory.sink(decoder, aux=memory.aux)
    with pytest.raises(ValueError, match="AUX ring"):
        memory.sink(aux=memory.ring)
