"""Source to exchange to connections, under a clock of our own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from kiteconnect import KiteTicker

from kite_hft.layout import TICK
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.kite.stream import KiteStream
from kite_hft.sim.market.replay import Replay
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.hub import BEHIND_FRAMES, Hold, Hub, Link

SECOND = 1_000_000_000
MS = 1_000_000
T0 = 50 * SECOND
TABLE, BASE = default_instruments(20, 1)
TOKENS = TABLE.tokens().tolist()
PARSER = KiteTicker("key", "token")


class World:
    """A hub, an exchange and connections that write into lists."""

    def __init__(self, source: Any = None, **options: Any) -> None:
        self.now = T0
        self.exchange = Exchange(TABLE, 10**9)
        per_frame, stamp = options.pop("packets_per_frame", 1), options.pop("stamp", False)
        self.hub = Hub(
            source or SyntheticMarket(TABLE, BASE, 10.0, 1, 0),
            self.exchange.on_ticks,
            lambda slots: self.exchange.latest[[s for s in slots if self.exchange.seen[s]]],
            lambda: KiteStream(TABLE, per_frame, stamp),
            **options,
        )
        self.sent: dict[int, list[tuple[int, bytes]]] = {}
        self.texts: list[bytes] = []

    def connect(self, *tokens: int, mode: str = "full") -> Link:
        frames: list[tuple[int, bytes]] = []

        def send(data: bytes) -> int:
            frames.append((self.now, data))
            return self.now

        link = self.hub.connect(send, self.texts.append)
        self.sent[id(link)] = frames
        for message in ({"a": "subscribe", "v": list(tokens)}, {"a": "mode", "v": [mode, list(tokens)]}):
            self.hub.on_message(link, json.dumps(message).encode(), self.now)
        return link

    def run(self, until: int) -> None:
        """Wake exactly when the hub asks for it."""
        while (due := self.hub.next_ns()) is not None and due <= until:
            assert due > self.now or self.hub.started_ns == T0
            self.now = max(due, self.now)
            self.hub.step(self.now)
        self.now = until
        self.hub.step(until)

    def ticks(self, link: Link) -> list[tuple[int, dict[str, Any]]]:
        return [(at, t) for at, data in self.sent[id(link)] for t in PARSER._parse_binary(data)]


def recording(n: int, gap_ns: int = MS) -> Replay:
    rows = np.zeros(n, TICK)
    rows["slot"], rows["last_px"], rows["volume"] = (
        np.arange(n) % len(TABLE),
        10_000 + np.arange(n),
        np.arange(n),
    )
    return Replay(TABLE, np.arange(n) * gap_ns, rows)


def test_every_tick_once_in_order_at_its_time() -> None:
    world = World(packets_per_frame=1)
    link = world.connect(*TOKENS)
    world.hub.start(T0)
    world.run(T0 + 2 * SECOND)
    got = world.ticks(link)
    _, expected = SyntheticMarket(TABLE, BASE, 10.0, 1, 0).take(2 * SECOND, 10**9)
    assert [t["instrument_token"] for _, t in got] == [TOKENS[s] for s in expected["slot"]]
    assert [round(t["last_price"] * 100) for _, t in got] == expected["last_px"].tolist()
    assert max(abs(at - T0 - i * 5 * MS) for i, (at, _) in enumerate(got)) <= 1
    assert link.stream.sent.max_delay_ns <= 1


def test_the_exchange_knows_what_has_been_sent_and_no_more() -> None:
    world = World(packets_per_frame=1)
    link = world.connect(*TOKENS)
    world.hub.start(T0)
    for ms in range(1, 200, 7):
        world.run(T0 + ms * MS)
        world.hub.tell(world.now)  # as the server does before it asks the exchange anything
        last = {t["instrument_token"]: round(t["last_price"] * 100) for _, t in world.ticks(link)}
        known = {
            TOKENS[s]: int(world.exchange.latest[s]["last_px"]) for s in np.flatnonzero(world.exchange.seen)
        }
        assert known == last


def test_snapshot_comes_at_once_and_only_for_what_is_known() -> None:
    world = World(recording(5))
    world.hub.start(T0)
    world.run(T0 + 2 * MS)  # slots 0, 1, 2 have ticked
    link = world.connect(*TOKENS[:4], mode="full")
    modes = [(t["instrument_token"], t["mode"]) for _, t in world.ticks(link)]
    assert modes == [(TOKENS[i], m) for m in ("quote", "full") for i in range(3)]
    world.hub.on_message(link, b'{"a":"unsubscribe","v":[]}', world.now)
    assert world.hub.stats()["snapshot_ticks"] == 6


def test_subscribing_in_the_middle_misses_nothing_that_is_to_come() -> None:
    world = World(recording(100))
    world.hub.start(T0)
    first = world.connect(*TOKENS[:10])
    world.run(T0 + 42 * MS)
    second = world.connect(*TOKENS)
    world.hub.on_message(first, json.dumps({"a": "subscribe", "v": TOKENS[10:]}).encode(), world.now)
    world.run(T0 + 200 * MS)
    for link in (first, second):
        later = [round(t["last_price"] * 100) - 10_000 for at, t in world.ticks(link) if at > T0 + 42 * MS]
        assert later == list(range(43, 100))
    assert world.hub.drained


@pytest.mark.parametrize("per_frame", [1, 7, 1000])
def test_a_replay_loses_nothing_whatever_the_frame_size(per_frame: int) -> None:
    world = World(recording(5000, 10_000), packets_per_frame=per_frame)
    links = [world.connect(*TOKENS[:12]), world.connect(*TOKENS[12:])]
    world.hub.start(T0)
    world.run(T0 + SECOND)
    assert sum(len(world.ticks(link)) for link in links) == 5000
    stats = world.hub.stats()
    assert (stats["ticks"], stats["taken"], stats["ended"], stats["max_delay_ns"]) == (5000, 5000, True, 1)
    for link in links:
        world.hub.disconnect(link)
    assert {k: v for k, v in world.hub.stats().items() if k != "connections"} == {
        k: v for k, v in stats.items() if k != "connections"
    }


def test_replay_at_double_speed() -> None:
    world = World(recording(100, MS), speed=2.0)
    link = world.connect(*TOKENS)
    world.hub.start(T0)
    world.run(T0 + 25 * MS)
    assert len(world.ticks(link)) == 51


def test_as_fast_as_possible_waits_for_the_slow_and_drops_nothing() -> None:
    world = World(recording(30_000), speed=0.0)
    quick, slow = world.connect(*TOKENS), world.connect(*TOKENS)
    world.hub.start(T0)
    assert world.hub.next_ns() is None
    slow.ready = False
    for _ in range(10):
        world.hub.step(world.now)
    assert len(world.ticks(slow)) == 0
    assert len(world.ticks(quick)) == len(slow.stream.frames) < 10_000  # no more is taken meanwhile
    slow.ready = True
    for _ in range(10):
        world.hub.step(world.now)
    for link in (quick, slow):
        assert [round(t["last_price"] * 100) - 10_000 for _, t in world.ticks(link)] == list(range(30_000))
    assert world.hub.drained


def test_a_connection_that_is_behind_holds_the_source_and_memory_stays_bounded() -> None:
    world = World(recording(50_000, 100_000))
    link = world.connect(*TOKENS)
    world.hub.start(T0)
    link.ready = False
    for ms in range(0, 4000, 5):
        world.now = T0 + ms * MS
        world.hub.step(world.now)
    assert BEHIND_FRAMES < len(link.stream.frames) < BEHIND_FRAMES + 10_000
    assert world.hub.next_ns() is None  # nothing to wake for until it drains
    link.ready = True
    while not world.hub.drained:
        world.now += 10 * MS
        world.hub.step(world.now)
    assert len(world.ticks(link)) == 50_000
    assert world.hub.stats()["max_delay_ns"] > SECOND


def test_what_waited_leaves_in_one_burst_whatever_the_buffer_says() -> None:
    world = World(recording(5000, 100_000))
    link, other = world.connect(*TOKENS), world.connect(*TOKENS)
    link.hold, link.ready = Hold.FOR_LATER, False
    world.hub.start(T0)
    world.run(T0 + SECOND)
    assert (len(world.ticks(link)), len(world.ticks(other))) == (0, 5000)  # it holds nobody back
    world.hub.release(link, world.now)
    assert len(world.ticks(link)) == 5000 and link.hold is Hold.NOTHING and not link.ready
    link.hold = Hold.FOR_GOOD
    assert not link.say(b"never") and world.texts == []


def test_closed_instruments_have_no_market_data() -> None:
    world = World(recording(200))
    link = world.connect(*TOKENS)
    world.hub.closed = np.arange(len(TABLE)) % 2 == 1
    world.hub.start(T0)
    world.run(T0 + 50 * MS)
    world.hub.closed = None
    world.run(T0 + SECOND)
    slots = [TOKENS.index(tick["instrument_token"]) % 2 for _, tick in world.ticks(link)]
    assert slots[:25] == [0] * 25 and sum(slots[40:]) > 60
    stats = world.hub.stats()
    assert stats["ticks"] + stats["halted_ticks"] == 200


def test_nothing_moves_before_the_start() -> None:
    world = World(recording(10))
    link = world.connect(*TOKENS)
    assert world.hub.step(T0 + SECOND) == 0
    assert world.hub.next_ns() is None
    assert world.ticks(link) == []


def test_too_many_tokens_are_answered_on_the_same_connection() -> None:
    world = World(recording(1))
    world.connect(*range(1000, 4002))
    assert [json.loads(t)["type"] for t in world.texts] == ["error"]
