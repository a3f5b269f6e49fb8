"""Layer 2, orders process, hot: Kite Connect v3's REST calls as pure functions on bytes.

Requests carry neither host nor credentials: the transport adds both. `parse_outcome` follows one
law: an answer that does not prove refusal is ambiguous, because Kite has no idempotency key and
an order may live behind a time-out, a 5xx or even a 400 ("Order request timed out. ...").
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

import msgspec

from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.broker import (
    Ambiguous,
    Broker,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderReport,
    OrderRequest,
    Outcome,
    PositionReport,
    Refused,
    TradeReport,
)
from kite_hft.trading.instruments import Instrument, scale_of_token
from kite_hft.units import price_text

FORM: Final = "application/x-www-form-urlencoded"
VARIETY: Final = "regular"
_PLACE_PATH: Final = f"/orders/{VARIETY}"
ORDER_TYPES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.SL: "SL",
    OrderType.SLM: "SL-M",
}
_ORDER_TYPE_OF: Final = {word: kind for kind, word in ORDER_TYPES.items()}
_PRODUCT_OF: Final = {product.name: product for product in Product}
_PRICED: Final = (OrderType.LIMIT, OrderType.SL)
_TRIGGERED: Final = (OrderType.SL, OrderType.SLM)
_PROTECTED: Final = (OrderType.MARKET, OrderType.SLM)

STATUS: Final[dict[str, OrderStatus]] = {
    "COMPLETE": OrderStatus.COMPLETE,
    "CANCELLED": OrderStatus.CANCELLED,
    "CANCELLED AMO": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
    "OPEN": OrderStatus.OPEN,
    "TRIGGER PENDING": OrderStatus.TRIGGER_PENDING,
    "PUT ORDER REQ RECEIVED": OrderStatus.PENDING,
    "VALIDATION PENDING": OrderStatus.PENDING,
    "OPEN PENDING": OrderStatus.PENDING,
    "MODIFY VALIDATION PENDING": OrderStatus.PENDING,
    "MODIFY PENDING": OrderStatus.PENDING,
    "MODIFIED": OrderStatus.PENDING,
    "CANCEL PENDING": OrderStatus.PENDING,
    "AMO REQ RECEIVED": OrderStatus.PENDING,
}
"""Kite's label -> ours. `UPDATE` and labels that we do not know (the list is open) say nothing."""

_REFUSALS: Final[dict[int, frozenset[str]]] = {
    400: frozenset({"OrderException", "InputException", "MarginException", "HoldingException"})
    | frozenset({"UserException", "PermissionException"}),
    401: frozenset({"TokenException", "UserException", "PermissionException"}),
    403: frozenset({"TokenException", "UserException", "PermissionException", "TwoFAException"}),
    404: frozenset({"OrderException"}),
    428: frozenset({"HoldingException", "OrderException", "InputException"}),
}
"""HTTP status -> error types that prove that no order came of the call.

NetworkException, DataException and GeneralException tell of trouble between API and order system:
no proof under any status. 404: there is no such order, so nothing was modified or cancelled (a
placement names none: see trading/sending/desk.py). 428 is the missing holdings authorisation.
"""
_UNSURE: Final = re.compile(r"tim(?:ed?|ing)[\s-]*out|before placing again|check the order book", re.I)
"""Words of a refusal that takes it back: the order system did not answer in time."""


class AnswerError(ValueError):
    """An answer of the broker that cannot be read."""


def place(request: OrderRequest) -> HttpRequest:
    """POST /orders/regular. MARKET and SL-M always carry market_protection: without it they are refused."""
    instrument, side, kind, product, validity, quantity, px, trigger_px, percent, tag = request
    form = f"{_place_form(instrument.exchange, instrument.symbol, side, kind, product, validity)}{quantity}"
    if kind in _PRICED:
        form += f"&price={price_text(px, instrument.scale)}"
    if kind in _TRIGGERED:
        form += f"&trigger_price={price_text(trigger_px, instrument.scale)}"
    if kind in _PROTECTED:
        form += f"&market_protection={_protection(percent)}"
    if tag:
        form += f"&tag={_word(tag)}"
    return HttpRequest("POST", _PLACE_PATH, form.encode(), FORM)


@functools.lru_cache(4096)
def _place_form(
    exchange: str, symbol: str, side: Side, kind: OrderType, product: Product, validity: Validity
) -> str:
    """What is the same in all placements of one kind on one instrument, up to the quantity."""
    form = {
        "variety": VARIETY,
        "exchange": exchange,
        "tradingsymbol": symbol,
        "transaction_type": side.name,
        "product": product.name,
        "order_type": ORDER_TYPES[kind],
        "validity": validity.name,
        "quantity": "",
    }
    return _encode(form).decode()


