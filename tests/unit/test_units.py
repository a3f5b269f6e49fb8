"""Prices and money are exact."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.units import (
    PX_MAX,
    PriceError,
    price_from_px,
    price_text,
    px_from_price,
    rupees_text,
    value_paise,
)

SCALES = st.sampled_from([100, 10_000, 10_000_000])


@given(st.integers(-PX_MAX - 1, PX_MAX), SCALES)
def test_every_unit_survives_the_way_through_a_float(px: int, scale: int) -> None:
    assert px_from_price(price_from_px(px, scale), scale) == px


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -float("inf"), 21474836.48, -21474836.49])
def test_what_is_no_price_is_refused(price: float) -> None:
    with pytest.raises(PriceError, match="does not fit"):
        px_from_price(price, 100)


@pytest.mark.parametrize("price", [0.005, 100.001, 250000.5501])
def test_off_the_grid_is_refused(price: float) -> None:
    with pytest.raises(PriceError, match="not a multiple"):
        px_from_price(price, 100)


def test_the_price_that_float32_loses() -> None:
    assert px_from_price(250000.55, 100) == 25000055


@given(st.integers(-PX_MAX, PX_MAX), SCALES)
def test_price_text_is_the_exact_decimal(px: int, scale: int) -> None:
    text = price_text(px, scale)
    assert Decimal(text) == Decimal(px) / Decimal(scale)
    assert "e" not in text.lower() and len(text.split(".")[1]) >= 2


@given(st.integers(-PX_MAX, PX_MAX), st.integers(0, 10**7), st.integers(1, 1000))
def test_value_is_exact_in_paise(px: int, quantity: int, multiplier: int) -> None:
    assert value_paise(px, quantity, multiplier, 100) == px * quantity * multiplier


def test_value_of_a_fine_scale_rounds_once_half_to_even() -> None:
    assert value_paise(725_000, 1, 1000, 10_000_000) == 7250
    assert value_paise(50_000, 1, 1, 10_000_000) == 0
    assert value_paise(150_000, 1, 1, 10_000_000) == 2


def test_rupees_text() -> None:
    assert [rupees_text(v) for v in (0, 5, -5, 123456)] == ["0.00", "0.05", "-0.05", "1234.56"]
