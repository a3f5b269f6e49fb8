"""Layer 2, orders process, hot: single values of a broker's JSON rows, for every adapter.

A value that is not what it has to be makes the whole answer unreadable. So does a number beyond what our
records hold: it could be neither told to a strategy nor read back from the journal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

COUNT_MAX: Final = 2**31 - 1
PX_MAX: Final = 2**31 - 1
"""Quantities and prices (in the instrument's unit) of ORDER_EVENT."""
VALUE_MAX: Final = 2**53
"""Price x quantity, in units: times any multiplier it is a 64-bit number of paise."""


class AnswerError(ValueError):
    """An answer of the broker that cannot be read."""


def envelope_of(body: bytes) -> Mapping[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, Mapping) else {}


def rows_of(data: Any) -> list[Mapping[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise AnswerError("data is no list of objects")
    return data


def text(row: Mapping[str, Any], key: str, *, required: bool = False) -> str:
    value = row.get(key)
    if type(value) is str and value:  # as nearly always
        return value
    if required and not (isinstance(value, str) and value):
        raise ValueError(f"{key} {value!r} is no text")
    return "" if value is None else str(value)


def count(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key) or 0
    if type(value) is int and 0 <= value <= COUNT_MAX:  # as nearly always
        return value
    if int(value) != value or not 0 <= value <= COUNT_MAX:
        raise ValueError(f"{key} {value!r} is no whole number from 0 to {COUNT_MAX}")
    return int(value)


def amount(row: Mapping[str, Any], key: str) -> float:
    value = float(row.get(key) or 0)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{key} {value!r} is no amount of 0 or more")
    return value


def price(row: Mapping[str, Any], key: str, scale: int) -> float:
    """An amount that is a price of an instrument with `scale` units to the rupee."""
    value = amount(row, key)
    if value * scale > PX_MAX:
        raise ValueError(f"{key} {value!r} is no price: more than {PX_MAX / scale:g}")
    return value


def average(row: Mapping[str, Any], key: str, scale: int, quantity: int) -> float:
    """A price at which `quantity` was traded."""
    value = price(row, key, scale)
    if value * scale * abs(quantity) > VALUE_MAX:
        raise ValueError(f"{key} {value!r} of {quantity} is worth more than any order")
    return value


def whole(value: Any) -> int:
    if int(value) != value or abs(value) > COUNT_MAX:
        raise ValueError(f"{value!r} is no whole number within {COUNT_MAX}")
    return int(value)
