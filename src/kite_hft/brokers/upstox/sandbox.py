"""Layer 2, orders process, cold: the books of Upstox's sandbox, which has none.

The sandbox takes seven calls and answers them with ids. It fills nothing and can be asked for nothing: it
checks that a payload is right. What was confirmed there is kept here and shown in the broker's own words,
so that the order stage can run; every row says that nothing is filled. It does not outlive the process: the
next one tells it what the journal knows.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from kite_hft.brokers.upstox.answers import parse_outcome
from kite_hft.brokers.upstox.bulk import MULTI_PATH, parse_multi
from kite_hft.brokers.upstox.calls import CANCEL, MODIFY, PLACE
from kite_hft.trading.broker import Confirmed, HttpRequest, HttpResponse, TransportError

CALLS: Final = frozenset(
    {("POST", PLACE), ("PUT", MODIFY), ("DELETE", CANCEL), ("POST", MULTI_PATH)}
    | {("POST", "/v2/order/place"), ("PUT", "/v2/order/modify"), ("DELETE", "/v2/order/cancel")}
)
"""What the sandbox serves; everything else is answered here, or not at all."""
NOTE: Final = "sandbox: nothing is ever filled here"
_WAITING: Final = {"SL": "trigger pending", "SL-M": "trigger pending"}
_EMPTY: Final = (
    "/v2/order/trades/get-trades-for-day",
    "/v2/portfolio/short-term-positions",
    "/v2/portfolio/long-term-holdings",
    "/v3/order/gtt",
)


class SandboxBook:
    """What the sandbox has confirmed. funds_rupees: what the account is said to have."""

    def __init__(self, funds_rupees: float = 0.0) -> None:
        self._funds = funds_rupees
        self._rows: dict[str, dict[str, Any]] = {}

    def answer(self, request: HttpRequest) -> HttpResponse | TransportError | None:
        """The answer to a call that the sandbox does not serve; None: it does, send it there."""
        path = urlsplit(request.path).path
        if (request.method, path) in CALLS:
            return None
        if request.method != "GET":
            return TransportError(f"{request.method} {path} does not exist in the sandbox", sent=False)
        data: Any = {}
        if path == "/v2/order/retrieve-all":
            data = list(self._rows.values())
        elif path in _EMPTY:
            data = []
        elif path == "/v3/user/get-funds-and-margin":
            data = {"available_to_trade": {"total": self._funds}}
        elif path == "/v3/market-quote/quotes":
            keys = parse_qs(urlsplit(request.path).query).get("instrument_key", [""])[0].split(",")
            data = {key: {"instrument_token": key, **_limits(key)} for key in keys if key}
        else:
            return TransportError(f"{request.method} {path} does not exist in the sandbox", sent=False)
        return HttpResponse(200, msgspec.json.encode({"status": "success", "data": data}))

    def took(self, request: HttpRequest, response: HttpResponse, time_text: str) -> None:
        """The sandbox has answered. time_text: `YYYY-MM-DD HH:MM:SS`, IST."""
        parts = urlsplit(request.path)
        if parts.path == MULTI_PATH:
            lines = {line["correlation_id"]: line for line in msgspec.json.decode(request.body)}
            for name, line_outcome in parse_multi(response, list(lines)).items():
                if isinstance(line_outcome, Confirmed):
                    self._placed(line_outcome.order_id, lines[name], time_text)
            return
        outcome = parse_outcome(response)
        if not isinstance(outcome, Confirmed):
            return
        if request.method == "POST":
            self._placed(outcome.order_id, msgspec.json.decode(request.body), time_text)
        elif request.method == "PUT":
            words = msgspec.json.decode(request.body)
            row = self._rows.get(words["order_id"], {})
            row.update({name: words[name] for name in _TERMS if name in words})
            row["pending_quantity"] = row.get("quantity", 0)
        else:
            order_id = parse_qs(parts.query)["order_id"][0]
            self._rows.get(order_id, {}).update({"status": "cancelled", "pending_quantity": 0})

    def knew(self, order_id: str, request: HttpRequest, time_text: str) -> None:
        """An order that it confirmed to a process before this one; request: what places it as it is now."""
        self._placed(order_id, msgspec.json.decode(request.body), time_text)

    def _placed(self, order_id: str, words: dict[str, Any], time_text: str) -> None:
        self._rows[order_id] = {
            "order_id": order_id,
            "status": _WAITING.get(words["order_type"], "open"),
            "status_message": NOTE,
            "filled_quantity": 0,
            "pending_quantity": words["quantity"],
            "average_price": 0.0,
            "order_timestamp": time_text,
            "exchange_timestamp": None,
            "placed_by": "sandbox",
            "tag": words.get("tag"),
            **{name: words[name] for name in (*_TERMS, *_NAMES)},
        }


def _limits(key: str) -> dict[str, float]:
    """Circuit limits that refuse nothing: the sandbox knows of none, and without any nothing is opened."""
    return {
        "lower_circuit_limit": 0.01,
        "upper_circuit_limit": 200.0 if key.startswith("NCD_FO|") else 200_000.0,
    }


_TERMS: Final = ("quantity", "price", "trigger_price", "order_type", "validity")
_NAMES: Final = ("instrument_token", "transaction_type", "product")
