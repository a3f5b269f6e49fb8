"""Exits of a position: one order at the broker that is stop, target and way out in turn."""

from __future__ import annotations

from typing import Any

import pytest
from exits_tools import armed, at, exits, guard, holding
from orders_world import PX, S, World, error, filled, form, ok

from kite_hft.layout import EventKind, OrderStatus, OrderType, Product, Reason, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.facts import Facts, View
from kite_hft.trading.intents import ENGINE_SEQ

NO_SLM = Facts(view=lambda slot, now: View(order_types=~(1 << int(OrderType.SLM))))


def test_a_stop_rests_at_the_broker_sized_to_the_position() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    order = guard(world)
    assert (order.side, order.quantity, order.order_type) == (Side.SELL, 10, OrderType.SLM)
    assert order.trigger_px == PX - 100 and not order.opening and order.flags == 1
    assert world.kinds(2) == ["ACCEPTED"]
    assert world.stage.outbox.totals["exit_plans"] == 1
    at(world, PX - 50, 1.0)
    assert len(world.broker.calls("POST")) == 2 and not world.broker.calls("PUT")


def test_where_market_stops_are_illegal_it_is_a_limit_stop_with_a_gap() -> None:
    world = holding(more={"facts": NO_SLM})
    exits(world, trigger_px=PX - 100)
    order = guard(world)
    assert (order.order_type, order.trigger_px, order.px) == (OrderType.SL, PX - 100, 9_800)
    short = holding(side=Side.SELL, more={"facts": NO_SLM})
    exits(short, trigger_px=PX + 100)
    order = guard(short)
    assert (order.side, order.trigger_px, order.px) == (Side.BUY, PX + 100, 10_205)


def test_at_the_target_the_stop_becomes_a_limit_and_a_stop_again_when_the_price_leaves() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100, px=PX + 200)
    armed(world)
    at(world, PX + 200)
    order = guard(world)
    assert form(world.broker.calls("PUT")[-1])["order_type"] == "LIMIT"
    assert (order.order_type, order.px, order.trigger_px) == (OrderType.LIMIT, PX + 200, 0)
    at(world, PX + 140)  # not far enough
    assert len(world.broker.calls("PUT")) == 1
    at(world, PX + 120)
    assert (order.order_type, order.trigger_px) == (OrderType.SLM, PX - 100)
    assert order.status is OrderStatus.TRIGGER_PENDING
    assert len(world.broker.calls("POST")) == 2  # always the same order


def test_a_target_that_fills_ends_the_plan() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100, px=PX + 200)
    armed(world)
    at(world, PX + 200)
    filled(world, 10, PX + 200)
    at(world, PX + 200)
    assert world.quantity() == 0 and world.kinds(2) == ["ACCEPTED", "COMPLETE"]
    assert world.stage.outbox.totals["exit_plans"] == 0 and not world.stage.book.live_count()


def test_a_trailing_stop_moves_in_steps_and_never_back() -> None:
    world = holding()
    exits(world, trail_px=100, step_px=50)
    order = armed(world)
    assert order.trigger_px == PX - 100
    at(world, PX + 45)
    assert order.trigger_px == PX - 100  # less than a step
    at(world, PX + 50)
    assert order.trigger_px == PX - 50
    at(world, PX - 40)
    assert order.trigger_px == PX - 50 and len(world.broker.calls("PUT")) == 1


def test_trailing_leaves_a_reserve_of_modifications_and_takes_a_new_order() -> None:
    world = holding()
    exits(world, trail_px=100, step_px=5)
    first = armed(world)
    cap = world.config.limits.modifications_per_order
    px = PX
    while world.stage.book.live_orders.get(first.order_no):
        px += 5
        at(world, px, 1.5)
        assert px < PX + 5 * cap * 2
    assert first.modifications == cap - 3 and first.status is OrderStatus.CANCELLED
    at(world, px, 1.0)
    assert guard(world) is not first and guard(world).trigger_px >= px - 105


def test_at_its_time_the_position_is_closed_at_the_market() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100, deadline_ns=world.clock.mono + 2 * S)
    order = armed(world)
    at(world, PX, 2.2)
    assert order.order_type == OrderType.MARKET
    assert form(world.broker.calls("PUT")[-1])["market_protection"] == "-1"
    filled(world, 10)
    at(world, PX)
    assert world.quantity() == 0 and world.kinds(2)[-1] == "COMPLETE"


