"""The broker's books are no one snapshot: what one shows before another is no stranger's doing."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, filled

from kite_hft.layout import OrderStatus, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.order import EXTERNAL

FALSE = {"POSITION_MISMATCH", "BROKER_ACTED", "EXTERNAL_POSITION"}


def held(quantity: int) -> dict[str, Any]:
    return {
        "exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
        "quantity": quantity, "average_price": PX / 100, "overnight_quantity": 0,
    }  # fmt: skip


class Apart:
    """From now on the positions show `quantity`, whatever the order book says."""

    def __init__(self, world: World, quantity: int) -> None:
        self.world, self.quantity = world, quantity
        world.broker.on_read = self

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/portfolio/positions":
            self.world.broker.positions = lambda: [held(self.quantity)]  # type: ignore[method-assign]
        answer = self.world.broker.read(request)
        self.world.broker.__dict__.pop("positions", None)
        return answer


def stranger(world: World, order_id: str, side: str, quantity: int) -> None:
    """Somebody else's order, filled, in the order book and in an update."""
    row = {
        "order_id": order_id, "status": "COMPLETE", "exchange": "NSE", "tradingsymbol": "SHARE0",
        "instrument_token": 1000 * 256 + 1, "quantity": quantity, "transaction_type": side,
        "order_type": "MARKET", "product": "MIS", "filled_quantity": quantity, "pending_quantity": 0,
        "average_price": PX / 100, "price": 0, "trigger_price": 0, "tag": None, "tags": [],
        "order_timestamp": "2027-01-15 13:30:00",
    }  # fmt: skip
    world.broker.rows[order_id] = row
    world.update(row)


def external(world: World) -> int:
    return world.quantity(strategy=EXTERNAL)


@pytest.mark.parametrize("lag_s", [1.0, 20.0, 100.0])
def test_positions_ahead_of_the_order_book_by_a_fill_of_ours_wait_for_it(lag_s: float) -> None:
    world = World().start()
    world.send(1)
    Apart(world, 10)
    world.run(16.0 + lag_s)
    assert world.quantity() == external(world) == 0 and not FALSE & set(world.codes())
    world.send(2, px=PX - 5)
    assert world.reason(2) == "FROZEN", "nothing opens in it meanwhile"
    world.send(3, slot=1)
    assert world.status(3) in WORKING, "elsewhere it does"
    world.broker.on_read = None
    row = world.row(0)
    row |= {"filled_quantity": 10, "average_price": PX / 100, "status": "COMPLETE"}
    world.run(3.0)
    assert world.status(1) is OrderStatus.COMPLETE and world.quantity() == 10 and external(world) == 0
    world.send(4, px=PX - 5)
    assert world.status(4) in WORKING and not FALSE & set(world.codes())


def test_an_exit_that_the_positions_show_first_does_not_cut_its_position() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(35.0)
    world.send(2, side=Side.SELL, px=PX + 5)
    Apart(world, 0)
    world.run(25.0)
    assert world.quantity() == 10 and world.status(2) in WORKING and not FALSE & set(world.codes())
    assert not world.broker.calls("DELETE"), "nor is its exit cancelled"
    world.broker.on_read = None
    filled(world, 10)
    world.run(3.0)
    assert world.quantity() == external(world) == 0 and not FALSE & set(world.codes())


def test_positions_that_lag_behind_a_fill_that_we_were_told_of() -> None:
    world = World().start()
    world.send(1)
    world.run(14.0)
    Apart(world, 0)
    filled(world, 10)
    world.run(20.0)
    assert world.quantity() == 10 and not FALSE & set(world.codes())
    world.broker.on_read = None
    world.run(16.0)
    assert world.quantity() == 10 and external(world) == 0 and not FALSE & set(world.codes())


