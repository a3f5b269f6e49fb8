"""A strategy's own stops after a kill, and at a stop that cancels: none may open anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, S, World, error, filled, form, limits

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000)


def killable(config: OrdersConfig | None = None, **more: Any) -> tuple[World, list[str]]:
    """A stage, and the words of its kill latch (empty: it does not stand)."""
    latch: list[str] = []
    words = {"killed": lambda: latch[0] if latch else ""} | more
    world = World(config=config or OrdersConfig(limits(), WIDE), more=words).start()
    return world, latch


def waits_for_its_trigger(world: World) -> None:
    world.row()["status"] = "TRIGGER PENDING"
    world.update(world.row())


def stop(world: World, seq: int, quantity: int, **more: Any) -> None:
    """A strategy's own stop below what it holds."""
    words = {"side": Side.SELL, "qty": quantity, "px": PX - 110, "trigger_px": PX - 100} | more
    world.send(seq, order_type=OrderType.SL, **words)
    waits_for_its_trigger(world)
    assert not world.order(seq).opening and world.status(seq) is OrderStatus.TRIGGER_PENDING


def bought(world: World, seq: int, quantity: int, **more: Any) -> None:
    world.send(seq, qty=quantity, **more)
    filled(world, quantity)


def sold(world: World, seq: int, quantity: int) -> None:
    """Its strategy sells beside its stop, which covers all: judged as what opens, it closes a part."""
    world.send(seq, side=Side.SELL, qty=quantity)
    filled(world, quantity)


def smaller(world: World) -> list[str]:
    return [form(request)["quantity"] for request in world.broker.calls("PUT")]


def test_what_is_too_large_is_made_as_small_as_what_is_held() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    sold(world, 21, 4)
    assert world.quantity() == 6 and not world.broker.calls("PUT"), "nothing is killed: it is its own"
    latch.append("enough")
    world.run(2.0)
    assert smaller(world) == ["6"] and not world.broker.calls("DELETE")
    assert world.status(2) in WORKING and world.order(2).quantity == 6
    sold(world, 22, 6)


def test_it_goes_on_as_long_as_the_latch_stands() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    world.send(3, side=Side.SELL, qty=3, px=PX + 50)
    world.broker.on_call = lambda request: (
        None if request.method == "DELETE" else world.broker.accept(request)
    )
    latch.append("enough")
    world.run(1.0)
    assert not world.broker.calls("PUT"), "it fits"
    filled(world, 3)  # before its cancel arrived
    world.run(3.0)
    assert smaller(world) == ["7"] and world.order(2).open_quantity == 7


def test_the_oldest_keeps_its_room_and_what_covers_nothing_goes() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 6)
    stop(world, 3, 4)
    sold(world, 24, 5)
    latch.append("enough")
    world.run(3.0)
    assert smaller(world) == ["5"] and world.status(2) in WORKING
    assert world.status(3) is OrderStatus.CANCELLED


def test_a_stop_comes_before_a_limit_that_closes_beside_it() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    world.send(2, side=Side.SELL, qty=5, px=PX + 50)
    stop(world, 3, 5)
    sold(world, 25, 5)
    latch.append("enough")
    world.run(3.0)
    assert world.status(2) is OrderStatus.CANCELLED, "beside the stop it would open"
    assert world.status(3) in WORKING and world.order(3).quantity == 5 and not smaller(world)


def test_a_whole_number_of_lots_stays() -> None:
    world, latch = killable()
    bought(world, 1, 225, slot=3, product=Product.NRML)
    stop(world, 2, 225, slot=3, product=Product.NRML)
    world.stage.book.standing(1, 3, Product.NRML).quantity = 100
    latch.append("enough")
    for _ in range(4):
        world.stage.step(world.clock.mono)
    assert smaller(world) == ["75"]


@pytest.mark.parametrize("spent", [False, True])
def test_what_cannot_be_made_smaller_is_cancelled_and_told(spent: bool) -> None:
    config = OrdersConfig(limits(), WIDE)
    if spent:
        config = OrdersConfig(replace(limits(), modifications_per_order=0), WIDE)
    world, latch = killable(config)
    bought(world, 1, 10)
    stop(world, 2, 10)
    sold(world, 26, 4)

    def refuse(request: HttpRequest) -> Any:
        if request.method == "PUT":
            return error(400, "InputException", "the order cannot be modified")
        return world.broker.accept(request)

    world.broker.on_call = refuse
    latch.append("enough")
    world.run(4.0)
    assert len(world.broker.calls("PUT")) == (0 if spent else 3)
    assert world.status(2) in TERMINAL
    (told,) = [text for text in world.alerts if text.startswith("EXIT_REFUSED")]
    assert "closes 10, held are 6" in told and "is cancelled" in told


def test_a_change_that_nothing_shows_is_not_waited_for_long() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    sold(world, 27, 4)

    def lose(request: HttpRequest) -> Any:
        if request.method == "PUT":
            return TransportError("timed out", sent=True)
        return world.broker.accept(request)

    world.broker.on_call = lose
    latch.append("enough")
    world.run(4.0)
    assert world.status(2) in WORKING and not world.broker.calls("DELETE")
    world.run(6.0)
    assert world.status(2) in TERMINAL
    assert any(text.startswith("EXIT_REFUSED") for text in world.alerts)


