"""Layer 2, orders process, cold: Kite's good-till-triggered orders as pure functions on bytes.

POST and PUT /gtt/triggers take a form whose `condition` and `orders` are JSON texts; `orders[i]` belongs
to `trigger_values[i]`, of two legs the lower comes first. Triggers carry no tag: an order that one has
placed is known by `result.order_result.order_id` of its row, and by nothing else. `triggered` says that
the price was reached, not that anything was placed or filled. Source: Kite Connect v3, GTT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from kite_hft.brokers.kite.answers import AnswerError, count, data_of, price, rows_of, text
from kite_hft.layout import Product, Side
from kite_hft.trading.broker import HttpRequest, OrderRequest, TriggerLeg, TriggerReport, TriggerRequest
from kite_hft.trading.instruments import Instrument, scale_of_token
from kite_hft.units import price_text

_FORM: Final = "application/x-www-form-urlencoded"
_PATH: Final = "/gtt/triggers"
_ACTIVE: Final = "active"
_PRODUCT_OF: Final = {product.name: product for product in Product}
_FAILED: Final = "failed"


def place(request: TriggerRequest) -> HttpRequest:
    """POST /gtt/triggers."""
    return HttpRequest("POST", _PATH, _form(request), _FORM)


def modify(trigger_id: str, request: TriggerRequest) -> HttpRequest:
    """PUT /gtt/triggers/{id}: everything is sent anew."""
    return HttpRequest("PUT", f"{_PATH}/{quote(trigger_id, safe='')}", _form(request), _FORM)


def delete(trigger_id: str) -> HttpRequest:
    """DELETE /gtt/triggers/{id}."""
    return HttpRequest("DELETE", f"{_PATH}/{quote(trigger_id, safe='')}")


def triggers() -> HttpRequest:
    """GET /gtt/triggers: those that wait, and those that ended in the last seven days."""
    return HttpRequest("GET", _PATH)


def _form(request: TriggerRequest) -> bytes:
    instrument = request.instrument
    condition = {
        "exchange": instrument.exchange,
        "tradingsymbol": instrument.symbol,
        "trigger_values": [_number(px, instrument) for px in request.trigger_px],
        "last_price": _number(request.last_px, instrument),
    }
    form = {
        "type": "single" if len(request.legs) == 1 else "two-leg",
        "condition": msgspec.json.encode(condition).decode(),
        "orders": msgspec.json.encode([_leg_form(leg) for leg in request.legs]).decode(),
    }
    return urlencode(form).encode()


def _number(px: int, instrument: Instrument) -> float:
    return float(price_text(px, instrument.scale))


def _leg_form(leg: OrderRequest) -> dict[str, Any]:
    return {
        "exchange": leg.instrument.exchange,
        "tradingsymbol": leg.instrument.symbol,
        "transaction_type": leg.side.name,
        "quantity": leg.quantity,
        "order_type": "LIMIT",
        "product": leg.product.name,
        "price": _number(leg.px, leg.instrument),
    }


def parse_triggers(body: bytes) -> list[TriggerReport]:
    """The rows of GET /gtt/triggers.

    Raises:
        AnswerError: not a whole, readable list.
    """
    rows = rows_of(data_of(body))
    try:
        return [_report(row) for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"trigger row: {type(error).__name__}: {error}") from error


def _report(row: Mapping[str, Any]) -> TriggerReport:
    condition, status = row["condition"], text(row, "status", required=True)
    token = int(condition["instrument_token"])
    scale, values = scale_of_token(token), condition["trigger_values"]
    return TriggerReport(
        trigger_id=str(row["id"]),
        status=status,
        active=status == _ACTIVE,
        token=token,
        legs=tuple(
            _leg(order, round(price({"trigger": value}, "trigger", scale) * scale), scale)
            for order, value in zip(rows_of(row["orders"]), values, strict=True)
        ),
    )


def _leg(order: Mapping[str, Any], trigger_px: int, scale: int) -> TriggerLeg:
    fired = (order.get("result") or {}).get("order_result") or {}
    failed = ""
    if str(fired.get("status") or "") == _FAILED:
        failed = str(fired.get("rejection_reason") or "") or _FAILED
    return TriggerLeg(
        trigger_px=trigger_px,
        side=Side[order["transaction_type"]],
        product=_PRODUCT_OF.get(order.get("product") or ""),
        quantity=count(order, "quantity"),
        px=round(price(order, "price", scale) * scale),
        order_id=str(fired.get("order_id") or ""),
        failed=failed,
    )
