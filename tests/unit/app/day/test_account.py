"""The account out of raw books of both brokers."""

from __future__ import annotations

import json
from typing import Any

from kite_hft.app.day.account import Reader, named
from kite_hft.brokers.table import broker_of
from kite_hft.engine.watchdog.books import KITE
from kite_hft.trading.exits.protection import Facts
from kite_hft.trading.instruments import InstrumentTable

POSITION = {
    "exchange": "NSE", "tradingsymbol": "X", "instrument_token": 738561, "product": "NRML", "quantity": 10,
    "overnight_quantity": 10, "average_price": 100.0, "last_price": 101.0, "multiplier": 1,
    "buy_quantity": 10, "sell_quantity": 0, "buy_value": 1000.0, "sell_value": 0.0,
}  # fmt: skip
STOP = {
    "order_id": "1", "exchange": "NSE", "tradingsymbol": "X", "product": "NRML", "transaction_type": "SELL",
    "order_type": "SL", "status": "TRIGGER PENDING", "quantity": 6,
}  # fmt: skip
HELD = {
    "exchange": "NSE", "tradingsymbol": "Y", "instrument_token": 5, "opening_quantity": 40,
    "realised_quantity": 40,
    "t1_quantity": 10, "used_quantity": 15, "authorised_quantity": 5,
}  # fmt: skip


def body(data: Any) -> bytes:
    return json.dumps({"status": "success", "data": data}).encode()


def reader(**values: Any) -> Reader:
    wanted = {"ddpi": False, "btst": False} | values
    return Reader(KITE, broker_of("kite", InstrumentTable(())), Facts(), 10**18, **wanted)


BODIES = {
    "positions": body({"net": [POSITION], "day": []}),
    "orders": body([STOP]),
    "triggers": body([]),
    "holdings": body([HELD]),
    "margins": body({"equity": {"net": 1234.5, "available": {"cash": 1000.0}, "utilised": {"debits": 7.0}}}),
}


def test_positions_tell_what_was_carried_and_what_protects_them() -> None:
    found = reader().view(BODIES, "kite, now")
    (row,) = found.positions
    assert (row.name, row.quantity, row.overnight) == ("NSE:X NRML", 10, 10)
    assert "SL 6" in row.covered and "4 without protection" in row.covered and row.naked_paise == 4 * 101_00
    assert found.working == ("NSE:X SELL 6 SL NRML (TRIGGER PENDING)",)
    assert found.funds is not None and found.funds.net_paise == 1234_50


def test_holdings_tell_how_many_may_be_sold() -> None:
    (row,) = reader().view(BODIES, "").sales or ()
    assert (row.sellable, row.authorised, row.t1) == (25, 5, 10)
    (row,) = reader(ddpi=True).view(BODIES, "").sales or ()
    assert row.authorised == 25
    (row,) = reader(tells_authorised=False).view(BODIES, "").sales or ()
    assert row.authorised is None


def test_a_book_that_cannot_be_read_is_the_error_and_nothing_else() -> None:
    found = reader().view(BODIES | {"orders": b"<html>"}, "kite, now")
    assert found.error.startswith("orders:") and not found.positions and found.funds is None


def test_books_that_are_not_there_are_not_made_up() -> None:
    found = reader().view({"positions": BODIES["positions"]}, "the engine's")
    assert found.sales is None and found.funds is None and found.positions[0].naked_paise


def test_instruments_are_found_in_both_spellings() -> None:
    upstox = {"positions": b'{"data":[{"instrument_token": "NSE_EQ|INE1", "quantity": 1}]}'}
    assert named(upstox) == {"NSE_EQ|INE1"} and named(BODIES) == {738561, 5}
