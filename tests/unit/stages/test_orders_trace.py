"""What the order stage times, by a clock that moves only where the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from orders_world import LatestTable, MemoryJournal, Queue, S, ScriptedBroker, World, limits

from kite_hft.clock import ManualClock
from kite_hft.layout import COUNTERS, HISTOGRAMS, IntentKind, OrderStatus
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.ports import OrdersConfig

H = {name: index for index, name in enumerate(HISTOGRAMS["orders"])}
PROBES = COUNTERS["orders"].index("probes")
WAKE_NS, LOOK_NS, JOURNAL_NS, WRITE_NS = 2_000, 300, 5_000, 7_000


@dataclass
class Clocked:
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000 * S, 1_800_000_000 * S))
    on: bool = False

    def spend(self, ns: int) -> None:
        if self.on:
            self.clock.advance(ns)


def timed_world() -> tuple[World, Clocked]:
    """A world in which waking up, a look at the price, the journal and the write call take time."""
    time = Clocked()

    class SlowQueue(Queue):
        def peek(self, out: np.ndarray) -> int:
            if self.rows:
                time.spend(WAKE_NS)
            return super().peek(out)

    class SlowTable(LatestTable):
        def look(self, slot: int) -> tuple[int, int, int] | None:
            time.spend(LOOK_NS)
            return super().look(slot)

    class SlowJournal(MemoryJournal):
        def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
            time.spend(JOURNAL_NS if kind in (Kind.INTENT, Kind.CALL) else 0)
            return super().append(kind, time_ns, payload)

    class SlowBroker(ScriptedBroker):
        def submit(self, request_id: int, request: HttpRequest) -> None:
            time.spend(WRITE_NS if request.method != "GET" else 0)
            super().submit(request_id, request)

    world = World(
        clock=time.clock, intents=SlowQueue(), latest=SlowTable(), journal=SlowJournal(), broker=SlowBroker(),
        config=OrdersConfig(limits(), entry_wait_s=5.0),
    ).start()  # fmt: skip
    return world, time


def samples(world: World) -> dict[str, list[int]]:
    return {name: list(world.counters.samples.get(index, [])) for name, index in H.items()}


def test_the_parts_of_an_order_add_up() -> None:
    world, time = timed_world()
    world.quote()
    world.wish(1, tick_recv_ns=world.clock.mono - 40_000)
    time.on = True
    world.step()
    time.on = False
    found = samples(world)
    assert found["intent_to_taken"] == [WAKE_NS]
    (judged,) = found["taken_to_judged"]
    assert judged >= LOOK_NS and judged % LOOK_NS == 0, "only looks at the price take time there"
    assert found["throttle_wait"] == [0]
    assert found["journalled"] == [JOURNAL_NS] and found["written"] == [WRITE_NS]
    total = WAKE_NS + judged + JOURNAL_NS + WRITE_NS
    assert found["intent_to_sent"] == [total] and found["tick_to_order"] == [total + 40_000]


def test_waiting_in_the_throttle_is_told_apart() -> None:
    world, time = timed_world()
    window = limits().order_windows[0]
    n = window.calls - window.reserved
    for number in range(1, n + 2):
        world.wish(number, slot=number % 2)
    world.quote()
    world.step()
    found = samples(world)
    assert found["throttle_wait"] == [0] * n and len(found["taken_to_judged"]) == n + 1
    world.run(window.window_s + 0.1, 0.05)
    (waited,) = samples(world)["throttle_wait"][n:]
    assert abs(waited - window.window_s * S) <= 0.05 * S
    assert samples(world)["intent_to_sent"][n] >= waited
    assert time.clock is world.clock


def test_cancels_and_refusals_are_timed_too() -> None:
    world, time = timed_world()
    world.send(1)
    before = samples(world)
    time.on = True
    world.wish(2, kind=IntentKind.CANCEL, target_seq=1)
    world.wish(3, slot=99)
    world.step()
    time.on = False
    new = {name: rows[len(before[name]) :] for name, rows in samples(world).items()}
    assert len(new["intent_to_taken"]) == len(new["taken_to_judged"]) == 2
    assert new["written"] == [WRITE_NS] and new["journalled"] == [JOURNAL_NS]
    assert not new["intent_to_sent"] and world.reason(3) == "UNKNOWN_INSTRUMENT"


def test_probes_are_counted_timed_and_nothing_else() -> None:
    world, time = timed_world()
    records, calls = len(world.journal.records), len(world.broker.calls("POST"))
    for number in (1, 2, 3):
        world.wish(number, kind=IntentKind.PROBE, side=0, qty=0, px=0)
    time.on = True
    world.step(2)
    assert samples(world)["intent_to_taken"] == [WAKE_NS] * 3
    assert not samples(world)["taken_to_judged"]
    assert len(world.journal.records) == records and len(world.broker.calls("POST")) == calls
    assert not world.intents.rows and not world.told
    report = world.stage.report()["orders"]
    assert (report["probes"], report["intents"], report["refused"]) == (3, 0, {})
    time.on = False
    world.send(1)  # a probe's number is not used up: it is no order
    assert world.status(1) in (OrderStatus.OPEN, OrderStatus.PENDING)


def test_probes_outlive_a_restart_without_harm() -> None:
    world, _ = timed_world()
    world.wish(1, kind=IntentKind.PROBE, side=0, qty=0, px=0)
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        intents=world.intents, more={"restarted": True, "counted": dict(world.stage.outbox.totals)},
    )  # fmt: skip
    again.stage.start()
    again.run(1.0)
    assert again.stage.active and not again.intents.rows and not again.alerts
    assert again.stage.report()["orders"]["probes"] == 1
    assert not samples(again)["intent_to_taken"], "it waited for the process, not for its turn"
    again.wish(2, kind=IntentKind.PROBE)
    again.step()
    assert samples(again)["intent_to_taken"] == [0] and again.counters.values[PROBES] == 2
