"""A kill that comes while the disk holds up a record: what opens does not leave behind it, by no way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from express_twins import Watched, different, watch, without
from group_tools import WIDE, legs, margins
from gtt_tools import GTT, Gtts
from orders_world import PX, MemoryJournal, S, ScriptedBroker, World, filled, instruments, limits
from upstox_rows import answer

from kite_hft.brokers.upstox.rest import upstox
from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.evidence import RECOVERED, Left

PATHS = pytest.mark.parametrize("express", [True, False], ids=["express", "parts"])


@dataclass
class Stalling(MemoryJournal):
    """From `stalls` on the write of each call's record takes `stall_ns`, and somebody `kills` meanwhile."""

    stalls: bool = False
    beside: bool = False  # the write of what a call beside orders leaves with, and no other
    kills: bool = True
    stall_ns: int = 300_000_000
    killed: str = ""
    clock: Any = None

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        seq = super().append(kind, time_ns, payload)
        beside = b'"about"' in payload
        if self.stalls and beside == self.beside and kind in (Kind.INTENT, Kind.CALL, Kind.GTT):
            self.clock.advance(self.stall_ns)
            self.killed = self.killed or "enough" * self.kills
        return seq


def stalling(*, express: bool = False, broker: ScriptedBroker | None = None, **more: Any) -> World:
    """An active stage whose journal stalls when told to."""
    journal = Stalling()
    ports = {"killed": lambda: journal.killed} | more.pop("more", {})
    world = World(broker=broker or Watched(), journal=journal, more=ports, **more)
    journal.clock = world.clock
    if not express:
        without(world)
    world.start()
    assert bool(world.stage.express) == express
    return world


def stall(world: World, *, ms: int = 300, beside: bool = False) -> None:
    """From here on."""
    assert isinstance(world.journal, Stalling)
    world.journal.stalls, world.journal.stall_ns, world.journal.beside = True, ms * 1_000_000, beside


def since(world: World, calls: int) -> list[str]:
    """Methods of the order calls since the so-manieth."""
    return [request.method for request in world.broker.sent[calls:] if request.method != "GET"]


@PATHS
def test_an_entry_whose_record_was_held_up_does_not_leave_behind_the_latch(express: bool) -> None:
    world = stalling(express=express)
    placed = world.stage.desk.throttle.placed_today
    stall(world)
    world.send(1)
    assert not world.broker.calls("POST"), "its record stood, and then the account was killed"
    assert world.status(1) is OrderStatus.REFUSED and world.reason(1) == "KILLED"
    assert "enough" in world.order(1).message and world.order_rows[-1]["status"] == "REFUSED"
    (answer,) = [r for r in world.journal.records if r.kind is Kind.ANSWER]
    assert b'"outcome":"unsent"' in answer.payload
    desk = world.stage.desk
    assert desk.throttle.placed_today == placed and not desk.cancelling
    assert not world.stage.book.live_orders and world.stage.book.in_play() == {}
    world.run(1.0)
    assert world.stage.states.killed and world.stage.idle and not world.broker.calls("POST")


@PATHS
def test_without_a_kill_a_slow_write_changes_nothing(express: bool) -> None:
    world = stalling(express=express)
    stall(world)
    world.journal.kills = False  # type: ignore[attr-defined]
    world.send(1)
    world.step(2)
    assert len(world.broker.calls("POST")) == 1 and world.kinds(1) == ["SENT", "ACCEPTED"]


def test_both_ways_do_the_same() -> None:
    one, other = (watch(stalling(express=express)) for express in (True, False))
    for world in (one, other):
        world.send(1)
        world.run(2.0)
        stall(world)
        world.send(2, px=PX + 5)
    assert not different(one, other)
    assert len(one.broker.calls("POST")) == 1


@PATHS
def test_an_exit_and_a_cancel_leave_all_the_same(express: bool) -> None:
    world = stalling(express=express)
    world.send(1)
    filled(world, 10)
    world.run(2.0)
    world.send(2, slot=1)
    world.run(2.0)
    calls = len(world.broker.sent)
    stall(world)
    world.send(3, side=Side.SELL)
    assert since(world, calls) == ["POST", "DELETE"], "the exit, and the cancel of the entry by the kill"


def test_a_modification_that_enlarges_is_withheld_and_one_that_makes_smaller_is_not() -> None:
    world = stalling()
    world.send(1)
    calls = len(world.broker.sent)
    stall(world)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=20)
    assert "PUT" not in since(world, calls) and world.reason(2) == "KILLED"
    assert (
        not world.stage.desk.modifying and world.order(1).quantity == 10 and not world.order(1).quantity_max
    )
    world = stalling()
    world.send(1)
    calls = len(world.broker.sent)
    stall(world)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=5)
    assert since(world, calls)[:1] == ["PUT"]


