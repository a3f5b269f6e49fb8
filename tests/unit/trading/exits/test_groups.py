"""Intents that belong together: judged, paid and sent as one, or undone."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, S, World, error, form, limits, ok

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_order_value=1e8, max_position_size=1e8, max_exposure=1e8)


def margins(world: World, rupees: float) -> None:
    """The broker's calculator says so; everything else is accepted."""

    def call(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/margins/basket"):
            return ok({"initial": {"total": 2 * rupees}, "final": {"total": rupees}})
        return world.broker.accept(request)

    world.broker.on_call = call


def group_world(rupees: float = 500.0, **more: Any) -> World:
    world = World(config=OrdersConfig(limits(), WIDE, **more)).start()
    margins(world, rupees)
    return world


def legs(world: World, first: int = 1, **more: Any) -> None:
    """A short in one instrument and its protective buy in another, the short named first."""
    words = {"group": 9, "legs": 2, "product": Product.NRML, "qty": 75} | more
    world.quote()
    world.wish(first, leg=1, slot=3, side=Side.SELL, **words)
    world.wish(first + 1, leg=2, slot=0, side=Side.BUY, **words | {"product": Product.MIS})


def fill(world: World, seq: int, quantity: int | None = None) -> None:
    row = world.broker.rows[world.order(seq).order_id]
    quantity = row["quantity"] if quantity is None else quantity
    row |= {"filled_quantity": quantity, "average_price": PX / 100}
    row["status"] = "COMPLETE" if quantity == row["quantity"] else "OPEN"
    world.update(row)
    world.run(0.3)


def posts(world: World) -> list[str]:
    return [form(r)["transaction_type"] for r in world.broker.calls("POST") if r.path == "/orders/regular"]


def test_margin_first_then_the_protective_buy_then_the_rest() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    paths = [r.path.split("?")[0] for r in world.broker.calls("POST")]
    assert paths == ["/margins/basket", "/orders/regular"]
    assert posts(world) == ["BUY"] and world.status(1) is OrderStatus.NEW
    fill(world, 2)
    assert posts(world) == ["BUY", "SELL"]
    fill(world, 1)
    assert not world.stage.keeper.groups.alive
    ends = [r.data().get("ended") for r in world.journal.records if r.kind is Kind.GROUP]
    assert ends == [None, "done"]


def test_a_group_that_costs_more_than_there_is_is_refused_whole() -> None:
    world = group_world(1_000.51)  # the account has 1,000.50
    legs(world)
    world.run(0.3)
    assert not posts(world) and not world.stage.book.live_count()
    assert world.reason(1) == world.reason(2) == "MARGIN"


def test_no_answer_about_margin_is_no() -> None:
    world = group_world()
    world.broker.on_call = lambda request: error(500, "GeneralException", "?")
    legs(world)
    world.run(0.3)
    assert not posts(world) and world.reason(1) == "MARGIN"


def test_one_refused_leg_refuses_all() -> None:
    world = group_world()
    legs(world, qty=76)  # no multiple of the future's lot
    world.run(0.3)
    assert not world.broker.calls("POST")
    assert (world.reason(1), world.reason(2)) == ("LOT_MULTIPLE", "GROUP")
    assert not world.stage.book.live_count()


def test_legs_are_judged_together() -> None:
    risk = RiskLimits(max_order_value=1e8, max_position_size=1e8, max_exposure=12_000.0)
    world = World(config=OrdersConfig(limits(), risk)).start()
    margins(world, 1.0)
    legs(world)  # 7,500 each
    world.run(0.3)
    assert not world.broker.calls("POST")
    assert {world.reason(1), world.reason(2)} == {"MAX_EXPOSURE", "GROUP"}


def test_legs_that_do_not_come_are_waited_for_and_no_longer() -> None:
    world = group_world()
    world.quote()
    world.wish(1, group=9, leg=1, legs=2)
    world.run(0.5)
    assert not world.kinds(1)
    world.run(1.0)
    assert world.reason(1) == "GROUP" and not world.broker.calls("POST")
    assert not world.stage.keeper.groups.alive


@pytest.mark.parametrize("words", [{"leg": 3, "legs": 2}, {"leg": 1, "legs": 1}, {"leg": 1, "legs": 99}])
def test_legs_that_cannot_be(words: dict[str, int]) -> None:
    world = group_world()
    world.send(1, group=9, **words)
    assert world.reason(1) == "GROUP"


def test_a_rejected_leg_unwinds_what_has_filled() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    world.update(world.broker.rows[world.order(1).order_id] | {"status": "REJECTED", "status_message": "RMS"})
    world.broker.rows[world.order(1).order_id]["status"] = "REJECTED"
    world.run(0.5)
    closing = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [(o.side, o.quantity, o.order_type, o.slot) for o in closing] == [
        (Side.SELL, 75, OrderType.MARKET, 0)
    ]
    row = world.row()
    world.update(row | {"filled_quantity": 75, "average_price": 100, "status": "COMPLETE"})
    world.run(0.5)
    assert world.quantity() == 0 and "GROUP_BROKEN" in world.codes()
    assert not world.stage.keeper.groups.alive


def test_a_leg_that_rests_too_long_breaks_the_group() -> None:
    world = group_world(group_leg_s=2.0)
    legs(world)
    world.run(0.3)
    world.run(2.5)
    assert world.status(1) is OrderStatus.REFUSED and world.reason(1) == "GROUP"
    assert len(world.broker.calls("DELETE")) == 1
    world.update(world.row() | {"status": "CANCELLED"})
    world.run(0.5)
    assert not world.stage.keeper.groups.alive and posts(world) == ["BUY"]


def test_a_partial_group_is_kept_where_the_settings_say_so() -> None:
    world = group_world(group_leg_s=2.0, group_partial="keep")
    legs(world)
    world.run(0.3)
    fill(world, 2)
    world.run(2.5)
    world.update(world.broker.rows[world.order(1).order_id] | {"status": "CANCELLED"})
    world.run(0.5)
    assert world.quantity() == 75 and "GROUP_BROKEN" in world.codes()
    assert not world.stage.keeper.groups.alive


def test_accepted_is_enough_where_the_settings_say_so() -> None:
    world = group_world(group_next="accepted")
    legs(world)
    world.run(0.5)
    assert posts(world) == ["BUY", "SELL"]


def test_nothing_is_built_on_a_leg_whose_fate_is_unknown() -> None:
    from kite_hft.trading.broker import TransportError

    world = group_world(group_leg_s=2.0)
    legs(world)

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.path.startswith("/margins"):
            return ok({"initial": {"total": 1}, "final": {"total": 1}})
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.run(4.0)
    assert world.status(2) is OrderStatus.AMBIGUOUS and world.status(1) is OrderStatus.NEW
    assert len(posts(world)) == 1


def test_a_group_that_a_dead_process_left_half_done_is_unwound() -> None:
    world = group_world()
    legs(world)
    world.run(0.3)
    fill(world, 2)
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), config=world.config, more={"restarted": True},
    ).start()  # fmt: skip
    other.run(0.5)
    cancelled = world.broker.rows[other.order(1).order_id]
    assert cancelled["status"] == "CANCELLED"
    other.update(cancelled)
    other.run(0.5)
    closing = [o for o in other.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [(o.side, o.quantity) for o in closing] == [(Side.SELL, 75)]
    assert S
