"""The watchdog's own reading of Kite's books: the official mocks' shapes, and what cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kite_hft.engine.watchdog.books import BadBook, exits_of, orders_of, positions_of, traded_of, triggers_of
from kite_hft.trading.exits.protection import Held, Leg, Resting, Trigger


def body(data: Any) -> bytes:
    return json.dumps({"status": "success", "data": data}).encode()


def order(**changes: Any) -> dict[str, Any]:
    row = {"order_id": "1", "exchange": "NSE", "tradingsymbol": "X", "product": "MIS",
           "transaction_type": "SELL", "order_type": "SL", "status": "TRIGGER PENDING", "quantity": 10,
           "filled_quantity": 2,
           "cancelled_quantity": 1, "pending_quantity": 7, "tag": None, "tags": ["mktp"]}  # fmt: skip
    return row | changes


def test_positions_are_net_with_price_and_multiplier() -> None:
    row = {"exchange": "MCX", "tradingsymbol": "GOLD", "product": "NRML", "quantity": -2,
           "last_price": 7000.5, "average_price": 6900.0, "multiplier": 100, "m2m": -1}  # fmt: skip
    plain = {"exchange": "NSE", "tradingsymbol": "X", "product": "CNC", "quantity": 1, "average_price": 9.5}
    found = positions_of(body({"net": [row, plain], "day": [{"junk": 1}]}))
    assert found == [Held("MCX:GOLD", "NRML", -2, 7000.5, 100), Held("NSE:X", "CNC", 1, 9.5, 1)]


def test_an_order_is_as_old_as_its_form() -> None:
    seen: dict[tuple[str, ...], int] = {}
    found = orders_of(body([order()]), seen, 5)
    row = Resting("NSE:X", "MIS", "SELL", "SL", "TRIGGER PENDING", 7, 5, "1", filled=2)
    assert found == [row]
    assert orders_of(body([order()]), seen, 9)[0].since_ns == 5
    assert orders_of(body([order(status="OPEN")]), seen, 12)[0].since_ns == 12
    orders_of(body([]), seen, 13)
    assert not seen


def test_the_word_of_the_engine_about_its_exits() -> None:
    assert exits_of(b'[{"order_id":"9","stop":99.05}]') == {"9": 99.05} and exits_of(b"[]") == {}
    for wrong in (b"", b"{}", b'[{"order_id":9}]', b"\xff"):
        with pytest.raises(BadBook, match="exits"):
            exits_of(wrong)


def test_trades_and_triggers() -> None:
    trade = {"exchange": "NSE", "tradingsymbol": "X", "transaction_type": "BUY", "quantity": 3}
    trades = [
        trade,
        trade | {"quantity": 4},
        trade | {"exchange": "BSE"},
        trade | {"transaction_type": "SELL"},
    ]
    assert traded_of(body(trades)) == {("NSE:X", "BUY"): 7, ("NSE:X", "SELL"): 3, ("BSE:X", "BUY"): 3}
    condition = {"exchange": "NSE", "tradingsymbol": "X", "trigger_values": [90, 110.5], "last_price": 100.0}
    leg = {"transaction_type": "SELL", "product": "CNC", "quantity": 5, "price": 1, "result": None}
    row = {"id": 1, "type": "two-leg", "status": "active", "condition": condition, "orders": [leg, leg]}
    (found,) = triggers_of(body([row]))
    assert found == Trigger("NSE:X", "active", "two-leg", (90.0, 110.5), 100.0, (Leg("SELL", "CNC", 5),) * 2)


@pytest.mark.parametrize("read", [positions_of, traded_of, triggers_of, lambda b: orders_of(b, {}, 0)])
@pytest.mark.parametrize("text", [b"", b"<html>", b"null", b'{"data": null}', b'{"data": [{}]}', b"\xff"])
def test_what_cannot_be_read_is_named(read: Any, text: bytes) -> None:
    with pytest.raises(BadBook):
        read(text)
