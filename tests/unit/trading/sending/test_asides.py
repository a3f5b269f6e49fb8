"""Calls beside orders: deletions of triggers stand in one line with cancels and exits, not behind reads."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from gtt_tools import Gtts, entry, overnight
from orders_world import PX, RULES, S, World, filled

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.layout import IntentFlag, IntentKind, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.asides import WAITING_MAX, Aside, Asides
from kite_hft.trading.sending.budget import ReadKind, span_ns_of

CANCEL: dict[str, Any] = {"kind": IntentKind.CANCEL}


def read_storm(world: World, seconds: float = 1.0) -> None:
    """The order book is read as often as it may be."""
    for _ in range(round(seconds / 0.05)):
        world.stage.reader.polls.orders_wanted = True
        world.run(0.05)


def calls(world: World) -> list[str]:
    """What left but for reads: + an order, - a cancel, GTT method."""
    short = {"POST": "+", "DELETE": "-"}
    sent = [r for r in world.broker.sent if r.method != "GET"]
    return [f"GTT {r.method}" if "/gtt/" in r.path else short[r.method] for r in sent]


def fill_the_reads(world: World) -> None:
    budget = world.stage.desk.egress.budget
    while budget.read_free_ns(ReadKind.OTHER, world.clock.mono) <= world.clock.mono:
        budget.read_left(world.clock.mono, ReadKind.OTHER)


def test_a_deletion_does_not_wait_behind_reads() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    read_storm(world)
    fill_the_reads(world)
    world.send(2, target_seq=1, **CANCEL)
    assert gtts.calls == ["POST", "DELETE"]
    assert not world.stage.outbox.halted, "the second count agrees"


def test_one_that_only_opens_waits_behind_reads_as_before() -> None:
    world = World().start()
    gtts = Gtts(world)
    fill_the_reads(world)
    world.send(1, kind=IntentKind.GTT, product=Product.CNC, px=PX - 95, trigger_px=PX - 100)
    assert not gtts.calls
    world.run(1.5)
    assert gtts.calls == ["POST"]
    fill_the_reads(world)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    assert gtts.calls == ["POST"], "another price protects nothing"
    world.run(1.5)
    fill_the_reads(world)
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=5, px=0, order_type=0)
    assert gtts.calls == ["POST", "PUT", "PUT"], "a smaller quantity takes risk away"


def test_the_stop_of_a_plan_at_the_broker_and_its_changes_wait_for_no_read() -> None:
    world, gtts = overnight()
    assert gtts.calls == ["POST"]
    world.send(3, product=Product.CNC, qty=5)
    fill_the_reads(world)
    filled(world, 5)
    world.step(2)
    assert gtts.calls == ["POST", "PUT"]


def storm(world: World, first: int, n: int) -> None:
    """So many exits of one share each."""
    for seq in range(first, first + n):
        world.wish(seq, side=Side.SELL, qty=1, px=PX + 50, flags=IntentFlag.EXIT)
    world.quote()
    world.step()


def held(quantity: int = 100) -> tuple[World, Gtts]:
    """So many shares, and one trigger of the strategy's that would open something."""
    world = World().start()
    gtts = Gtts(world)
    world.send(1, qty=quantity)
    filled(world, quantity)
    entry(world, 2)
    world.run(2.0)
    return world, gtts


def test_it_leaves_in_its_turn_among_exits() -> None:
    world, _ = held()
    storm(world, 3, 20)
    world.run(0.1)
    world.send(23, target_seq=2, **CANCEL)
    world.run(0.1)
    storm(world, 24, 20)
    world.run(8.0)
    made = calls(world)[2:]
    assert len(made) == 41 and 20 <= made.index("GTT DELETE") <= 30, made
    assert not world.stage.outbox.halted


def test_entries_leave_it_a_place_at_once() -> None:
    world, gtts = held()
    for seq in range(3, 33):
        world.wish(seq, px=PX - 5 * seq)
    world.quote()
    world.step()
    assert calls(world)[2:] == ["+"] * 8
    world.send(33, target_seq=2, **CANCEL)
    assert gtts.calls == ["POST", "DELETE"]


