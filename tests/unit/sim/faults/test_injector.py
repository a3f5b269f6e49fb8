"""What the injector strikes, when, and what it writes down, without a socket."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from raw_ticks import Malformed, checksum, parse

from kite_hft.sim.faults.acts import Acts
from kite_hft.sim.faults.injector import InjectionLog, Injector
from kite_hft.sim.faults.schedule import Faults, parse_row
from kite_hft.sim.kite.faults import KITE_FAULTS, request_kind
from kite_hft.sim.kite.routes import error, success
from kite_hft.sim.kite.stream import KiteStream
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.rest import Response
from kite_hft.sim.server.hub import Hold, Hub, Link

SECOND, MS = 1_000_000_000, 1_000_000
T0, REAL = 50 * SECOND, 1_765_771_368 * SECOND
TABLE, BASE = default_instruments(20, 1)
TOKENS = TABLE.tokens().tolist()


class Line:
    """A connection that writes down what is done to it."""

    def __init__(self, world: World) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.said: list[bytes] = []
        self.done: list[tuple[int, str]] = []
        self.leaving = self.frozen = False
        self._world = world

        def send(data: bytes) -> int:
            self.frames.append((world.now, data))
            return world.now

        self.link: Link | None = world.hub.connect(send, self.said.append)
        for message in ({"a": "subscribe", "v": TOKENS}, {"a": "mode", "v": ["full", TOKENS]}):
            world.hub.on_message(self.link, json.dumps(message).encode(), world.now)

    def _do(self, what: str) -> None:
        self.done.append((self._world.now - T0, what))

    def _end(self, what: str) -> None:
        self._do(what)
        assert self.link is not None
        self.leaving = True
        self._world.hub.disconnect(self.link)
        self._world.lines.remove(self)

    def drop(self) -> None:
        self._end("drop")

    def reset(self) -> None:
        self._end("reset")

    def abort(self) -> None:
        self._end("abort")

    def freeze(self, keeps_place: bool) -> None:
        self._do(f"freeze {keeps_place}")
        assert self.link is not None
        self.frozen, self.link.hold = True, Hold.FOR_GOOD


class World:
    """A hub with connections, and an injector over it."""

    def __init__(self, *rows: dict[str, Any], seed: int = 1, packets_per_frame: int = 5) -> None:
        self.now = T0
        self.written: list[str] = []
        self.hub = Hub(
            SyntheticMarket(TABLE, BASE, 10.0, 1, 0), lambda ticks, now: None, lambda slots: [],  # type: ignore[arg-type, return-value]
            lambda: KiteStream(TABLE, packets_per_frame),
        )  # fmt: skip
        self.lines: list[Line] = []
        self.api = SimpleNamespace(kill_token=lambda now: self.written.append("killed"))
        self.exchange = SimpleNamespace(hold_order_ns=0)
        self.log = InjectionLog(self.written.append)
        faults = Faults([parse_row(row, "row") for row in rows], seed)
        acts = Acts(self.exchange, self.api, self.hub)  # type: ignore[arg-type]
        self.injector = Injector(
            faults, self.log, self.hub, acts, lambda: self.lines, lambda: REAL + self.now - T0, KITE_FAULTS
        )

    def open(self, many: int = 1) -> Line:
        for _ in range(many):
            self.lines.append(Line(self))
        return self.lines[-1]

    def run(self, seconds: float) -> None:
        """From now on, waking when hub or injector ask for it."""
        end = self.now + round(seconds * SECOND)
        while True:
            dues = [d for d in (self.hub.next_ns(), self.injector.next_ns()) if d is not None]
            if not dues or min(dues) > end:
                break
            self.now = max(self.now, min(dues))
            self.injector.step(self.now)
            self.hub.step(self.now)
        self.now = end

    def kinds(self) -> list[str]:
        return [row["kind"] for row in self.log.rows]


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_a_connection_ends_at_its_time(kind: str) -> None:
    world = World({"at": 1.5, "kind": kind, "connection": 1})
    world.open(3)
    second = world.lines[1]
    world.hub.start(T0)
    world.run(3)
    assert second.done == [(1.5 * SECOND, kind)] and len(world.lines) == 2
    assert world.log.rows == [
        {"seq": 1, "at_ns": REAL + 1.5 * SECOND, "kind": kind, "count": 1, "connection": 1, "parameters": {}}
    ]
    assert json.loads(world.written[0]) == world.log.rows[0] and world.written[0].endswith("\n")


def test_all_connections_are_a_row_each() -> None:
    world = World({"at": 1, "kind": "drop"})
    world.open(3)
    world.hub.start(T0)
    world.run(2)
    assert world.lines == [] and [row["connection"] for row in world.log.rows] == [0, 1, 2]
    assert world.log.counts() == {"drop": 3}


def test_a_fault_waits_for_its_connection() -> None:
    world = World({"at": 1, "kind": "drop", "connection": 1})
    world.open()
    world.hub.start(T0)
    world.run(2)
    assert world.log.rows == []
    late = world.open()
    world.run(0.5)
    assert [what for _, what in late.done] == ["drop"] and len(world.log.rows) == 1


def test_nothing_is_due_before_the_market_starts() -> None:
    world = World({"at": 0, "kind": "drop"})
    world.open()
    world.injector.step(T0 + 5 * SECOND)
    assert world.log.rows == [] and world.injector.next_ns() is None


def gaps(line: Line) -> list[tuple[int, int]]:
    """(from, to) in ms of each time without frames of more than 300 ms."""
    times = [at - T0 for at, _ in line.frames]
    return [(a // MS, b // MS) for a, b in itertools.pairwise(times) if b - a > 300 * MS]


def test_silence_withholds_and_ends() -> None:
    world = World({"at": 1, "kind": "silence", "connection": 0, "for": 1})
    quiet, other = world.open(2), world.lines[0]
    world.hub.start(T0)
    world.run(3)
    assert len(gaps(other)) == 1 and gaps(quiet) == []
    assert gaps(other)[0] == (pytest.approx(1000, abs=60), pytest.approx(2000, abs=60))
    sent = other.link.stream.sent  # type: ignore[union-attr]
    assert sent.withheld == pytest.approx(200, abs=10)
    assert world.hub.stats()["taken"] == pytest.approx(600, abs=10)


def test_a_slow_consumer_loses_nothing_until_its_end() -> None:
    world = World({"at": 1, "kind": "slow_consumer", "for": 1})
    line = world.open()
    world.hub.start(T0)
    world.run(1.5)
    assert line.link is not None and line.link.say(b"late") and line.said == []
    world.run(1.5)
    assert line.done == [(2 * SECOND, "drop")] and line.said == [b"late"]
    burst = [data for at, data in line.frames if at == T0 + 2 * SECOND]
    assert sum(len(parse(data)[0]) for data in burst) == pytest.approx(200, abs=10)
    assert world.hub.stats()["ticks"] == sum(len(parse(data)[0]) for _, data in line.frames)


def test_half_open_freezes_and_then_ends() -> None:
    world = World({"at": 1, "kind": "half_open", "for": 2, "keeps_place": True})
    line = world.open()
    world.hub.start(T0)
    world.run(4)
    assert line.done == [(SECOND, "freeze True"), (3 * SECOND, "abort")]
    assert world.kinds() == ["half_open"]


def test_one_connection_is_not_struck_twice_at_a_time() -> None:
    world = World({"at": 1, "kind": "silence", "for": 2}, {"at": 2, "kind": "drop"})
    line = world.open()
    world.hub.start(T0)
    world.run(5)
    assert line.done == [(3 * SECOND, "drop")] and world.kinds() == ["silence", "drop"]


def test_the_count_of_what_can_be_read_is_exact_whatever_is_damaged() -> None:
    rows = [{"probability": 0.2, "kind": kind} for kind in ("truncate", "wrong_count", "unknown_packet")]
    world = World(*rows, {"probability": 0.2, "kind": "wrong_count", "by": -2}, seed=7)
    line = world.open()
    world.hub.start(T0)
    world.run(10)
    read: list[dict[str, Any]] = []
    classes, unknown = {"cut_packet": 0, "wrong_count": 0, "trailing_bytes": 0}, 0
    for _, data in line.frames:
        try:
            ticks, more = parse(data)
            unknown += more
        except Malformed as damage:
            ticks = damage.args[1]
            classes[damage.args[0]] += 1
        read += ticks
    stats, counts = world.hub.stats(), world.log.counts()
    assert (stats["ticks"], stats["checksum"]) == (len(read), checksum(read))
    assert stats["packets"] == len(read) + unknown
    assert stats["spoiled"] == sum(row["spoiled"] for row in world.log.rows) > 100
    assert unknown == counts["unknown_packet"] > 10 and classes["cut_packet"] == counts["truncate"] > 10
    assert classes["wrong_count"] + classes["trailing_bytes"] == counts["wrong_count"] > 20
    assert [row["seq"] for row in world.log.rows] == list(range(1, len(world.log.rows) + 1))


def test_the_hub_is_not_asked_when_no_frame_can_be_struck() -> None:
    world = World({"at": 1, "kind": "truncate"})
    world.open()
    world.hub.start(T0)
    assert world.hub.spoil is None
    world.run(2)
    assert world.kinds() == ["truncate"] and world.hub.spoil is None


# -- requests


def answers(world: World, method: str = "POST", path: str = "/orders/regular") -> tuple[Any, list[str]]:
    handled: list[str] = []

    def handle() -> Response:
        handled.append(path)
        return success({"order_id": "77"})

    return world.injector.serve(method, path, handle, world.now), handled


@pytest.mark.parametrize(
    ("row", "status", "handled"),
    [
        ({"kind": "http_429"}, 429, False),
        ({"kind": "http_403"}, 403, False),
        ({"kind": "http_502"}, 502, False),
        ({"kind": "http_502", "processed": True}, 502, True),
        ({"kind": "http_503"}, 503, False),
        ({"kind": "http_503", "processed": True}, 503, True),
        ({"kind": "http_504", "processed": True}, 504, True),
        ({"kind": "http_400_timed_out"}, 400, True),
        ({"kind": "http_400_timed_out", "processed": False}, 400, False),
        ({"kind": "accept_then_drop"}, None, True),
        ({"kind": "accept_then_drop", "processed": False}, None, False),
        ({"kind": "slow_answer", "for": 2}, 200, True),
    ],
)
def test_a_request_is_struck_once(row: dict[str, Any], status: int | None, handled: bool) -> None:
    world = World()
    world.injector.inject(parse_row(row, "row"), world.now)
    reply, done = answers(world)
    assert (reply.response.status if reply.response else None, bool(done)) == (status, handled)
    assert reply.delay_s == (2 if row["kind"] == "slow_answer" else 0)
    (told,) = world.log.rows
    assert (told["request"], told["order_id"]) == ("place", "77" if handled else None)
    assert answers(world)[0].response.status == 200 and len(world.log.rows) == 1


def test_only_the_request_that_is_meant_is_struck() -> None:
    world = World()
    world.injector.inject(parse_row({"kind": "http_503", "request": "cancel"}, "row"), world.now)
    for method, path in (("GET", "/orders"), ("POST", "/orders/regular"), ("PUT", "/orders/regular/1")):
        assert answers(world, method, path)[0].response.status == 200
    assert answers(world, "DELETE", "/orders/regular/1")[0].response.status == 503


def test_requests_have_their_kinds() -> None:
    kinds = {
        ("POST", "/orders/amo"): "place",
        ("PUT", "/orders/co/1"): "modify",
        ("DELETE", "/orders/co/1"): "cancel",
        ("GET", "/orders/1"): "read",
        ("GET", "/user/margins"): "read",
        ("POST", "/gtt/triggers"): "other",
        ("DELETE", "/session/token"): "other",
    }
    assert {key: request_kind(*key) for key in kinds} == kinds


def test_a_refused_placement_leaves_the_fault_for_the_next() -> None:
    world = World()
    world.injector.inject(parse_row({"kind": "stuck_order", "for": 83}, "row"), world.now)
    world.injector.serve("POST", "/orders/regular", lambda: error(400, "InputException", "no"), world.now)
    assert world.exchange.hold_order_ns == 0 and world.log.rows == []
    answers(world)
    assert world.exchange.hold_order_ns == 83 * SECOND
    assert [(r["kind"], r["order_id"]) for r in world.log.rows] == [("stuck_order", "77")]


def test_token_death_kills_the_token_and_every_connection() -> None:
    world = World({"at": 1, "kind": "token_death"})
    lines = [world.open() for _ in range(2)]
    world.hub.start(T0)
    world.run(2)
    assert world.written[0] == "killed" and world.lines == []
    assert [what for line in lines for _, what in line.done] == ["drop", "drop"]
    assert [(row["count"], row["connections"]) for row in world.log.rows] == [(1, 2)]
