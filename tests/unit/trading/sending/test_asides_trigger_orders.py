"""A broker to whom calls about triggers are order calls: paid, counted, written down, recalled as such."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
import yaml
from gtt_tools import Gtts, entry
from orders_world import PX, RULES, S, World, filled, limits

from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.layout import IntentFlag, IntentKind, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.sim.upstox.quota import ORDER, Quota
from kite_hft.trading.broker import HttpRequest, HttpResponse, Limits
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.asides import Aside
from kite_hft.trading.sending.budget import ReadKind
from kite_hft.trading.sending.evidence import ENTRY, READ, RECOVERED, URGENT, Left

CANCEL: dict[str, Any] = {"kind": IntentKind.CANCEL}
UPSTOX = yaml.safe_load(RULES.with_name("upstox_2026-04-01.yaml").read_text())


def upstox_limits(**more: Any) -> Limits:
    return replace(limits_from_mapping(UPSTOX), **more)


def world_of(limits: Limits, **more: Any) -> tuple[World, list[Left]]:
    """A world, and the rows of its evidence."""
    rows: list[Left] = []
    return World(config=OrdersConfig(limits), more={"on_call": rows.append, **more}), rows


def test_the_rules_say_to_whom_triggers_are_orders() -> None:
    assert upstox_limits().triggers_are_orders and not limits().triggers_are_orders
    with pytest.raises(LimitsError, match="triggers_are_orders 'yes' is neither true nor false"):
        limits_from_mapping(UPSTOX | {"triggers_are_orders": "yes"})


class Counted:
    """What leaves, by the broker's own count: the most order calls in a minute, and what he refuses."""

    def __init__(self, world: World) -> None:
        self.world, self.quota, self.most, self._minute = world, Quota(), 0, deque[int]()
        submit = world.broker.submit

        def counted(request_id: int, request: HttpRequest) -> None:
            if request.method != "GET":
                self._count(world.clock.mono)
            submit(request_id, request)

        world.broker.submit = counted  # type: ignore[method-assign]
        world.broker.on_call = lambda request: (
            HttpResponse(200, b"{}") if "/gtt/" in request.path else world.broker.accept(request)
        )

    def _count(self, now_ns: int) -> None:
        self.quota.allows(ORDER, now_ns)
        self._minute.append(now_ns)
        while self._minute[0] <= now_ns - 60 * S:
            self._minute.popleft()
        self.most = max(self.most, len(self._minute))

    def change(self, n: int) -> None:
        """So many changes of triggers that make them smaller, as far as the lane takes them."""
        asides = self.world.stage.keeper.asides
        for _ in range(n):
            call = HttpRequest("PUT", "/gtt/triggers/1")
            asides.offer(Aside("GTT", call, lambda result, now_ns: None, urgent=True), self.world.clock.mono)


def test_changes_of_triggers_and_orders_stay_together_below_the_limit_of_a_minute() -> None:
    world, _ = world_of(upstox_limits(all_windows=()))
    counted = Counted(world.start())
    world.send(1, qty=100)
    filled(world, 100)
    world.run(61.0)
    for second in range(60):
        counted.change(8)
        if second % 2:
            world.wish(second + 2, side=Side.SELL, qty=1, px=PX + 50, flags=IntentFlag.EXIT)
        world.run(1.0)
    world.run(5.0)
    assert len(world.broker.calls("POST")) > 20, "exits are among them"
    assert 440 < counted.most <= 490 and not counted.quota.refusals and not world.stage.outbox.halted


def test_they_stay_together_below_the_limit_of_half_an_hour() -> None:
    world, rows = world_of(upstox_limits())
    counted = Counted(world.start())
    for number in range(1, 31):
        world.wish(number, px=PX - 5 * number)
        world.run(1.0)
    for _ in range(420):
        counted.change(20)
        world.run(2.5, step_s=0.5)
    assert sum(row.part != READ for row in rows) == 1990
    assert not counted.quota.refusals and not world.stage.outbox.halted


def test_what_opens_waits_for_an_entrys_place_and_a_deletion_does_not() -> None:
    world, rows = world_of(upstox_limits())
    gtts = Gtts(world.start())
    entry(world)
    throttle = world.stage.desk.throttle
    while throttle.free_at(world.clock.mono, False) <= world.clock.mono:
        throttle.leaves(world.clock.mono)
    world.send(2, kind=IntentKind.GTT, product=Product.CNC, slot=1, px=PX - 95, trigger_px=PX - 100)
    told: list[Any] = []
    margins = Aside("MARGIN", HttpRequest("GET", "/user/margins"), lambda result, now_ns: told.append(result))
    world.stage.keeper.asides.offer(margins, world.clock.mono)
    world.send(3, target_seq=1, **CANCEL)
    assert gtts.calls == ["POST", "DELETE"]
    assert [(row.call, row.part) for row in rows if row.call == "GTT"] == [("GTT", ENTRY), ("GTT", URGENT)]
    world.run(1.5)
    assert gtts.calls == ["POST", "DELETE", "POST"] and told and not world.stage.outbox.halted


