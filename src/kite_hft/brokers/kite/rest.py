"""Layer 2, orders process, hot: Kite Connect v3's REST calls as pure functions on bytes.

Requests carry neither host nor credentials: the transport adds both. `parse_outcome` follows one
law: an answer that does not prove refusal is ambiguous, because Kite has no idempotency key and
an order may live behind a time-out, a 5xx or even a 400 ("Order request timed out. ...").
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from kite_hft import _kite_form
from kite_hft.brokers.kite import basket, gtt, market
from kite_hft.brokers.kite.account import parse_funds
from kite_hft.brokers.kite.answers import (
    AnswerError,
    average,
    count,
    data_of,
    envelope_of,
    message_of,
    price,
    rows_of,
    text,
    whole,
)
from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.broker import (
    AUTOMATIC_BAND,
    NOT_PERMITTED,
    TOKEN_DEAD,
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
_UNSURE: Final = re.compile(
    r"tim(?:ed?|ing)[\s-]*out|before placing again|check\s+(?:(?:the|your)\s+)?order\s+book", re.I
)
"""Words of a refusal that takes it back: the order system did not answer in time."""
_ADDRESS: Final = re.compile(r"\bIPs?\b.{0,60}\bnot\b", re.I)
_STATIC_IP: Final = (
    "register this static IP for the app, or let order calls leave by the one that is: kite.bind_address"
)


def place_form(request: OrderRequest) -> bytes:
    """The body of any placement.

    MARKET and SL-M always carry market_protection: without it they are refused.
    """
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
    return form.encode()


place: Final = _kite_form.KitePlacing(HttpRequest, _PLACE_PATH, FORM, place_form)
"""OrderRequest -> POST /orders/regular. Most bodies are made by compiled code, the same to the byte."""


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


def modify(
    order_id: str,
    instrument: Instrument,
    quantity: int,
    px: int,
    trigger_px: int,
    order_type: int = 0,
    protection_percent: float = AUTOMATIC_BAND,
) -> HttpRequest:
    """PUT /orders/regular/{id}, with only what changes: 0 leaves a term as it is.

    A change to MARKET or SL-M carries market_protection, as a placement does.
    """
    form: dict[str, str] = {"variety": VARIETY, "order_id": order_id}
    if order_type:
        form["order_type"] = ORDER_TYPES[OrderType(order_type)]
    if quantity:
        form["quantity"] = str(quantity)
    if px:
        form["price"] = price_text(px, instrument.scale)
    if trigger_px:
        form["trigger_price"] = price_text(trigger_px, instrument.scale)
    if order_type in _PROTECTED:
        form["market_protection"] = _protection(protection_percent)
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
    return _outcome(response, "order_id", str)


def parse_trigger_outcome(response: HttpResponse) -> Outcome:
    """The same of a call about a trigger, whose number it confirms."""
    return _outcome(response, "trigger_id", int)


def _outcome(response: HttpResponse, name: str, kind: type) -> Outcome:
    status = response.status
    body = envelope_of(response.body)
    if status == 429:
        return Refused("NetworkException", message_of(body) or "Too many requests", status)
    if 200 <= status < 300:
        data = body.get("data")
        named = data.get(name) if isinstance(data, Mapping) else None
        if body.get("status") == "success" and isinstance(named, kind) and named:
            return Confirmed(str(named))
        return Ambiguous(f"HTTP {status} without an {name}")
    error_type, message = str(body.get("error_type") or ""), message_of(body)
    if body.get("status") != "error" or error_type not in _REFUSALS.get(status, ()):
        return Ambiguous(f"HTTP {status} {error_type} {message}".strip())
    if _UNSURE.search(message):
        return Ambiguous(f"HTTP {status}: {message}")
    if error_type != TOKEN_DEAD and _ADDRESS.search(message):
        return Refused(NOT_PERMITTED, f"{message.rstrip('.')}; {_STATIC_IP}", status)
    return Refused(error_type, message, status)


def parse_orders(body: bytes) -> list[OrderReport]:
    """The rows of GET /orders.

    Raises:
        AnswerError: not a whole, readable book. Such a read proves nothing about absence.
    """
    return [_order(row) for row in rows_of(data_of(body))]


def parse_update(body: bytes) -> OrderReport | None:
    """A websocket text frame (`{"type": "order", "data": row}`) or a postback (the bare row).

    None for frames about something else.

    Raises:
        AnswerError: unreadable.
    """
    message = envelope_of(body)
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
        label, filled = str(row["status"]), count(row, "filled_quantity")
        return OrderReport(
            order_id=text(row, "order_id", required=True),
            status=STATUS.get(label),
            status_text=label,
            message=text(row, "status_message"),
            exchange=text(row, "exchange"),
            symbol=text(row, "tradingsymbol"),
            token=token,
            side=Side[row["transaction_type"]],
            order_type=_ORDER_TYPE_OF.get(row.get("order_type") or ""),
            product=_PRODUCT_OF.get(row.get("product") or ""),
            quantity=count(row, "quantity"),
            filled_quantity=filled,
            pending_quantity=count(row, "pending_quantity"),
            cancelled_quantity=count(row, "cancelled_quantity"),
            average_price=average(row, "average_price", scale, filled),
            px=round(price(row, "price", scale) * scale),
            trigger_px=round(price(row, "trigger_price", scale) * scale),
            tags=_tags(row),
            parent_order_id=text(row, "parent_order_id"),
            order_timestamp=text(row, "order_timestamp"),
            exchange_timestamp=text(row, "exchange_timestamp"),
            placed_by=text(row, "placed_by"),
            account=text(row, "account_id"),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"order row: {type(error).__name__}: {error}") from error


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
                trade_id=text(row, "trade_id", required=True),
                order_id=text(row, "order_id", required=True),
                exchange=text(row, "exchange"),
                symbol=text(row, "tradingsymbol"),
                token=(token := int(row["instrument_token"])),
                side=Side[row["transaction_type"]],
                product=_PRODUCT_OF.get(row.get("product") or ""),
                quantity=(quantity := count(row, "quantity")),
                average_price=average(row, "average_price", scale_of_token(token), quantity),
                fill_timestamp=text(row, "fill_timestamp"),
            )
            for row in rows_of(data_of(body))
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"trade row: {type(error).__name__}: {error}") from error


def parse_positions(body: bytes) -> list[PositionReport]:
    """The `net` rows of GET /portfolio/positions. Raises AnswerError."""
    data = data_of(body)
    try:
        return [
            PositionReport(
                exchange=text(row, "exchange"),
                symbol=text(row, "tradingsymbol"),
                token=(token := int(row["instrument_token"])),
                product=_PRODUCT_OF.get(row.get("product") or ""),
                quantity=(quantity := whole(row["quantity"])),
                average_price=average(row, "average_price", scale_of_token(token), quantity),
                buy_quantity=count(row, "buy_quantity"),
                sell_quantity=count(row, "sell_quantity"),
                buy_value=float(row.get("buy_value") or 0),
                sell_value=float(row.get("sell_value") or 0),
                multiplier=whole(row.get("multiplier") or 1),
                overnight_quantity=whole(row.get("overnight_quantity") or 0),
            )
            for row in rows_of(data["net"])
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"position row: {type(error).__name__}: {error}") from error


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
    parse_funds=parse_funds,
    parse_update=parse_update,
    auth_headers=auth_headers,
    trigger_place=gtt.place,
    trigger_modify=gtt.modify,
    trigger_delete=gtt.delete,
    triggers=gtt.triggers,
    parse_trigger_outcome=parse_trigger_outcome,
    parse_triggers=gtt.parse_triggers,
    quotes=market.quotes,
    parse_bands=market.parse_bands,
    holdings=market.holdings,
    parse_holdings=market.parse_holdings,
    basket_margin=basket.margin,
    parse_basket_margin=basket.parse_margin,
    no_order="100000000000000",  # ids begin with the date, and no month is 00
    register_at="https://developers.kite.trade (profile, IP whitelist)",
)
"""Kite Connect as the order stage sees it."""
