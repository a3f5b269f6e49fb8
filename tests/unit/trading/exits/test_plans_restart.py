"""A process that dies between the end of a plan and the cancel of its orders leaves none of them behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from exits_tools import armed, at, exits, guard, holding
from gtt_tools import overnight
from orders_world import PX, World, filled, instruments

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import OrderStatus, Product
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book, Cut
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.recovery.replay import replay


def died(world: World, on_call: Any = None) -> World:
    """It ended the plan, and died before anything else was written or had left."""
    ends = [at for at, r in enumerate(world.journal.records) if r.kind is Kind.PLAN and r.data().get("ended")]
    del world.journal.records[ends[0] + 1 :]
    world.broker.on_call = on_call
    world.broker.ready.clear()
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    )  # fmt: skip
    return other.start()


def dropped(world: World) -> None:
    exits(world, 3)


def closed_by_others(world: World) -> None:
    world.broker.held.append(
        {
            "instrument_token": 256001,
            "product": "MIS",
            "exchange": "NSE",
            "tradingsymbol": "SHARE0",
            "quantity": 0,
        }
    )
    world.stage.book.cut(Cut(1, 0, int(Product.MIS), -10, -10 * PX))
    world.run(0.3)


@pytest.mark.parametrize("end", [dropped, closed_by_others])
def test_what_an_ended_plan_left_at_the_broker_is_cancelled(end: Any) -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    stop = armed(world)
    world.broker.on_call = lambda request: None
    end(world)
    other = died(world)
    other.run(3.0)
    assert world.broker.rows[stop.order_id]["status"] == "CANCELLED"


def test_also_one_whose_fate_was_unknown() -> None:
    world = holding()

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        world.broker.enter(request, "TRIGGER PENDING")
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.broker.on_read = lambda request: None  # nothing is read either
    exits(world, trigger_px=PX - 100)
    stop = list(world.broker.rows)[-1]
    exits(world, 3)
    world.broker.on_read = None
    other = died(world)
    other.run(3.0)
    assert world.broker.rows[stop]["status"] == "CANCELLED"


def test_a_plan_that_stands_keeps_its_order() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    armed(world)
    exits(world, 3, trigger_px=PX - 200)  # the first is superseded
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    other.run(1.0)
    assert guard(other).status not in TERMINAL and not other.broker.calls("DELETE")


def test_the_trigger_of_an_ended_plan_is_deleted() -> None:
    world, gtts = overnight()
    assert [row["status"] for row in gtts.rows.values()] == ["active"]
    exits(world, 3, product=Product.CNC)
    for row in gtts.rows.values():
        row["status"] = "active"  # the call never left
    other = died(world, gtts.call)
    other.run(3.0)
    assert [row["status"] for row in gtts.rows.values()] == ["deleted"]
    assert not other.stage.keeper.triggers.standing


def test_the_trigger_of_a_plan_that_stands_is_left_alone() -> None:
    world, gtts = overnight()
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    other.run(2.0)
    assert gtts.calls == ["POST"] and len(other.stage.keeper.triggers.standing) == 1


def test_a_late_word_from_before_the_modification_leaves_no_stop_open() -> None:
    """The target is left, the order is a stop again, and then comes the update of a part that it filled."""
    world = holding()
    exits(world, trigger_px=PX - 100, px=PX + 200)
    armed(world)
    at(world, PX + 200)
    order = guard(world)
    row = world.broker.rows[order.order_id]
    late = dict(row) | {"filled_quantity": 4, "average_price": (PX + 200) / 100, "status": "OPEN"}
    at(world, PX + 120)
    row |= {"filled_quantity": 4, "average_price": (PX + 200) / 100, "status": "TRIGGER PENDING"}
    assert order.status is OrderStatus.TRIGGER_PENDING
    world.update(late)
    assert order.status is OrderStatus.OPEN and order.filled == 4
    world.run(5.0, fresh=False)
    assert order.status is OrderStatus.TRIGGER_PENDING and world.quantity() == 6
    book = Book(instruments())
    replay(list(world.journal.records), book, instruments(), world.clock.mono)
    assert book.orders[order.order_no].status is OrderStatus.TRIGGER_PENDING, "the journal tells it, too"


def test_a_pair_that_the_broker_does_not_take_is_kept_by_orders_also_by_the_next_process() -> None:
    """Two records say it: behind the first one the next process would ask for what cannot be."""
    single = replace(KITE, trigger_legs_max=1)
    world = World(adapter=single).start()
    world.send(1, product=Product.NRML)
    filled(world, 10)
    exits(world, product=Product.NRML, trigger_px=PX - 100, px=PX + 100, flags=2)
    records = world.journal.records
    at_first = next(i for i, r in enumerate(records) if r.kind is Kind.PLAN)
    assert records[at_first].data()["gtt"] and not records[at_first + 1].data().get("gtt")
    later = World(
        adapter=single, broker=world.broker, clock=world.clock, history=list(records[: at_first + 1]),
        tags=world.tags, more={"restarted": True},
    )  # fmt: skip
    later.stage.start()
    later.run(5.0)
    assert later.stage.active and "TRIGGER_FAILED" in later.codes()
    assert not [r for r in world.broker.calls("POST") if "/gtt" in r.path]
    stop = [o for o in later.stage.book.live() if not o.opening]
    assert [(o.quantity, o.trigger_px) for o in stop] == [(10, PX - 100)]
