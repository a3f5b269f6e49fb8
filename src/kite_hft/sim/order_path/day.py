"""Layer 4, campaigns and tests, cold: what a simulated day is made of, besides its faults."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

from kite_hft.layout import OrderType
from kite_hft.trading.broker import Limits
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.units import NS_PER_S

START_REAL_NS: Final = 1_795_150_800 * NS_PER_S  # 2026-11-20 10:30 IST
BOOT_MONO_NS: Final = 1000 * NS_PER_S
CASH_PAISE: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class Day:
    """What a seed's day is made of, besides its faults."""

    trading_s: float
    actions: int
    horizon_s: float
    lag_s: float
    poll_s: float
    sync_every_ns: int
    delay_ns: tuple[int, int]
    skew_ns: int
    stop: str
    fsync: bool
    cooldown_s: float
    entry_wait_s: float
    burst_calls: int  # of the shortest window; 0: as the broker has it
    minute_calls: int
    day_orders: int
    group_next: str
    group_partial: str
    group_leg_s: float
    late_ns: int  # so long may the process sleep on when its time has come
    moment_ns: int  # what arrives within is taken in at once
    connections: int  # for order calls
    risk: RiskLimits

    @classmethod
    def drawn(cls, rng: random.Random) -> Day:
        """One in ten has the broker's full 170 s of lag, and the horizon that goes with it."""
        slow = rng.random() < 0.1
        low_ms = rng.randrange(1, 40)
        return cls(
            trading_s=rng.choice((15.0, 25.0, 35.0)),
            actions=rng.randrange(70, 120),
            horizon_s=180.0 if slow else 8.0,
            lag_s=170.0 if slow else 7.0,
            poll_s=rng.choice((2.0, 4.0)) if not slow else 15.0,
            sync_every_ns=rng.choice((5, 50, 1000)) * 1_000_000,
            delay_ns=(low_ms * 1_000_000, (low_ms + rng.choice((2, 30, 120))) * 1_000_000),
            skew_ns=rng.randrange(-2 * NS_PER_S, 2 * NS_PER_S),
            stop=rng.choice(("keep", "cancel", "cancel", "flatten")),
            fsync=rng.random() < 0.3,
            cooldown_s=rng.choice((1.0, 3.0, 10.0)),
            entry_wait_s=rng.choice((1.0, 1.0, 6.0)),
            burst_calls=rng.choice((0, 0, 4)),
            minute_calls=rng.choice((380, 380, 30)),
            day_orders=rng.choice((5000, 5000, 5000, 5000, 25)),
            group_next=rng.choice(("filled", "filled", "accepted")),
            group_partial=rng.choice(("unwind", "unwind", "unwind", "keep")),
            group_leg_s=rng.choice((1.0, 3.0, 6.0)),
            late_ns=rng.choice((1, 100, 200, 300, 400, 400)) * 1_000_000,
            moment_ns=rng.choice((1, 20_000_000, 100_000_000)),
            connections=rng.choice((1, 2, 2, 20)),
            risk=RiskLimits(
                max_position_size=rng.choice((9_000.0, 24_000.0)),
                max_exposure=rng.choice((25_000.0, 120_000.0)),
                max_positions=rng.choice((3, 6, 6)),
                max_order_quantity=100,
                max_order_value=20_000.0,
                max_working_orders=rng.choice((5, 40, 40)),
                order_types=tuple(OrderType),
            ),
        )

    def of_day(self, limits: Limits) -> Limits:
        """The broker's limits, with this day's numbers for what is too large to be reached in a minute."""
        second, minute, *longer = limits.order_windows
        if self.burst_calls:  # entries wait, and come a few at a time
            second = replace(second, calls=self.burst_calls, reserved=2)
        minute = replace(minute, calls=self.minute_calls, reserved=self.minute_calls // 6)
        return replace(
            limits,
            order_windows=(second, minute, *longer),
            orders_per_day=self.day_orders,
            cooldown_after_429_s=self.cooldown_s,
        )
