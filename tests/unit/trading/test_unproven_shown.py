"""A smaller quantity that the broker has taken, and that the exchange may turn down yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from exits_tools import armed, exits, guard, holding
from orders_world import PX, World, instruments, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest, HttpResponse, OrderReport
from kite_hft.trading.order import Order
from kite_hft.trading.recovery.replay import replay
from kite_hft.trading.unproven import shows_less

ROW = OrderReport(
    "id", OrderStatus.OPEN, "OPEN", "", "NSE", "SHARE0", instruments()[0].token, Side.BUY, OrderType.LIMIT,
    Product.MIS, 10, 0, 10, 0, 0.0, 100, 0,
)  # fmt: skip


def taken(world: World) -> list[HttpRequest]:
    """From here on the broker takes modifications, and the exchange turns them down."""
    puts: list[HttpRequest] = []

    def call(request: HttpRequest) -> HttpResponse:
        if request.method != "PUT":
            return world.broker.accept(request)
        puts.append(request)
        return ok({"order_id": request.path.rsplit("/", 1)[1]})

    world.broker.on_call = call
    return puts


def test_what_is_taken_and_then_turned_down_never_lets_two_orders_close_one_position() -> None:
    """The stop of 10 has filled 4 that we do not know of: 6 is what it stands at, and it stays at 10."""
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    puts = taken(world)
    position = world.stage.book.standing(1, 0, stop.product)
    world.send(3, side=Side.SELL, qty=6, px=PX + 10)
    world.step(4)
    assert len(puts) == 1 and stop.quantity == 4 and position.open_sell == 10
    assert world.stage.book.by_strategy(1, 3) is None
    world.broker.rows[stop.order_id] |= {"filled_quantity": 4, "pending_quantity": 6, "average_price": 99.0}
    for _ in range(40):
        world.run(0.05)
        assert position.open_sell <= position.quantity
        if world.broker.calls("DELETE") and stop.status is not OrderStatus.CANCELLED:
            world.update(world.broker.rows[stop.order_id])
    assert (stop.filled, position.quantity) == (4, 6)
    selling = [o for o in world.stage.book.live() if o.side == Side.SELL and o is not stop]
    assert sum(o.open_quantity for o in selling) == 6 and stop.status is OrderStatus.CANCELLED


def test_the_row_that_shows_it_lets_go_at_once_and_one_from_before_does_not() -> None:
    world = World().start()
    world.send(1, qty=10)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=0)
    world.run(0.3)
    order = world.order(1)
    world.broker.on_read = lambda request: None
    world.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=10, px=0)
    assert (order.quantity, order.open_quantity) == (10, 20)
    world.update(world.row() | {"quantity": 10, "status": "UPDATE"})  # it was 10 before: it may be old
    assert order.open_quantity == 20
    world.broker.on_read = None
    world.broker.ready += [(len(world.broker.sent), world.broker.read(world.broker.calls("GET")[-1]))]
    world.run(0.5)
    assert order.open_quantity == 10, "the order book tells"
    world.broker.on_read = lambda request: None
    world.send(4, kind=IntentKind.MODIFY, target_seq=1, qty=4, px=0)
    world.update(world.row() | {"quantity": 20, "status": "UPDATE"})
    assert order.open_quantity == 10
    world.update(world.row() | {"quantity": 4, "status": "UPDATE"})
    assert (order.quantity, order.quantity_max, order.open_quantity) == (4, 0, 4)


@pytest.mark.parametrize(
    ("order", "report", "shown"),
    [
        ({}, {}, True),
        ({}, {"status": None, "status_text": "UPDATE"}, True),
        ({}, {"status": OrderStatus.PENDING}, False),  # on its way: it may show what was asked for
        ({}, {"quantity": 3}, False),
        ({"quantity_min": 4}, {}, False),  # it was so small before
        ({"quantity_max": 0}, {}, False),
    ],
)
def test_what_shows_that_it_is_smaller(order: dict[str, Any], report: dict[str, Any], shown: bool) -> None:
    base = {"quantity": 4, "quantity_max": 10, "quantity_min": 10}
    found = Order(1, 1, 1, 0, Side.BUY, 2, 3, 1, 0, px=100, trigger_px=0, tag="", **(base | order))
    assert shows_less(found, replace(ROW, **{"quantity": 4, **report})) is shown


def test_a_row_of_the_change_on_its_way_is_looked_at_again() -> None:
    world = World().start()
    world.send(1, qty=10)
    world.run(2.5)
    taken(world)
    world.row()["status"] = "MODIFY PENDING"
    reads = len(world.broker.calls("GET"))
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=4, px=0)
    world.run(1.0)
    assert len(world.broker.calls("GET")) - reads >= 3 and world.order(1).open_quantity == 10
    world.run(8.0)
    reads = len(world.broker.calls("GET"))
    world.run(1.0)
    assert len(world.broker.calls("GET")) - reads <= 2, "not for ever"
    world.row()["status"] = "OPEN"
    world.run(2.5)
    assert (world.order(1).quantity, world.order(1).quantity_max) == (10, 0), "turned down"


def test_a_stop_that_nobody_shows_smaller_ends_so_that_the_exit_may_go() -> None:
    """No read of the order book succeeds. What reduces risk is not held up for ever."""
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    world.broker.on_read = lambda request: HttpResponse(503, b"")
    world.send(3, side=Side.SELL, qty=4, px=PX + 10)
    world.run(1.8)
    assert stop.quantity == 6 and not world.broker.calls("DELETE")
    world.run(0.4)
    assert len(world.broker.calls("DELETE")) == 1
    world.update(world.broker.rows[stop.order_id])
    world.run(0.2)
    assert world.order(3).open_quantity == 4 and guard(world).open_quantity == 6


def test_after_a_restart_the_larger_quantity_counts_until_the_book_is_read() -> None:
    world = World().start()
    world.send(1, qty=10)
    taken(world)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=4, px=0)
    history, world.row()["status"] = list(world.journal.records), "MODIFY PENDING"
    book = Book(world.table)
    replay(history, book, world.table, 0)
    assert (book.orders[1].quantity, book.orders[1].open_quantity) == (4, 10)
    again = World(broker=world.broker, clock=world.clock, history=history, more={"restarted": True}).start()
    assert again.order(1).open_quantity == 10
    world.row()["status"] = "OPEN"
    again.run(3.0)
    assert (again.order(1).quantity, again.order(1).open_quantity) == (10, 10)