def test_so_are_slices_and_the_legs_of_a_group() -> None:
    world = stalling(config=OrdersConfig(limits(), WIDE))
    stall(world)
    world.send(1, slot=3, qty=3600, product=Product.NRML)
    world.run(1.0)
    family = world.stage.book.family(world.order(1))
    assert not world.broker.calls("POST") and len(family) == 2
    assert {order.status for order in family} == {OrderStatus.REFUSED}
    world = stalling(config=OrdersConfig(limits(), WIDE))
    margins(world, 500.0)
    stall(world)
    legs(world)
    world.run(5.0)
    assert not [r for r in world.broker.calls("POST") if not r.path.startswith("/margins")]
    assert [r.kind for r in world.journal.records].count(Kind.INTENT) == 1, "one leg came so far, no further"
    found = [world.stage.book.by_strategy(1, seq) for seq in (1, 2)]
    assert all(order is None or order.status in TERMINAL for order in found)


def test_so_is_a_trigger_that_would_open_something() -> None:
    world = stalling()
    gtts = Gtts(world)
    stall(world)
    world.send(1, **GTT)
    world.run(1.0)
    assert not gtts.calls and world.reason(1) == "KILLED"


def test_nor_does_one_leave_behind_the_latch_where_its_last_record_is_held_up() -> None:
    world = stalling()
    gtts = Gtts(world)
    stall(world, beside=True)
    world.send(1, **GTT)
    world.run(1.0)
    assert not gtts.calls and world.reason(1) == "KILLED"
    found: list[Left] = []
    again = World(broker=ScriptedBroker(), clock=world.clock, journal=world.journal,
                  history=list(world.journal.records),
                  more={"restarted": True, "on_call": found.append})  # fmt: skip
    again.stage.start()
    assert not [row for row in found if row.call == RECOVERED], "it never left"


def test_one_that_waited_for_the_disk_is_asked_for_too() -> None:
    synced = [2**62]
    config = OrdersConfig(limits(), fsync_before_send=True)
    world = stalling(config=config, more={"synced_seq": lambda: synced[0]})
    synced[0] = len(world.journal.records)
    world.send(1)
    world.stage.desk.egress.gate.refuses = _kills(world, world.stage.desk.egress.gate.refuses)  # type: ignore[method-assign]
    synced[0] = 2**62
    world.step(2)
    assert not world.broker.calls("POST") and world.status(1) is OrderStatus.REFUSED
    assert world.reason(1) == "KILLED"


