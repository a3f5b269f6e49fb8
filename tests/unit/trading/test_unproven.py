"""A modification whose answer proves nothing: the worse of both counts until the book has told."""

from __future__ import annotations

import pytest
from orders_world import PX, S, World, filled, form, limits

from kite_hft.layout import IntentFlag, IntentKind, OrderStatus, OrderType, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.replay import replay
from kite_hft.trading.unproven import Terms, Unproven

HORIZON = 180 * S
LIMIT, MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
SL, SLM = int(OrderType.SL), int(OrderType.SLM)
OLD: Terms = (10, 100, 0, LIMIT)


def test_new_terms_are_believed_at_once_and_others_after_two_reads_past_the_horizon() -> None:
    doubt = Unproven((20, 100, 0, LIMIT), since_ns=0)
    for asked_ns in (1, HORIZON - 1):
        assert doubt.believes(OLD, OLD, asked_ns, HORIZON) is None
    assert doubt.believes(OLD, OLD, HORIZON, HORIZON) is None
    assert doubt.believes(OLD, (15, 100, 0, LIMIT), HORIZON + 1, HORIZON) is None, "they do not agree"
    assert doubt.believes(OLD, OLD, HORIZON + 2, HORIZON) is None
    assert doubt.believes(OLD, (20, 100, 0, LIMIT), HORIZON + 3, HORIZON) == (20, 100, 0, LIMIT)
    assert doubt.believes(OLD, OLD, HORIZON + 4, HORIZON) == OLD


@pytest.mark.parametrize(
    ("wished", "shown", "believed"),
    [
        ((10, 0, 0, MARKET), (10, 103, 0, LIMIT), True),  # protected: the price is the broker's
        ((10, 0, 0, MARKET), (10, 100, 0, LIMIT), False),  # as it stood
        ((10, 0, 95, SLM), (10, 90, 95, SL), True),
        ((10, 0, 95, SLM), (10, 0, 96, SLM), False),
        ((10, 90, 95, SL), (10, 91, 95, SL), False),
        ((10, 101, 0, LIMIT), (10, 101, 0, LIMIT), True),
        ((10, 101, 0, LIMIT), (9, 101, 0, LIMIT), False),
    ],
)
def test_what_shows_that_it_was_carried_out(wished: Terms, shown: Terms, believed: bool) -> None:
    assert (Unproven(wished, 0).believes(OLD, shown, 1, HORIZON) is not None) is believed


def lose(world: World, seq: int = 2, **more: int) -> list[HttpRequest]:
    """A MODIFY of order 1 whose answer does not come; returns what left, for it may arrive later."""
    late: list[HttpRequest] = []

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method == "PUT" and not late:
            late.append(request)
            return TransportError("timed out", sent=True)
        return world.broker.accept(request)

    world.broker.on_call = call
    world.send(seq, **({"kind": IntentKind.MODIFY, "target_seq": 1, "px": 0} | more))
    return late


def test_the_limits_count_it_until_the_horizon() -> None:
    config = OrdersConfig(limits(), risk=RiskLimits(max_position_size=2500.0))
    world = World(config=config).start()
    world.send(1)
    late = lose(world, qty=24)
    world.run(170.0)
    world.send(3, qty=14)
    assert world.reason(3) == "MAX_EXPOSURE" and world.stage.book.worst_case(0) == 24
    world.send(4, kind=IntentKind.MODIFY, target_seq=1, qty=12, px=0)
    assert world.reason(4) == "ORDER_NOT_OPEN"
    world.run(20.0)
    assert world.stage.book.worst_case(0) == 10 and world.order(1).unproven is None
    assert late and len(world.broker.calls("PUT")) == 1, "never sent again"


def test_it_may_be_seen_at_any_time_before() -> None:
    world = World().start()
    world.send(1)
    late = lose(world, qty=24)
    world.run(90.0)
    assert "AMBIGUOUS_ORDER" in world.codes()
    world.broker.accept(late[0])
    world.run(3.0)
    order = world.order(1)
    assert (order.quantity, order.quantity_max, order.unproven) == (24, 0, None)
    assert world.alert_fields[-1]["cleared"] and world.alert_fields[-1]["code"] == "AMBIGUOUS_ORDER"
    world.send(4, kind=IntentKind.MODIFY, target_seq=1, qty=12, px=0)
    assert world.order(1).quantity == 12


