"""Layer 4, simulator, cold: the knobs of the simulated broker, and prices that follow from the rules.

What exchanges and broker let through are dated rows (config/rules/market_*.yaml, read by
trading/market_rules.py); here is how honest the simulation is: how long an order takes and when a
resting one may fill.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Final, Literal

from kite_hft.layout import OrderType, Side
from kite_hft.sim.exchange.defaults import default_calendar, default_market_rules
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.market_rules import MarketRules
from kite_hft.units import value_paise

STOPS: Final = frozenset((OrderType.SL, OrderType.SLM))
MARKETS: Final = frozenset((OrderType.MARKET, OrderType.SLM))
OPTIONS: Final = frozenset(("CE", "PE"))


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an operation takes at the broker, in ns: log-normal around `median_ns`, held between
    `low_ns` and `high_ns`; an operation of several stages shares it among them."""

    low_ns: int = 30_000_000
    high_ns: int = 150_000_000
    median_ns: int = 60_000_000
    sigma: float = 0.5

    def draw(self, random: Random) -> int:
        """The next operation's time."""
        ns = round(random.lognormvariate(math.log(self.median_ns), self.sigma))
        return min(max(ns, self.low_ns), self.high_ns)


@dataclass(frozen=True, slots=True)
class FillRule:
    """When a resting limit order fills; the defaults are the pessimistic ones.

    queue_share: part of the quantity displayed at its price that stands in front of it.
    volume_share: part of the volume of a snapshot that is taken to be traded at the last price.
    touch: the opposite side displayed at its price or better fills it too, without any trade.
    """

    queue_share: float = 1.0
    volume_share: float = 1.0
    touch: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeParams:
    """Knobs of the simulated broker.

    latency_ns: bounds of each stage's uniform delay, used when `latency` is None.
    hours: "always" (every hour takes and matches orders) or "exchange" (phases of the calendar,
    and the broker's own acts by the clock).
    orders_per_day, modifications_max: None: as the market rules say; 0 orders_per_day: no cap.
    cas_symbols: more shares of the closing auction, as EXCHANGE:SYMBOL.
    """

    latency_ns: tuple[int, int] = (100_000, 700_000)
    latency: Latency | None = None
    fills: FillRule = FillRule()
    hours: Literal["always", "exchange"] = "always"
    user_id: str = "SIM001"
    keep_tags: bool = True
    modifications_max: int | None = None
    orders_per_day: int | None = None
    cas_symbols: frozenset[str] = frozenset()
    market: MarketRules = field(default_factory=default_market_rules)
    calendar: Sequence[Mapping[str, Any]] = field(default_factory=default_calendar)

    def described(self) -> dict[str, Any]:
        """What a report says about the honesty of the simulation."""
        latency: dict[str, Any] = {"kind": "uniform per stage", "bounds_ns": list(self.latency_ns)}
        if self.latency is not None:
            latency = {"kind": "log-normal per operation", **asdict(self.latency)}
        day = "newest rows" if self.market.day == dt.date.max else str(self.market.day)
        return {
            "fills": asdict(self.fills)
            | {"rule": "traded through, or volume traded at its price beyond the queue ahead"},
            "latency": latency,
            "hours": self.hours,
            "market_rules": f"{self.market.name}, {day}",
            "tags": "kept" if self.keep_tags else "dropped",
        }


def protected_px(instrument: Instrument, side: Side, last_px: int, percent: float) -> int:
    """Limit price of a protected market order, on the grid and inside the band."""
    step = max(instrument.tick_px, 1)
    band = last_px * round(percent * 1_000_000) // 100_000_000
    if side == Side.BUY:
        return (last_px + band) // step * step
    return max(-(-(last_px - band) // step) * step, step)


def order_value_paise(instrument: Instrument, px: int, quantity: int) -> int:
    """Price x quantity x multiplier; an instrument without multiplier counts as 1."""
    return value_paise(px, quantity, instrument.multiplier or 1, instrument.scale)