def test_what_no_order_of_ours_explains_is_believed_after_a_round_more_and_once() -> None:
    """A stranger's sale that the positions show and the order book does not, until later."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(35.0)
    Apart(world, 4)
    rounds = world.stage.reader.checks
    while world.quantity() == 10:
        world.run(0.25)
        assert world.clock.mono < 1_000_000_000 * 1_100
    assert world.stage.reader.checks - rounds >= 3
    assert world.quantity() == 4 and external(world) == 0 and "BROKER_ACTED" in world.codes()
    told = len(world.alerts)
    world.broker.on_read = None
    stranger(world, "9001", "SELL", 6)
    assert world.quantity() == 4 and external(world) == 0, "it was believed already: not cut a second time"
    world.run(20.0)
    assert world.quantity() == 4 and external(world) == 0
    assert not FALSE & set(world.codes()[told:])
    stranger(world, "9002", "SELL", 3)
    assert world.quantity() == 1 and external(world) == 0, "the next one is another"


def test_a_stranger_whose_order_is_in_the_book_is_believed_at_once() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    stranger(world, "9001", "SELL", 6)
    assert world.quantity() == 4 and not world.stage.book.apart


def test_a_live_order_is_no_reason_for_ever() -> None:
    world = World().start()
    world.send(1)
    Apart(world, 10)
    world.run(170.0)
    assert external(world) == 0 and world.stage.book.apart
    world.run(40.0)
    assert external(world) == 10 and not world.stage.book.apart
    assert {"POSITION_MISMATCH"} == FALSE & set(world.codes())


def test_a_book_that_is_apart_is_read_again_soon_and_not_without_pause() -> None:
    world = World().start()
    world.send(1)
    Apart(world, 10)
    world.run(30.0)
    before = len(world.broker.calls("GET"))
    world.run(60.0)
    assert 60 <= len(world.broker.calls("GET")) - before <= 140


@pytest.mark.parametrize("side", ["SELL", "BUY"])
def test_a_fill_of_an_order_that_may_be_ours_is_nobodys(side: str) -> None:
    """Its tag was dropped and a clock was stepped: a person has to say whose it is. Until then it closes
    nothing of ours."""
    world = World().start()
    world.send(1, side=Side.BUY if side == "SELL" else Side.SELL)
    filled(world, 10)
    world.run(35.0)
    held_before = world.quantity()

    def call(request: HttpRequest) -> TransportError:
        world.broker.enter(request)
        row = world.row() | {"tag": None, "tags": [], "order_timestamp": "2027-01-15 13:20:00"}
        row |= {"status": "COMPLETE", "filled_quantity": 10, "average_price": PX / 100}
        world.broker.rows[row["order_id"]] = row
        return TransportError("timed out", sent=True)

    world.broker.on_call = call
    world.send(2, side=Side[side], strategy=2)
    world.broker.on_call = None
    reads = world.stage.reader.checks
    world.run(120.0)
    assert world.stage.reader.checks - reads >= 3
    assert world.quantity() == held_before and external(world) == 0 and not FALSE & set(world.codes())
    number = world.order(2, strategy=2).order_no
    world.do("resolve", ask="a", name=str(number), how="present", order_id="", by="a person")
    world.run(20.0)
    assert world.quantity(strategy=2) == -held_before and world.quantity() == held_before
    assert external(world) == 0 and not FALSE & set(world.codes())


@pytest.mark.parametrize("rounds_s", [5.0, 60.0])
def test_what_was_believed_once_is_no_reason_to_wait_a_second_time(rounds_s: float) -> None:
    """The exchange takes a trade back; what the broker sells later is another difference."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(35.0)
    world.row(0).update(filled_quantity=0, average_price=0, status="CANCELLED")
    world.run(20.0)
    assert world.quantity() == external(world) == 0 and "BROKER_ACTED" in world.codes()
    world.send(2)
    filled(world, 10)
    world.run(rounds_s)
    assert world.quantity() == 10
    world.send(3, side=Side.SELL, px=PX + 200)
    stranger(world, "9001", "SELL", 10)
    rounds = world.stage.reader.checks
    world.run(3.0)
    assert world.quantity() == external(world) == 0, "nobody holds it any more"
    assert world.stage.reader.checks - rounds <= 4
    world.run(2.0)
    assert world.status(3) is OrderStatus.CANCELLED and not world.stage.book.apart


def test_a_fill_that_only_the_positions_show_waits_also_where_something_was_believed() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.run(35.0)
    world.row(0).update(filled_quantity=0, average_price=0, status="CANCELLED")
    world.run(20.0)
    assert world.quantity() == 0
    world.send(2)
    told = len(world.alerts)
    Apart(world, 10)
    world.run(60.0)
    assert world.quantity() == external(world) == 0 and world.stage.book.apart
    world.broker.on_read = None
    filled(world, 10)
    world.run(3.0)
    assert (world.quantity(), external(world)) == (10, 0) and not FALSE & set(world.codes()[told:])


def test_what_stood_while_an_order_of_unknown_fate_explained_it_waits_when_that_one_is_found() -> None:
    """The order book shows it without its fill, which the positions have shown all along."""
    world = World().start()

    def lose(request: HttpRequest) -> TransportError:
        return TransportError("timed out", sent=True)

    world.broker.on_call = lose
    world.send(1)
    world.broker.on_call = None
    Apart(world, 10)
    world.run(20.0)
    assert world.status(1) is OrderStatus.AMBIGUOUS and external(world) == 0
    order = world.order(1)
    world.broker.rows["5"] = {
        "order_id": "5", "status": "OPEN", "exchange": "NSE", "tradingsymbol": "SHARE0",
        "instrument_token": 1000 * 256 + 1, "quantity": 10, "transaction_type": "BUY", "order_type": "LIMIT",
        "product": "MIS", "filled_quantity": 0, "pending_quantity": 10, "average_price": 0, "price": 100.0,
        "trigger_price": 0, "tag": order.tag, "tags": [order.tag], "order_timestamp": "2027-01-15 13:30:00",
    }  # fmt: skip
    world.run(60.0)
    assert world.status(1) in WORKING and world.quantity() == external(world) == 0
    assert not FALSE & set(world.codes())
