"""What a simulator tells of an account, in one language."""

from __future__ import annotations

from kite_hft.sim.brokers.table import side_of
from kite_hft.sim.market.universe import default_instruments
from kite_hft.verify.brokers.told import in_one_language, only_order_calls

TABLE, _ = default_instruments(4, 1)
UPSTOX = side_of("upstox")
KEYS = [row.upstox_key for row in UPSTOX.table(TABLE)]
ROW = {"order_id": "1", "transaction_type": "BUY", "quantity": 3, "filled_quantity": 0, "product": "I"}


def test_upstox_in_the_words_of_kite() -> None:
    statuses = ["complete", "cancelled after market order", "rejected", "open pending"]
    orders = [ROW | {"status": word, "tag": "t" * 20, "instrument_token": KEYS[2]} for word in statuses]
    orders[3]["tag"] = None
    position = {"instrument_token": KEYS[1], "product": "D", "quantity": -2}
    told = {"orders": orders, "trades": [{"trade_id": "9"}], "positions": [position], "cash_paise": 5}
    found = in_one_language(UPSTOX, told, TABLE)
    assert [row["status"] for row in found["orders"]] == ["COMPLETE", "CANCELLED", "REJECTED", "OPEN PENDING"]
    assert [row["tags"] for row in found["orders"]] == [["t" * 20]] * 3 + [[]]
    assert {row["instrument_token"] for row in found["orders"]} == {TABLE[2].token}
    assert found["positions"] == [{"instrument_token": TABLE[1].token, "product": "D", "quantity": -2}]
    assert found["trades"] == told["trades"] and found["cash_paise"] == 5


def test_kite_is_the_language() -> None:
    told = {"orders": [ROW], "trades": [], "positions": []}
    assert in_one_language(side_of("kite"), told, TABLE) is told


def test_which_calls_are_orders() -> None:
    paths = ["/orders/regular", "/v3/order/place", "/v3/order/cancel?order_id=1", "/v2/order/place", "/_x"]
    rows = [{"path": path} for path in paths]
    assert only_order_calls(side_of("kite"), rows) == rows[:1]
    assert only_order_calls(UPSTOX, rows) == rows[1:4]