def test_it_is_paid_as_a_cancel_is_and_counted_twice_over() -> None:
    world, _ = held()
    budget, now_ns = world.stage.desk.egress.budget, world.clock.mono
    fill_the_reads(world)
    world.send(3, target_seq=2, **CANCEL)
    span_ns = span_ns_of(world.config.limits.all_windows[0])
    assert budget.read_free_ns(ReadKind.OTHER, now_ns) >= now_ns + span_ns - S // 100
    made: list[int] = []
    while budget.urgent_free_ns <= now_ns:
        budget.left(now_ns)
        made.append(now_ns)
    assert len(made) == 5, "four reads, the deletion, and five are ten"


@pytest.mark.parametrize("kind", [ReadKind.OTHER, ReadKind.RELIEF])
def test_a_read_that_was_kept_waiting_keeps_the_next_place(kind: ReadKind) -> None:
    world, _ = held()
    budget, now_ns = world.stage.desk.egress.budget, world.clock.mono
    while budget.urgent_free_ns <= now_ns:
        budget.left(now_ns)
    budget.read_waits(now_ns, ReadKind.OTHER)
    later_ns = budget.hold_ns
    for _ in range(9):
        budget.left(later_ns)
    assert (budget.read_free_ns(kind, later_ns) <= later_ns) is (kind is ReadKind.OTHER)
    budget.read_left(later_ns - 1, ReadKind.RELIEF)
    assert budget.hold_ns == later_ns, "a deletion is no read: that one still waits"


def test_both_lanes_are_bounded_and_neither_fills_the_other() -> None:
    world = World().start()
    asides: Asides = world.stage.keeper.asides
    words = HttpRequest("GET", "/user/margins"), lambda result, now_ns: None
    for urgent in (False, True):
        assert all(asides.offer(Aside("X", *words, urgent=urgent), 0) for _ in range(WAITING_MAX))
        assert asides.full(urgent=urgent) and not asides.offer(Aside("X", *words, urgent=urgent), 0)
        assert asides.full(urgent=True) is urgent
    assert len(asides) == 2 * WAITING_MAX


def test_one_for_which_the_second_count_has_no_place_is_told_unsent() -> None:
    world = World().start()
    told: list[Any] = []
    while not world.stage.desk.egress.gate.refuses_read(world.clock.mono):
        pass
    aside = Aside("X", HttpRequest("GET", "/x"), lambda result, now_ns: told.append(result), urgent=True)
    world.stage.keeper.asides.offer(aside, world.clock.mono)
    assert world.stage.keeper.asides.send(world.clock.mono) == 0
    (result,) = told
    assert isinstance(result, TransportError) and not result.sent and world.stage.outbox.halted


def own_exit(world: World, seq: int = 2, **more: Any) -> None:
    """A trigger that closes the ten that are held, when no connection is free."""
    words = {"side": Side.SELL, "px": PX - 105, "trigger_px": PX - 100, "qty": 10}
    world.send(seq, kind=IntentKind.GTT, product=Product.NRML, slot=0, **(words | more))


def unconnected() -> tuple[World, Gtts]:
    """Ten are held overnight, and no call about a trigger finds a connection."""
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.NRML)
    filled(world, 10)

    def call(request: HttpRequest) -> Any:
        if request.path.startswith("/gtt"):
            return TransportError("no connection was free: all busy", sent=False)
        return gtts.call(request)

    world.broker.on_call = call
    return world, gtts


def tries(world: World) -> int:
    return sum("/gtt" in request.path and request.method == "POST" for request in world.broker.sent)


def test_an_exit_that_finds_no_connection_stands_in_line_again_and_leaves_once() -> None:
    world, gtts = unconnected()
    own_exit(world)
    world.run(5.0)
    assert world.kinds(2) == [] and 5 <= tries(world) <= 6, "and takes no more places than that"
    assert "EXIT_WAITS" in world.codes()
    assert any("trigger 2 of strategy 1 has waited" in told for told in world.alerts)
    world.broker.on_call = gtts.call
    world.run(2.0)
    assert gtts.calls == ["POST"] and world.kinds(2) == ["ACCEPTED"]
    over = [fields for fields in world.alert_fields if fields["code"] == "EXIT_WAITS"]
    assert over[-1].get("cleared") and over[-1]["key"] == "trigger 2 of strategy 1"


def test_one_that_opens_does_not() -> None:
    world, _gtts = unconnected()
    own_exit(world, side=Side.BUY, px=PX - 95)
    world.run(2.0)
    assert world.kinds(2) == ["REJECTED"] and world.reason(2) == "NOT_CONNECTED" and tries(world) == 1


