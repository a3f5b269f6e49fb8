"""Layer 4, simulator, cold: mutual funds: made-up orders, SIPs, holdings and instruments to read.

The broker has switched off placing and changing them by the API; so is it here.
"""

from __future__ import annotations

import csv
import io
from typing import Any, Final

from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.rest import CSV, Call, Response, Route

NO_PERMISSION: Final = "Insufficient permission for that call."

_COLUMNS: Final = (
    "tradingsymbol", "amc", "name", "purchase_allowed", "redemption_allowed", "minimum_purchase_amount",
    "purchase_amount_multiplier", "minimum_additional_purchase_amount", "minimum_redemption_quantity",
    "redemption_quantity_multiplier", "dividend_type", "scheme_type", "plan", "settlement_type",
    "last_price", "last_price_date",
)  # fmt: skip
_FUNDS: Final = (
    # symbol, name, scheme, net asset value
    ("INF000S01011", "Simulated Liquid Fund - Direct Plan", "liquid", 1021.5),
    ("INF000S01029", "Simulated Flexicap Fund - Direct Plan", "equity", 52.75),
    ("INF000S01037", "Simulated Bond Fund - Direct Plan", "debt", 11.25),
)
_DATE: Final = "2026-11-19"
_DAY: Final = "2026-11-18"


class FundsDesk:
    """Mutual funds of the account."""

    def __init__(self, user_id: str) -> None:
        self._orders = [
            _order(user_id, n, status) for n, status in enumerate(("COMPLETE", "OPEN", "REJECTED"))
        ]
        self._sips = [_sip(n) for n in range(2)]

    def routes(self) -> list[Route]:
        """Reads answer; writes are refused."""
        reads = [
            Route("GET", "/mf/orders", lambda _: self._orders),
            Route("GET", "/mf/orders/*", lambda call: _named(self._orders, "order_id", call)),
            Route("GET", "/mf/sips", lambda _: self._sips),
            Route("GET", "/mf/sips/*", lambda c: _named(self._sips, "sip_id", c) | {"fund_source": "pool"}),
            Route("GET", "/mf/holdings", lambda _: [_holding(n) for n in range(2)]),
            Route("GET", "/mf/instruments", lambda _: Response(200, CSV, _instruments())),
        ]
        writes = (
            ("POST", "/mf/orders"), ("DELETE", "/mf/orders/*"),
            ("POST", "/mf/sips"), ("PUT", "/mf/sips/*"), ("DELETE", "/mf/sips/*"),
        )  # fmt: skip
        return reads + [Route(method, path, _refuse) for method, path in writes]


def _refuse(_: Call) -> Any:
    raise Refusal("PermissionException", NO_PERMISSION, 403)


def _named(rows: list[dict[str, Any]], key: str, call: Call) -> dict[str, Any]:
    for row in rows:
        if row[key] == call.args[0]:
            return row
    raise Refusal("GeneralException", f"Couldn't find that `{key}`.", 404)


def _order(user_id: str, n: int, status: str) -> dict[str, Any]:
    symbol, name, _, price = _FUNDS[n % len(_FUNDS)]
    done = status == "COMPLETE"
    quantity = round(5000.0 / price, 3) if done else 0.0
    return {
        "status": status,
        "purchase_type": "FRESH",
        "folio": "100000001" if done else None,
        "order_timestamp": f"{_DAY} 12:20:28",
        "average_price": price if done else 0.0,
        "exchange_order_id": f"25000000{n}" if done else None,
        "last_price": price,
        "tradingsymbol": symbol,
        "settlement_id": "2626001" if done else None,
        "transaction_type": "BUY",
        "order_id": f"00000000-0000-4000-8000-00000000000{n}",
        "amount": 5000.0,
        "tag": None,
        "placed_by": user_id,
        "exchange_timestamp": _DAY if done else None,
        "variety": "regular",
        "last_price_date": _DATE,
        "status_message": "Insufficient balance." if status == "REJECTED" else "",
        "fund": name,
        "quantity": quantity,
    }


def _sip(n: int) -> dict[str, Any]:
    symbol, name, _, _ = _FUNDS[n % len(_FUNDS)]
    return {
        "status": "ACTIVE",
        "sip_reg_num": None,
        "created": "2026-05-05 05:56:27",
        "dividend_type": "growth",
        "instalment_amount": 500.0 * (n + 1),
        "fund": name,
        "instalments": -1,
        "next_instalment": "2026-12-05",
        "transaction_type": "BUY",
        "trigger_price": 0,
        "step_up": {"05-05": 10},
        "tradingsymbol": symbol,
        "tag": "simulated",
        "frequency": "monthly",
        "last_instalment": "2026-11-05 05:56:27",
        "pending_instalments": -1,
        "instalment_day": 5,
        "sip_type": "sip",
        "completed_instalments": 6,
        "sip_id": f"10000000000000{n}",
    }


def _holding(n: int) -> dict[str, Any]:
    symbol, name, _, price = _FUNDS[n]
    return {
        "folio": f"10000000{n}",
        "average_price": round(price * 0.9, 4),
        "last_price": price,
        "last_price_date": _DATE,
        "pledged_quantity": 0,
        "fund": name,
        "tradingsymbol": symbol,
        "pnl": 0,
        "quantity": 12.5 * (n + 1),
    }


def _instruments() -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for symbol, name, scheme, price in _FUNDS:
        writer.writerow(
            [symbol, "SimulatedMutualFund_MF", name, 1, 1, 1000.0, 1.0, 1000.0, 0.001, 0.001, "growth",
             scheme, "direct", "T1", price, _DATE]
        )  # fmt: skip
    return text.getvalue().encode()