def test_an_entry_that_is_being_cancelled_may_come_to_need_the_stop() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    world.send(3, qty=4, px=PX - 20)
    sold(world, 28, 4)
    world.broker.on_call = lambda request: (
        None if request.method == "DELETE" else world.broker.accept(request)
    )
    latch.append("enough")
    world.run(0.5)
    assert not world.broker.calls("PUT"), "6 held, and 4 may be bought yet"


def test_an_engine_that_is_not_active_changes_nothing() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    sold(world, 29, 4)
    world.stage.active = False
    latch.append("enough")
    for _ in range(4):
        world.stage._killing.look(world.clock.mono + S, active=False)
    assert not world.broker.calls("PUT") and world.status(2) in WORKING


def test_a_stop_of_the_engine_that_cancels_waits_until_they_fit() -> None:
    world, _latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    sold(world, 30, 4)
    world.stage.begin_stop(world.clock.mono, "cancel")
    assert not world.stage.idle, "the stop is larger than what is held"
    world.run(2.0)
    assert smaller(world) == ["6"] and world.stage.idle and world.status(2) in WORKING


def test_a_stop_that_keeps_leaves_them_alone() -> None:
    world, _latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    sold(world, 31, 4)
    world.stage.begin_stop(world.clock.mono, "keep")
    world.run(2.0)
    assert not smaller(world) and world.order(2).quantity == 10


@pytest.mark.parametrize("held", [10, 4, 0])
def test_a_stop_that_was_to_open_stays_for_what_it_protects_by_now(held: int) -> None:
    """Of two stops around the price one has filled; the other one is all that protects."""
    world, latch = killable()
    world.send(1, side=Side.SELL, order_type=OrderType.SL, qty=10, px=PX - 110, trigger_px=PX - 100)
    waits_for_its_trigger(world)
    assert world.order(1).opening
    if held:
        bought(world, 2, held)
    latch.append("enough")
    world.run(4.0)
    if held == 10:
        assert world.status(1) in WORKING and not smaller(world)
    elif held:  # it is never larger than what it protects
        assert world.status(1) not in WORKING or world.order(1).open_quantity == held
    else:
        assert world.status(1) is OrderStatus.CANCELLED


@pytest.mark.parametrize(("held", "told"), [(10, False), (6, True), (-6, False)])
def test_a_person_is_told_of_an_adopted_stop_that_is_larger_than_what_the_account_holds(
    held: int, told: bool
) -> None:
    """The engine does not change what no intent of this run has asked for."""
    latch: list[str] = []
    world = World(more={"killed": lambda: latch[0] if latch else ""})
    tag = Tags("abc", 3).tag(1)  # of this installation, and of a run that is not gone on with
    words = {"status": "TRIGGER PENDING", "order_type": "SL", "price": 98.0, "trigger_price": 99.0}
    share = {
        "exchange": "NSE",
        "tradingsymbol": "SHARE0",
        "instrument_token": 1000 * 256 + 1,
        "product": "MIS",
    }
    world.broker.rows["77"] = share | words | {
        "order_id": "77", "quantity": 10, "transaction_type": "SELL", "filled_quantity": 0,
        "pending_quantity": 10, "average_price": 0, "tag": tag, "tags": [tag],
        "order_timestamp": "2027-01-15 13:30:00",
    }  # fmt: skip
    world.broker.held = [share | {"quantity": held, "average_price": 100.0}]
    world.start()
    latch.append("enough")
    world.run(2.0)
    alerts = [text for text in world.alerts if text.startswith("EXIT_REFUSED")]
    text = "a stop of an earlier run, closes 10, held are 6: make it smaller in the broker's app"
    assert len(alerts) == told and all(alert.endswith(text) for alert in alerts)
    assert bool(world.broker.calls("DELETE")) is (held < 0), "one that closes nothing goes"
    if told:  # a person resumes, and makes it smaller
        latch.clear()
        world.run(1.0)
        assert not any(a["code"] == "EXIT_REFUSED" and a.get("cleared") for a in world.alert_fields)
        world.broker.rows["77"] |= {"quantity": 6, "pending_quantity": 6}
        world.update(world.broker.rows["77"])
        world.run(3.0)
        assert any(a["code"] == "EXIT_REFUSED" and a.get("cleared") for a in world.alert_fields)


def test_that_a_stop_was_cancelled_is_over_with_its_position_also_after_the_kill() -> None:
    world, latch = killable()
    bought(world, 1, 10)
    stop(world, 2, 10)
    sold(world, 27, 4)
    world.broker.on_call = lambda request: (
        error(400, "InputException", "no") if request.method == "PUT" else world.broker.accept(request)
    )
    latch.append("enough")
    world.run(4.0)
    assert world.codes().count("EXIT_REFUSED") == 1 and world.quantity() == 6
    latch.clear()
    world.run(1.0)
    assert not any(a["code"] == "EXIT_REFUSED" and a.get("cleared") for a in world.alert_fields)
    sold(world, 28, 6)
    world.run(1.0)
    assert world.quantity() == 0
    assert any(a["code"] == "EXIT_REFUSED" and a.get("cleared") for a in world.alert_fields)
