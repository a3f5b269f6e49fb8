"""Layer 2, orders process, hot: Upstox's order calls as pure functions: place, modify, cancel, and the reads.

Bodies are JSON. Requests carry neither host nor credentials. Place, modify and cancel go to the host for
orders where there is one (ORDER_PATHS); everything else, GTT and bulk calls too, to the API's host.
"""

from __future__ import annotations

import functools
from typing import Any, Final
from urllib.parse import quote

import msgspec

from kite_hft import _upstox_form
from kite_hft.brokers.upstox.keys import key_of, lot_of, product_word, wire_quantity
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import AUTOMATIC_BAND, HttpRequest, OrderRequest
from kite_hft.trading.instruments import Instrument
from kite_hft.units import price_text

JSON: Final = "application/json"
PLACE: Final = "/v3/order/place"
MODIFY: Final = "/v3/order/modify"
CANCEL: Final = "/v3/order/cancel"
ORDER_PATHS: Final = (PLACE, MODIFY, CANCEL)
"""What the low-latency host serves."""
ORDER_TYPES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.SL: "SL",
    OrderType.SLM: "SL-M",
}
ORDER_TYPE_OF: Final = {word: kind for kind, word in ORDER_TYPES.items()}
TAG_MAX: Final = 40
PROTECTION_PERCENT: Final = (1.0, 25.0)
_PRICED: Final = (OrderType.LIMIT, OrderType.SL)
_TRIGGERED: Final = (OrderType.SL, OrderType.SLM)
_PROTECTED: Final = (OrderType.MARKET, OrderType.SLM)


def place_form(request: OrderRequest) -> bytes:
    """The body of `place`, one order that the broker never cuts.

    MARKET and SL-M always carry market_protection. is_amo is sent as False: the broker infers it.

    Raises:
        ValueError: the instrument has no key, no whole lots, a tag or a protection the broker refuses.
    """
    instrument, side, kind, product, validity, quantity, px, trigger_px, percent, tag = request
    lots = wire_quantity(instrument, quantity)
    price = price_text(px, instrument.scale) if kind in _PRICED else "0"
    trigger = price_text(trigger_px, instrument.scale) if kind in _TRIGGERED else "0"
    form = f'{_form(key_of(instrument), side, kind, product, validity)}{lots},"price":{price}'
    form += f',"trigger_price":{trigger}'
    if kind in _PROTECTED:
        form += f',"market_protection":{protection(percent)}'
    if tag:
        form += f',"tag":{tag_text(tag)}'
    return f"{form}}}".encode()


def _terms(request: OrderRequest) -> str:
    """How its body begins, where the wire counts as we do; else ""."""
    instrument, side, kind, product, validity = request[:5]
    if lot_of(instrument) != 1:
        return ""
    return _form(key_of(instrument), side, kind, product, validity)


@functools.lru_cache(4096)
def _form(key: str, side: Side, kind: OrderType, product: Product, validity: Validity) -> str:
    """What is the same in all placements of one kind on one instrument, up to the quantity."""
    words: dict[str, Any] = {
        "instrument_token": key,
        "transaction_type": side.name,
        "order_type": ORDER_TYPES[kind],
        "product": product_word(product),
        "validity": validity.name,
        "disclosed_quantity": 0,
        "is_amo": False,
        "slice": False,
    }
    return f'{msgspec.json.encode(words).decode()[:-1]},"quantity":'


place: Final = _upstox_form.UpstoxPlacing(HttpRequest, PLACE, JSON, place_form, _terms)
"""POST /v3/order/place: the call for an OrderRequest. Raises as `place_form`."""


def tag_text(tag: str) -> str:
    """The tag as JSON text.

    Raises:
        ValueError: longer than the broker takes (UDAPI1119).
    """
    if len(tag) > TAG_MAX:
        raise ValueError(f"tag of {len(tag)} characters > {TAG_MAX}")
    return f'"{tag}"' if tag.isascii() and tag.isalnum() else msgspec.json.encode(tag).decode()


def protection(percent: float) -> str:
    """market_protection as JSON: -1 (the broker's own band), or percent.

    Raises:
        ValueError: what the broker would refuse (UDAPI1158 to 1160).
    """
    least, most = PROTECTION_PERCENT
    if percent != AUTOMATIC_BAND and not least <= percent <= most:
        raise ValueError(
            f"market protection {percent} is neither -1 nor {least:g} to {most:g} percent: "
            "set risk.market_protection"
        )
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
    """PUT /v3/order/modify. Price, trigger price and type are always given: the broker leaves none of them
    as it is (Broker.modify_whole). Quantity 0 stays out, and stays. Only DAY orders rest to be modified.

    Raises:
        ValueError: no type, no whole lots, or a protection that the broker refuses.
    """
    if not order_type:
        raise ValueError("a modification at Upstox names the order's type, price and trigger price")
    kind = OrderType(order_type)
    price = price_text(px, instrument.scale) if kind in _PRICED else "0"
    trigger = price_text(trigger_px, instrument.scale) if kind in _TRIGGERED else "0"
    form = f'{{"order_id":{msgspec.json.encode(order_id).decode()},"validity":"{Validity.DAY.name}"'
    form += f',"order_type":"{ORDER_TYPES[kind]}","price":{price},"trigger_price":{trigger}'
    if quantity:
        form += f',"quantity":{wire_quantity(instrument, quantity)}'
    if kind in _PROTECTED:
        form += f',"market_protection":{protection(protection_percent)}'
    return HttpRequest("PUT", MODIFY, f"{form}}}".encode(), JSON)


def cancel(order_id: str) -> HttpRequest:
    """DELETE /v3/order/cancel?order_id=.."""
    return HttpRequest("DELETE", f"{CANCEL}?order_id={quote(order_id, safe='')}")


def order_book() -> HttpRequest:
    """GET /v2/order/retrieve-all: all orders of the day, in no promised order."""
    return HttpRequest("GET", "/v2/order/retrieve-all")


def order_details(order_id: str) -> HttpRequest:
    """GET /v2/order/details: the latest state of one order."""
    return HttpRequest("GET", f"/v2/order/details?order_id={quote(order_id, safe='')}")


def trade_book() -> HttpRequest:
    """GET /v2/order/trades/get-trades-for-day: all executions of the day."""
    return HttpRequest("GET", "/v2/order/trades/get-trades-for-day")


def auth_headers(algo_name: str, api_key: str, access_token: str) -> list[tuple[str, str]]:
    """What the transport adds to every call: the token alone; the key takes part in the login only.

    algo_name: of an algorithm that is registered with the exchange, for more than ten orders a second.
    """
    headers = [("Authorization", f"Bearer {access_token}"), ("Accept", JSON)]
    return [*headers, ("X-Algo-Name", algo_name)] if algo_name else headers