def _encode(form: Mapping[str, str]) -> bytes:
    """application/x-www-form-urlencoded; most values are plain words and numbers, quoted in no time."""
    return "&".join(f"{key}={_word(value)}" for key, value in form.items()).encode()


def _word(value: str) -> str:
    return value if value.isascii() and value.isalnum() else _quoted(value)


_quoted = functools.lru_cache(4096)(quote_plus)


def _protection(percent: float) -> str:
    if percent != -1 and not 0 < percent <= 100:
        raise ValueError(f"market protection {percent} is neither -1 nor in (0, 100] percent")
    return f"{percent:g}"


def modify(order_id: str, instrument: Instrument, quantity: int, px: int, trigger_px: int) -> HttpRequest:
    """PUT /orders/regular/{id}, with only what changes: 0 leaves a term as it is."""
    form: dict[str, str] = {"variety": VARIETY, "order_id": order_id}
    if quantity:
        form["quantity"] = str(quantity)
    if px:
        form["price"] = price_text(px, instrument.scale)
    if trigger_px:
        form["trigger_price"] = price_text(trigger_px, instrument.scale)
    return HttpRequest("PUT", _order_path(order_id), _encode(form), FORM)


def cancel(order_id: str) -> HttpRequest:
    """DELETE /orders/regular/{id}."""
    return HttpRequest("DELETE", _order_path(order_id))


def _order_path(order_id: str) -> str:
    return f"/orders/{VARIETY}/{quote(order_id, safe='')}"


def order_book() -> HttpRequest:
    """GET /orders: all orders of the day, in no promised order."""
    return HttpRequest("GET", "/orders")


def trade_book() -> HttpRequest:
    """GET /trades: all executions of the day."""
    return HttpRequest("GET", "/trades")


def positions() -> HttpRequest:
    """GET /portfolio/positions."""
    return HttpRequest("GET", "/portfolio/positions")


def margins() -> HttpRequest:
    """GET /user/margins."""
    return HttpRequest("GET", "/user/margins")


def parse_outcome(response: HttpResponse) -> Outcome:
    """What the answer to a place, modify or cancel call proves.

    429 is proof: the rate limiter answers before the order system is asked. Any other error needs
    a readable error envelope whose type and status stand in the table of refusals, and no word of
    a time-out in its message.
    """
    status = response.status
    body = _envelope(response.body)
    if status == 429:
        return Refused("NetworkException", _message(body) or "Too many requests", status)
    if 200 <= status < 300:
        data = body.get("data")
        order_id = data.get("order_id") if isinstance(data, Mapping) else None
        if body.get("status") == "success" and isinstance(order_id, str) and order_id:
            return Confirmed(order_id)
        return Ambiguous(f"HTTP {status} without an order id")
    error_type, message = str(body.get("error_type") or ""), _message(body)
    if body.get("status") != "error" or error_type not in _REFUSALS.get(status, ()):
        return Ambiguous(f"HTTP {status} {error_type} {message}".strip())
    if _UNSURE.search(message):
        return Ambiguous(f"HTTP {status}: {message}")
    return Refused(error_type, message, status)


def _envelope(body: bytes) -> Mapping[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, Mapping) else {}


def _message(body: Mapping[str, Any]) -> str:
    return str(body.get("message") or "")


def _data(body: bytes) -> Any:
    envelope = _envelope(body)
    if envelope.get("status") != "success" or "data" not in envelope:
        raise AnswerError(f"no success envelope: {body[:200]!r}")
    return envelope["data"]


