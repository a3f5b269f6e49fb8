"""Exits keep the phases of the day: where none of their type is taken, none is placed."""

from __future__ import annotations

import datetime as dt

import pytest
from exits_tools import armed, at, exits
from orders_world import PX, S, World, filled, form, instruments

from kite_hft.layout import Product
from kite_hft.sessions import Phases, ist_midnight_ns, seconds_of_day
from kite_hft.sim.exchange.defaults import default_calendar, default_market_rules
from kite_hft.trading.gate.facts import DayRules, Facts, View

DAY = dt.date(2026, 11, 20)


def held() -> World:
    """Shares that take part in the closing auction, held overnight, with a stop; it is past 15:14."""
    phases = Phases(default_calendar())
    rules = DayRules(instruments(), default_market_rules(DAY), phases, underlyings=frozenset({"SHARE0"}))
    world = World(more={"facts": Facts(view=rules.view)})
    world.clock.real = ist_midnight_ns(DAY) + seconds_of_day("14:50:00") * S
    world.start()
    world.send(1, product=Product.CNC)
    filled(world, 10)
    exits(world, trigger_px=PX - 100, product=Product.CNC)
    armed(world)
    world.clock.advance(ist_midnight_ns(DAY) + seconds_of_day("15:14:00") * S - world.clock.real)
    until(world, "15:14:30")
    return world


def until(world: World, text: str, px: int = PX) -> None:
    left_ns = ist_midnight_ns(DAY) + seconds_of_day(text) * S - world.clock.real
    at(world, px, left_ns / S)


def gone(world: World) -> None:
    """The exchange cancels the newest order."""
    row = world.row() | {"status": "CANCELLED", "cancelled_quantity": 10}
    world.row().update(row)
    world.update(row)


def test_a_stop_that_the_closing_auction_took_away_is_not_placed_again() -> None:
    """It would be refused, or kept by the broker for the next session. A price beyond it closes the position
    as soon as a phase takes an order again."""
    world = held()
    assert len(world.broker.calls("POST")) == 2, "entry and stop"
    until(world, "15:15:01")
    gone(world)
    until(world, "15:16:00")
    until(world, "15:19:50", PX - 200)
    assert len(world.broker.calls("POST")) == 2, "the stop is gone, and nothing else is taken"
    until(world, "15:20:05", PX - 200)
    assert form(world.broker.calls("POST")[2])["order_type"] in ("MARKET", "LIMIT")


@pytest.mark.parametrize(("covered", "placed"), [(True, 2), (False, 3)])
def test_for_want_of_knowledge_a_stop_is_placed(covered: bool, placed: int) -> None:
    """A day that the calendar does not cover takes nothing as far as one knows: an exit passes."""
    views = [View()]
    world = World(more={"facts": Facts(view=lambda slot, now: views[0])}).start()
    world.send(1)
    filled(world, 10)
    exits(world, trigger_px=PX - 100)
    armed(world)
    views[0] = View(phase="?", phase_types=0, covered=covered)
    gone(world)
    at(world, PX, 2.0)
    assert len(world.broker.calls("POST")) == placed
