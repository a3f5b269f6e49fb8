"""Orders and positions that others make: seen, counted, told; nothing is sold a second time."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, filled, limits

from kite_hft.layout import EventKind, OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.ports import OrdersConfig


def rms(world: World, quantity: int, *, side: str = "SELL", slot: int = 0, **more: Any) -> dict[str, Any]:
    """The broker's own order stands complete in its books; returns its row."""
    order_id = f"9{len(world.broker.rows):03d}"
    row = {
        "order_id": order_id, "status": "COMPLETE", "exchange": "NSE", "tradingsymbol": f"SHARE{slot}",
        "instrument_token": (1000 + slot) * 256 + 1, "quantity": quantity, "transaction_type": side,
        "order_type": "MARKET", "product": "MIS", "filled_quantity": quantity, "pending_quantity": 0,
        "average_price": 99.0, "price": 0, "trigger_price": 0, "tag": None, "tags": [],
        "order_timestamp": "2027-01-15 15:20:00",
    } | more  # fmt: skip
    world.broker.rows[order_id] = row
    world.broker.trades.append(
        {"trade_id": f"t{order_id}", "order_id": order_id, "instrument_token": row["instrument_token"],
         "transaction_type": side, "product": "MIS", "quantity": quantity, "average_price": 99.0}
    )  # fmt: skip
    return row


def holding() -> World:
    world = World().start()
    world.send(1)
    filled(world, 10)
    return world


def test_a_square_off_closes_our_position_at_once_and_is_told() -> None:
    world = holding()
    world.told.clear()
    world.update(rms(world, 10))
    assert world.quantity() == 0
    event = world.told[-1]
    assert (event["kind"], event["position"], event["slot"]) == (EventKind.SNAPSHOT, 0, 0)
    assert {"EXTERNAL_ORDER", "BROKER_ACTED"} <= set(world.codes())
    assert world.trade_rows[-1]["order_no"] == 0 and world.trade_rows[-1]["value"] == "990.00"
    assert world.trade_rows[-1]["side"] == "SELL" and world.trade_rows[-1]["quantity"] == 10
    assert world.stage.report()["pnl_paise"]["realised"] == -1000
    world.run(3.0)
    totals = world.stage.outbox.totals
    assert (totals["external_orders"], totals["external_fills"]) == (1, 1)
    assert world.stage.book.standing(0xFFFF, 0, Product.MIS).quantity == 0
    assert "POSITION_MISMATCH" not in world.codes()


def test_it_is_found_by_the_book_when_its_update_is_lost() -> None:
    world = holding()
    rms(world, 4)
    world.run(16.0)
    assert world.quantity() == 6 and world.stage.outbox.totals["external_orders"] == 1
    world.run(16.0)
    assert world.stage.outbox.totals["external_orders"] == 1 and world.codes().count("BROKER_ACTED") == 1


def test_partial_doubled_and_late_updates_of_a_stranger_count_once() -> None:
    world = holding()
    row = rms(world, 8)
    part = row | {"filled_quantity": 3, "status": "OPEN"}
    world.update(part)
    assert world.quantity() == 7
    world.update(row)
    world.update(row)
    world.update(part)
    assert world.quantity() == 2
    world.run(5.0)
    assert world.quantity() == 2


def test_nothing_is_sold_that_the_broker_has_sold() -> None:
    world = holding()
    world.send(2, side=Side.SELL, px=PX + 100)  # the resting exit
    world.update(rms(world, 10))
    world.run(3.0)
    assert world.status(2) is OrderStatus.CANCELLED
    world.send(3, side=Side.SELL, flags=1)
    assert world.reason(3) == "FROZEN"
    assert world.quantity() == 0


def test_an_exit_that_the_strategy_sent_before_it_knew_opens_nothing() -> None:
    world = holding()
    world.update(rms(world, 10))
    world.send(2, side=Side.SELL)
    assert world.reason(2) == "FROZEN"
    world.run(1.0)
    world.send(3, side=Side.SELL)
    assert world.order(3).opening, "later it is a short of its own"


def test_exits_are_cut_to_what_is_left_the_newest_first() -> None:
    world = holding()
    world.send(2, side=Side.SELL, px=PX + 100, qty=4)
    world.send(3, side=Side.SELL, px=PX + 100, qty=6)
    world.update(rms(world, 5))
    world.run(3.0)
    assert world.quantity() == 5
    assert world.status(2) is OrderStatus.OPEN and world.status(3) is OrderStatus.CANCELLED


def test_a_waiting_exit_is_withdrawn() -> None:
    world = holding()
    for seq in range(2, 12):
        world.wish(seq, side=Side.SELL, qty=1, px=PX + 10)
    world.quote()
    world.step()
    waiting = [seq for seq in range(2, 12) if world.status(seq) is OrderStatus.NEW]
    assert waiting
    world.update(rms(world, 10))
    assert all(world.status(seq) is OrderStatus.CANCELLED for seq in waiting)


def test_an_order_of_another_hand_elsewhere_changes_nothing_of_ours() -> None:
    world = holding()
    world.update(rms(world, 7, side="BUY", slot=1))
    world.run(3.0)
    assert world.quantity() == 10 and "BROKER_ACTED" not in world.codes()
    assert world.stage.book.standing(0xFFFF, 1, Product.MIS).quantity == 7
    assert world.stage.book.worst_case(1) == 7, "it counts in the limits"


