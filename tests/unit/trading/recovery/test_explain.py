"""What the broker's books say that cannot be true beside what we know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from orders_world import PX, Queue, World, filled, instruments

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, PositionReport
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.order import Order
from kite_hft.trading.recovery.explain import differences

TABLE = instruments()


def row(order_id: str = "1", filled_: int = 0, status: OrderStatus = OrderStatus.OPEN) -> OrderReport:
    return OrderReport(
        order_id, status, status.name, "", "NSE", "SHARE0", TABLE[0].token, Side.BUY, OrderType.LIMIT,
        Product.MIS, 10, filled_, 10 - filled_, 0, 100.0, PX, 0,
    )  # fmt: skip


def held(quantity: int, carried: int = 0, product: Product = Product.MIS) -> PositionReport:
    return PositionReport(
        "NSE", "SHARE0", TABLE[0].token, product, quantity, 100.0, 0, 0, 0.0, 0.0, 1, carried
    )


def book(filled_: int = 0, status: OrderStatus = OrderStatus.OPEN) -> Book:
    made = Book(TABLE)
    order = Order(1, 1, 1, 0, Side.BUY, OrderType.LIMIT, Product.MIS, 1, 0, 10, PX, 0, "t")
    made.add(order)
    made.enter(order, Input.SUBMIT, 0)
    made.fold(order, row("1", filled_, status), 0)
    return made


def names(made: Book, rows: list[OrderReport], positions: list[PositionReport], **more: Any) -> list[str]:
    return [d.name for d in differences(made, TABLE, rows, positions, **more)]


@pytest.mark.parametrize(
    ("rows", "positions"),
    [
        ([row()], []),
        ([row("1", 4)], [held(4)]),
        ([row("1", 4)], [held(7, 3)]),
        ([row("1", 4)], [held(1), held(3, product=Product.CNC)]),  # converted in part
        ([row("1", 4), row("2", 2)], [held(6)]),
    ],
)
def test_what_adds_up_is_explained(rows: list[OrderReport], positions: list[PositionReport]) -> None:
    assert names(book(), rows, positions) == []


def test_an_order_that_is_gone() -> None:
    assert names(book(), [], []) == ["1"]
    assert names(book(), [], [], young={1}) == [], "a book may lag"
    assert names(book(), [], [], accepted={("1", "gone, 0 filled")}) == []
    assert names(book(4), [], [], accepted={("1", "gone, 0 filled")}) == ["1"], "another difference"
    assert names(book(status=OrderStatus.CANCELLED), [], []) == [], "it was nothing"


def test_fills_that_are_taken_back() -> None:
    assert names(book(5), [row("1", 4)], [held(4)]) == ["1"]


def test_an_end_that_was_none() -> None:
    found = differences(book(10, OrderStatus.COMPLETE), TABLE, [row("1", 10)], [held(10)])
    assert [(d.name, d.word) for d in found] == [("1", "")]


@pytest.mark.parametrize(("quantity", "carried"), [(5, 0), (-4, 0), (4, 1), (0, 0)])
def test_a_position_out_of_nothing(quantity: int, carried: int) -> None:
    found = differences(book(), TABLE, [row("1", 4)], [held(quantity, carried)])
    assert [(d.name, d.word) for d in found] == [("NSE:SHARE0", "present")]
    assert f"hold {quantity}" in found[0].text and "filled by the orders of his book +4" in found[0].text


def test_an_ambiguous_order_may_have_done_it() -> None:
    made = book()
    other = Order(2, 1, 2, 0, Side.BUY, OrderType.LIMIT, Product.MIS, 1, 0, 7, PX, 0, "u")
    made.add(other)
    made.enter(other, Input.SUBMIT, 0)
    made.enter(other, Input.LOSE, 0)
    assert names(made, [row("1", 4)], [held(11)]) == []
    assert names(made, [row("1", 4)], [held(12)]) == ["NSE:SHARE0"]
    assert names(made, [row("1", 4)], [held(3)]) == ["NSE:SHARE0"], "it buys"


# The stage at its start


def out_of_nothing() -> World:
    world = World()
    world.broker.held = [{
        "exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
        "quantity": 3, "overnight_quantity": 0, "average_price": 99.0, "multiplier": 1,
    }]  # fmt: skip
    world.stage.start()
    world.run(1.0)
    return world


def test_the_engine_is_not_active_and_says_why_and_how_to_end_it() -> None:
    world = out_of_nothing()
    world.run(9.0)
    assert not world.stage.active
    text = next(a["text"] for a in world.alert_fields if a["code"] == "NOT_RECONCILED")
    assert "NSE:SHARE0" in text and "kite-hft resolve NSE:SHARE0 --present" in text
    assert world.stage.unexplained == text and world.stage.report()["recovery"]["unexplained"] == text
    world.send(1)
    assert world.reason(1) == "NOT_ACTIVE"
    rounds = sum(1 for request in world.broker.sent if request.path.endswith("positions"))
    assert rounds < 12, "the rounds go on, apart"


def test_it_becomes_active_by_itself_when_the_broker_explains_it() -> None:
    world = out_of_nothing()
    world.run(9.0)
    world.broker.held = []
    world.run(5.0)
    assert world.stage.active and not world.stage.unexplained
    assert world.alert_fields[-1]["code"] == "NOT_RECONCILED" and world.alert_fields[-1]["cleared"]


def test_a_person_accepts_it_and_the_next_start_remembers() -> None:
    world = out_of_nothing()
    world.run(9.0)
    world.do("resolve", ask="q", name="NSE:SHARE0", how="absent", by="me")
    world.run(3.0)
    assert not world.stage.active, "that word does not fit"
    world.do("resolve", ask="q", name="NSE:SHARE0", how="present", by="me")
    world.run(5.0)
    assert world.stage.active
    assert world.stage.book.standing(0xFFFF, 0, Product.MIS).quantity == 3
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records),
        intents=Queue(), more={"restarted": True},
    ).start()  # fmt: skip
    assert again.stage.active


def test_one_round_that_differs_is_only_read_again() -> None:
    world = World()
    once: list[int] = []

    def read(request: Any) -> Any:
        answer = world.broker.read(request)
        if request.path.endswith("positions") and not once:
            once.append(1)
            world.broker.held = []
        return answer

    world.broker.held = [{
        "exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
        "quantity": 3, "overnight_quantity": 0, "average_price": 99.0, "multiplier": 1,
    }]  # fmt: skip
    world.broker.on_read = read
    world.stage.start()
    world.run(5.0)
    assert world.stage.active and "NOT_RECONCILED" not in world.codes()
    assert world.stage.report()["recovery"]["rounds_that_differed"] == 1


def test_an_order_that_is_gone_is_ended_by_a_person() -> None:
    first = World().start()
    first.send(1)
    first.run(3.0)
    first.broker.rows.clear()
    first.clock.advance(200 * 10**9)
    world = World(
        broker=first.broker, clock=first.clock, history=list(first.journal.records), intents=Queue(),
        journal=first.journal, more={"restarted": True},
    )  # fmt: skip
    world.stage.start()
    world.run(10.0)
    assert not world.stage.active and "kite-hft resolve 1 --absent" in world.stage.unexplained
    world.do("resolve", ask="q", name="1", how="absent", by="me")
    world.run(5.0)
    assert world.stage.active and world.status(1) is OrderStatus.CANCELLED
    third = World(
        broker=first.broker, clock=first.clock, history=list(world.journal.records), intents=Queue(),
        more={"restarted": True},
    ).start()  # fmt: skip
    assert third.status(1) is OrderStatus.CANCELLED


def test_the_report_of_a_start() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        intents=Queue(), more={"restarted": True},
    ).start()  # fmt: skip
    told = again.stage.report()["recovery"]
    assert told["journal"]["orders"] == 1 and told["journal"]["restarted"]
    assert told["funds_paise"]["net_paise"] == 100_050
    active = [r.data() for r in again.journal.records if r.kind is Kind.STATE and r.data().get("active")]
    assert active[-1]["recovery"]["journal"] == told["journal"]


# What a person has accepted is that difference, and no other


def hidden(quantity: int) -> dict[str, Any]:
    """A position that no order of the book explains."""
    return {
        "exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
        "quantity": quantity, "overnight_quantity": 0, "average_price": 99.0, "multiplier": 1,
    }  # fmt: skip


def accepted(world: World) -> World:
    world.broker.held = [hidden(10)]
    world.stage.start()
    world.run(10.0)
    assert not world.stage.active
    world.do("resolve", ask="q", name="NSE:SHARE0", how="present", by="me")
    world.run(5.0)
    assert world.stage.active and world.quantity(strategy=0xFFFF) == 10
    return world


def restarted(world: World, history: list[Any] | None = None) -> World:
    """Another process of the run, ten seconds old."""
    world.broker.ready.clear()
    fresh = World(
        broker=world.broker, clock=world.clock, journal=world.journal, intents=Queue(),
        history=list(world.journal.records) if history is None else history, more={"restarted": True},
    )  # fmt: skip
    fresh.stage.start()
    fresh.run(10.0)
    return fresh


def test_another_amount_than_was_accepted_is_asked_about_again() -> None:
    world = accepted(World())
    world.send(1)
    filled(world, 10)
    fresh = restarted(world)
    assert fresh.stage.active, "our own fills change nothing of what differs"
    fresh.broker.held = [hidden(60)]
    last = restarted(fresh)
    assert not last.stage.active and "resolve NSE:SHARE0 --present" in last.stage.unexplained
    last.do("resolve", ask="q", name="NSE:SHARE0", how="present", by="me")
    last.run(5.0)
    assert last.stage.active and last.quantity() == 10
    assert restarted(last).stage.active


def test_a_word_of_which_nobody_knows_the_amount_is_asked_for_again() -> None:
    world = accepted(World())
    old = []
    for record in world.journal.records:
        data = record.data()
        data.pop("amount", None)
        old.append(replace(record, payload=msgspec.json.encode(data)))
    assert not restarted(world, old).stage.active


def test_a_fill_of_ours_that_only_the_positions_show_is_not_what_was_accepted() -> None:
    world = accepted(World())
    world.send(1, qty=40)
    filled(world, 40)
    world.send(2, side=Side.SELL, qty=40, px=PX + 200)
    world.run(20.0)
    assert (world.quantity(), world.quantity(strategy=0xFFFF)) == (40, 10)
    world.broker.held = [hidden(-30)]
    fresh = restarted(world)
    assert not fresh.stage.active and fresh.quantity() == 40
    fresh.broker.held = [hidden(10)]
    fresh.row().update(status="COMPLETE", filled_quantity=40, average_price=102.0)
    fresh.run(5.0)
    assert fresh.stage.active and (fresh.quantity(), fresh.quantity(strategy=0xFFFF)) == (0, 10)
    assert "BROKER_ACTED" not in fresh.codes()


def test_an_order_that_was_ended_by_a_person_and_fills_in_the_end_is_asked_about_again() -> None:
    made = book(4)
    gone = differences(made, TABLE, [], [held(4)])
    assert [d.amount for d in gone] == ["gone, 4 filled", "+4"]
    taken = {(d.name, d.amount) for d in gone}
    assert names(made, [row("1", 3)], [held(3)], accepted=taken) == ["1"]


def test_a_fill_that_was_told_and_that_no_book_shows_yet_cuts_nothing() -> None:
    """Neither the order book nor the positions know the order: both lag behind its updates."""
    told = book(10, OrderStatus.COMPLETE)
    assert names(told, [], [held(10)], young={1}) == [], "the positions show it"
    found = differences(told, TABLE, [], [], young={1})
    assert [(d.name, d.word, d.amount) for d in found] == [("NSE:SHARE0", "present", "-10")]
    assert "orders of his book +0, by his word of others +10" in found[0].text
    world = World().start()
    world.send(1)
    filled(world, 10)
    late = dict(world.broker.rows)
    world.broker.rows.clear()
    fresh = World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        more={"restarted": True},
    )  # fmt: skip
    fresh.stage.start()
    fresh.run(20.0)
    assert not fresh.stage.active and fresh.quantity() == 10 and "NSE:SHARE0" in fresh.stage.unexplained
    world.broker.rows.update(late)
    fresh.run(20.0)
    assert fresh.stage.active and fresh.quantity() == 10
    assert not {"POSITION_MISMATCH", "BROKER_ACTED", "EXTERNAL_POSITION"} & set(fresh.codes())