def _rows(data: Any) -> list[Mapping[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise AnswerError("data is no list of objects")
    return data


def parse_orders(body: bytes) -> list[OrderReport]:
    """The rows of GET /orders.

    Raises:
        AnswerError: not a whole, readable book. Such a read proves nothing about absence.
    """
    return [_order(row) for row in _rows(_data(body))]


def parse_update(body: bytes) -> OrderReport | None:
    """A websocket text frame (`{"type": "order", "data": row}`) or a postback (the bare row).

    None for frames about something else.

    Raises:
        AnswerError: unreadable.
    """
    message = _envelope(body)
    if not message:
        raise AnswerError(f"no JSON object: {body[:200]!r}")
    if "type" in message and "order_id" not in message:
        row = message.get("data")
        if message["type"] != "order":
            return None
        if not isinstance(row, Mapping):
            raise AnswerError("an order frame without an order")
        return _order(row)
    return _order(message)


def _order(row: Mapping[str, Any]) -> OrderReport:
    try:
        token = int(row["instrument_token"])
        scale = scale_of_token(token)
        label = str(row["status"])
        return OrderReport(
            order_id=_text(row, "order_id", required=True),
            status=STATUS.get(label),
            status_text=label,
            message=_text(row, "status_message"),
            exchange=_text(row, "exchange"),
            symbol=_text(row, "tradingsymbol"),
            token=token,
            side=Side[row["transaction_type"]],
            order_type=_ORDER_TYPE_OF.get(row.get("order_type") or ""),
            product=_PRODUCT_OF.get(row.get("product") or ""),
            quantity=_count(row, "quantity"),
            filled_quantity=_count(row, "filled_quantity"),
            pending_quantity=_count(row, "pending_quantity"),
            cancelled_quantity=_count(row, "cancelled_quantity"),
            average_price=_amount(row, "average_price"),
            px=round(_amount(row, "price") * scale),
            trigger_px=round(_amount(row, "trigger_price") * scale),
            tags=_tags(row),
            parent_order_id=_text(row, "parent_order_id"),
            order_timestamp=_text(row, "order_timestamp"),
            exchange_timestamp=_text(row, "exchange_timestamp"),
            placed_by=_text(row, "placed_by"),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"order row: {type(error).__name__}: {error}") from error


def _text(row: Mapping[str, Any], key: str, *, required: bool = False) -> str:
    value = row.get(key)
    if required and not (isinstance(value, str) and value):
        raise ValueError(f"{key} {value!r} is no text")
    return "" if value is None else str(value)


def _count(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key) or 0
    if int(value) != value or value < 0:
        raise ValueError(f"{key} {value!r} is no whole number of 0 or more")
    return int(value)


def _amount(row: Mapping[str, Any], key: str) -> float:
    value = float(row.get(key) or 0)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{key} {value!r} is no amount of 0 or more")
    return value


def _tags(row: Mapping[str, Any]) -> tuple[str, ...]:
    """`tag` and `tags[]` together, once each: a protected market order has its tag in the latter only."""
    tags = row.get("tags") or []
    if not isinstance(tags, list):
        raise TypeError("tags is no list")
    return tuple(dict.fromkeys(str(tag) for tag in (row.get("tag"), *tags) if tag))


def parse_trades(body: bytes) -> list[TradeReport]:
    """The rows of GET /trades. Raises AnswerError."""
    try:
        return [
            TradeReport(
                trade_id=_text(row, "trade_id", required=True),
                order_id=_text(row, "order_id", required=True),
                exchange=_text(row, "exchange"),
                symbol=_text(row, "tradingsymbol"),
                token=int(row["instrument_token"]),
                side=Side[row["transaction_type"]],
                product=_PRODUCT_OF.get(row.get("product") or ""),
                quantity=_count(row, "quantity"),
                average_price=_amount(row, "average_price"),
                fill_timestamp=_text(row, "fill_timestamp"),
            )
            for row in _rows(_data(body))
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"trade row: {type(error).__name__}: {error}") from error


def parse_positions(body: bytes) -> list[PositionReport]:
    """The `net` rows of GET /portfolio/positions. Raises AnswerError."""
    data = _data(body)
    try:
        return [
            PositionReport(
                exchange=_text(row, "exchange"),
                symbol=_text(row, "tradingsymbol"),
                token=int(row["instrument_token"]),
                product=_PRODUCT_OF.get(row.get("product") or ""),
                quantity=_whole(row["quantity"]),
                average_price=_amount(row, "average_price"),
                buy_quantity=_count(row, "buy_quantity"),
                sell_quantity=_count(row, "sell_quantity"),
                buy_value=float(row.get("buy_value") or 0),
                sell_value=float(row.get("sell_value") or 0),
                multiplier=_whole(row.get("multiplier") or 1),
            )
            for row in _rows(data["net"])
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"position row: {type(error).__name__}: {error}") from error


def _whole(value: Any) -> int:
    if int(value) != value:
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def parse_cash_paise(body: bytes) -> int:
    """Paise available for equity and derivatives: `equity.net` of GET /user/margins. Raises AnswerError."""
    try:
        return round(float(_data(body)["equity"]["net"]) * 100)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"margins: {type(error).__name__}: {error}") from error


def auth_headers(api_key: str, access_token: str) -> list[tuple[str, str]]:
    """What the transport adds to every call."""
    return [("X-Kite-Version", "3"), ("Authorization", f"token {api_key}:{access_token}")]


KITE: Final = Broker(
    name="kite",
    place=place,
    modify=modify,
    cancel=cancel,
    order_book=order_book,
    trade_book=trade_book,
    positions=positions,
    margins=margins,
    parse_outcome=parse_outcome,
    parse_orders=parse_orders,
    parse_trades=parse_trades,
    parse_positions=parse_positions,
    parse_cash_paise=parse_cash_paise,
    parse_update=parse_update,
    auth_headers=auth_headers,
)
"""Kite Connect as the order stage sees it."""