def test_a_stop_that_is_reached_and_does_not_fill_is_priced_towards_the_circuit() -> None:
    bands = {0: (9_700, 10_300, 0)}
    facts = Facts(view=NO_SLM.view, band=lambda slot: bands.get(slot, (1, 10**6, 0)))
    world = holding(more={"facts": facts})
    exits(world, trigger_px=PX - 100)
    order = armed(world)
    world.update(world.row() | {"status": "OPEN"})
    at(world, PX - 120, 2.5)
    assert order.order_type == OrderType.LIMIT and order.px == 9_780  # one step of 1 % below 98.80
    assert "STOP_UNFILLED" in world.codes() and world.stage.outbox.totals["stops_unfilled"] == 1
    at(world, PX - 120, 5.0)
    assert order.px == 9_700  # the circuit, and no further
    puts = len(world.broker.calls("PUT"))
    at(world, PX - 120, 5.0)
    assert len(world.broker.calls("PUT")) == puts


def test_at_a_locked_circuit_the_exit_waits_as_a_limit_with_an_alert() -> None:
    facts = Facts(view=NO_SLM.view, band=lambda slot: (9_700, 10_300, 0))
    world = holding(more={"facts": facts})
    exits(world, trigger_px=PX - 100, deadline_ns=world.clock.mono + S)
    order = armed(world)
    at(world, 9_700, 1.2)
    assert (order.order_type, order.px) == (OrderType.LIMIT, 9_700)
    assert "EXIT_AT_CIRCUIT" in world.codes()


def test_the_stop_follows_the_position() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    order = armed(world)
    world.send(3, qty=5)
    filled(world, 5)
    world.step(3)
    assert order.quantity == 15 and world.broker.rows[order.order_id]["quantity"] == 15


def test_a_strategys_own_exit_comes_first_and_the_stop_gives_way() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    world.send(3, side=Side.SELL, qty=4, px=PX + 10)
    world.step(4)
    assert (stop.quantity, stop.open_quantity) == (6, 10), "taken by the broker, and not shown yet"
    assert world.stage.book.by_strategy(1, 3) is None
    world.update(world.broker.rows[stop.order_id], status="UPDATE")
    world.step(4)
    own = world.order(3)
    assert own.status is OrderStatus.PENDING and not own.opening
    assert stop.open_quantity == 6 and stop.status is OrderStatus.TRIGGER_PENDING
    world.send(4, side=Side.SELL, qty=6, px=PX + 10)
    world.step(6)
    assert world.broker.calls("DELETE") and world.stage.book.by_strategy(1, 4) is None
    world.update(world.broker.rows[stop.order_id])
    assert stop.status is OrderStatus.CANCELLED
    world.step(4)
    assert world.order(4).status is OrderStatus.PENDING
    position = world.stage.book.standing(1, 0, Product.MIS)
    assert position.open_sell == position.quantity == 10


def test_more_than_is_held_is_judged_as_what_it_is() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    world.send(3, side=Side.SELL, qty=11, flags=1)
    assert world.reason(3) == "FROZEN"  # an exit must not open


def test_exits_dropped_and_replaced() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    first = armed(world)
    exits(world, 3, trigger_px=PX - 200)
    assert world.kinds(2)[-1] == "CANCELLED" and world.reason(2) == "SUPERSEDED"
    assert first.trigger_px == PX - 200
    exits(world, 4)
    assert first.status is OrderStatus.PENDING or first.status is OrderStatus.TRIGGER_PENDING
    world.update(world.row())
    assert first.status is OrderStatus.CANCELLED
    at(world, PX - 300, 1.0)
    assert not world.stage.book.live_count() and world.quantity() == 10


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"trigger_px": PX - 101}, "TICK_SIZE"),
        ({"trigger_px": PX + 600}, "BAD_INTENT"),
        ({"trigger_px": PX - 100, "px": PX - 200}, "BAD_INTENT"),
        ({"px": PX - 1000}, "BAD_INTENT"),
        ({"trigger_px": PX - 100, "slot": 1}, "NO_POSITION"),
        ({"trigger_px": PX - 100, "order_type": OrderType.MARKET}, "BAD_INTENT"),
        ({"trigger_px": PX - 100, "slot": 2}, "UNKNOWN_INSTRUMENT"),
        ({"trigger_px": PX - 100, "slot": 99}, "UNKNOWN_INSTRUMENT"),
        ({"trigger_px": PX - 100, "flags": 2}, "PRODUCT_NOT_ALLOWED"),
        ({"deadline_ns": 5}, "BAD_INTENT"),
    ],
)
def test_what_makes_no_exits_is_refused(words: dict[str, Any], reason: str) -> None:
    world = holding()
    exits(world, **words)
    assert world.kinds(2) == ["REFUSED"] and world.reason(2) == reason
    assert len(world.broker.calls("POST")) == 1


