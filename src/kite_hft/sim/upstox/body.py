"""Layer 4, simulator, cold: fields of Upstox's JSON bodies and queries, strictly, with their codes."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from kite_hft.sim.market.keys import upstox_lot_of
from kite_hft.sim.upstox.answers import refusal
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.units import PX_MAX

T = TypeVar("T")
Body = Mapping[str, Any]

QUANTITY_MAX: Final = 10**9
FLOAT_NOISE: Final = Decimal("1e-6")
"""Of a unit."""
BAD_INPUT: Final = "UDAPI100036"
BAD_KEY: Final = ("UDAPI100011", "Invalid Instrument key")


def json_of(data: bytes) -> Any:
    """Decoded JSON. Raises Refusal."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise refusal(BAD_INPUT, "Invalid input: the body is no JSON.") from None


def json_object(data: bytes) -> Body:
    """The object in a body. Raises Refusal."""
    value = json_of(data)
    if not isinstance(value, dict):
        raise refusal(BAD_INPUT, "Invalid input: expected an object.")
    return value


def json_rows(data: bytes) -> list[Body]:
    """The list of objects in a body. Raises Refusal."""
    value = json_of(data)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise refusal(BAD_INPUT, "Invalid input: expected a list of objects.")
    return value


def instrument_of(body: Body, instruments: InstrumentTable, name: str = "instrument_token") -> Instrument:
    """By Upstox key. Raises Refusal."""
    key = body.get(name)
    if not key:
        raise refusal("UDAPI1026", "Instrument key is required")
    found = instruments.by_upstox_key.get(key) if isinstance(key, str) else None
    if found is None:
        raise refusal(*BAD_KEY)
    return found


def choice(body: Body, name: str, choices: Mapping[str, T], missing: str, invalid: str) -> T:
    """One of the words of `choices`; `missing`, `invalid`: the codes. Raises Refusal."""
    value = body.get(name)
    if value is None or value == "":
        raise refusal(missing, f"The '{name}' is required")
    if not isinstance(value, str) or value not in choices:
        raise refusal(invalid, f"The '{name}' is invalid")
    return choices[value]


def whole(body: Body, name: str, default: int | None = None) -> int:
    """A whole number of 0 or more. Raises Refusal."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= QUANTITY_MAX:
        raise refusal(BAD_INPUT, f"Invalid input: {name}")
    return value


def units(body: Body, name: str, row: Instrument, default: int | None = None) -> int:
    """A quantity of the wire in units of the table: lots become units (upstox_lot_of). Raises Refusal."""
    return whole(body, name, default) * upstox_lot_of(row)


def flag(body: Body, name: str) -> bool:
    """true or false; absent: false. Raises Refusal."""
    value = body.get(name, False)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise refusal(BAD_INPUT, f"Invalid input: {name}")
    return value


def number(body: Body, name: str, default: float) -> float:
    """A finite number. Raises Refusal."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise refusal(BAD_INPUT, f"Invalid input: {name}")
    return float(value)


def px_of(body: Body, name: str, row: Instrument, default: int | None = 0) -> int:
    """Rupees to units. Raises Refusal."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    rupees = number(body, name, 0.0)
    units = Decimal(repr(rupees)) * row.scale
    px = round(units)
    if not 0 <= px <= PX_MAX or abs(units - px) > FLOAT_NOISE:
        raise refusal(BAD_INPUT, f"Invalid input: {name}. Tick size for this script is not met.")
    return px


def text_of(body: Body, name: str) -> str:
    """A text; "" when absent. Raises Refusal."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise refusal(BAD_INPUT, f"Invalid input: {name}")
    return value


def date_of(text: str) -> dt.date:
    """yyyy-mm-dd. Raises Refusal."""
    try:
        if len(text) != len("yyyy-mm-dd"):
            raise ValueError(text)
        return dt.date.fromisoformat(text)
    except ValueError:
        raise refusal("UDAPI1015", "Invalid date format, it should be yyyy-mm-dd.") from None
