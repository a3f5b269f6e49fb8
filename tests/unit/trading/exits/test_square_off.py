"""The end of the day: what is closed when, by which orders, and what people are told of the rest."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from exits_tools import armed
from orders_world import PX, S, World, error, filled, instruments

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.sessions import Phases, ist_midnight_ns, seconds_of_day
from kite_hft.sim.exchange.defaults import default_calendar, default_market_rules
from kite_hft.trading.book import Cut
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.facts import Closing, DayRules, Facts
from kite_hft.trading.intents import ENGINE_SEQ

DAY = dt.date(2026, 11, 20)


def at(text: str, day: dt.date = DAY) -> int:
    return ist_midnight_ns(day) + seconds_of_day(text) * S


def day_rules(
    day: dt.date = DAY, calendar: Any = None, underlyings: frozenset[str] | None = frozenset({"SHARE0"})
) -> DayRules:
    """SHARE0 takes part in the closing auction, SHARE1 does not; slot 3 is a future."""
    phases = Phases(default_calendar() if calendar is None else calendar)
    return DayRules(instruments(), default_market_rules(day), phases, underlyings=underlyings)


def world_at(text: str, **more: Any) -> World:
    rules = day_rules()
    world = World(more={"facts": Facts(view=rules.view, day_end=rules.day_end, **more)})
    world.clock.real = at(text)
    return world


def to(world: World, text: str) -> None:
    """To a time of the day: in steps of half a second, and finely at the end."""
    coarse_s = (at(text) - world.clock.real) / S - 12
    if coarse_s > 0:
        world.run(coarse_s, 0.5)
    world.run((at(text) - world.clock.real) / S)


def fills(world: World) -> None:
    """Every placement fills as it arrives."""

    def call(request: HttpRequest) -> HttpResponse:
        answer = world.broker.accept(request)
        if request.method == "POST":
            row = world.row()
            row |= {"filled_quantity": row["quantity"], "average_price": 100.0, "status": "COMPLETE"}
        return answer

    world.broker.on_call = call


def closings(world: World) -> list[Any]:
    return [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]


def told(world: World, code: str = "SQUARE_OFF_NOT_FLAT") -> list[str]:
    return [text for text in world.alerts if text.startswith(code)]


def holding(text: str = "14:50:00", **more: Any) -> World:
    """Long in the auction share, short in the other one, long in the future: all MIS; and shares in CNC."""
    world = world_at(text, **more).start()
    words = [{}, {"slot": 1, "side": Side.SELL}, {"slot": 3, "qty": 75}, {"slot": 1, "product": Product.CNC}]
    for seq, more_words in enumerate(words, 1):
        world.send(seq, **more_words)
        filled(world, int(more_words.get("qty", 10)))
    return world


def test_each_class_is_closed_at_its_own_time_and_overnight_products_never() -> None:
    world = holding()
    fills(world)
    to(world, "14:59:55")
    assert not closings(world)
    to(world, "15:00:10")
    assert [(o.slot, o.side, o.quantity, o.order_type) for o in closings(world)] == [
        (0, Side.SELL, 10, OrderType.MARKET)
    ]
    to(world, "15:09:55")
    assert len(closings(world)) == 1
    to(world, "15:10:10")
    assert [(o.slot, o.side, o.product) for o in closings(world)[1:]] == [(1, Side.BUY, Product.MIS)]
    to(world, "15:15:10")
    assert [(o.slot, o.side) for o in closings(world)[2:]] == [(3, Side.SELL)]
    to(world, "15:31:00")
    assert len(closings(world)) == 3 and not told(world)
    assert world.quantity(slot=1, product=Product.CNC) == 10


def test_it_is_journalled_and_over_when_the_broker_says_so() -> None:
    world = holding()
    fills(world)
    to(world, "15:00:20")
    commands = [r.data() for r in world.journal.records if r.kind.name == "COMMAND"]
    assert [c["do"] for c in commands] == ["square_off", "squared_off"]
    assert (commands[0]["slot"], commands[0]["qty"]) == (0, 10)


def test_an_engine_that_comes_late_closes_at_once() -> None:
    first = holding()
    again = World(
        broker=first.broker, history=list(first.journal.records), more=first.more | {"restarted": True}
    )
    again.clock.real = at("15:11:00")
    fills(again)
    again.start()
    again.run(6.0)
    assert [(o.slot, o.side) for o in closings(again)] == [(1, Side.BUY), (0, Side.SELL)]


def test_resting_exits_give_way_and_entries_are_cancelled() -> None:
    world = world_at("14:50:00").start()
    world.send(1)
    filled(world, 10)
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 200, qty=0, px=0, order_type=0)
    world.send(3, px=PX - 100)
    world.run(1.0)
    (stop,) = closings(world)
    assert stop.status in (OrderStatus.PENDING, OrderStatus.TRIGGER_PENDING, OrderStatus.OPEN)
    fills(world)
    to(world, "15:00:10")
    assert stop.status is OrderStatus.CANCELLED and world.status(3) is OrderStatus.CANCELLED
    assert world.quantity() == 0
    assert [o.order_type for o in closings(world)] == [stop.order_type, OrderType.MARKET]


def test_a_stop_stays_while_the_broker_cannot_be_reached_and_a_person_is_told() -> None:
    world = world_at("14:54:00").start()
    world.send(1)
    filled(world, 10)
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 200, qty=0, px=0, order_type=0)
    world.run(1.0)
    to(world, "14:59:50")
    lost = TransportError("no route", sent=False)
    world.broker.on_call = world.broker.on_read = lambda request: lost  # type: ignore[assignment]
    to(world, "15:00:05")
    (stop,) = closings(world)
    assert stop.status is not OrderStatus.CANCELLED and not world.broker.calls("DELETE")
    assert len(told(world)) == 1 and "books cannot be read" in told(world)[0]
    to(world, "15:08:02")
    assert 8 <= len(told(world)) <= 10 and "due by 15:08" in told(world)[-1]
    world.broker.on_call = world.broker.on_read = None
    fills(world)
    to(world, "15:08:30")
    assert world.quantity() == 0 and told(world, "SQUARE_OFF_FLAT")


def test_what_the_broker_closed_meanwhile_is_not_closed_once_more() -> None:
    world = world_at("14:54:00").start()
    world.send(1)
    filled(world, 10)
    lost = TransportError("no route", sent=False)
    world.broker.on_call = world.broker.on_read = lambda request: lost  # type: ignore[assignment]
    to(world, "15:08:30")
    row = dict(world.row()) | {
        "order_id": "rms1", "transaction_type": "SELL", "tag": None, "tags": [], "placed_by": "RMS",
    }  # fmt: skip
    world.broker.rows["rms1"] = row
    world.broker.on_call = world.broker.on_read = None
    world.run(20.0)
    assert world.quantity() == 0
    assert not [o for o in closings(world) if o.status not in (OrderStatus.REFUSED,)]


def test_an_order_of_the_broker_that_still_works_is_left_to_him() -> None:
    early = world_at("14:50:00").start()
    early.send(1)
    filled(early, 10)
    rest = dict(early.row()) | {
        "order_id": "rms1", "transaction_type": "SELL", "tag": None, "tags": [], "placed_by": "RMS",
        "status": "OPEN", "filled_quantity": 0, "pending_quantity": 10, "order_type": "LIMIT", "price": 80.0,
    }  # fmt: skip
    early.broker.rows["rms1"] = rest
    again = World(
        broker=early.broker, history=list(early.journal.records), more=early.more | {"restarted": True}
    )
    again.clock.real = at("15:08:30")
    again.start()
    fills(again)
    again.run(10.0)
    assert not closings(again) and "not ours is at work" in told(again)[-1]


def test_a_refused_order_comes_back_ever_more_seldom_and_is_told_every_minute() -> None:
    world = holding()
    world.broker.on_call = lambda request: error(400, "OrderException", "blocked")
    to(world, "15:07:00")
    tries = [o for o in closings(world) if o.slot == 0]
    assert 10 <= len(tries) <= 25
    assert {o.order_type for o in tries} == {OrderType.MARKET, OrderType.LIMIT}
    assert 6 <= len([t for t in told(world) if "SHARE0" in t]) <= 8 and "blocked" in told(world)[-1]


def test_a_closing_order_that_rests_is_priced_anew() -> None:
    world = holding()
    to(world, "15:00:12")
    ours = closings(world)
    assert len(ours) >= 3 and len([o for o in ours if o.status is OrderStatus.CANCELLED]) >= 2


def test_at_a_locked_circuit_it_keeps_its_place() -> None:
    world = holding(band=lambda slot: (PX, PX + 2_000, 0))
    to(world, "15:00:30")
    (order,) = closings(world)
    assert (order.order_type, order.px, order.status) == (OrderType.LIMIT, PX, OrderStatus.OPEN)
    assert told(world) and "EXIT_AT_CIRCUIT" in world.codes()


def test_where_the_market_keeps_no_hours_nothing_is_closed() -> None:
    world = World()
    world.clock.real = at("15:25:00")
    world.start()
    world.send(1)
    filled(world, 10)
    world.run(30.0)
    assert not closings(world) and not told(world)


def test_nothing_is_sent_in_a_phase_that_takes_nothing() -> None:
    world = holding()
    world.broker.on_call = lambda request: error(503, "", "")
    to(world, "15:15:00")
    sent = len([r for r in world.broker.calls("POST")])
    to(world, "15:19:00")
    assert not [o for o in closings(world)[sent:] if o.slot == 0]
    assert "takes no orders" in [t for t in told(world) if "SHARE0" in t][-1]


def test_no_stop_is_placed_anew_while_a_position_is_closed() -> None:
    world = world_at("14:54:30").start()
    world.send(1)
    filled(world, 10)
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 200, qty=0, px=0, order_type=0)
    to(world, "15:00:20")  # closing orders rest
    kinds = [o.order_type for o in closings(world)[1:]]
    assert kinds and set(kinds) == {OrderType.MARKET}


@pytest.mark.parametrize("active", [True, False])
def test_a_page_comes_although_the_engine_cannot_act(active: bool) -> None:
    first = holding("14:50:00")
    again = World(
        broker=first.broker, history=list(first.journal.records), more=first.more | {"restarted": True}
    )
    again.clock.real = at("15:07:50")
    if not active:
        again.broker.on_read = lambda request: TransportError("no route", sent=False)
    again.stage.start()
    fills(again)
    again.run(20.0)
    assert again.stage.active is active
    assert bool(told(again)) is not active
    if not active:
        assert "not ACTIVE" in told(again)[0]


# The times


def test_times_are_those_of_the_dated_rows() -> None:
    rules = day_rules()
    now = at("10:00:00")
    assert rules.day_end(0, now) == Closing(at("15:00:00"), at("15:08:00"), at("15:08:00"))
    assert rules.day_end(1, now) == Closing(at("15:10:00"), at("15:15:00"), at("15:20:00"))
    assert rules.day_end(3, now) == Closing(at("15:15:00"), at("15:20:00"), at("15:25:00"))


def test_before_the_closing_auction_every_share_has_the_same_end() -> None:
    day = dt.date(2026, 7, 31)
    rules, now = day_rules(day), at("10:00:00", day)
    assert rules.day_end(0, now) == rules.day_end(1, now)


def test_on_a_holiday_nothing_ends_and_a_special_session_has_its_own() -> None:
    holiday, muhurat = dt.date(2026, 11, 24), dt.date(2026, 11, 8)
    assert day_rules(holiday).day_end(0, at("15:05:00", holiday)) is None
    calendar = [dict(row) for row in default_calendar()]
    for row in calendar:
        row["special"] = [*row.get("special", ()), {"date": muhurat, "open": "18:00:00", "close": "19:00:00"}]
    rules = day_rules(muhurat, calendar)
    now = at("18:05:00", muhurat)
    assert rules.day_end(1, now) == Closing(
        at("18:40:00", muhurat), at("18:45:00", muhurat), at("18:50:00", muhurat)
    )
    assert rules.day_end(3, now).from_ns == at("18:35:00", muhurat)  # type: ignore[union-attr]


def test_a_share_of_which_it_is_not_known_ends_first() -> None:
    rules = day_rules(underlyings=None)
    assert rules.day_end(1, at("10:00:00")).from_ns == at("15:00:00")  # type: ignore[union-attr]


def test_an_unknown_slot_has_no_end() -> None:
    assert day_rules().day_end(99, at("10:00:00")) is None
    assert replace(Facts(), day_end=None).day_end is None


def test_what_waits_for_a_short_keeps_its_stop() -> None:
    world = world_at("14:50:00").start()
    world.send(1, slot=3, qty=75)
    filled(world, 75)
    world.send(2, slot=3, kind=IntentKind.EXITS, trigger_px=PX - 200, qty=0, px=0, order_type=0)
    world.run(1.0)
    world.send(3, strategy=2, slot=3, side=Side.SELL, qty=150)
    filled(world, 150)
    (stop,) = closings(world)
    to(world, "15:15:08")  # the short is being bought back, and does not fill
    assert stop.status is not OrderStatus.CANCELLED
    assert {(o.side, o.strategy) for o in closings(world)[1:]} == {(Side.BUY, 2)}
    fills(world)
    to(world, "15:15:30")
    assert stop.status is OrderStatus.CANCELLED and world.quantity(slot=3) == 0


def test_a_stop_from_before_the_position_turned_is_not_kept() -> None:
    """Nothing can be closed while the broker's books cannot be read; it would make the position larger."""
    world = world_at("14:50:00").start()
    world.send(1)
    filled(world, 10)
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 200, qty=0, px=0, order_type=0, validity=0, side=0)
    old = armed(world)
    to(world, "14:59:45")
    world.broker.on_read = lambda request: TransportError("timed out", sent=True)
    to(world, "15:00:05")
    assert old.status is OrderStatus.TRIGGER_PENDING, "what is not closed yet keeps its stop"
    world.stage.book.cut(Cut(1, 0, int(Product.MIS), -12, -12 * PX))
    world.run(1.0)
    assert world.broker.rows[old.order_id]["status"] == "CANCELLED"