@pytest.mark.parametrize("why", ["its position has gone", "it is cancelled"])
def test_an_exit_that_nobody_needs_any_more_never_leaves(why: str) -> None:
    world, gtts = unconnected()
    own_exit(world)
    world.run(2.5)
    if why == "it is cancelled":
        world.send(3, target_seq=2, **CANCEL)
    else:
        world.send(3, side=Side.SELL, product=Product.NRML)
        filled(world, 10)
    world.run(2.5)
    world.broker.on_call = gtts.call
    world.run(3.0)
    assert not gtts.calls and world.kinds(2) == ["CANCELLED"] and not len(world.stage.keeper.asides)
    assert [f for f in world.alert_fields if f["code"] == "EXIT_WAITS"][-1].get("cleared")


def test_while_it_waits_the_others_go() -> None:
    world, gtts = unconnected()
    refuse, world.broker.on_call = world.broker.on_call, gtts.call
    entry(world, 5)
    world.broker.on_call = refuse
    own_exit(world, 6)
    world.run(0.1)
    world.broker.on_call = gtts.call
    world.send(7, target_seq=5, **CANCEL)
    assert gtts.calls == ["POST", "DELETE"], "the exit is tried again a second after its last try"
    world.run(1.2)
    assert gtts.calls == ["POST", "DELETE", "POST"] and world.kinds(6) == ["ACCEPTED"]


def test_what_a_person_sells_meanwhile_is_the_persons() -> None:
    """It has the terms of the order that the trigger would place, and that one has never left."""
    world, gtts = unconnected()
    own_exit(world)
    world.run(2.5)
    row = world.row(0) | {"order_id": "991", "transaction_type": "SELL", "tag": None, "tags": []}
    world.broker.rows["991"] = row | {"status": "COMPLETE", "filled_quantity": 10, "pending_quantity": 0}
    world.update(world.broker.rows["991"])
    world.run(20.0)
    assert world.quantity(product=Product.NRML) == 0 and "BROKER_ACTED" in world.codes()
    world.broker.on_call = gtts.call
    world.run(3.0)
    assert not gtts.calls and world.kinds(2)[-1] == "CANCELLED"


def test_tries_without_a_connection_take_no_place_for_longer_than_they_last() -> None:
    """Hundreds of them would fill what all reads have in half an hour."""
    rules = RULES.with_name("upstox_2026-04-01.yaml")
    world = World(config=OrdersConfig(limits_from_mapping(yaml.safe_load(rules.read_text())))).start()
    egress, clock = world.stage.desk.egress, world.clock
    for number in range(1_900):
        about = egress.aside_leaves("GTT")
        egress.budget.read_left(clock.mono, ReadKind.RELIEF)
        egress.waits(number + 1)
        egress.read_left("GTT", about)
        egress.wrote(number + 1, None)
        clock.mono += 9 * S // 10
    assert egress.budget.read_free_ns(ReadKind.OTHER, clock.mono) <= clock.mono


def test_the_word_that_an_exit_waits_is_taken_back_when_the_second_count_ends_it() -> None:
    world, _gtts = unconnected()
    own_exit(world)
    world.run(1.5)
    while not world.stage.desk.egress.gate.refuses_read(world.clock.mono):
        pass
    world.run(1.5)
    assert [f for f in world.alert_fields if f["code"] == "EXIT_WAITS"][-1].get("cleared")


def test_the_records_of_a_call_beside_orders_are_of_no_order_and_no_strategy() -> None:
    world, _ = unconnected()
    before = len(world.journal.records)
    world.send(2, kind=IntentKind.GTT, product=Product.CNC, slot=1, px=PX - 95, trigger_px=PX - 100)
    world.run(0.5)
    told = world.journal.records[before:]
    (call,) = (record for record in told if record.kind is Kind.CALL)
    (answer,) = (record for record in told if record.kind is Kind.ANSWER)
    about = f"{world.stage.desk.egress._ports.tags.run}.{call.seq}"
    words = {"call": "GTT", "about": about, "no": 0, "strategy": EXTERNAL}
    assert call.data() == words | {"seq": 0}
    assert answer.data() == words | {"outcome": "unsent"}, "by the same name"
