"""A placement that the broker's answer refused, and that his book shows alive: the answer was no proof."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest
from group_tools import again
from orders_world import PX, World, error

from kite_hft.engine.orders.files import written
from kite_hft.layout import IntentKind, OrderStatus, Reason
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.records import ORDER_COLUMNS, TRADE_COLUMNS

WORDS = "Order could not be accepted."
SAID = error(400, "OrderException", WORDS)
NO_BYTE = TransportError("connection refused", sent=False)


def refused(answer: HttpResponse | TransportError = SAID, status: str = "OPEN", **row: object) -> World:
    """Order 1 is refused by `answer`; the broker has it all the same, as `status`."""
    world = World().start()

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        world.broker.rows[world.broker.enter(request, status)] |= row
        return answer

    world.broker.on_call = call
    world.send(1)
    world.broker.on_call = None
    return world


def done(quantity: int = 10) -> dict[str, object]:
    return {"filled_quantity": quantity, "pending_quantity": 0, "average_price": PX / 100}


@pytest.mark.parametrize(
    ("answer", "ended", "kind"),
    [(SAID, OrderStatus.REJECTED, "REJECTED"), (NO_BYTE, OrderStatus.REFUSED, "REFUSED")],
)
def test_it_is_followed_counted_and_halts(
    answer: HttpResponse | TransportError, ended: OrderStatus, kind: str
) -> None:
    world = refused(answer)
    assert world.status(1) is ended and not world.stage.outbox.halted
    world.run(40)
    assert world.status(1) is OrderStatus.OPEN and world.order(1).order_id == world.row()["order_id"]
    assert world.order(1).open_quantity == 10 and world.stage.book.worst_case(0) == 10
    assert world.kinds(1) == ["SENT", kind, "ACCEPTED"]
    halted = world.stage.outbox.halted
    assert "order 1 was refused" in halted and world.row()["order_id"] in halted
    assert [text for text in world.alerts if text.startswith("HALTED")]
    world.send(2, slot=1)
    assert world.reason(2) == "HALTED"
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.run(5)
    assert world.status(1) is OrderStatus.CANCELLED


@pytest.mark.parametrize(
    ("status", "after"),
    [("COMPLETE", OrderStatus.COMPLETE), ("CANCELLED", OrderStatus.CANCELLED), ("OPEN", OrderStatus.OPEN)],
)
def test_what_it_has_filled_is_held(status: str, after: OrderStatus) -> None:
    world = refused()
    world.update(world.row() | {"status": status} | done(10 if status == "COMPLETE" else 4))
    world.row().update({"status": status} | done(10 if status == "COMPLETE" else 4))
    assert world.status(1) is after and world.quantity() == world.order(1).filled > 0
    assert "order 1 was refused" in world.stage.outbox.halted
    world.run(40)
    assert world.quantity() == world.order(1).filled and "FILL" in world.kinds(1)


@pytest.mark.parametrize("status", ["REJECTED", "CANCELLED"])
def test_one_that_ended_without_a_fill_is_no_news(status: str) -> None:
    """The usual case: the broker keeps a row of what he has refused."""
    world = refused(status=status)
    world.run(40)
    assert world.status(1) is OrderStatus.REJECTED and not world.stage.outbox.halted
    assert world.kinds(1) == ["SENT", "REJECTED"]


def test_a_late_word_of_the_time_before_the_refusal_is_none_either() -> None:
    world = refused(status="REJECTED")
    for label in ("PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "UPDATE"):
        world.update(world.row() | {"status": label})
    world.run(40)
    assert world.status(1) is OrderStatus.REJECTED and not world.stage.outbox.halted


def test_one_that_stays_under_way_lives() -> None:
    """So an order stands that waits for the market to open."""
    world = refused(status="AMO REQ RECEIVED")
    world.update(world.row())
    world.run(3)
    assert world.status(1) is OrderStatus.REJECTED and not world.stage.outbox.halted
    world.run(5)
    assert world.status(1) in WORKING and "order 1 was refused" in world.stage.outbox.halted


def test_the_next_process_has_it_by_the_journal() -> None:
    world = refused(**done(4))
    world.run(40)
    assert world.quantity() == 4
    after = again(world)
    assert after.status(1) is OrderStatus.OPEN and after.quantity() == 4
    assert after.stage.outbox.halted == world.stage.outbox.halted


def test_one_found_by_the_next_process() -> None:
    world = refused()
    assert world.status(1) is OrderStatus.REJECTED
    after = again(world)
    assert after.status(1) is OrderStatus.OPEN and "order 1 was refused" in after.stage.outbox.halted
    assert WORDS in after.stage.outbox.halted, "by what"


def test_a_row_of_before_is_no_news_to_the_next_process_either() -> None:
    world = refused(status="PUT ORDER REQ RECEIVED")
    after = again(world)
    assert after.status(1) is OrderStatus.REJECTED and not after.stage.outbox.halted
    after.run(10)
    assert after.status(1) in WORKING and "order 1 was refused" in after.stage.outbox.halted


def test_the_halt_stands_in_the_journal_before_the_order_does() -> None:
    """A process that dies between the two finds the order once more, and halts; the other way round it would
    not."""
    world = refused()
    world.run(40)
    records = [r.data() for r in world.journal.records]
    halted = next(i for i, data in enumerate(records) if data.get("halted"))
    assert halted < next(i for i, data in enumerate(records) if "report" in data)


def test_other_orders_are_as_before() -> None:
    """One that the exchange has rejected stays so, whatever comes late."""
    world = World().start()
    world.send(1)
    world.update(world.row() | {"status": "REJECTED", "status_message": WORDS})
    world.update(world.row() | {"status": "OPEN"})
    assert world.status(1) is OrderStatus.REJECTED and not world.stage.outbox.halted
    assert world.reason(1) == Reason.BROKER.name


def test_a_cancel_that_came_before_the_refusal_is_not_forgotten() -> None:
    world = World().start()

    def call(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return world.broker.accept(request)
        world.broker.enter(request)
        return SAID

    world.broker.on_call, world.broker.hold = call, True
    world.quote()
    world.wish(1)
    world.step()
    assert world.status(1) is OrderStatus.SENT
    world.wish(2, kind=IntentKind.CANCEL, target_seq=1)
    world.step()
    world.broker.hold = False
    world.step()
    assert world.status(1) is OrderStatus.REJECTED and not world.stage.desk.cancelling
    world.run(40)
    assert "order 1 was refused" in world.stage.outbox.halted
    assert world.status(1) is OrderStatus.CANCELLED and world.row()["status"] == "CANCELLED"


def next_process(world: World, folder: Path) -> World:
    """Another process of the run, which finds the rows for people in their files."""
    files = (("orders.csv", ORDER_COLUMNS, world.order_rows), ("trades.csv", TRADE_COLUMNS, world.trade_rows))
    for name, columns, rows in files:
        with (folder / name).open("w", newline="") as file:
            csv.DictWriter(file, columns).writeheader()
            csv.DictWriter(file, columns).writerows(rows)
    world.clock.advance(1_000_000_000)
    return World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), config=world.config,
        more={"restarted": True, "written": written([folder])},
    )  # fmt: skip


@pytest.mark.parametrize(("answer", "ended"), [(SAID, "REJECTED"), (NO_BYTE, "REFUSED")])
def test_the_row_of_the_truth_is_written_by_the_next_process_where_a_death_took_it(
    answer: HttpResponse | TransportError, ended: str, tmp_path: Path
) -> None:
    world = refused(answer)
    world.update(world.row() | {"status": "COMPLETE"} | done())
    world.row().update({"status": "COMPLETE"} | done())
    assert [row["status"] for row in world.order_rows] == [ended, "COMPLETE"]
    del world.order_rows[1:]  # it died between the record and the row
    after = next_process(world, tmp_path)
    after.stage.start()
    assert [(row["order_no"], row["status"], row["filled"]) for row in after.order_rows] == [
        (1, "COMPLETE", 10)
    ]
    world.order_rows += after.order_rows
    third = next_process(world, tmp_path)
    third.stage.start()
    assert third.order_rows == [], "once"


def test_a_row_of_a_reading_that_was_refused_and_of_an_order_that_lives_is_followed_by_its_end(
    tmp_path: Path,
) -> None:
    world = refused()
    after = next_process(world, tmp_path)
    after.start()
    assert after.status(1) in WORKING and after.order_rows == []
    after.update(after.row() | {"status": "COMPLETE"} | done())
    assert [row["status"] for row in itertools.chain(world.order_rows, after.order_rows)] == [
        "REJECTED", "COMPLETE",
    ]  # fmt: skip