def stopped() -> tuple[World, str, list[HttpRequest]]:
    """20 are held. The stop of 10 was to grow, and no answer came."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    plan = {"kind": IntentKind.EXITS, "trigger_px": PX - 100, "px": 0, "qty": 0, "order_type": 0, "side": 0}
    world.send(2, validity=0, **plan)
    world.run(0.5)
    stop = str(world.row()["order_id"])
    world.send(3, qty=10)
    late: list[HttpRequest] = []

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method == "PUT":
            late.append(request)
            return TransportError("timed out", sent=True)
        return world.broker.accept(request)

    world.broker.on_call = call
    filled(world, 10)
    world.run(0.5)
    assert [form(request)["quantity"] for request in late] == ["20"]
    return world, stop, late


def selling(world: World) -> int:
    rows = world.broker.rows.values()
    return sum(r["quantity"] for r in rows if r["transaction_type"] == "SELL" and r["status"] == "OPEN")


def test_a_stop_that_may_have_grown_gives_way_by_its_end_alone() -> None:
    world, stop, late = stopped()
    world.send(4, side=Side.SELL, flags=int(IntentFlag.EXIT), qty=15)
    world.run(2.5)
    assert world.broker.rows[stop]["status"] == "CANCELLED" and len(late) == 1
    assert selling(world) == 20, "the strategy's 15, and a new stop of 5"
    newest = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ][-1]
    assert newest.quantity == 5 and world.quantity() == 20


def test_a_stop_that_may_be_too_small_is_replaced_soon() -> None:
    world, stop, late = stopped()
    world.run(4.0)
    assert world.broker.rows[stop]["status"] == "OPEN", "the book may show it yet"
    world.run(2.0)
    assert world.broker.rows[stop]["status"] == "CANCELLED" and selling(world) == 20 and len(late) == 1


def test_one_that_must_be_something_else_is_replaced_at_once() -> None:
    world, stop, late = stopped()
    world.broker.on_call = None
    world.do("stop_policy", policy="cancel")
    world.quote(PX - 200)
    for _ in range(60):
        world.clock.advance(S // 20)
        world.quote(PX - 200)
        world.step()
    assert world.broker.rows[stop]["status"] == "CANCELLED" and len(late) == 1
    assert [form(r)["order_type"] for r in world.broker.calls("POST")][-1] == "LIMIT"


def test_after_a_restart_the_doubt_stands_and_the_horizon_begins_anew() -> None:
    world = World().start()
    world.send(1)
    lose(world, qty=24)
    world.run(100.0)
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), more={"restarted": True}
    ).start()  # fmt: skip
    again.run(100.0)
    assert again.stage.book.worst_case(0) == 24
    again.run(90.0)
    assert again.stage.book.worst_case(0) == 10 and again.stage.desk.settled(again.order(1))


def test_after_a_restart_no_second_modification_hides_what_the_first_may_have_done() -> None:
    """Had the book shown the larger quantity, nothing in the journal says so."""
    world = World().start()
    world.send(1)
    late = lose(world, qty=24)
    world.run(1.0)
    world.broker.accept(late[0])
    world.run(4.0)
    assert world.order(1).quantity == 24
    world.broker.on_call = lambda request: None
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=12, px=0)
    assert len(world.broker.calls("PUT")) == 2
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), more={"restarted": True}
    ).start()  # fmt: skip
    assert again.stage.book.worst_case(0) == 24


def test_one_that_the_book_shows_to_be_a_stop_again_is_one_after_a_restart_too() -> None:
    """It rested at its target, and the answer to its change back into a stop was lost."""
    world = World().start()
    world.send(1)
    world.run(2.5)
    assert world.order(1).status is OrderStatus.OPEN
    (late,) = lose(world, order_type=SL, px=PX + 20, trigger_px=PX + 10)
    world.broker.accept(late)
    world.row()["status"] = "TRIGGER PENDING"
    world.run(3.0)
    assert (world.order(1).status, world.order(1).order_type) == (OrderStatus.TRIGGER_PENDING, SL)
    book = Book(world.table)
    replay(world.journal.records, book, world.table, 0)
    assert book.orders[world.order(1).order_no].status is OrderStatus.TRIGGER_PENDING


def test_a_stop_that_the_book_has_shown_at_rest_is_one_again_after_a_restart_too() -> None:
    """The answer to its change into a limit order was lost; the one to the change back came."""
    world = World().start()
    world.send(1, order_type=SL, px=PX + 20, trigger_px=PX + 10)
    world.row()["status"] = "TRIGGER PENDING"
    world.run(2.5)
    (late,) = lose(world, order_type=OrderType.LIMIT, px=PX - 20)
    world.broker.accept(late)
    world.row()["status"] = "OPEN"
    world.run(3.0)
    assert (world.order(1).status, world.order(1).order_type) == (OrderStatus.OPEN, OrderType.LIMIT)
    world.broker.on_call = None
    world.send(9, kind=IntentKind.MODIFY, target_seq=1, order_type=SL, qty=0, px=PX + 20, trigger_px=PX + 10)
    book = Book(world.table)
    replay(world.journal.records, book, world.table, 0)
    told, alive = book.orders[world.order(1).order_no], world.order(1)
    assert (alive.status, alive.order_type) == (OrderStatus.TRIGGER_PENDING, SL)
    assert (told.status, told.order_type) == (OrderStatus.TRIGGER_PENDING, SL)


@pytest.mark.parametrize("first", ["the answer", "the end"])
@pytest.mark.parametrize("end", ["COMPLETE", "CANCELLED"])
def test_a_person_is_told_of_it_no_longer_than_the_order_lives(first: str, end: str) -> None:
    world = World().start()
    world.send(1)
    ended = {"status": end} | ({"filled_quantity": 10, "average_price": 100.0} if end == "COMPLETE" else {})

    def call(request: HttpRequest) -> TransportError:
        if first == "the end":
            world.row().update(ended)
            world.update(world.row())
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 50)
    world.broker.on_call = None
    world.row().update(ended)
    world.update(world.row())
    world.run(3.0)
    told = [bool(a.get("cleared")) for a in world.alert_fields if a["code"] == "AMBIGUOUS_ORDER"]
    assert world.status(1).name == end and told == ([False, True] if first == "the answer" else [])
