"""Layer 0, every process, cold: exact prices and money.

A price inside the engine is an int32 count of the instrument's own unit (`_px`): 1/100 rupee for
most instruments, 1/10^7 for NSE currency, 1/10^4 for BSE currency and NSE commodity. The scale
(units per rupee) belongs to the instrument. Money is int64 paise (`_paise`). Floats appear in
kernels and at the user's face only.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

PX_MAX: Final = 2**31 - 1
OFF_GRID_MAX: Final = 1e-6
"""A price further than this (in units) from a whole unit is malformed."""

_PLACES: Final = {10**places: places for places in range(2, 10)}
"""Scales that are powers of ten, as all are that exist: their decimals are digits of the integer."""

NS_PER_S: Final = 1_000_000_000
IST_OFFSET_S: Final = 19_800
"""India has one time zone and no summer time: UTC + 5:30."""


class PriceError(ValueError):
    """A price that is no number, out of range or off its grid."""


def px_from_price(price: float, scale: int) -> int:
    """Rupees to units. `scale` is units per rupee.

    Raises:
        PriceError: not finite, outside int32, or more than 1e-6 units off a whole unit.
    """
    units = price * scale
    if not -PX_MAX - 1 <= units <= PX_MAX:  # also refuses NaN
        raise PriceError(f"price {price!r} at scale {scale} does not fit 32 bits")
    px = round(units)
    # A float of this size carries a relative error of 2^-53; both bounds must hold.
    if abs(units - px) > OFF_GRID_MAX + abs(units) * 2**-51:
        raise PriceError(f"price {price!r} is not a multiple of 1/{scale}")
    return px


def price_from_px(px: int, scale: int) -> float:
    """Units to rupees, the nearest float."""
    return px / scale


def price_text(px: int, scale: int) -> str:
    """Units as an exact decimal for a request body: at least two places, no exponent."""
    if scale == 100 and px >= 0:
        return f"{px // 100}.{px % 100:02d}"
    places = _PLACES.get(scale)
    if places is not None and px >= 0:
        rupees, rest = divmod(px, scale)
        digits = f"{rest:0{places}d}"
        return f"{rupees}.{digits[:2]}{digits[2:].rstrip('0')}"
    places = max(2, len(str(scale)) - 1)
    value = Decimal(px) / Decimal(scale)
    text = f"{value:.{places}f}"
    whole, fraction = text.split(".")
    return f"{whole}.{fraction[:2]}{fraction[2:].rstrip('0')}"


def value_paise(px: int, quantity: int, multiplier: int, scale: int) -> int:
    """Value of `quantity` at `px`, in paise: price x quantity x multiplier.

    Exact for scale 100; for finer scales rounded half to even once, at the end.
    """
    numerator = px * quantity * multiplier * 100
    if numerator % scale == 0:
        return numerator // scale
    return int((Decimal(numerator) / Decimal(scale)).to_integral_value(ROUND_HALF_EVEN))


def rupees_text(value_in_paise: int) -> str:
    """Paise as rupees with two places: -12345 -> "-123.45"."""
    sign = "-" if value_in_paise < 0 else ""
    return f"{sign}{abs(value_in_paise) // 100}.{abs(value_in_paise) % 100:02d}"
