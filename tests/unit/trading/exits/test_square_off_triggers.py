"""The end of the day beside triggers of ours at the broker: they go first, as far as they do so soon."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from gtt_tools import Answer, Gtts
from orders_world import PX, S, World, error, filled, instruments, limits

from kite_hft.layout import IntentKind, Product, Side
from kite_hft.sessions import Phases, ist_midnight_ns, seconds_of_day
from kite_hft.sim.exchange.defaults import default_calendar, default_market_rules
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.exits.trigger import GOES_NS, TOLD_NS
from kite_hft.trading.gate.facts import DayRules, Facts
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.ports import OrdersConfig

DAY = dt.date(2026, 11, 25)  # slot 3 settles in shares the day after
NRML: dict[str, Any] = {"slot": 3, "qty": 75, "product": Product.NRML}
GONE = "Trigger cannot be deleted as it is already triggered."


class End:
    """15:09:58 with 75 in slot 3 and their stop at the broker, 10 in slot 1 without; both end at 15:10."""

    def __init__(self) -> None:
        rows = list(instruments().rows)
        rows[3] = replace(rows[3], name="SBIN", expiry="2026-11-26")
        rules = DayRules(InstrumentTable(tuple(rows)), default_market_rules(DAY), Phases(default_calendar()),
                         underlyings=frozenset({"SHARE0"}))  # fmt: skip
        facts = Facts(view=rules.view, day_end=rules.day_end, settlement=rules.settlement)
        world = World(config=OrdersConfig(limits(), settlement="close"), more={"facts": facts})
        world.clock.real = self.at("14:50:00")
        self.world, self.gtts = world.start(), Gtts(world)
        world.send(1, **NRML)
        filled(world, 75)
        world.send(2, slot=1, side=Side.SELL)
        filled(world, 10)
        words = {"kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "px": 0}
        world.send(3, **(NRML | words | {"trigger_px": PX - 100}))
        world.run(1.0)
        assert [row["status"] for row in self.gtts.rows.values()] == ["active"]
        self.deletion: Answer | None = None  # None: it is carried out
        self.silent = False  # a deletion gets no answer yet
        self.unread_until = 0
        world.broker.on_call, world.broker.on_read = self.call, self.read
        world.run((self.at("15:09:50") - world.clock.real) / S, 0.5)
        world.run(8.0)

    @staticmethod
    def at(text: str) -> int:
        return ist_midnight_ns(DAY) + seconds_of_day(text) * S

    def call(self, request: HttpRequest) -> Any:
        if "/gtt/" in request.path:
            if self.silent:
                return None
            return self.deletion or self.gtts.call(request)
        answer = self.world.broker.accept(request)
        if request.method == "POST":
            row = self.world.row()
            row |= {"filled_quantity": row["quantity"], "average_price": 100.0, "status": "COMPLETE"}
        return answer

    def read(self, request: HttpRequest) -> Answer:
        if request.path == "/gtt/triggers" and self.world.clock.real < self.unread_until:
            return TransportError("timed out", sent=True)
        return self.world.broker.read(request)

    def to(self, text: str) -> None:
        self.world.run((self.at(text) - self.world.clock.real) / S)

    def closed(self) -> list[int]:
        """Slots that were closed by orders of the engine's own."""
        orders = self.world.stage.book.orders.values()
        return [o.slot for o in orders if o.strategy_seq >= ENGINE_SEQ and not o.order_id.startswith("77")]

    def unread_for(self, seconds: float) -> None:
        self.unread_until = self.at("15:10:00") + round(seconds * S)


def test_a_trigger_that_goes_is_deleted_first_and_holds_nothing_up() -> None:
    end = End()
    end.to("15:10:05")
    assert [row["status"] for row in end.gtts.rows.values()] == ["deleted"]
    assert sorted(end.closed()) == [1, 3] and "TRIGGER_UNKNOWN" not in end.world.codes()


def test_one_that_does_not_go_holds_its_own_position_up_for_seconds_only() -> None:
    end = End()
    end.deletion = error(400, "InputException", "not now")
    end.to("15:10:02")
    assert end.closed() == [1], "only the position that it stands for waits"
    end.world.run(GOES_NS / S)
    assert end.closed() == [1, 3] and "TRIGGER_UNKNOWN" in end.world.codes()


@pytest.mark.parametrize("silent", [False, True])
def test_one_that_may_have_fired_is_waited_for_until_the_list_tells(silent: bool) -> None:
    end = End()
    row = end.world.broker.rows[end.gtts.fire(100)]
    row |= {"exchange": "NFO", "status": "COMPLETE", "filled_quantity": 75, "pending_quantity": 0}
    row |= {"average_price": 99.0}
    end.silent, end.deletion = silent, error(400, "GeneralException", GONE)
    end.unread_for(8.0)
    end.to("15:10:08")
    assert end.closed() == [1], "what it has placed closes the position, and nobody knows of it yet"
    end.silent = False
    end.world.run(20.0)
    if not silent:  # without an answer its call is still under way: the list is not believed meanwhile
        assert end.closed() == [1] and end.world.quantity(slot=3, product=Product.NRML) == 0


def test_a_list_that_cannot_be_read_holds_nothing_up_for_long() -> None:
    end = End()
    end.deletion = TransportError("timed out", sent=True)
    end.unread_for(60.0)
    end.to("15:10:12")
    assert end.closed() == [1]
    end.world.run((TOLD_NS - 12 * S) / S + 2.0)
    assert end.closed() == [1, 3] and "TRIGGER_UNKNOWN" in end.world.codes()


def test_while_it_waits_people_are_told_why() -> None:
    end = End()
    end.deletion = TransportError("timed out", sent=True)
    end.unread_for(60.0)
    end.to("15:10:09")
    told = [text for text in end.world.alerts if text.startswith("SQUARE_OFF_NOT_FLAT")]
    assert len(told) == 1 and "a trigger of ours at the broker is not deleted yet" in told[0]


def test_a_list_that_hangs_lets_positions_be_read_and_closed_all_the_same() -> None:
    end = End()
    world, hanging = end.world, list[tuple[int, int]]()
    end.deletion = TransportError("timed out", sent=True)

    def read(request: HttpRequest) -> Any:
        if request.path != "/gtt/triggers":
            return world.broker.read(request)
        hanging.append((world.clock.mono + 7 * S, world.stage._calls.last_id))  # as the transport gives up
        return None

    world.broker.on_read = read
    asked = 0
    for _ in range(60 * 20):
        world.run(0.05)
        while hanging and hanging[0][0] <= world.clock.mono:
            world.broker.ready.append((hanging.pop(0)[1], TransportError("timed out", sent=True)))
            asked += 1
        if len(end.closed()) == 2:
            break
    assert sorted(end.closed()) == [1, 3] and world.clock.real < end.at("15:10:40") and asked >= 1