def _kills(world: World, old: Callable[..., str]) -> Callable[..., str]:
    """Whatever comes between the look at the latch and the write may take its time."""

    def refuses(*words: Any) -> str:
        world.clock.advance(S // 10)
        world.journal.killed = "enough"  # type: ignore[attr-defined]
        return old(*words)

    return refuses


@PATHS
def test_the_journal_tells_a_later_process_that_it_never_left(express: bool) -> None:
    world = stalling(express=express)
    stall(world)
    world.send(1)
    again = World(broker=ScriptedBroker(), clock=world.clock, journal=world.journal,
                  history=list(world.journal.records), more={"restarted": True})  # fmt: skip
    again.quote()
    again.start()
    assert again.status(1) is OrderStatus.REFUSED and not again.stage.book.live_orders
    assert not again.broker.calls("POST") and not again.broker.calls("DELETE")


@PATHS
def test_a_process_that_died_behind_the_record_asks_the_broker(express: bool) -> None:
    """The journal ends with the record of the order: it may have left, for all that is known."""
    world = stalling(express=express)
    stall(world)
    world.send(1)
    records = list(world.journal.records)
    last = max(at for at, record in enumerate(records) if record.kind is Kind.INTENT)
    again = World(broker=ScriptedBroker(), clock=world.clock, history=records[: last + 1],
                  config=OrdersConfig(limits(), loopback=True, absence_horizon_s=8.0),
                  more={"restarted": True})  # fmt: skip
    again.journal.records = records[: last + 1]
    again.quote()
    again.start()
    assert again.status(1) is OrderStatus.AMBIGUOUS
    again.run(20.0)
    assert again.status(1) is OrderStatus.ABSENT and not again.broker.calls("POST")


def at_upstox(request: HttpRequest) -> HttpResponse:
    """An account without anything."""
    path = request.path.partition("?")[0]
    return answer({"available_to_trade": {"total": 1000.5}} if path.endswith("funds-and-margin") else [])


def test_at_upstox_too() -> None:
    keys = ("NSE_EQ|INE000A01000", "NSE_EQ|INE000A01001", "NSE_INDEX|Two", "NSE_FO|1003", "NSE_FO|1004")
    rows = zip(instruments(), keys, strict=True)
    table = InstrumentTable(tuple(replace(row, upstox_key=key) for row, key in rows))
    for express in (True, False):
        broker = Watched(
            on_read=at_upstox, on_call=lambda request: answer({"order_ids": ["261123000000001"]})
        )
        world = stalling(express=express, broker=broker, adapter=upstox(table), table=table)
        stall(world)
        world.send(1)
        assert not world.broker.calls("POST") and world.reason(1) == "KILLED"
        assert world.stage.desk.throttle.placed_today == 0


def counted(world: World) -> list[int]:
    """How many calls stand in each window of the second count."""
    return [len(times) for _, _, times in world.stage.desk.egress.gate._both]


@PATHS
def test_an_entry_whose_deadline_has_passed_meanwhile_does_not_leave(express: bool) -> None:
    """The disk hangs, or the process stands still, between the decision and the write."""
    world = stalling(express=express)
    world.journal.kills = False  # type: ignore[attr-defined]
    world.run(3.0)
    budget = world.stage.desk.egress.budget
    stall(world, ms=1_500)
    world.send(1)
    assert not world.broker.calls("POST") and world.reason(1) == "THROTTLE_DEADLINE"
    assert world.status(1) is OrderStatus.REFUSED and not world.stage.book.live_orders
    assert set(counted(world)) == {0} and world.stage.desk.throttle.placed_today == 0
    assert budget.urgent_free_ns < world.clock.mono - S, "it keeps no place from others"
    replayed = World(history=list(world.journal.records), more={"restarted": True})
    replayed.stage.start()
    assert replayed.status(1) is OrderStatus.REFUSED


@PATHS
def test_one_that_the_strategy_wanted_sooner_does_not_leave_either(express: bool) -> None:
    world = stalling(express=express)
    world.journal.kills = False  # type: ignore[attr-defined]
    stall(world, ms=300)
    world.send(1, deadline_ns=world.clock.mono + S // 5)
    assert not world.broker.calls("POST") and world.reason(1) == "THROTTLE_DEADLINE"


@PATHS
def test_nor_does_one_whose_price_has_grown_old_or_run_away_meanwhile(express: bool) -> None:
    for px, reason in ((0, "STALE_TICK"), (2 * PX, "PRICE_COLLAR")):
        world = stalling(express=express, config=OrdersConfig(limits(), entry_wait_s=60.0))
        journal: Any = world.journal
        journal.kills, append = False, journal.append

        def appended(
            kind: Kind, *words: Any, world: World = world, append: Any = append, px: int = px
        ) -> int:
            seq: int = append(kind, *words)
            if px and kind is Kind.INTENT:
                world.quote(px)
            return seq

        journal.append = appended
        stall(world, ms=3_000)
        world.send(1)
        assert not world.broker.calls("POST") and world.reason(1) == reason


def test_a_standstill_before_the_record_is_noticed_as_well() -> None:
    """Anywhere in the step: what was judged at its beginning is old."""
    world = stalling()
    throttle = world.stage.desk.throttle
    offer = throttle.offer

    def offered(*words: Any, **more: Any) -> Any:
        denied = offer(*words, **more)
        world.clock.advance(2 * S)
        return denied

    throttle.offer = offered  # type: ignore[method-assign]
    world.send(1)
    assert not world.broker.calls("POST") and world.reason(1) == "THROTTLE_DEADLINE"
    throttle.offer = offer  # type: ignore[method-assign]
    world.run(2.0)
    assert max(counted(world)) <= 10 and not world.stage.outbox.halted
    world.send(2)
    assert len(world.broker.calls("POST")) == 1


@PATHS
def test_an_exit_leaves_however_long_that_took(express: bool) -> None:
    world = stalling(express=express)
    world.journal.kills = False  # type: ignore[attr-defined]
    world.send(1)
    filled(world, 10)
    world.run(2.0)
    stall(world, ms=30_000)
    world.send(2, side=Side.SELL)
    assert len(world.broker.calls("POST")) == 2


def test_what_did_not_leave_holds_nobody_up_in_the_second_count() -> None:
    """Its place stands behind that of a call which was written later, and is as old as that of another."""
    world = stalling()
    times = world.stage.desk.egress.gate._both[0][2]
    submit = world.broker.submit

    def slow(request_id: int, request: HttpRequest) -> None:
        submit(request_id, request)
        if len(world.broker.calls("POST")) == 2:
            world.clock.advance(2 * S)

    world.broker.submit = slow  # type: ignore[method-assign]
    for seq in range(1, 5):
        world.wish(seq, px=PX - 5 * seq)
    world.quote()
    world.step(2)
    assert len(world.broker.calls("POST")) == 2 and list(times) == sorted(times)
    assert [world.status(seq) for seq in (3, 4)] == [OrderStatus.REFUSED] * 2
