"""Contracts that settle in shares: who is told when, and what is closed where that is wished."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, S, World, filled, form, instruments, limits, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Severity, Side
from kite_hft.sessions import Phases, ist_midnight_ns, seconds_of_day
from kite_hft.sim.exchange.defaults import default_calendar, default_market_rules
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.facts import DayRules, Facts
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.ports import OrdersConfig

LAST = dt.date(2026, 11, 26)  # a Thursday
NRML: dict[str, Any] = {"slot": 3, "qty": 75, "product": Product.NRML}


def contracts(**more: Any) -> InstrumentTable:
    """Slot 3 is a future on a share that ends on LAST."""
    rows = list(instruments().rows)
    rows[3] = replace(rows[3], **({"name": "SBIN", "expiry": LAST.isoformat()} | more))
    return InstrumentTable(tuple(rows))


def day_rules(day: dt.date, **more: Any) -> DayRules:
    return DayRules(contracts(**more), default_market_rules(day), Phases(default_calendar()))


def world_on(day: dt.date, clock: str, settlement: str = "warn", **more: Any) -> World:
    rules = day_rules(day)
    facts = Facts(view=rules.view, day_end=rules.day_end, settlement=rules.settlement)
    world = World(config=OrdersConfig(limits(), settlement=settlement), more={"facts": facts} | more)
    world.clock.real = at(day, clock)
    return world


def at(day: dt.date, clock: str) -> int:
    return ist_midnight_ns(day) + seconds_of_day(clock) * S


def to(world: World, day: dt.date, clock: str) -> None:
    coarse_s = (at(day, clock) - world.clock.real) / S - 12
    if coarse_s > 0:
        world.run(coarse_s, 0.5)
    world.run((at(day, clock) - world.clock.real) / S)


def fills(world: World) -> None:
    def call(request: HttpRequest) -> HttpResponse:
        answer = world.broker.accept(request)
        if request.method == "POST":
            row = world.row()
            row |= {"filled_quantity": row["quantity"], "average_price": 100.0, "status": "COMPLETE"}
        return answer

    world.broker.on_call = call


def told(world: World) -> list[dict[str, Any]]:
    return [fields for fields in world.alert_fields if fields["code"] == "SETTLEMENT"]


def closings(world: World) -> list[Any]:
    return [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]


@pytest.mark.parametrize(
    ("day", "more", "settles"),
    [
        (24, {}, False),  # two trading days before it
        (25, {}, True),
        (26, {}, True),
        (25, {"name": "NIFTY"}, False),  # settles in cash
        (25, {"kind": "CE"}, True),
        (25, {"expiry": "2026-11-30"}, False),
        (26, {"expiry": "2026-11-27"}, True),
        (27, {"expiry": "2026-11-30"}, True),  # over a weekend
        (27, {}, False),  # over
        (25, {"expiry": "soon"}, False),
        (25, {"kind": "EQ", "expiry": ""}, False),
    ],
)
def test_on_which_days_it_has_to_go(day: int, more: dict[str, Any], settles: bool) -> None:
    today = dt.date(2026, 11, day)
    found = day_rules(today, **more).settlement(3, at(today, "11:00:00"))
    assert (found is not None) is settles
    if found is not None:
        times = [at(today, clock) for clock in ("09:30:00", "15:10:00", "15:20:00")]
        assert [found.warn_ns, found.from_ns, found.flat_ns] == times


def test_by_default_people_are_told_and_nothing_is_closed() -> None:
    day = dt.date(2026, 11, 25)
    world = world_on(day, "09:20:00").start()
    world.send(1, **NRML)
    filled(world, 75)
    world.send(2, slot=1, product=Product.CNC)
    filled(world, 10)
    fills(world)
    to(world, day, "09:29:50")
    assert not told(world)
    to(world, day, "09:30:05")
    (first,) = told(world)
    assert "NFO:SHARE3 +75 NRML settles in shares on 2026-11-26: it has to go by 15:20" in first["text"]
    assert "nobody closes it but you (exits.settlement: close would)" in first["text"]
    assert first["severity"] == Severity.WARNING
    to(world, day, "15:21:00")
    assert told(world)[-1]["severity"] == Severity.CRITICAL and not closings(world)
    world.send(3, **(NRML | {"side": Side.SELL, "order_type": OrderType.MARKET, "px": 0}))
    world.run(6.0)
    assert told(world)[-1].get("cleared")


def test_where_that_is_wished_the_square_off_closes_it_at_its_time() -> None:
    day = dt.date(2026, 11, 25)
    world = world_on(day, "14:50:00", "close").start()
    world.send(1, **NRML)
    filled(world, 75)
    world.send(2, slot=1, product=Product.CNC)
    filled(world, 10)
    fills(world)
    to(world, day, "15:09:50")
    assert not closings(world) and "the engine closes it from 15:10 on" in told(world)[0]["text"]
    to(world, day, "15:10:15")
    assert [(o.slot, o.side, o.product, o.quantity) for o in closings(world)] == [
        (3, Side.SELL, Product.NRML, 75)
    ]
    assert world.quantity(slot=3, product=Product.NRML) == 0 and told(world)[-1].get("cleared")
    to(world, day, "15:25:00")
    assert len(closings(world)) == 1 and world.quantity(slot=1, product=Product.CNC) == 10


def test_days_before_it_nothing_happens() -> None:
    day = dt.date(2026, 11, 23)
    world = world_on(day, "15:05:00", "close").start()
    world.send(1, **NRML)
    filled(world, 75)
    fills(world)
    to(world, day, "15:21:00")
    assert not closings(world) and not told(world)


def test_its_trigger_at_the_broker_goes_before_it_is_closed() -> None:
    day = dt.date(2026, 11, 25)
    world = world_on(day, "14:50:00", "close").start()
    world.send(1, **NRML)
    filled(world, 75)
    rows: dict[str, dict[str, Any]] = {}
    at_closing: list[str] = []

    def call(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/gtt"):
            at_closing.extend(row["status"] for row in rows.values())
            answer = world.broker.accept(request)
            row = world.row()
            row |= {"filled_quantity": row["quantity"], "average_price": 100.0, "status": "COMPLETE"}
            return answer
        if request.method == "DELETE":
            rows["100"]["status"] = "deleted"
        else:
            terms = form(request)
            condition = json.loads(terms["condition"]) | {"instrument_token": (1003 << 8) + 2}
            orders = [order | {"result": None} for order in json.loads(terms["orders"])]
            rows["100"] = {"id": 100, "status": "active", "condition": condition, "orders": orders}
        world.broker.triggers = list(rows.values())
        return ok({"trigger_id": 100})

    world.broker.on_call = call
    words = {"kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "px": 0}
    world.send(2, **(NRML | words | {"trigger_px": PX - 100}))
    world.run(2.0)
    assert rows["100"]["status"] == "active"
    to(world, day, "15:10:30")
    assert at_closing == ["deleted"] and world.quantity(slot=3, product=Product.NRML) == 0
    assert {o.status for o in closings(world)} == {OrderStatus.COMPLETE}


def test_what_the_account_holds_beside_ours_is_told_and_left_alone() -> None:
    day = dt.date(2026, 11, 25)
    world = world_on(day, "14:50:00", "close")
    world.broker.held = [
        {"exchange": "NFO", "tradingsymbol": "SHARE3", "instrument_token": (1003 << 8) + 2, "product": "NRML",
         "quantity": -150, "average_price": 99.0, "multiplier": 1}
    ]  # fmt: skip
    world.start()
    to(world, day, "15:25:00")
    (told_once, worse) = told(world)
    assert "-150 NRML" in told_once["text"] and "nobody closes it but you" in told_once["text"]
    assert worse["severity"] == Severity.CRITICAL and not world.broker.calls("POST")
