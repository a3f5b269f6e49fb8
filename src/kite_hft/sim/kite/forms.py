"""Layer 4, simulator, cold: fields of Kite's order calls to engine terms, strictly.

A field is text (a form) or a JSON value (calculators, triggers). Raises Refusal (InputException,
HTTP 400) for what is missing or unreadable: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from kite_hft.layout import Product, Side, Validity
from kite_hft.sim.exchange.orders import CO, Change, NewOrder, Refusal
from kite_hft.sim.kite.rows import ORDER_TYPES
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.units import PX_MAX

T = TypeVar("T")
Form = Mapping[str, Any]

SIDES: Final = {side.name: side for side in Side}
PRODUCTS: Final = {product.name: product for product in Product}
TYPES: Final = {text: order_type for order_type, text in ORDER_TYPES.items()}
VALIDITIES: Final = {v.name: v for v in Validity}
QUANTITY_MAX: Final = 10**9
FLOAT_NOISE: Final = Decimal("1e-6")
"""Of a unit."""
# Python's own readers take 1_000, foreign digits and blanks too.
_WHOLE: Final = re.compile(r"[0-9]{1,18}")
_NUMBER: Final = re.compile(r"-?(?=\.?[0-9])[0-9]{0,18}(\.[0-9]{0,18})?([eE][-+]?[0-9]{1,2})?")
NO_INSTRUMENT: Final = "The instrument you are placing an order for has either expired or does not exist."


def new_order(form: Form, variety: str, instruments: InstrumentTable) -> NewOrder:
    """A placement. Raises Refusal."""
    row = instrument_of(form, instruments)
    # A cover order's product is the broker's own; clients name it CO or MIS.
    products = PRODUCTS | ({"CO": Product.MIS} if variety == CO else {})
    return NewOrder(
        instrument=row,
        side=choice(form, "transaction_type", SIDES),
        order_type=choice(form, "order_type", TYPES),
        product=choice(form, "product", products),
        quantity=whole(form, "quantity"),
        validity=choice(form, "validity", VALIDITIES, Validity.DAY),
        px=px_of(form, "price", row) or 0,
        trigger_px=px_of(form, "trigger_price", row) or 0,
        protection_percent=_percent(form),
        tag=text_of(form, "tag") or None,
        disclosed_quantity=whole(form, "disclosed_quantity", 0),
        validity_ttl=whole(form, "validity_ttl", 0),
        variety=variety,
        iceberg_legs=whole(form, "iceberg_legs", 0),
        iceberg_quantity=whole(form, "iceberg_quantity", 0),
        autoslice=flag(form, "autoslice"),
        algo_id=text_of(form, "algo_id") or None,
        auction_number=text_of(form, "auction_number") or None,
    )


def change(form: Form, instrument: Instrument) -> Change:
    """A modification: what is absent stays as it is. Raises Refusal."""
    return Change(
        order_type=choice(form, "order_type", TYPES) if text_of(form, "order_type") else None,
        quantity=whole(form, "quantity") if text_of(form, "quantity") else None,
        px=px_of(form, "price", instrument),
        trigger_px=px_of(form, "trigger_price", instrument),
        validity=choice(form, "validity", VALIDITIES) if text_of(form, "validity") else None,
        protection_percent=_percent(form),
        disclosed_quantity=(
            whole(form, "disclosed_quantity") if text_of(form, "disclosed_quantity") else None
        ),
        parent_order_id=text_of(form, "parent_order_id") or None,
    )


def instrument_of(form: Form, instruments: InstrumentTable) -> Instrument:
    """By `exchange` and `tradingsymbol`. Raises Refusal."""
    exchange, symbol = needed(form, "exchange"), needed(form, "tradingsymbol")
    found = instruments.by_key.get(f"{exchange}:{symbol}")
    if found is None:
        raise bad(NO_INSTRUMENT)
    return found


def bad(message: str) -> Refusal:
    """An InputException, HTTP 400."""
    return Refusal("InputException", message)


def missing(name: str) -> Refusal:
    """A field that is not there or empty."""
    return bad(f"Missing or empty field `{name}`")


def text_of(form: Form, name: str) -> str:
    """A field as text; "" when absent or null. Raises Refusal for a list or an object."""
    value = form.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise bad(f"Invalid `{name}`.")
    return str(value)


def needed(form: Form, name: str) -> str:
    """A field's text. Raises Refusal when there is none."""
    if not (value := text_of(form, name)):
        raise missing(name)
    return value


def choice(form: Form, name: str, choices: Mapping[str, T], default: T | None = None) -> T:
    """One of the words of `choices`. Raises Refusal."""
    value = text_of(form, name)
    if not value and default is not None:
        return default
    if value not in choices:
        raise bad(f"Invalid `{name}`.") if value else missing(name)
    return choices[value]


def whole(form: Form, name: str, default: int | None = None) -> int:
    """A whole number of 0 or more. Raises Refusal."""
    value = text_of(form, name)
    if not value and default is not None:
        return default
    if not value:
        raise missing(name)
    if not _WHOLE.fullmatch(value) or (number := int(value)) > QUANTITY_MAX:
        raise bad(f"Invalid `{name}`.")
    return number


def flag(form: Form, name: str) -> bool:
    """true or false (1, 0); absent: false. Raises Refusal."""
    value = form.get(name)
    words = {"": False, "true": True, "false": False, "1": True, "0": False}
    found = words.get(str("" if value is None else value).lower())
    if found is None:
        raise bad(f"Invalid `{name}`.")
    return found


def px_of(form: Form, name: str, instrument: Instrument) -> int | None:
    """Rupees to units; None when the field is absent or empty. Raises Refusal.

    Clients reckon in floats: 1499.9499999999998 is 1499.95, 1499.951 is no price of two decimals.
    """
    value = text_of(form, name)
    if not value:
        return None
    if not _NUMBER.fullmatch(value) or not 0 <= (units := Decimal(value) * instrument.scale) <= PX_MAX:
        raise bad(f"Invalid `{name}`.")
    px = round(units)
    if abs(units - px) > FLOAT_NOISE:
        raise bad(f"Tick size for this script is not met. Invalid `{name}`.")
    return px


def rupees(form: Form, name: str, default: float | None = None) -> float:
    """An amount of 0 or more. Raises Refusal."""
    value = text_of(form, name)
    if not value and default is not None:
        return default
    if not value:
        raise missing(name)
    if not _NUMBER.fullmatch(value) or not 0 <= (amount := float(value)) < 1e12:
        raise bad(f"Invalid `{name}`.")
    return amount


def _percent(form: Form) -> float:
    value = text_of(form, "market_protection")
    if value and not _NUMBER.fullmatch(value):
        raise bad("Invalid `market_protection`.")
    return float(value or 0)