def test_a_number_that_was_used_is_no_new_plan() -> None:
    world = holding()
    exits(world, seq=1, trigger_px=PX - 100)
    assert not world.stage.keeper.plans.alive and world.stage.outbox.refused["DUPLICATE_INTENT"] == 1


def test_the_stop_is_placed_with_the_first_fill_of_an_entry() -> None:
    world = World().start()
    world.send(1, qty=10)
    exits(world, trigger_px=PX - 100)
    assert len(world.broker.calls("POST")) == 1
    filled(world, 4)
    world.step(3)
    order = guard(world)
    assert order.quantity == 4
    row = world.broker.rows[world.order(1).order_id]
    world.update(row | {"filled_quantity": 10, "status": "COMPLETE", "average_price": PX / 100})
    world.step(3)
    assert guard(world) is order and order.quantity == 10


def test_a_refused_stop_is_told_tried_again_and_becomes_a_limit_stop() -> None:
    world = holding()
    world.broker.on_call = lambda request: (
        error(400, "InputException", "SL-M orders are not allowed")
        if form(request).get("order_type") == "SL-M"
        else world.broker.accept(request)
    )
    exits(world, trigger_px=PX - 100)
    at(world, PX, 1.0)
    assert "EXIT_REFUSED" in world.codes()
    assert guard(world).order_type == OrderType.SL and guard(world).status is OrderStatus.PENDING
    at(world, PX, 1.0)
    assert len([o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]) == 2


def test_a_call_too_many_says_nothing_of_the_order_type() -> None:
    world = holding()
    world.broker.on_call = lambda request: error(429, "NetworkException", "Too many requests")
    exits(world, trigger_px=PX - 100)
    at(world, PX, 1.0)
    world.broker.on_call = None
    at(world, PX, 30.0)
    assert guard(world).order_type == OrderType.SLM and guard(world).status is OrderStatus.OPEN


def test_exits_pass_while_nothing_may_open() -> None:
    world = holding()
    world.stage.halt("test", world.clock.mono)
    exits(world, trigger_px=PX - 900)  # and far beyond the collar of entries
    assert guard(world).trigger_px == PX - 900


def test_an_ambiguous_stop_has_no_second_one_beside_it() -> None:
    world = holding()
    from kite_hft.trading.broker import TransportError

    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    exits(world, trigger_px=PX - 100)
    at(world, PX, 3.0)
    posts = [r for r in world.broker.calls("POST") if b"SL-M" in r.body]
    assert guard(world).status is OrderStatus.AMBIGUOUS and len(posts) == 1


def again(world: World, **more: Any) -> World:
    """The order process died and is started anew in the same run."""
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True} | more,
    )  # fmt: skip


def test_after_a_restart_the_plan_stands_and_finds_its_order() -> None:
    world = holding()
    exits(world, trail_px=100, step_px=50, px=PX + 400)
    armed(world)
    at(world, PX + 60)
    assert guard(world).trigger_px == PX - 40
    other = again(world).start()
    at(other, PX + 60, 1.0)
    assert len(other.broker.calls("POST")) == 2 and guard(other).trigger_px == PX - 40
    at(other, PX + 110)
    assert guard(other).trigger_px == PX + 10
    other.send(3, qty=1)  # the strategy's numbers are its own
    assert other.status(3) is OrderStatus.PENDING


def test_numbers_of_the_engine_are_never_a_strategys() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    from kite_hft.trading.recovery.numbering import next_seqs

    assert next_seqs([world.journal.records]) == {1: 3}
    other = again(world).start()
    assert other.stage.intake.last_seq == {1: 2}
    assert other.stage.intake.next_engine_seq() > guard(other).strategy_seq
    other.send(ENGINE_SEQ + 7)  # its answer bears no number: the next process counts on from those
    assert other.reason(0) == "BAD_INTENT"


