"""Layer 4, simulator, cold: good-till-triggered orders that the broker keeps and fires.

A trigger watches the last price on the broker's side of the exchange: nothing of it is in any
order book until it fires, once, and then its order may still be refused or stay open. Prices are
in the instrument's unit, times ns since the epoch. Rules come from the dated market rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.orders import NewOrder, Refusal
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.market_rules import GttRules
from kite_hft.units import NS_PER_S

SINGLE: Final = "single"
TWO_LEG: Final = "two-leg"
ACTIVE: Final = "active"
TRIGGERED: Final = "triggered"
DISABLED: Final = "disabled"
EXPIRED: Final = "expired"
CANCELLED: Final = "cancelled"
REJECTED: Final = "rejected"
DELETED: Final = "deleted"
NOT_FOUND: Final = "Trigger not found."

_DAY_NS: Final = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class GttOrder:
    """The order that a trigger places."""

    side: Side
    product: Product
    order_type: OrderType
    quantity: int
    px: int


@dataclass(frozen=True, slots=True)
class GttSpec:
    """What the client asks for. `trigger_px[i]` fires `orders[i]`; of two legs the lower is first.

    `last_px`: the last price as the client saw it; from which side the trigger is reached
    depends on it.
    """

    kind: str
    instrument: Instrument
    trigger_px: tuple[int, ...]
    last_px: int
    orders: tuple[GttOrder, ...]


@dataclass(frozen=True, slots=True)
class GttResult:
    """What became of a fired leg. `status`: "success" (the order was taken) or "failed"."""

    at_ns: int
    triggered_px: int
    status: str
    order_id: str
    rejection_reason: str


@dataclass(slots=True)
class Gtt:
    """A trigger and its fate. `results[i]` is None until leg i has fired."""

    gtt_id: int
    spec: GttSpec
    created_ns: int
    updated_ns: int
    expires_ns: int
    status: str = ACTIVE
    results: list[GttResult | None] = field(default_factory=list)
    cancelled_reason: str = ""


class GttBook:
    """All triggers of the account."""

    def __init__(
        self,
        rules: GttRules,
        check_order: Callable[[NewOrder], None],
        place_order: Callable[[NewOrder, int, int], str],
    ) -> None:
        """`check_order` refuses what no order may be; `place_order(order, gtt_id, now_ns)` gives one
        to the exchange. Both may raise Refusal."""
        self._rules = rules
        self._check_order = check_order
        self._place_order = place_order
        self._all: dict[int, Gtt] = {}
        self._watched: dict[int, list[Gtt]] = {}
        self._next_id = 100_000
        self._now_ns = 0
        self._first_expiry_ns = 0
        """No trigger expires before; looked up anew when it has passed."""

    # -- the client's calls

    def place(self, spec: GttSpec, now_ns: int) -> int:
        """Keep a new trigger; returns its id.

        Raises:
            Refusal: against the rules, or too many are active.
        """
        self.step(now_ns)
        self._check(spec)
        if self.active >= self._rules.active_max:
            raise Refusal(
                "InputException", f"Maximum allowed active triggers ({self._rules.active_max}) exceeded."
            )
        self._next_id += 1
        expires_ns = now_ns + self._rules.validity_days * _DAY_NS
        gtt = Gtt(self._next_id, spec, now_ns, now_ns, expires_ns, results=[None] * len(spec.orders))
        self._all[gtt.gtt_id] = gtt
        self._watched.setdefault(spec.instrument.slot, []).append(gtt)
        self._first_expiry_ns = min(self._first_expiry_ns, expires_ns)
        return gtt.gtt_id

    def modify(self, gtt_id: int, spec: GttSpec, now_ns: int) -> int:
        """Replace an active trigger's terms; everything is sent anew.

        Raises:
            Refusal: unknown, not active any more, another instrument or kind, or against the rules.
        """
        gtt = self._live(gtt_id, "modified", now_ns)
        self._check(spec)
        if spec.instrument.slot != gtt.spec.instrument.slot or spec.kind != gtt.spec.kind:
            raise Refusal("InputException", "Trigger type and instrument cannot be changed.")
        gtt.spec, gtt.updated_ns = spec, now_ns
        return gtt_id

    def cancel(self, gtt_id: int, now_ns: int) -> int:
        """Delete an active trigger.

        Raises:
            Refusal: unknown, or not active any more.
        """
        self._end(self._live(gtt_id, "deleted", now_ns), DELETED, now_ns)
        return gtt_id

    def get(self, gtt_id: int) -> Gtt:
        """One trigger, whatever its state.

        Raises:
            Refusal: HTTP 404, no such trigger.
        """
        gtt = self._all.get(gtt_id)
        if gtt is None:
            raise Refusal("GeneralException", NOT_FOUND, 404)
        return gtt

    def rows(self) -> list[Gtt]:
        """Active triggers and those that ended in the last days (7 at Kite), newest first."""
        since = self._now_ns - self._rules.listed_days * _DAY_NS
        rows = [g for g in self._all.values() if g.status == ACTIVE or g.updated_ns >= since]
        return rows[::-1]

    @property
    def active(self) -> int:
        """How many triggers wait."""
        return sum(len(waiting) for waiting in self._watched.values())

    # -- what happens to them

    def watched(self) -> set[int]:
        """Slots with an active trigger."""
        return set(self._watched)

    def step(self, now_ns: int) -> None:
        """Time passes: triggers whose year is over expire."""
        self._now_ns = max(self._now_ns, now_ns)
        if now_ns < self._first_expiry_ns:
            return
        active = [gtt for waiting in self._watched.values() for gtt in waiting]
        for gtt in active:
            if gtt.expires_ns <= now_ns:
                self._end(gtt, EXPIRED, now_ns)
        later = [gtt.expires_ns for gtt in active if gtt.expires_ns > now_ns]
        self._first_expiry_ns = min(later, default=now_ns + self._rules.validity_days * _DAY_NS)

    def on_last(self, slot: int, last_px: int, now_ns: int) -> None:
        """The last price of a slot while its market is open: what it reaches fires, once."""
        for gtt in list(self._watched.get(slot, ())):
            leg = reached(gtt.spec, last_px)
            if leg is not None:
                self._fire(gtt, leg, last_px, now_ns)

    def corporate_action(self, slot: int, now_ns: int) -> int:
        """All active triggers of an instrument end; returns how many."""
        ending = list(self._watched.get(slot, ()))
        for gtt in ending:
            gtt.cancelled_reason = "corporate action"
            self._end(gtt, CANCELLED, now_ns)
        return len(ending)

    def disable(self, slot: int, now_ns: int) -> int:
        """An instrument cannot be traded any more: its triggers are disabled; returns how many."""
        ending = list(self._watched.get(slot, ()))
        for gtt in ending:
            self._end(gtt, DISABLED, now_ns)
        return len(ending)

    def order_rejected(self, gtt_id: int, order_id: str, reason: str, now_ns: int) -> None:
        """The order that a trigger had placed was turned down by the risk system."""
        gtt = self._all[gtt_id]
        for leg, result in enumerate(gtt.results):
            if result is not None and result.order_id == order_id:
                gtt.results[leg] = GttResult(now_ns, result.triggered_px, "failed", order_id, reason)
                gtt.updated_ns = now_ns

    def _fire(self, gtt: Gtt, leg: int, last_px: int, now_ns: int) -> None:
        self._end(gtt, TRIGGERED, now_ns)
        order = _request(gtt.spec, leg)
        try:
            order_id, status, reason = self._place_order(order, gtt.gtt_id, now_ns), "success", ""
        except Refusal as refusal:
            order_id, status, reason = "", "failed", refusal.message
        gtt.results[leg] = GttResult(now_ns, last_px, status, order_id, reason)

    def _check(self, spec: GttSpec) -> None:
        check_spec(spec, self._rules)
        for leg in range(len(spec.orders)):
            self._check_order(_request(spec, leg))

    def _live(self, gtt_id: int, verb: str, now_ns: int) -> Gtt:
        self.step(now_ns)
        gtt = self.get(gtt_id)
        if gtt.status != ACTIVE:
            raise Refusal("GeneralException", f"Trigger cannot be {verb} as it is already {gtt.status}.")
        return gtt

    def _end(self, gtt: Gtt, status: str, now_ns: int) -> None:
        gtt.status, gtt.updated_ns = status, now_ns
        slot = gtt.spec.instrument.slot
        self._watched[slot].remove(gtt)
        if not self._watched[slot]:
            del self._watched[slot]


def _request(spec: GttSpec, leg: int) -> NewOrder:
    wanted = spec.orders[leg]
    return NewOrder(
        spec.instrument, wanted.side, wanted.order_type, wanted.product, wanted.quantity, px=wanted.px
    )


def reached(spec: GttSpec, last_px: int) -> int | None:
    """The leg that a last price sets off, or None. A trigger above the price at which it was set
    fires from below, one below it from above."""
    for leg, trigger in enumerate(spec.trigger_px):
        up = trigger > spec.last_px
        if last_px >= trigger if up else last_px <= trigger:
            return leg
    return None


def check_spec(spec: GttSpec, rules: GttRules) -> None:
    """The rules of a trigger.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    row, legs = spec.instrument, {SINGLE: 1, TWO_LEG: 2}.get(spec.kind)
    if legs is None:
        raise _input("Invalid `type`.")
    if len(spec.trigger_px) != legs or len(spec.orders) != legs:
        raise _input(f"A {spec.kind} trigger has {legs} trigger values and {legs} orders.")
    if row.is_index:
        raise _input(f"{row.symbol} is an index and cannot be traded.")
    if spec.last_px <= 0:
        raise _input("Invalid `last_price`.")
    for order in spec.orders:
        if order.order_type.name not in rules.order_types:
            raise _input(f"Only {', '.join(rules.order_types)} orders are allowed in triggers.")
        if order.product.name not in rules.products:
            raise _input(f"Invalid `product`: triggers take {', '.join(rules.products)}.")
        if order.quantity <= 0 or order.quantity % max(row.lot_size, 1):
            raise _input(f"Quantity should be multiple of lot size {row.lot_size}.")
    for px in (*spec.trigger_px, *(order.px for order in spec.orders)):
        if px <= 0 or px % max(row.tick_px, 1):
            raise _input("Trigger values and prices must be positive multiples of the tick size.")
    if spec.last_px in spec.trigger_px:
        raise _input("Trigger already met: the trigger value equals the last price.")
    if legs == 2:
        low, high = spec.trigger_px
        if not low < spec.last_px < high:
            raise _input("Two-leg triggers need the lower value first and the last price between them.")
        equity = row.kind == "EQ"
        if equity and rules.buy_two_leg_fo_only and any(o.side == Side.BUY for o in spec.orders):
            raise _input("Two-leg buy triggers are allowed for F&O only.")


def _input(message: str) -> Refusal:
    return Refusal("InputException", message)
