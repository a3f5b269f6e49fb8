"""A sender that stalls between its decision and the write: what is written keeps the broker's windows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from express_twins import Direct, Shared
from hypothesis import given, settings
from hypothesis import strategies as st
from orders_world import PX, MemoryJournal, S, ScriptedBroker, filled, limits

from kite_hft.layout import IntentFlag, IntentKind, Side
from kite_hft.memory.journal import Kind
from kite_hft.memory.segment import make_directory
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.asides import Aside

MS = 1_000_000
SPAN_NS, MOST = 5 * S // 4, 10
STALL_MS = st.one_of(st.just(0), st.just(0), st.integers(0, 60), st.integers(200, 1500))
ACT = st.tuples(
    st.sampled_from(["entry", "entry", "entry", "exit", "cancel", "read", "aside", "look"]),
    st.integers(1, 3),  # so many at once
    STALL_MS,  # before the write
    STALL_MS,  # behind it, before anybody reads a clock
    st.sampled_from([0, 10, 100, 400]),  # until the next
)


class Stalling(ScriptedBroker):
    """Notes when bytes leave; `stall` lets time pass. room: connections; what finds none waits here, as it
    does in net/http.py.
    """

    follower: Any

    def prepare(self, clock: Any, stall: Callable[[int], None], room: int) -> None:
        self.clock, self.stall, self.room = clock, stall, room
        self.before_ms, self.behind_ms = 0, 0
        self.writes: list[int] = []
        self.waiting: list[tuple[int, HttpRequest]] = []

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.stall(self.before_ms)
        if self.waiting or len(self.ready) >= self.room:
            self.waiting.append((request_id, request))
            self.follower.waits(request_id)
        else:
            self._write(request_id, request)
        self.stall(self.behind_ms)

    def poll(self) -> list[Any]:
        answers = super().poll()
        for _ in range(min(self.room, len(self.waiting))):
            placed = next((call for call in self.waiting if self.follower.placed(call[0])), None)
            if placed is None:
                break
            self.waiting.remove(placed)
            request_id, request = placed
            if why := self.follower.stops(request_id):
                answers.append((request_id, TransportError(why, sent=False)))
                self.follower.wrote(request_id, None)
                continue
            self.stall(self.before_ms)
            self._write(request_id, request)
            self.stall(self.behind_ms)
            self.follower.wrote(request_id, self.clock.mono_ns())
        return answers

    def quiet(self, now_ns: int) -> bool:
        return not self.ready and not self.waiting

    def _write(self, request_id: int, request: HttpRequest) -> None:
        self.writes.append(self.clock.mono_ns())
        super().submit(request_id, HttpRequest(*request))


class Slow(MemoryJournal):
    """Its writes stall, too."""

    stall: Callable[[int], None] = staticmethod(lambda ms: None)
    ms = 0

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        self.stall(self.ms if kind in (Kind.INTENT, Kind.CALL) else 0)
        return super().append(kind, time_ns, payload)


def most(times: list[int]) -> int:
    return max((sum(at - SPAN_NS < other <= at for other in times) for at in times), default=0)


class Life:
    """One stage, and what it is wished."""

    def __init__(self, shared: Shared, *, fsync: bool, express: bool, room: int) -> None:
        config = OrdersConfig(limits(), entry_wait_s=1_000.0, fsync_before_send=fsync)
        broker, self.journal, self.synced = Stalling(), Slow(), 2**62
        more = {"synced_seq": lambda: self.synced} if fsync else {}
        broker.follower = None  # there is such a word: the stage sets it
        world = self.world = Direct(shared, broker=broker, journal=self.journal, config=config, more=more)
        broker.prepare(world.clock, self.stall, 64)
        world.start()
        assert (world.stage.express is not None) is not fsync
        if not express:
            world.stage.express = world.stage.intake.express = None
        world.send(1, qty=500)
        filled(world, 500)
        world.run(3.0)
        broker.room, self.broker, self.seq = room, broker, 1
        self.placed = [1]
        self.journal.stall = self.stall

    def stall(self, ms: int) -> None:
        if ms:
            self.world.clock.advance(ms * MS)
            self.world.quote()

    def act(self, what: str, n: int, before_ms: int, behind_ms: int, gap_ms: int) -> None:
        world, broker = self.world, self.broker
        broker.before_ms, broker.behind_ms, self.journal.ms = before_ms, behind_ms, before_ms // 2
        self.synced = len(self.journal.records) if before_ms % 2 else 2**62  # the disk hangs, or does not
        world.quote()
        for _ in range(n):
            if what == "entry":
                self._place(slot=1, px=PX - 5 * (self.seq % 9))
            elif what == "exit":
                self._place(side=Side.SELL, qty=1, px=PX + 50, flags=IntentFlag.EXIT)
            elif what == "cancel" and self.seq:
                self.seq += 1
                world.wish(self.seq, kind=IntentKind.CANCEL, target_seq=1 + self.seq % max(1, self.seq - 1))
            elif what == "read":
                world.stage.reader.polls.orders_wanted = True
            elif what == "aside":
                request = HttpRequest("GET", "/user/margins")
                aside = Aside("MARGINS", request, lambda answer, now_ns: None, urgent=behind_ms % 2 > 0)
                world.stage.keeper.asides.offer(aside, world.clock.mono)
        world.step()
        self.stall(gap_ms)

    def _place(self, **more: Any) -> None:
        self.seq += 1
        self.placed.append(self.seq)
        self.world.wish(self.seq, **more)

    def end(self) -> None:
        self.broker.before_ms = self.broker.behind_ms = self.journal.ms = 0
        self.synced = 2**62
        self.broker.room = 64
        self.world.run(40.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(ACT, min_size=10, max_size=60), st.booleans(), st.booleans(), st.sampled_from([1, 2, 64]))
def test_never_eleven_in_a_window_by_the_times_of_the_writes(
    days: list[tuple[str, int, int, int, int]], fsync: bool, express: bool, room: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shared = Shared(make_directory(Path(folder), "queues"))
        try:
            life = Life(shared, fsync=fsync, express=express, room=room)
            for act in days:
                life.act(*act)
            life.end()
            world = life.world
            assert most(life.broker.writes) <= MOST
            assert not world.stage.outbox.halted, "the second count agrees with the first"
            untold = [seq for seq in life.placed if not {"ACCEPTED", "REFUSED"} & set(world.kinds(seq))]
            assert not untold, untold
            desk = world.stage.desk
            assert not len(desk.throttle) and not desk.staging and not life.broker.waiting
        finally:
            shared.close()
