"""Layer 2, compute, cold: parameters of the two-state Kalman strategy, by name and as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kite_hft.layout import OrderType, Product, Validity
from kite_hft.sessions import seconds_of_day
from kite_hft.strategies.intents import Records
from kite_hft.units import NS_PER_S

PARAMS = np.dtype(
    [
        ("rel_width", "<f8"),
        ("epsilon", "<f8"),
        ("stop_loss", "<f8"),
        ("entry_sign", "<i8"),
        ("warmup", "<i8"),
        ("quantity", "<i8"),
        ("stop_is_percent", "<i8"),
        ("stop_by_engine", "<i8"),
        ("start_at_s", "<i8"),  # seconds after midnight IST
        ("retry_ns", "<i8"),
        ("product", "<i8"),
        ("order_type", "<i8"),
        ("validity", "<i8"),
    ]
)
CHOICES: Final = {
    "entry_sign": (-1, 1),
    "stop_loss_unit": ("rupees", "percent"),
    "stop_by": ("engine", "strategy"),
    "order_type": ("MARKET", "LIMIT"),
}


@dataclass(frozen=True, slots=True)
class KalmanMlParams:
    """Parameters by name. The filter's own (q, r, p0, x0, dt) are the kernel's: `kernels` in the settings.

    rel_width, epsilon: the window of the relative difference, both ends left out. entry_sign: -1 buys at
    a negative difference (price above the estimate), 1 at a positive one. stop_loss: rupees, or percent
    of the price paid, below it; 0: none. stop_by: who keeps the stop. order_type: MARKET, or LIMIT at the
    far touch; stop and close are at market. flatten_at "" never flattens. retry_s: pause after a refusal.
    ml_require: entries only by a model. ml_threshold: its least probability. instrument_token: the number
    that the one instrument is believed to have; the engine refuses to start when it has another. 0: any.

    Raises:
        ValueError, KeyError, CalendarError: a value that cannot be.
    """

    rel_width: float = 0.001
    epsilon: float = 1e-10
    entry_sign: int = -1
    stop_loss: float = 50.0
    stop_loss_unit: str = "rupees"
    stop_by: str = "engine"
    warmup: int = 100
    quantity: int = 1
    product: str = "MIS"
    order_type: str = "MARKET"
    validity: str = "DAY"
    start_at: str = "09:15:00"
    flatten_at: str = "15:29:00"
    retry_s: float = 5.0
    ml_require: bool = False
    ml_threshold: float = 0.63
    instrument_token: int = 0

    @classmethod
    def named(cls, params: Mapping[str, Any]) -> KalmanMlParams:
        """By the names of a configuration, where `ml.threshold` is a way to write ml_threshold."""
        return cls(**{name.replace("ml.", "ml_"): value for name, value in params.items()})

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}: {' or '.join(map(str, allowed))}")
        if not 0 <= self.epsilon < self.rel_width / 2:
            raise ValueError("epsilon must be >= 0 and below half of rel_width")
        if not self.stop_loss >= 0 or self.quantity < 1 or self.warmup < 0 or not self.retry_s >= 0:
            raise ValueError("stop_loss, warmup and retry_s must be >= 0, quantity >= 1")
        if self.stop_loss_unit == "percent" and self.stop_loss >= 100:
            raise ValueError("stop_loss must be below 100 percent")
        if not 0 <= self.ml_threshold <= 1:
            raise ValueError("ml.threshold is a probability, 0 to 1")
        if self.ml_require:
            raise ValueError(
                "ml.require is true, and there is no model to ask: this version has none. With "
                "ml.require: false every signal passes"
            )
        self.record()

    @property
    def flatten_at_s(self) -> int:
        """Seconds after midnight IST; -1: never."""
        return seconds_of_day(self.flatten_at) if self.flatten_at else -1

    @property
    def stop_is_percent(self) -> bool:
        return self.stop_loss_unit == "percent"

    @property
    def retry_ns(self) -> int:
        return round(self.retry_s * NS_PER_S)

    def record(self) -> Records:
        """As one PARAMS record, shape (1,)."""
        packed: Records = np.zeros(1, PARAMS)
        for name in ("rel_width", "epsilon", "stop_loss", "entry_sign", "warmup", "quantity"):
            packed[name] = getattr(self, name)
        packed["stop_is_percent"] = self.stop_is_percent
        packed["stop_by_engine"] = self.stop_by == "engine"
        packed["start_at_s"] = seconds_of_day(self.start_at)
        packed["retry_ns"] = self.retry_ns
        packed["product"] = Product[self.product]
        packed["order_type"] = OrderType[self.order_type]
        packed["validity"] = Validity[self.validity]
        seconds_of_day(self.flatten_at or "00:00")
        return packed