def test_a_difference_is_believed_when_two_reads_agree() -> None:
    world = holding()
    world.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
         "quantity": -3, "average_price": 99.0, "multiplier": 1}
    ]  # fmt: skip
    once: list[str] = []

    def read(request: HttpRequest) -> Any:
        answer = world.broker.read(request)
        if request.path.endswith("positions"):
            once.append(request.path)
            if len(once) == 1:
                world.broker.held = []
        return answer

    world.broker.on_read = read
    world.run(20.0)
    assert once and world.quantity() == 10, "one read alone proves nothing"
    world.broker.on_read = None
    world.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
         "quantity": -3, "average_price": 99.0, "multiplier": 1}
    ]  # fmt: skip
    world.run(20.0)
    assert world.quantity() == 7 and {"POSITION_MISMATCH", "BROKER_ACTED"} <= set(world.codes())


def test_positions_are_compared_only_when_nothing_filled_meanwhile() -> None:
    world = World().start()
    world.send(1)
    row = world.row()

    def read(request: HttpRequest) -> Any:
        answer = world.broker.read(request)
        if request.path.endswith("positions") and row["filled_quantity"] == 0:
            row.update(filled_quantity=10, status="COMPLETE", average_price=100.0)
        return answer

    world.broker.on_read = read
    world.run(20.0)
    assert world.quantity() == 10 and "POSITION_MISMATCH" not in world.codes()


def test_a_row_that_may_be_our_own_on_its_way_is_not_a_stranger() -> None:
    world = World().start()

    def lose(request: HttpRequest) -> TransportError:
        world.broker.enter(request)
        world.row().update(tag=None, tags=[])
        return TransportError("reset", sent=True)

    world.broker.on_call = lose
    world.broker.hold = True
    world.quote()
    world.wish(1)
    world.step()
    world.row().update(filled_quantity=10, status="COMPLETE", average_price=100.0)
    world.update(world.row())
    world.broker.hold = False
    world.broker.on_call = None
    world.run(3.0)
    assert world.status(1) is OrderStatus.COMPLETE and world.quantity() == 10
    assert world.stage.outbox.totals["external_orders"] == 0


def test_a_cut_outlives_the_process() -> None:
    world = holding()
    world.update(rms(world, 4))
    assert any(r.kind is Kind.EXTERNAL and r.data().get("cuts") for r in world.journal.records)
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal,
        history=list(world.journal.records), events=world.events,
        more={"restarted": True, "counted": dict(world.stage.outbox.totals)},
    ).start()  # fmt: skip
    assert again.quantity() == 6 and again.stage.outbox.totals["external_orders"] == 1
    assert "BROKER_ACTED" not in again.codes() and not again.trade_rows[1:]


def test_two_strategies_share_what_the_broker_closed() -> None:
    world = holding()
    world.send(1, strategy=2, qty=4)
    filled(world, 4)
    world.update(rms(world, 11))
    assert (world.quantity(1), world.quantity(2)) == (0, 3)


def resting(world: World, quantity: int, *, slot: int = 0, **more: Any) -> dict[str, Any]:
    """An order by hand rests in the broker's books; returns its row."""
    words = {"status": "OPEN", "order_type": "LIMIT", "price": 100.0, "side": "BUY"}
    open_ = {"filled_quantity": 0, "pending_quantity": quantity, "average_price": 0}
    row = rms(world, quantity, slot=slot, **(words | open_ | more))
    world.broker.trades.pop()
    return row


def exposed(**risk: Any) -> World:
    return World(config=OrdersConfig(limits(), RiskLimits(**risk))).start()


@pytest.mark.parametrize("how", ["an update", "a read of the book"])
@pytest.mark.parametrize("slot", [0, 1])
def test_what_rests_by_hand_counts_with_what_it_may_still_open(how: str, slot: int) -> None:
    world = exposed(max_exposure=5_000.0)
    row = resting(world, 45, slot=slot)
    if how == "an update":
        world.update(row)
    else:
        world.run(16.0)
    world.send(1, qty=10)
    assert world.reason(1) == "MAX_EXPOSURE"
    world.send(2, qty=5)
    assert world.status(2) is OrderStatus.PENDING
    world.update(row | {"filled_quantity": 20, "average_price": 100.0})
    world.send(3, qty=1)
    assert world.reason(3) == "MAX_EXPOSURE", "the rest of it is open, and 20 are held"
    row |= {"status": "CANCELLED", "filled_quantity": 20, "average_price": 100.0}
    world.update(row)
    world.send(4, qty=10)
    assert world.status(4) is OrderStatus.PENDING
    assert world.stage.book.standing(0xFFFF, slot, Product.MIS).open_buy == 0


def test_it_takes_nothing_from_what_may_be_closed() -> None:
    world = exposed(max_exposure=1_000.0)
    world.send(1)
    filled(world, 10)
    world.update(resting(world, 50, transaction_type="SELL", price=150.0))
    world.update(resting(world, 50, slot=1))
    world.send(2, side=Side.SELL, qty=10)
    assert world.status(2) is OrderStatus.PENDING and not world.order(2).opening
    world.send(3, side=Side.BUY, slot=1, qty=1)
    assert world.reason(3) == "MAX_EXPOSURE"


def test_late_words_make_it_open_no_more_and_a_book_without_it_ends_it() -> None:
    world = exposed()
    row = resting(world, 45)
    external = world.stage.book.position_of(0xFFFF, 0, Product.MIS)
    world.update(row | {"filled_quantity": 15, "average_price": 100.0})
    world.update(row | {"status_message": "late"})
    assert external.open_buy == 30
    world.update(row | {"status": "REJECTED"})
    world.update(row)
    assert external.open_buy == 0
    other = resting(world, 7, slot=1)
    world.update(other)
    assert world.stage.book.worst_case(1) == 7
    del world.broker.rows[other["order_id"]]
    world.run(16.0)
    assert world.stage.book.worst_case(1) == 0
