"""Layer 4, simulator, cold: form fields of Kite's order calls to engine terms, strictly.

Raises Refusal (InputException, HTTP 400) for what is missing or unreadable: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar

from kite_hft.layout import Product, Side, Validity
from kite_hft.sim.orders import Change, NewOrder, Refusal
from kite_hft.sim.rows import ORDER_TYPES
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.units import PX_MAX

T = TypeVar("T")
Form = Mapping[str, str]

_SIDES: Final = {side.name: side for side in Side}
_PRODUCTS: Final = {product.name: product for product in Product}
_TYPES: Final = {text: order_type for order_type, text in ORDER_TYPES.items()}
_VALIDITIES: Final = {v.name: v for v in Validity}


def new_order(form: Form, variety: str, instruments: InstrumentTable) -> NewOrder:
    """A placement. Raises Refusal."""
    key = f"{_text(form, 'exchange')}:{_text(form, 'tradingsymbol')}"
    instrument = instruments.by_key.get(key)
    if instrument is None:
        raise _bad("The instrument you are placing an order for has either expired or does not exist.")
    validity = _choice(form, "validity", _VALIDITIES, Validity.DAY)
    return NewOrder(
        instrument=instrument,
        side=_choice(form, "transaction_type", _SIDES),
        order_type=_choice(form, "order_type", _TYPES),
        product=_choice(form, "product", _PRODUCTS),
        quantity=_int(form, "quantity"),
        validity=validity,
        px=_px(form, "price", instrument) or 0,
        trigger_px=_px(form, "trigger_price", instrument) or 0,
        protection_percent=_percent(form),
        tag=form.get("tag") or None,
        disclosed_quantity=_int(form, "disclosed_quantity", 0),
        validity_ttl=_int(form, "validity_ttl", 0),
        variety=variety,
    )


def change(form: Form, instrument: Instrument) -> Change:
    """A modification: what is absent stays as it is. Raises Refusal."""
    return Change(
        order_type=_choice(form, "order_type", _TYPES) if form.get("order_type") else None,
        quantity=_int(form, "quantity") if form.get("quantity") else None,
        px=_px(form, "price", instrument),
        trigger_px=_px(form, "trigger_price", instrument),
        validity=_choice(form, "validity", _VALIDITIES) if form.get("validity") else None,
        protection_percent=_percent(form),
    )


def _bad(message: str) -> Refusal:
    return Refusal("InputException", message)


def _text(form: Form, name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise _bad(f"Missing or empty field `{name}`")
    return value


def _choice(form: Form, name: str, choices: Mapping[str, T], default: T | None = None) -> T:
    value = form.get(name, "")
    if not value and default is not None:
        return default
    if value not in choices:
        raise _bad(f"Invalid `{name}`." if value else f"Missing or empty field `{name}`")
    return choices[value]


def _int(form: Form, name: str, default: int | None = None) -> int:
    value = form.get(name, "")
    if not value and default is not None:
        return default
    try:
        number = int(value)
    except ValueError:
        raise _bad(f"Invalid `{name}`." if value else f"Missing or empty field `{name}`") from None
    if not 0 <= number <= 10**9:
        raise _bad(f"Invalid `{name}`.")
    return number


def _px(form: Form, name: str, instrument: Instrument) -> int | None:
    """Rupees as text to units, exactly; None when the field is absent or empty."""
    value = form.get(name, "")
    if not value:
        return None
    try:
        units = Decimal(value) * instrument.scale
        if not units.is_finite() or not 0 <= units <= PX_MAX:
            raise _bad(f"Invalid `{name}`.")
    except InvalidOperation:
        raise _bad(f"Invalid `{name}`.") from None
    if units != int(units):
        raise _bad(f"Tick size for this script is not met. Invalid `{name}`.")
    return int(units)


def _percent(form: Form) -> float:
    value = form.get("market_protection", "")
    try:
        return float(value) if value else 0.0
    except ValueError:
        raise _bad("Invalid `market_protection`.") from None