def test_reads_are_in_nobodys_way_and_triggers_in_no_reads() -> None:
    world, _ = world_of(upstox_limits(all_windows=()))
    gtts = Gtts(world.start())
    budget, now_ns = world.stage.desk.egress.budget, world.clock.mono
    while budget.read_free_ns(ReadKind.OTHER, now_ns) <= now_ns:
        budget.read_left(now_ns, ReadKind.OTHER)
    free_ns = budget.read_free_ns(ReadKind.OTHER, now_ns)
    entry(world)
    assert gtts.calls == ["POST"] and budget.read_free_ns(ReadKind.OTHER, now_ns) == free_ns


def test_at_the_other_broker_they_are_reads() -> None:
    world, rows = world_of(limits())
    gtts = Gtts(world.start())
    entry(world)
    world.send(2, target_seq=1, **CANCEL)
    assert gtts.calls == ["POST", "DELETE"]
    assert [row.part for row in rows if row.call == "GTT"] == [READ, READ]


@pytest.mark.parametrize("rows_kept", [True, False])
def test_a_later_process_counts_them_again(rows_kept: bool) -> None:
    world, rows = world_of(upstox_limits())
    Gtts(world.start())
    entry(world)
    world.send(2, target_seq=1, **CANCEL)
    calls = [record.data() for record in world.journal.records if record.kind is Kind.CALL]
    assert [call["part"] for call in calls] == [ENTRY, URGENT]
    left = tuple(rows) if rows_kept else ()
    found: list[Left] = []
    more = {"calls_left": left, "on_call": found.append}
    history = list(world.journal.records)
    again = World(config=world.config, history=history, clock=world.clock, broker=world.broker, more=more)
    again.start()
    gate = again.stage.desk.egress.gate
    half_hour = gate._both[2][2]
    assert len(half_hour) == 2, "both, and each once"
    told = [(row.call, row.part) for row in found if row.call == RECOVERED]
    assert told == ([] if rows_kept else [(RECOVERED, ENTRY), (RECOVERED, URGENT)])


def test_one_too_many_begins_the_cool_down_of_orders() -> None:
    world, _ = world_of(upstox_limits())
    Gtts(world.start())
    accept = world.broker.on_call
    world.broker.on_call = lambda request: HttpResponse(429, b"")
    entry(world)
    assert "RATE_LIMITED" in world.codes() and world.stage.desk.throttle.cooling(world.clock.mono)
    world.broker.on_call = accept
    world.send(2)
    world.run(1.0)
    assert not [call for call in world.broker.calls("POST") if "/gtt/" not in call.path]
    answer = [record.data() for record in world.journal.records if record.kind is Kind.ANSWER][-1]
    assert answer["http"] == 429 and answer["mono_ns"] > 0, "a later process waits out the rest"


# One that finds no connection free waits in the transport


def waiting(world: World, number: int, part: str) -> None:
    """A trigger's call of a part of the windows is handed over, and waits."""
    egress, now_ns = world.stage.desk.egress, world.clock.mono
    about = egress.aside_leaves("GTT", part)
    assert not egress.order_refused(now_ns)
    world.stage.desk.throttle.leaves(now_ns)
    egress.waits(number)
    egress.trigger_left("GTT", about, part)


def standing(world: World) -> int:
    """Order calls in the second count."""
    return len(world.stage.desk.egress.gate._both[2][2])


def test_one_that_never_leaves_gives_its_place_back_and_one_that_does_stands_where_it_left() -> None:
    world, rows = world_of(upstox_limits())
    egress = world.start().stage.desk.egress
    for number, part in ((901, ENTRY), (902, URGENT)):
        waiting(world, number, part)
    assert standing(world) == 2 and not [row for row in rows if row.call == "GTT"]
    egress.wrote(901, None)
    egress.wrote(902, world.clock.mono + S // 2)
    assert standing(world) == 1
    (row,) = [row for row in rows if row.call == "GTT"]
    assert (row.part, row.mono_ns) == (URGENT, world.clock.mono + S // 2)
    assert egress.budget.entry_free_ns <= world.clock.mono, "of eight places seven are free"


def test_a_cool_down_that_begins_meanwhile_ends_what_opens_and_lets_deletions_out_singly() -> None:
    world, _ = world_of(upstox_limits())
    egress, throttle = world.start().stage.desk.egress, world.stage.desk.throttle
    for number, part in ((901, ENTRY), (902, URGENT), (903, URGENT)):
        waiting(world, number, part)
    assert not any(egress.stops(number) for number in (901, 902, 903))
    world.clock.mono += S // 2
    throttle.cool_down(world.clock.mono)
    assert "cool-down" in egress.stops(901)
    assert not egress.stops(902) and not egress.placed(902), "the gap since the last call is not over"
    throttle.last_ns -= 3 * S
    assert egress.placed(902) and not egress.placed(903)


def test_an_exit_that_needs_a_place_takes_that_of_what_opens_before_a_deletions() -> None:
    world, _ = world_of(upstox_limits(all_windows=()))
    egress = world.start().stage.desk.egress
    for number, part in ((901, URGENT), (902, ENTRY), (903, URGENT)):
        waiting(world, number, part)
    assert egress._place_of_another(7, egress._held[901], world.clock.mono)
    assert [number for number in (901, 902, 903) if not egress._held[number].stands] == [902]
