"""Exits at market that the exchange would refuse."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from orders_world import PX, REAL0, World, filled, form, instrument

from kite_hft.clock import ManualClock
from kite_hft.layout import IntentKind, OrderStatus, OrderType, Side
from kite_hft.trading.exits.prices import Market
from kite_hft.trading.gate.facts import Facts, View

BAND = (9_000, 11_000, 0)


def holding(side: Side = Side.BUY, **facts: Any) -> World:
    world = World(more={"facts": Facts(band=lambda slot: BAND, **facts)}).start()
    world.send(1, side=side)
    filled(world, 10)
    return world


def at_market(world: World, px: int, **more: Any) -> dict[str, str]:
    """The strategy asks for an order at market while the price stands at `px`; what left."""
    world.quote(px)
    world.wish(2, **({"order_type": OrderType.MARKET, "px": 0} | more))
    world.step(2)
    return form(world.broker.calls("POST")[-1])


@pytest.mark.parametrize(
    ("held", "side", "px"), [(Side.BUY, Side.SELL, 9_000), (Side.SELL, Side.BUY, 11_000)]
)
def test_an_exit_at_a_locked_circuit_is_a_limit_there(held: Side, side: Side, px: int) -> None:
    world = holding(held)
    sent = at_market(world, px, side=side)
    assert (sent["order_type"], sent["price"]) == ("LIMIT", f"{px / 100:.2f}")
    assert "market_protection" not in sent
    (told,) = [text for text in world.alerts if text.startswith("EXIT_AT_CIRCUIT")]
    assert "NSE:SHARE0" in told and "waits there" in told
    filled(world, 10, px)
    world.run(1.0)
    assert world.quantity() == 0 and world.status(2) is OrderStatus.COMPLETE
    assert "EXIT_AT_CIRCUIT" in {f["code"] for f in world.alert_fields if f.get("cleared")}


def test_away_from_the_circuit_it_stays_at_market_and_what_opens_stays_as_it_was_asked_for() -> None:
    assert at_market(holding(), 9_005, side=Side.SELL)["order_type"] == "MARKET"
    assert at_market(holding(), 9_000, side=Side.SELL, slot=1)["order_type"] == "MARKET"
    # On the side on which somebody waits nothing is locked.
    assert at_market(holding(), 11_000, side=Side.SELL)["order_type"] == "MARKET"


def test_a_modification_to_market_becomes_one_to_the_limit() -> None:
    world = holding()
    world.send(2, side=Side.SELL, px=PX + 100)
    world.quote(9_000)
    world.wish(3, kind=IntentKind.MODIFY, target_seq=2, order_type=OrderType.MARKET, px=0, qty=0)
    world.step(2)
    assert form(world.broker.calls("PUT")[-1])["price"] == "90.00"
    assert world.order(2).order_type == OrderType.LIMIT


def test_where_the_phase_takes_limits_alone_it_lies_a_little_beyond_the_price() -> None:
    types = [-1]
    world = holding(view=lambda slot, now: View(until_ns=now, phase_types=types[0]))
    types[0] = 1 << OrderType.LIMIT
    sent = at_market(world, PX, side=Side.SELL)
    assert (sent["order_type"], sent["price"]) == ("LIMIT", "99.00")


def test_an_option_without_a_trade_today_takes_no_order_at_market() -> None:
    def takes(kind: str, traded: bool) -> bool:
        rows = [instrument(0, kind=kind)]
        facts = Facts(traded=lambda slot: traded)
        ports: Any = SimpleNamespace(facts=facts, instruments=rows, clock=ManualClock(0, REAL0), latest=None)
        return Market(ports).at_market(0)

    assert [takes("CE", False), takes("PE", True), takes("EQ", False)] == [False, True, True]


def test_old_limits_hold_no_exit_where_the_price_has_reached_them() -> None:
    ages = [0]
    world = World(more={"facts": Facts(band=lambda slot: (*BAND[:2], ages[0]))}).start()
    world.send(1)
    filled(world, 10)
    ages[0] = round(world.config.risk.band_age_s * 1e9)
    market = world.stage.keeper.plans._market
    world.quote(8_900)
    assert market.locked(0, Side.SELL) == 9_000 and market.inside(8_800, 0) == 9_000
    ages[0] += 1  # the quotes fail, and the exchange has moved the band: the price says so
    assert market.locked(0, Side.SELL) == 0 and market.inside(8_800, 0) == 8_800
    assert at_market(world, 8_900, side=Side.SELL)["order_type"] == "MARKET"
    assert not [text for text in world.alerts if text.startswith("EXIT_AT_CIRCUIT")]


def test_old_limits_still_bound_a_price_that_lies_between_them() -> None:
    world = World(more={"facts": Facts(band=lambda slot: (*BAND[:2], 10**15))}).start()
    world.quote(9_005)
    market = world.stage.keeper.plans._market
    assert market.inside(8_950, 0) == 9_000 and market.locked(0, Side.SELL) == 0
