"""Columns of prices in exact units: the twin of units.px_from_price and instruments.strike_units."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from kite_hft.trading.instruments import scale_of_token, strike_units
from kite_hft.trading.lists.column_numbers import scales_of, units_of
from kite_hft.units import PriceError, px_from_price

prices = st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9).map(lambda n: n / 100) | st.floats()
scales = st.sampled_from([100, 10_000, 10_000_000])


@given(prices, scales)
@example(21_474_836.47, 100)
@example(21_474_836.48, 100)
@example(0.05, 100)
@example(float("nan"), 100)
@example(float("inf"), 100)
@example(0.0000005, 10_000_000)
def test_a_column_agrees_with_single_prices(price: float, scale: int) -> None:
    columns = np.array([price]), np.array([scale])
    for wide, single in ((False, px_from_price), (True, strike_units)):
        units, odd = units_of(*columns, wide=wide)
        try:
            expected = single(price, scale)
            fits = abs(expected) < 2**62  # a column has 64 bits
        except PriceError:
            fits = False
        if not fits:
            assert odd[0] and units[0] == 0
        else:
            assert not odd[0] and units[0] == expected


def test_scales_by_token() -> None:
    tokens = np.arange(1, 600, dtype=np.uint32)
    assert scales_of(tokens).tolist() == [scale_of_token(token) for token in range(1, 600)]
