"""Windows of features: rounding, order, and the record itself."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.strategies.windows import ROWS, WINDOW, in_order, push, six_places

MILLIONTH = Decimal("0.000001")


@given(st.floats(-1e6, 1e6))
def test_six_places_is_the_nearest_millionth(x: float) -> None:
    """As Python's own rounding, but where the product with a million ends on a half."""
    found = six_places(x)
    exact = Decimal(x).quantize(MILLIONTH, ROUND_HALF_EVEN)
    assert abs(Decimal(found) - exact) <= MILLIONTH
    if abs(abs(x * 1e6 % 1.0) - 0.5) > 1e-3:
        assert found == round(x, 6)


@pytest.mark.parametrize("x", [float("nan"), float("inf"), -float("inf"), 1e13, -1e300])
def test_what_has_no_millionths_is_left_alone(x: float) -> None:
    assert repr(six_places(x)) == repr(x)


def test_a_negative_nothing_is_nothing() -> None:
    assert repr(six_places(-1e-9)) == "0.0"


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 25])
def test_rows_come_out_in_the_order_they_went_in(n: int) -> None:
    windows = np.zeros(3, WINDOW).view(np.recarray)
    for i in range(n):
        push(windows[1], float(i), -float(i), 0.5)
    ordered = in_order(windows)
    assert ordered.shape == (3, ROWS, 3) and not ordered[0].any() and not ordered[2].any()
    kept = list(range(max(0, n - ROWS), n))
    assert ordered[1, : len(kept), 0].tolist() == kept
    assert (ordered[1, :, 1] == -ordered[1, :, 0]).all() and windows[1]["count"] == n


def test_the_record_may_stand_in_shared_memory() -> None:
    assert WINDOW.itemsize == 256 and not WINDOW.hasobject and WINDOW.fields is not None
    assert [WINDOW.fields[name][1] for name in ("features", "count")] == [0, 240]
