"""Layer 6, campaigns, cold: what a simulator in a process of its own tells of the account, in one language.

The judges of the campaigns read the broker's own books (`/_sim/account`) and his own log of requests
(`/_sim/requests`), and nothing of the engine's. Kite's words are the language: one broker says `complete` and
names an instrument by its key where the other says COMPLETE and has a number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kite_hft.net.http import fetch
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.trading.instruments import InstrumentTable

ENDED: Final = frozenset({"COMPLETE", "CANCELLED", "REJECTED"})
ORDER_PATHS: Final = {
    "kite": ("/orders/",),
    "upstox": ("/v2/order/", "/v3/order/"),
}
"""How the paths of order calls begin."""
_UPSTOX_ENDED: Final = {
    "complete": "COMPLETE",
    "rejected": "REJECTED",
    "cancelled": "CANCELLED",
    "cancelled after market order": "CANCELLED",
}


def account_of(side: BrokerSide, api: str, table: InstrumentTable) -> dict[str, Any]:
    """The account as the simulator at `api` has it: orders, trades and positions in Kite's words.

    table: the simulator's instruments. Orders have order_id, tags, instrument_token, transaction_type,
    quantity, filled_quantity, status and product; positions instrument_token, product and quantity.

    Raises:
        ConnectionError: nobody answers.
    """
    return in_one_language(side, json.loads(fetch(f"{api}/_sim/account")[1]), table)


def in_one_language(side: BrokerSide, told: dict[str, Any], table: InstrumentTable) -> dict[str, Any]:
    """An account as a simulator tells it, in Kite's words."""
    if side.name == "kite":
        return told
    tokens = {row.upstox_key: row.token for row in side.table(table)}

    def plain(row: Mapping[str, Any]) -> dict[str, Any]:
        return {**row, "instrument_token": tokens[row["instrument_token"]]}

    orders = [
        plain(row)
        | {
            "tags": [row["tag"]] if row["tag"] else [],
            "status": _UPSTOX_ENDED.get(row["status"], row["status"].upper()),
        }
        for row in told["orders"]
    ]
    positions = [plain(row) for row in told["positions"]]
    return told | {"orders": orders, "positions": positions}


def order_calls(side: BrokerSide, api: str) -> list[dict[str, Any]]:
    """The simulator's log of order calls, oldest first: mono_ns (CLOCK_MONOTONIC), method and path.

    Both brokers place by POST, modify by PUT and cancel by DELETE.
    """
    rows: list[dict[str, Any]] = json.loads(fetch(f"{api}/_sim/requests")[1])["requests"]
    return only_order_calls(side, rows)


def only_order_calls(side: BrokerSide, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those of a log that place, modify or cancel."""
    return [dict(row) for row in rows if str(row["path"]).startswith(ORDER_PATHS[side.name])]


def too_many(api: str) -> int:
    """How many calls the simulator has refused for their number."""
    return sum(json.loads(fetch(f"{api}/_sim/stats")[1])["too_many_requests"].values())
