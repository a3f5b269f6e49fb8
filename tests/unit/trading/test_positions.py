"""Positions by hand-made examples; the twin is in tests/property."""

from __future__ import annotations

from orders_world import instrument

from kite_hft.layout import Side
from kite_hft.trading.positions import (
    Fill,
    Position,
    divide_half_even,
    fill_units,
    multiplier_of,
    paise_of_units,
)


def position(*fills: tuple[int, int]) -> Position:
    """Fills of (signed quantity, price)."""
    made = Position(1, 0, 3)
    for number, (quantity, px) in enumerate(fills):
        made.apply(Fill(number, quantity, quantity * px))
    return made


def test_long_closed_with_profit() -> None:
    held = position((10, 100), (10, 110), (-5, 120))
    assert (held.quantity, held.cost_units, held.realised_units) == (15, 1575, 75)
    assert position((10, 100), (-10, 90)).realised_units == -100


def test_short_and_turning() -> None:
    held = position((-10, 100), (15, 90))
    assert (held.quantity, held.cost_units, held.realised_units) == (5, 450, 100)


def test_correction_replays() -> None:
    held = position((10, 100), (-5, 120))
    assert held.realised_units == 100
    held.correct(0, 10)  # bought at 101
    assert (held.quantity, held.cost_units, held.realised_units) == (5, 505, 95)


def test_reducing_counts_everything_that_may_still_fill() -> None:
    held = position((10, 100))
    assert held.reduces(Side.SELL, 10) and not held.reduces(Side.SELL, 11)
    assert not held.reduces(Side.BUY, 1)
    held.open_sell = 4
    assert held.reduces(Side.SELL, 6) and not held.reduces(Side.SELL, 7)


def test_rounding_and_scales() -> None:
    assert [divide_half_even(n, 2) for n in (-3, -1, 1, 3, 5)] == [-2, 0, 0, 2, 2]
    assert fill_units(99.9833, 3, 100) == 29_995
    usdinr = instrument(0, exchange="CDS", scale=10_000_000, multiplier=1000)
    assert paise_of_units(727_550_000, usdinr) == 7_275_500
    assert paise_of_units(29_995, instrument(0)) == 29_995


def test_unknown_multiplier() -> None:
    assert multiplier_of(instrument(0)) == 1
    assert multiplier_of(instrument(0, exchange="NFO")) is None
    assert multiplier_of(instrument(0, exchange="MCX", multiplier=100)) == 100
