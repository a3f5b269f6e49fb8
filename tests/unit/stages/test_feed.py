"""The feed stage: what it sends, and when it takes a connection for dead."""

from __future__ import annotations

from kite_hft.stages.feed import HEARTBEAT_NS, Feed

S = 1_000_000_000


class FakeSink:
    def __init__(self) -> None:
        self.last_frame_at_ns = 0
        self.events: list[str] = []

    def connected(self) -> None:
        self.events.append("connected")

    def disconnected(self) -> None:
        self.events.append("disconnected")


def make() -> tuple[Feed, FakeSink, list[int]]:
    sink, beats = FakeSink(), []
    return Feed(sink, [b"subscribe", b"mode"], beats.append, 5 * S), sink, beats


def test_a_connection_is_subscribed_every_time() -> None:
    feed, sink, _ = make()
    for _ in range(2):
        assert list(feed.connected(1)) == [b"subscribe", b"mode"]
        feed.disconnected()
    assert sink.events == ["connected", "disconnected"] * 2


def test_silence_counts_from_the_last_frame_or_the_connection() -> None:
    feed, sink, _ = make()
    assert not feed.is_silent(100 * S)
    feed.connected(10 * S)
    assert not feed.is_silent(15 * S) and feed.is_silent(15 * S + 1)
    sink.last_frame_at_ns = 14 * S
    assert not feed.is_silent(19 * S) and feed.is_silent(19 * S + 1)


def test_heartbeats_every_tenth_of_a_second() -> None:
    feed, _, beats = make()
    for now in range(0, 5 * HEARTBEAT_NS, HEARTBEAT_NS // 4):
        feed.step(now)
    assert beats == [n * HEARTBEAT_NS for n in range(5)]


def test_close_says_goodbye_once() -> None:
    feed, sink, _ = make()
    feed.connected(1)
    feed.close()
    feed.close()
    assert sink.events == ["connected", "disconnected"]