def test_the_engine_leaves_a_stop_behind_and_no_limit_at_the_target() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100, px=PX + 200)
    order = armed(world)
    at(world, PX + 200)
    assert order.order_type == OrderType.LIMIT
    world.stage.begin_stop(world.clock.mono, "cancel")
    at(world, PX + 200, 0.5)
    assert (order.order_type, order.trigger_px) == (OrderType.SLM, PX - 100) and world.stage.idle
    assert order.order_no in world.stage.book.live_orders


def test_flattening_takes_over_from_plans() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    world.stage.begin_stop(world.clock.mono, "flatten")
    at(world, PX, 0.5)
    world.update(world.broker.rows[stop.order_id])
    at(world, PX, 0.5)
    closing = guard(world)
    assert closing.order_type == OrderType.MARKET and closing.quantity == 10
    at(world, PX, 1.0)
    live = [o for o in world.stage.book.live_orders.values()]
    assert live == [closing]


def test_a_plan_that_nothing_fills_ends_when_the_entry_is_gone() -> None:
    world = World().start()
    world.send(1, qty=10)
    exits(world, trigger_px=PX - 100)
    world.update(world.row() | {"status": "CANCELLED"})
    at(world, PX, 6.0)
    assert world.kinds(2) == ["ACCEPTED", "CANCELLED"] and world.reason(2) == Reason.NO_POSITION.name
    assert not world.stage.keeper.plans.alive


def test_what_happens_to_a_plan_is_journalled() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    records = [r.data() for r in world.journal.records if r.kind is Kind.PLAN]
    assert records[0]["stop"] == PX - 100 and records[0]["seq"] == 2
    assert records[-1]["side"] == Side.SELL and EventKind.ACCEPTED


def test_a_target_that_is_not_turned_back_is_cancelled_and_a_stop_placed_when_that_is_proven() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100, px=PX + 200)
    armed(world)
    at(world, PX + 200)
    target = guard(world)
    assert target.order_type == OrderType.LIMIT
    world.row()["status"] = "OPEN"
    held_back = True

    def call(request: HttpRequest) -> HttpResponse:
        if request.method == "PUT":
            return error(400, "InputException", "order type cannot be changed")
        if request.method == "DELETE" and held_back:
            return ok({"order_id": target.order_id})  # taken, and not yet done
        return world.broker.accept(request)

    world.broker.on_call = call
    placed = len(world.broker.calls("POST"))
    at(world, PX + 120, 1.0)
    assert len(world.broker.calls("DELETE")) == 1 and len(world.broker.calls("POST")) == placed
    assert world.stage.book.live_count() == 1  # nothing beside what may still fill
    (told,) = [text for text in world.alerts if text.startswith("EXIT_REFUSED")]
    assert "not turned back into a stop: order type cannot be changed" in told
    world.update(world.row() | {"status": "CANCELLED"})
    world.row()["status"] = "CANCELLED"
    at(world, PX + 120, 0.3)
    stop = guard(world)
    assert (stop.order_type, stop.trigger_px, stop.quantity) == (OrderType.SLM, PX - 100, 10)
    cleared = {f["code"] for f in world.alert_fields if f.get("cleared")}
    assert "EXIT_REFUSED" not in cleared  # the broker has it, the exchange not yet
    world.update(world.row() | {"status": "TRIGGER PENDING"})
    at(world, PX + 120, 0.3)
    assert "EXIT_REFUSED" in {f["code"] for f in world.alert_fields if f.get("cleared")}
    assert world.stage.book.live_count() == 1


def test_a_stop_covers_whole_lots_and_the_rest_is_told() -> None:
    world = World().start()
    world.send(1, slot=3, qty=150)
    filled(world, 100)
    world.row()["status"] = "CANCELLED"
    world.run(3.0)
    exits(world, trigger_px=PX - 100, slot=3)
    assert guard(world).quantity == 75
    assert sum(text.startswith("ODD_LOT") for text in world.alerts) == 1
    assert not [text for text in world.alerts if text.startswith("EXIT_REFUSED")]
