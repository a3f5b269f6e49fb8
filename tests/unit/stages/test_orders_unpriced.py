"""Fills that are told before their price: valued at the last known one, and no loss until it comes."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, filled, limits

from kite_hft.layout import Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.stages.orders import UNPRICED_NS
from kite_hft.trading.ports import OrdersConfig
from kite_hft.units import NS_PER_S


def sold(px: float = 0.0, **more: Any) -> World:
    """10 bought at 100 and sold; the first word of the sale has no price."""
    world = World(config=OrdersConfig(limits(), max_daily_loss_paise=50_000), more=more).start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL)
    world.update(world.row() | {"filled_quantity": 4, "average_price": 100.5})
    world.update(world.row() | {"filled_quantity": 10, "average_price": px, "status": "UPDATE"})
    return world


def test_it_is_valued_at_the_last_price_and_corrected_when_its_own_comes() -> None:
    world = sold()
    assert world.order(2).filled_units == 4 * (PX + 50) + 6 * PX and world.stage.book.unpriced
    world.update(world.row() | {"filled_quantity": 10, "average_price": 99.0, "status": "COMPLETE"})
    assert world.order(2).filled_units == 10 * (PX - 100) and not world.stage.book.unpriced
    assert world.stage.report()["pnl_paise"]["realised"] == -1_000
    assert sum(float(row["value"]) for row in world.trade_rows if row["order_no"] == 2) == 990.0


def test_the_loss_limit_does_not_trip_by_a_price_that_nobody_told() -> None:
    world = sold()
    world.run(1.0)
    assert "DAILY_LOSS" not in world.codes() and not world.stage.states.reducing


def test_it_waits_so_long_and_no_longer() -> None:
    world = sold()
    world.latest.put(0, PX, world.clock.mono)
    position = world.stage.book.position_of(1, 0, Product.MIS)
    position.cost_units -= 100_000  # a loss of 1000 rupees, whatever made it
    world.run(UNPRICED_NS / NS_PER_S - 0.5)
    assert not world.stage.states.reducing
    world.run(1.0)
    assert "net loss of the day" in world.stage.states.reducing


def test_fills_that_follow_one_another_put_the_limit_off_no_longer_than_one_does() -> None:
    """Each has its price after seconds, and the next one has none yet."""
    world = sold()
    world.stage.book.position_of(1, 0, Product.MIS).cost_units -= 100_000
    unpriced, began_ns = world.stage.book.unpriced, world.clock.mono
    while not world.stage.states.reducing and world.clock.mono - began_ns < 3 * UNPRICED_NS:
        unpriced.clear()
        unpriced[2] = world.clock.mono  # the price of the one before has come
        world.run(0.5)
    assert world.clock.mono - began_ns <= UNPRICED_NS + NS_PER_S
    assert "net loss of the day" in world.stage.states.reducing


def test_one_whose_price_never_comes_puts_off_nothing_more() -> None:
    world = sold()
    world.run(UNPRICED_NS / NS_PER_S + 0.5)
    assert world.stage.book.unpriced
    world.stage.book.position_of(1, 0, Product.MIS).cost_units -= 100_000
    world.run(0.2)
    assert "net loss of the day" in world.stage.states.reducing


def test_executions_set_the_price_as_well() -> None:
    world = sold()
    trade = {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1}
    words = {"order_id": world.row()["order_id"], "product": "MIS", "transaction_type": "SELL"}
    world.broker.trades = [trade | words | {"trade_id": "9", "quantity": 10, "average_price": 98.0}]
    world.run(2.0)
    assert world.order(2).filled_units == 10 * (PX - 200) and not world.stage.book.unpriced


def test_the_journal_tells_the_same_value_and_lets_it_be_corrected() -> None:
    world = sold()
    told = [record.data() for record in world.journal.records if record.kind is Kind.REPORT][-1]
    assert told["guessed"] and told["report"]["average_price"] > 100
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), more={"restarted": True}
    )  # fmt: skip
    again.latest.put(0, PX - 500, world.clock.mono)
    again.stage.start()
    assert again.order(2).filled_units == world.order(2).filled_units
    again.update(world.row() | {"filled_quantity": 10, "average_price": 99.0, "status": "COMPLETE"})
    assert again.order(2).filled_units == 10 * (PX - 100)


@pytest.mark.parametrize("told", [0.0, 100.0])
def test_so_is_what_a_stranger_closes(told: float) -> None:
    world = World(config=OrdersConfig(limits(), max_daily_loss_paise=50_000)).start()
    world.send(1)
    filled(world, 10)
    world.run(3.0)
    row = world.row() | {"tag": None, "tags": [], "order_id": "s", "transaction_type": "SELL"}
    world.broker.rows["s"] = row | {"average_price": told}
    world.update(world.broker.rows["s"])
    world.run(1.0)
    assert world.quantity() == 0 and world.stage.report()["pnl_paise"]["gross"] == 0
    assert not world.stage.states.reducing
