"""Layer 4, simulator, cold: bodies of Upstox's order calls to engine terms, with their error codes.

Raises Refusal with an UDAPI code for what the call itself refuses; what only the risk system or the
exchange refuses comes later, as a rejected order. Codes: docs of place, modify and multi order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.exchange.orders import Change, NewOrder
from kite_hft.sim.exchange.rules import MARKETS, STOPS
from kite_hft.sim.kite.rows import ORDER_TYPES
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import (
    BAD_INPUT,
    Body,
    choice,
    flag,
    instrument_of,
    number,
    px_of,
    text_of,
    units,
    whole,
)
from kite_hft.trading.instruments import Instrument, InstrumentTable

SIDES: Final = {side.name: side for side in Side}
TYPES: Final = {text: order_type for order_type, text in ORDER_TYPES.items()}
VALIDITIES: Final = {"DAY": Validity.DAY, "IOC": Validity.IOC}
TAG_MAX: Final = 40
CORRELATION_MAX: Final = 20
PROTECTION_MAX: Final = 25
AUTOMATIC: Final = -1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A placement as it was asked for."""

    order: NewOrder
    slice: bool
    correlation_id: str = ""


def wish(body: Body, instruments: InstrumentTable) -> Wish:
    """A placement. Raises Refusal."""
    row = instrument_of(body, instruments)
    if row.is_index:
        raise refusal("UDAPI100011", "Invalid Instrument key")
    check_exchange(row)
    order_type = choice(body, "order_type", TYPES, "UDAPI1004", "UDAPI1056")
    side = choice(body, "transaction_type", SIDES, "UDAPI1057", "UDAPI1057")
    validity = choice(body, "validity", VALIDITIES, "UDAPI1007", "UDAPI1055")
    product = product_of(body, row)
    quantity = units(body, "quantity", row)
    if not quantity:
        raise refusal("UDAPI1052", "The quantity cannot be zero")
    px, trigger_px = px_of(body, "price", row), px_of(body, "trigger_price", row)
    check_prices(order_type, side, px, trigger_px)
    disclosed = units(body, "disclosed_quantity", row, 0)
    if disclosed and disclosed * 10 < quantity:
        raise refusal("UDAPI1039", "Disclosed quantity should be 10 % of the quantity at least.")
    tag = text_of(body, "tag")
    if len(tag) > TAG_MAX:
        raise refusal("UDAPI1119", f"Tag should be at most {TAG_MAX} characters.")
    flag(body, "is_amo")  # taken and ignored: the server sees the hour
    order = NewOrder(
        row, side, order_type, product, quantity, validity, px, trigger_px, protection(body, order_type),
        tag or None, disclosed,
    )  # fmt: skip
    return Wish(order, flag(body, "slice"), text_of(body, "correlation_id"))


def change(body: Body, row: Instrument, order_type_now: OrderType, side: Side) -> Change:
    """A modification; of quantity and disclosed quantity what is absent or zero stays. Raises Refusal."""
    order_type = choice(body, "order_type", TYPES, "UDAPI1004", "UDAPI1056")
    validity = choice(body, "validity", VALIDITIES, "UDAPI1007", "UDAPI1055")
    px, trigger_px = px_of(body, "price", row), px_of(body, "trigger_price", row)
    check_prices(order_type, side, px, trigger_px)
    became_market = order_type in MARKETS and order_type_now not in MARKETS
    return Change(
        order_type=order_type,
        quantity=units(body, "quantity", row, 0) or None,
        px=px or None,
        trigger_px=trigger_px or None,
        validity=validity,
        protection_percent=protection(body, order_type) if became_market else 0.0,
        disclosed_quantity=units(body, "disclosed_quantity", row, 0) or None,
    )


def check_exchange(row: Instrument) -> None:
    """Where the API trades nothing. Raises Refusal."""
    if row.exchange == "MCX":
        raise refusal("UDAPI1161", "Orders in MCX through the API are disabled.")


def check_change(body: Body) -> None:
    """A modification of an order that nobody keeps, as in the sandbox. Raises Refusal."""
    order_type = choice(body, "order_type", TYPES, "UDAPI1004", "UDAPI1056")
    choice(body, "validity", VALIDITIES, "UDAPI1007", "UDAPI1055")
    price, trigger = (number(body, name, 0.0) for name in ("price", "trigger_price"))
    for name in ("quantity", "disclosed_quantity"):
        whole(body, name, 0)
    if min(price, trigger) < 0:
        raise refusal(BAD_INPUT, "Invalid input: a price is not negative.")
    check_prices(order_type, None, price, trigger)
    protection(body, order_type)


def product_of(body: Body, row: Instrument) -> Product:
    """I, D or MTF; D is a delivery of shares and carries derivatives over. Raises Refusal."""
    delivery = Product.CNC if row.kind == "EQ" else Product.NRML
    products = {"I": Product.MIS, "D": delivery, "MTF": Product.MTF}
    return choice(body, "product", products, "UDAPI1006", "UDAPI1054")


def check_prices(order_type: OrderType, side: Side | None, px: float, trigger_px: float) -> None:
    """Which prices an order type needs; side None: not known. Raises Refusal."""
    if order_type == OrderType.LIMIT and not px:
        raise refusal("UDAPI1008", "Price is required for order type: LIMIT")
    if order_type == OrderType.SL and not px:
        raise refusal("UDAPI1029", "Price is required for order type: SL")
    if order_type in MARKETS and px:
        raise refusal("UDAPI1030", f"Price is not allowed for order type: {ORDER_TYPES[order_type]}")
    if order_type in STOPS and not trigger_px:
        code = "UDAPI1031" if order_type == OrderType.SL else "UDAPI1032"
        raise refusal(code, f"Trigger price is required for order type: {ORDER_TYPES[order_type]}")
    if side is None or order_type != OrderType.SL:
        return
    if trigger_px > px if side == Side.BUY else trigger_px < px:
        word, code = ("less", "UDAPI1036") if side == Side.BUY else ("greater", "UDAPI1037")
        raise refusal(code, f"Trigger price should be {word} than limit price")


def protection(body: Body, order_type: OrderType) -> float:
    """Market protection in percent of an order at market; -1: the broker's own. Raises Refusal."""
    percent = number(body, "market_protection", AUTOMATIC)
    if order_type not in MARKETS:
        return 0.0
    if percent == 0:
        raise refusal("UDAPI1158", "Market orders without market protection are not allowed via API.")
    if percent > PROTECTION_MAX:
        raise refusal("UDAPI1159", f"Market protection should be at most {PROTECTION_MAX} percent.")
    if percent != AUTOMATIC and percent < 1:
        raise refusal("UDAPI1160", "Invalid market protection.")
    return percent


def needed_id(value: Any, code: str) -> str:
    """An order id. Raises Refusal: it is missing, or has other characters than an id."""
    if not value or not isinstance(value, str):
        raise refusal(code, "Order id is required")
    if not all(c.isascii() and (c.isalnum() or c == "-") for c in value):
        raise refusal("UDAPI1010", "Order id accepts only alphanumeric characters and '-'.")
    return value
