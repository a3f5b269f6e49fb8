"""Layer 4, simulator, cold: price alerts that the broker watches, some of which place orders.

An alert fires when its condition becomes true; one that has fired waits until the condition was
false again. An alert of type ato ("alert triggers order") fires once, gives its basket to the
exchange and is disabled. Prices here are rupees, as the client writes them.
"""

from __future__ import annotations

import hashlib
import operator
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.sim.exchange.orders import Refusal
from kite_hft.trading.instruments import Instrument

SIMPLE: Final = "simple"
ATO: Final = "ato"
ENABLED: Final = "enabled"
DISABLED: Final = "disabled"
ACTIVE_MAX: Final = 500
NOT_FOUND: Final = "Alert not found."
OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlertSpec:
    """What the client asks for; `right` is an instrument or None, and then `constant` counts."""

    kind: str
    name: str
    left: Instrument
    left_exchange: str
    operator: str
    right: Instrument | None
    right_exchange: str
    constant: float
    basket: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Firing:
    """One time that an alert fired. `orders`: what an ato placed, None for a simple one."""

    at_ns: int
    left_px: int
    condition: str
    orders: list[dict[str, Any]] | None


@dataclass(slots=True)
class Alert:
    """An alert and its past."""

    alert_id: str
    spec: AlertSpec
    created_ns: int
    updated_ns: int
    status: str = ENABLED
    armed: bool = True
    history: list[Firing] = field(default_factory=list)


class AlertBook:
    """All alerts of the account."""

    def __init__(
        self, last_px: Callable[[int], int], place: Callable[[Mapping[str, Any], int], list[dict[str, Any]]]
    ) -> None:
        """`last_px(slot)`: the last price in the instrument's unit, 0 before the first;
        `place(basket, now_ns)`: give a basket's orders to the exchange, one answer each."""
        self._last_px = last_px
        self._place = place
        self._all: dict[str, Alert] = {}
        self._count = 0

    def create(self, spec: AlertSpec, now_ns: int) -> Alert:
        """A new alert. Raises Refusal when too many are enabled."""
        if sum(alert.status == ENABLED for alert in self._all.values()) >= ACTIVE_MAX:
            raise Refusal("InputException", f"Maximum {ACTIVE_MAX} active alerts allowed.")
        self._count += 1
        digest = hashlib.sha256(f"{self._count}{now_ns}{spec.name}".encode()).digest()
        alert = Alert(str(uuid.UUID(bytes=digest[:16], version=4)), spec, now_ns, now_ns)
        self._all[alert.alert_id] = alert
        return alert

    def modify(self, alert_id: str, spec: AlertSpec, now_ns: int) -> Alert:
        """Replace an alert's terms; it is enabled again. Raises Refusal when unknown."""
        alert = self.get(alert_id)
        alert.spec, alert.updated_ns, alert.status, alert.armed = spec, now_ns, ENABLED, True
        return alert

    def delete(self, alert_ids: list[str]) -> None:
        """Forget alerts. Raises Refusal when one is unknown; then none is deleted."""
        for alert_id in alert_ids:
            self.get(alert_id)
        for alert_id in alert_ids:
            self._all.pop(alert_id, None)

    def get(self, alert_id: str) -> Alert:
        """One alert. Raises Refusal (HTTP 404)."""
        alert = self._all.get(alert_id)
        if alert is None:
            raise Refusal("GeneralException", NOT_FOUND, 404)
        return alert

    def rows(self) -> list[Alert]:
        """All alerts, oldest first."""
        return list(self._all.values())

    def step(self, now_ns: int) -> None:
        """Look at every enabled alert's condition."""
        for alert in self._all.values():
            if alert.status == ENABLED:
                self._look(alert, now_ns)

    def _look(self, alert: Alert, now_ns: int) -> None:
        spec = alert.spec
        left_px = self._last_px(spec.left.slot)
        right = spec.constant
        if spec.right is not None:
            right = self._last_px(spec.right.slot) / spec.right.scale
        if not left_px or (spec.right is not None and not right):
            return
        holds = OPERATORS[spec.operator](left_px / spec.left.scale, right)
        if holds and alert.armed:
            orders = None
            if spec.kind == ATO and spec.basket is not None:
                orders = self._place(spec.basket, now_ns)
                alert.status = DISABLED
            alert.history.append(Firing(now_ns, left_px, condition_of(spec), orders))
            alert.updated_ns = now_ns
        alert.armed = not holds


def condition_of(spec: AlertSpec) -> str:
    """The condition as the history prints it."""
    left = f'LastTradedPrice("{spec.left_exchange}:{spec.left.symbol}")'
    right = f"{spec.constant:g}"
    if spec.right is not None:
        right = f'LastTradedPrice("{spec.right_exchange}:{spec.right.symbol}")'
    return f"{left} {spec.operator} {right}"
