"""Numbers of the broker's rows: what our records cannot hold makes the answer unreadable."""

from __future__ import annotations

import json
from typing import Any

import pytest
from orders_world import World, filled

from kite_hft.brokers.kite.answers import COUNT_MAX, PX_MAX, AnswerError
from kite_hft.brokers.kite.gtt import parse_triggers
from kite_hft.brokers.kite.rest import parse_orders, parse_positions, parse_trades, parse_update
from kite_hft.trading.broker import OrderReport

ROW: dict[str, Any] = {
    "order_id": "1", "status": "OPEN", "exchange": "NSE", "tradingsymbol": "SHARE0",
    "instrument_token": 1000 * 256 + 1, "quantity": 10, "transaction_type": "BUY", "order_type": "LIMIT",
    "product": "MIS", "filled_quantity": 4, "pending_quantity": 6, "cancelled_quantity": 0,
    "average_price": 100.0, "price": 100.0, "trigger_price": 0.0,
}  # fmt: skip
TRADE = {**ROW, "trade_id": "7", "quantity": 4}
COUNTS = ("quantity", "filled_quantity", "pending_quantity", "cancelled_quantity")
PRICES = ("average_price", "price", "trigger_price")


def body(data: Any) -> bytes:
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("value", [COUNT_MAX + 1, 2**63, 10**30, 1e18, 1e300, -1, 0.5])
def test_a_quantity_beyond_the_records_makes_a_row_unreadable(key: str, value: float) -> None:
    with pytest.raises(AnswerError, match=key):
        parse_orders(body([ROW | {key: value}]))
    with pytest.raises(AnswerError):
        parse_update(json.dumps({"type": "order", "data": ROW | {key: value}}).encode())


@pytest.mark.parametrize("key", PRICES)
@pytest.mark.parametrize("value", [PX_MAX / 100 + 0.01, 2**63, 10**30, 1e18, 1e300, -0.05])
def test_so_does_a_price(key: str, value: float) -> None:
    with pytest.raises(AnswerError, match=key):
        parse_orders(body([ROW | {key: value}]))


def test_the_largest_that_fit_are_read() -> None:
    largest = ROW | dict.fromkeys(COUNTS, COUNT_MAX) | {"price": PX_MAX / 100, "average_price": 1.0}
    (row,) = parse_orders(body([largest]))
    assert isinstance(row, OrderReport) and (row.quantity, row.px) == (COUNT_MAX, PX_MAX)
    with pytest.raises(AnswerError, match="worth more"):
        parse_orders(body([largest | {"average_price": PX_MAX / 100}]))


def test_executions_positions_and_triggers_are_bounded_too() -> None:
    assert parse_trades(body([TRADE]))
    for more in ({"quantity": 2**31}, {"average_price": 1e9}, {"quantity": 2**31 - 1, "average_price": 1e7}):
        with pytest.raises(AnswerError):
            parse_trades(body([TRADE | more]))
        with pytest.raises(AnswerError):
            parse_positions(body({"net": [ROW | more]}))
    with pytest.raises(AnswerError):
        parse_positions(body({"net": [ROW | {"quantity": -(2**31)}]}))
    leg = {"transaction_type": "BUY", "quantity": 1, "price": 1.0}
    condition = {"instrument_token": 257, "trigger_values": [1e18]}
    with pytest.raises(AnswerError):
        parse_triggers(body([{"id": 1, "status": "active", "condition": condition, "orders": [leg]}]))


def test_such_a_word_ends_no_process_and_none_after_it() -> None:
    world = World().start()
    world.send(1)
    absurd = {"filled_quantity": 4, "average_price": 1e18}
    world.update(world.row() | absurd)
    assert "UPDATE_UNREADABLE" in world.codes() and world.order(1).filled == 0
    sane = dict(world.row())
    world.broker.rows[sane["order_id"]] |= absurd
    world.run(5.0)
    assert world.order(1).filled == 0, "a book that cannot be read proves nothing"
    world.broker.rows[sane["order_id"]] = sane
    filled(world, 4)
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), more={"restarted": True}
    ).start()  # fmt: skip
    assert again.order(1).filled == 4 and again.quantity() == 4
