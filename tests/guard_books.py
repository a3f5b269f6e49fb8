"""Raw books as the watchdog gets them, and a guard that takes them."""

from __future__ import annotations

import json
from typing import Any

from kite_hft.engine.orders.books import RawBook
from kite_hft.engine.watchdog.guard import Guard, Limits
from kite_hft.sessions import Phase
from kite_hft.trading.exits.protection import Facts

S = 1_000_000_000
TRADE = {"exchange": "NSE", "tradingsymbol": "X", "transaction_type": "BUY", "quantity": 10}
OPEN = Phase("continuous", 0, 100 * S, frozenset({"SL", "LIMIT"}), "continuous")
PAUSE = Phase("close_pause", 100 * S, 200 * S)
AUCTION = Phase("close_entry", 200 * S, 300 * S, frozenset({"LIMIT"}), "auction")


def book(read: str, asked_ns: int, data: Any) -> RawBook:
    return RawBook(read, asked_ns, asked_ns, json.dumps({"status": "success", "data": data}).encode())


def held(quantity: int, asked_ns: int, price: float = 100.0) -> RawBook:
    row = {
        "exchange": "NSE",
        "tradingsymbol": "X",
        "product": "MIS",
        "quantity": quantity,
        "last_price": price,
    }
    return book("positions", asked_ns, {"net": [row], "day": []})


def stops(pending: int, asked_ns: int, status: str = "TRIGGER PENDING", filled: int = 0) -> RawBook:
    row = {"order_id": "1", "exchange": "NSE", "tradingsymbol": "X", "product": "MIS", "status": status,
           "transaction_type": "SELL", "order_type": "SL", "quantity": pending + filled,
           "filled_quantity": filled, "tag": None}  # fmt: skip
    return book("orders", asked_ns, [row])


def guard(**limits: int) -> Guard:
    facts = Facts({("NSE", True): (OPEN, PAUSE, AUCTION)}, frozenset({"NSE:X"}))
    return Guard(Limits(**limits), facts, 0)


def codes(told: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    return [(fields["code"], bool(fields.get("cleared"))) for fields in told]
