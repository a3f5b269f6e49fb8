"""What a terminal of eighty columns must still show of orders and positions."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from kite_hft.app.look.orders import show_orders
from kite_hft.app.look.positions import show_positions

STRATEGY = "strategies/opening_range.py:OpeningRange"
WHY = "RMS: margin exceeds, required 12,345.60, available 10,000.00, check the funds of this account"


def order(**more: Any) -> dict[str, Any]:
    return {
        "order_no": 3, "sent_ns": 1_795_332_700_000_000_000, "strategy": STRATEGY, "instrument": "NSE:SBIN",
        "side": "BUY", "type": "LIMIT", "product": "CNC", "filled": 0, "quantity": 150, "price": "1820.95",
        "trigger_price": None, "average_price": None, "status": "REJECTED", "order_id": "261122000240892",
        "message": None,
    } | more  # fmt: skip


def shown(rows: list[dict[str, Any]], width: int) -> str:
    told = io.StringIO()
    show_orders(Console(file=told, width=width), "All orders", rows)
    return told.getvalue()


def test_the_brokers_order_id_and_its_words_stay() -> None:
    text = shown([order(message=WHY), order(order_no=4)], 80)
    assert "261122000240892" in text and "hidden: strategy" in text
    assert "3: RMS: margin exceeds" in text and WHY in " ".join(text.split())
    wide = shown([order(message=WHY)], 300)
    assert "message" in wide and wide.count(WHY) == 1 and "hidden" not in wide and STRATEGY in wide
    assert "message" not in shown([order()], 300)


def test_whether_a_stop_protects_stays() -> None:
    row = {
        "instrument": "NSE:BAJAJ-AUTO", "strategy": STRATEGY, "product": "CNC", "quantity": 150,
        "average_price": "12820.92", "last_price": "12819.70", "protected": 0, "realised_paise": -1234567,
        "gross_paise": -18300, "charges_paise": 4200, "net_paise": -22500,
    }  # fmt: skip
    told = io.StringIO()
    show_positions(Console(file=told, width=80), "Positions", [row])
    text = told.getvalue()
    assert "stop" in text.splitlines()[2] and " no " in text and "-225.00" in text, text
    assert "hidden: strategy" in text, text
