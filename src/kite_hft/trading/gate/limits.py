"""Layer 2, every process, cold: what the user allows the gate to let through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kite_hft.layout import OrderType, Validity

AUTOMATIC: Final = -1.0
"""Market protection that the broker chooses."""
_SIGNED: Final = frozenset({"market_protection"})


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What the user allows. Rupees, units of quantity, seconds; 0 switches nothing off: it refuses.

    None: there is no such limit. The order of fields is free: all are given by name.
    """

    max_position_size: float = 100_000.0  # rupees, worst case of one instrument over all strategies
    max_exposure: float = 1_000_000.0  # rupees, the same summed over all instruments
    max_positions: int = 20  # instruments with a position or a live order
    max_order_quantity: int = 10_000
    max_order_value: float = 200_000.0  # rupees
    max_working_orders: int = 40  # N / 8 s to cancel them all: the floor of a kill
    price_collar_percent: float = 5.0  # of the last price
    stale_tick_s: float = 2.0  # of the instrument's own price
    order_types: tuple[OrderType, ...] = tuple(OrderType)
    validities: tuple[Validity, ...] = (Validity.DAY, Validity.IOC)
    # Opening orders of one strategy, and on one instrument, within any period_s.
    period_s: float = 60.0
    period_orders: int = 300
    period_quantity: int = 1_000_000
    period_value: float = 50_000_000.0
    # The same strategy, instrument, side and quantity once more within repeats_s: the strategy is held.
    repeats_max: int = 60
    repeats_s: float = 60.0
    max_gross_notional: float = 1_000_000_000.0  # rupees, all opening orders of the day
    min_funds: float = 0.0  # rupees free at the broker, below which nothing is opened
    # Guards of the day (guards.py).
    max_drawdown: float | None = None  # rupees, net, from the day's best
    cooldown_s: float = 0.0  # of a strategy in an instrument, after a position closed at a loss
    stop_losses_max: int | None = None  # positions closed at a loss within stop_losses_s: a pause
    stop_losses_s: float = 3600.0
    stop_pause_s: float = 3600.0
    # The market.
    market_protection: float = AUTOMATIC  # percent; -1: the broker's automatic band
    band_age_s: float = 180.0  # circuit limits older than this are unknown
    btst: bool = False  # T1 shares may be sold

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name in _SIGNED or not isinstance(value, int | float):
                continue
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"risk limit {name} = {value!r} is not a number >= 0")
        if not legal_protection(self.market_protection):
            raise ValueError(
                f"risk limit market_protection = {self.market_protection!r} is neither -1 (automatic) "
                "nor above 0 and up to 100 percent"
            )


def legal_protection(percent: float) -> bool:
    """Market protection that the broker takes: -1 (automatic), or above 0 and up to 100 percent."""
    return percent == AUTOMATIC or 0 < percent <= 100
