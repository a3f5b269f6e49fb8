"""Exits that the broker takes and others cancel: they are placed anew ever later, and a person is told."""

from __future__ import annotations

from typing import Any

import pytest
from exits_tools import armed, exits
from exits_tools import holding as held
from orders_world import PX, REAL0, S, World, error, filled, form, ok

from kite_hft.layout import OrderType
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.facts import Closing, Facts
from kite_hft.trading.intents import ENGINE_SEQ


def cancelling(world: World, first: str = "") -> list[dict[str, Any]]:
    """Each placement from now on gets an id, is `first`, and is cancelled at once; those that were."""
    untold: list[dict[str, Any]] = []

    def call(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return world.broker.accept(request)
        order_id = world.broker.enter(request)
        untold.append(world.broker.rows[order_id])
        return ok({"order_id": order_id})

    world.broker.on_call = call
    gone: list[dict[str, Any]] = []
    step = world.step

    def stepped(n: int = 1) -> None:
        step(n)
        while untold:
            row = untold.pop(0)
            gone.append(row)
            row["status"] = first or "CANCELLED"
            if first:
                world.update(dict(row))
                step()
                row["status"] = "CANCELLED"
            world.update(row | {"status_message": "RMS: blocked"})
        step()

    world.step = stepped  # type: ignore[method-assign]
    return gone


def refusals(world: World) -> list[str]:
    return [text for text in world.alerts if text.startswith("EXIT_REFUSED")]


@pytest.mark.parametrize("first", ["", "OPEN"])
def test_closing_everything_does_not_repeat_it_without_a_pause(first: str) -> None:
    world = held()
    gone = cancelling(world, first)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(20.0)
    assert 3 <= len(gone) <= 6
    (told,) = refusals(world)
    assert "RMS: blocked" in told or "CANCELLED" in told


@pytest.mark.parametrize("first", ["", "OPEN"])
def test_nor_does_the_end_of_the_day(first: str) -> None:
    due = Closing(REAL0 + 10 * S, REAL0 + 600 * S)
    world = held(more={"facts": Facts(day_end=lambda slot, real_ns: due)})
    gone = cancelling(world, first)
    world.run(30.0)
    assert 3 <= len(gone) <= 6
    assert len(refusals(world)) == 1


def test_nor_does_a_plan() -> None:
    world = held()
    gone = cancelling(world)
    exits(world, trigger_px=PX - 100)
    world.run(20.0)
    assert 4 <= len(gone) <= 7
    assert refusals(world)


def test_a_stop_that_others_cancel_is_placed_anew_at_once_and_ever_later_when_that_goes_on() -> None:
    world = held()
    gone = cancelling(world, "TRIGGER PENDING")
    exits(world, trigger_px=PX - 100)
    world.run(0.3)
    assert len(gone) >= 2, "the first one at once"
    world.run(20.0)
    assert 4 <= len(gone) <= 8
    assert len(refusals(world)) == 1
    world.broker.on_call, placed = None, len(world.broker.calls("POST"))
    while len(world.broker.calls("POST")) == placed:
        world.run(0.1)
    armed(world)
    world.run(4.0)
    cleared = [f["code"] for f in world.alert_fields if f.get("cleared")]
    assert "EXIT_REFUSED" not in cleared, "it may be cancelled once more"
    world.run(2.0)
    cleared = [f["code"] for f in world.alert_fields if f.get("cleared")]
    assert "EXIT_REFUSED" in cleared


def test_a_stop_that_has_stood_and_is_cancelled_is_placed_anew_at_once_each_time() -> None:
    world = held()
    exits(world, trigger_px=PX - 100)
    for count in range(3, 6):
        armed(world)
        world.run(6.0)
        world.row()["status"] = "CANCELLED"
        world.update(world.row())
        world.run(0.2)
        assert len(world.broker.calls("POST")) == count
    assert not refusals(world)


def test_what_the_engine_has_cancelled_itself_counts_as_taken() -> None:
    world = held()
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(13.0)  # it rests, and is priced anew every three seconds
    ours = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert len(ours) >= 4 and {o.order_type for o in ours} == {OrderType.MARKET}
    assert not refusals(world)


def test_of_market_and_limit_each_is_tried_again_and_again() -> None:
    """Where the broker takes no order at market, and the first limit fails for a cause that passes."""
    world, limits = held(), [0]

    def call(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return world.broker.accept(request)
        limits[0] += form(request)["order_type"] == "LIMIT"
        if form(request)["order_type"] == "MARKET" or limits[0] == 1:
            return error(400, "OrderException", "blocked")
        answer = world.broker.accept(request)
        world.row().update(filled_quantity=10, pending_quantity=0, average_price=100.0, status="COMPLETE")
        return answer

    world.broker.on_call = call
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(60.0)
    assert world.quantity() == 0 and limits == [2]


def test_a_limit_moves_away_from_the_price_by_three_steps_at_most() -> None:
    world = held()
    world.broker.on_call = lambda request: error(400, "OrderException", "blocked")
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(400.0)
    ours = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    prices = [o.px for o in ours if o.order_type == OrderType.LIMIT]
    assert len(prices) >= 5 and prices[:4] == [PX - 100, PX - 200, PX - 300, PX - 100]


@pytest.mark.parametrize("by", ["flatten", "the end of the day"])
def test_what_waited_at_the_circuit_is_told_to_be_over(by: str) -> None:
    due = Closing(REAL0 + 10 * S, REAL0 + 600 * S) if by != "flatten" else None
    day_end = {"day_end": lambda slot, real_ns: due} if due else {}
    world = held(more={"facts": Facts(band=lambda slot: (PX, PX + 2_000, 0), **day_end)})
    if by == "flatten":
        world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(12.0)
    assert "EXIT_AT_CIRCUIT" in world.codes()
    filled(world, 10)
    world.run(5.0)
    assert world.quantity() == 0
    assert "EXIT_AT_CIRCUIT" in {f["code"] for f in world.alert_fields if f.get("cleared")}


def test_less_than_a_lot_is_told_to_be_over() -> None:
    """An entry that still fills makes whole lots of it again."""
    world = World().start()
    world.send(1, slot=3, qty=150)
    filled(world, 100)
    world.broker.on_call = lambda request: error(400, "OrderException", "blocked")
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(1.0)
    assert "ODD_LOT" in world.codes()
    filled(world, 150)
    world.run(1.0)
    assert "ODD_LOT" in {f["code"] for f in world.alert_fields if f.get("cleared")}
