"""Layer 4, simulator, cold: an order's way through broker and exchange, stage by stage.

    place:  PUT ORDER REQ RECEIVED -> VALIDATION PENDING -> OPEN PENDING -> OPEN or TRIGGER PENDING
    modify: MODIFY VALIDATION PENDING -> MODIFY PENDING -> MODIFIED -> as before
    cancel: CANCEL PENDING -> CANCELLED

Every stage takes a drawn delay; the risk system looks after the first.
"""

from __future__ import annotations

from typing import Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.checks import check_change, check_cover, check_disclosed, check_px, check_terms
from kite_hft.sim.exchange.conditions import Conditions
from kite_hft.sim.exchange.desk import Desk
from kite_hft.sim.exchange.matching import Matching
from kite_hft.sim.exchange.orders import Change, NewOrder, Order, OrderState, Refusal
from kite_hft.sim.exchange.risk import CLOSED_MARKET, HALTED, Rejection, RiskView, margin_exceeded, rejection
from kite_hft.sim.exchange.rules import MARKETS, OPTIONS, STOPS, order_value_paise, protected_px
from kite_hft.units import NS_PER_S

BUSY: Final = "Order cannot be {} as it is being processed. Try later."
NOT_FOUND: Final = "Couldn't find that `order_id`."
_MINUTE_NS: Final = 60 * NS_PER_S


class Chain:
    """Moves orders; `margin_rejections` of the next new orders are turned down for funds."""

    def __init__(self, desk: Desk, matching: Matching, conditions: Conditions) -> None:
        self.margin_rejections = 0
        self._poor: set[str] = set()  # orders that are to be turned down
        self._desk, self._matching, self._conditions = desk, matching, conditions
        self._rules = conditions.params.market
        most = conditions.params.modifications_max
        self._modifications_max = self._rules.limit("modifications_per_order") if most is None else most

    # -- place

    def start(self, order: Order, now_ns: int) -> None:
        """The broker has taken the order; validation is due."""
        if self.margin_rejections and not _by_broker(order):
            self.margin_rejections -= 1
            self._poor.add(order.order_id)
        held, self._desk.hold_order_ns = self._desk.hold_order_ns, 0
        if held:
            self._desk.at(now_ns + held, lambda t: self._validate(order, t))
        else:
            self._desk.later(now_ns, lambda t: self._validate(order, t))
        if order.request.validity == Validity.TTL:
            ends_ns = now_ns + order.request.validity_ttl * _MINUTE_NS
            self._desk.at(ends_ns, lambda t: self.expire(order, t))

    def _validate(self, order: Order, now_ns: int) -> None:
        if order.done:
            return
        self._desk.move(order, o.VALIDATION_PENDING, now_ns)
        why = self._gate(order) or self.protect(order, order.now, order.request.protection_percent)
        why = why or self._risk(order, order.now)
        if why is not None:
            self._desk.reject(order, why, now_ns)
            return
        self._desk.reserve(order)
        self._desk.later(now_ns, lambda t: self._open_pending(order, t))

    def _open_pending(self, order: Order, now_ns: int) -> None:
        if not order.done:
            self._desk.move(order, o.OPEN_PENDING, now_ns)
            self._desk.later(now_ns, lambda t: self._arrive(order, t))

    def _arrive(self, order: Order, now_ns: int) -> None:
        """The exchange has the order: it trades with the book, then waits."""
        if order.done:
            return
        if (why := self._gate(order)) is not None:
            self._desk.reject(order, why, now_ns)
            return
        number = self._desk.exchange_number()
        status = o.OPEN if order.triggered else o.TRIGGER_PENDING
        self._desk.move(order, status, now_ns, exchange_order_id=number, exchange_ns=now_ns)
        if order.request.variety != o.AUCTION:  # those wait for the end of the buy-in auction
            self._matching.enter(order, now_ns)

    def _gate(self, order: Order) -> Rejection | None:
        """Halts and hours; the exchange refuses what its phase does not take."""
        conditions, request = self._conditions, order.request
        if conditions.halted:
            return HALTED
        if request.variety == o.AUCTION:
            return None
        unusual = request.validity == Validity.IOC or request.disclosed_quantity or order.leg is not None
        if not conditions.takes(order.slot, request.order_type) or (
            unusual and conditions.plain_only(order.slot)
        ):
            return CLOSED_MARKET
        return None

    def protect(self, order: Order, state: OrderState, percent: float) -> Rejection | None:
        """Turn a MARKET order into a LIMIT at its protection price; a rejection when it cannot."""
        if state.order_type not in MARKETS:
            return None
        row, last = order.request.instrument, self._matching.latest[order.slot]
        if not self._matching.seen[order.slot] or (row.kind in OPTIONS and not last["volume"]):
            return (
                "Market orders are blocked for instruments without a trade today.",
                "RMS:Rule: Market order not allowed, no last traded price",
            )
        if state.order_type == OrderType.SLM and not order.triggered:
            return None
        last_px = int(last["last_px"])
        percent = self._rules.auto_protection(row, last_px) if percent in (0.0, -1.0) else percent
        px = protected_px(row, order.request.side, last_px, percent)
        order.states[-1] = state._replace(order_type=OrderType.LIMIT, px=px)
        if "mktp" not in order.marks:
            order.marks += ["mktp", f"mktp:{percent:.2f}"]
        return None

    def protect_triggered(self, order: Order) -> None:
        """A stop at market was triggered: a limit at its protection price from now on."""
        self.protect(order, order.now, order.request.protection_percent)

    # -- risk

    def open_sells(self, slot: int, product: Product, besides: Order | None = None) -> int:
        """Quantity of other open sales of an instrument in a product."""
        return sum(
            other.remaining
            for other in self._desk.orders.values()
            if other is not besides and other.slot == slot and other.request.side == Side.SELL
            and other.request.product == product and other.now.status not in (o.RECEIVED, o.AMO_RECEIVED)
        )  # fmt: skip

    def _risk(self, order: Order, state: OrderState) -> Rejection | None:
        request, account = order.request, self._desk.account
        if _by_broker(order):
            return None
        px = state.px or state.trigger_px
        if order.order_id in self._poor:
            self._poor.remove(order.order_id)
            value = order_value_paise(request.instrument, px, state.quantity)
            return margin_exceeded(value, 0, self._conditions.params.user_id)
        delivery = request.product in (Product.CNC, Product.MTF)
        others = self.open_sells(order.slot, request.product, order) if delivery else 0
        view = RiskView(
            account, self._rules, self._conditions.band(order.slot), others,
            self._conditions.params.user_id, self._required(order, px, state),
        )  # fmt: skip
        account.reserved_paise -= order.reserved_paise
        verdict = rejection(request, px, state.quantity - state.filled, view)
        account.reserved_paise += order.reserved_paise
        return verdict

    def _required(self, order: Order, px: int, state: OrderState) -> int:
        request, quantity = order.request, state.quantity - state.filled
        margins = self._desk.margins
        return margins.order_paise(request.instrument, request.side, request.product, quantity, px)

    def check_authorised(self, request: NewOrder) -> None:
        """Settled shares may be sold for delivery only when the depository knows of it today.

        Raises:
            Refusal: HTTP 428.
        """
        if request.side != Side.SELL or request.product != Product.CNC:
            return
        slot, account = request.instrument.slot, self._desk.account
        wanted = request.quantity + self.open_sells(slot, Product.CNC)
        if wanted <= account.deliverable(slot) and account.unauthorised(slot, wanted):
            raise Refusal(
                "HoldingException",
                f"Holdings of {request.instrument.symbol} need authorisation at the depository "
                "before they are sold.",
                428,
            )  # invented

    # -- modify and cancel

    def changeable(self, order_id: str, verb: str) -> Order:
        """The order, when it may be changed now.

        Raises:
            Refusal: unknown, done or busy.
        """
        order = self._desk.orders.get(order_id)
        if order is None:
            raise Refusal("OrderException", NOT_FOUND)
        if order.done:
            status = order.now.status.lower()
            raise Refusal("OrderException", f"Order cannot be {verb} as it is already {status}.")
        if order.now.status not in (o.OPEN, o.TRIGGER_PENDING, o.AMO_RECEIVED):
            raise Refusal("OrderException", BUSY.format(verb))
        return order

    def modify(self, order: Order, change: Change, now_ns: int) -> None:
        """Ask for a change; it takes effect some stages later unless the order is done by then.

        Raises:
            Refusal: too many modifications, wrong terms, or the market takes none now.
        """
        if order.modifications >= self._modifications_max:
            raise Refusal("OrderException", "Maximum allowed order modifications exceeded.")
        merged = self._check_change(order, change)
        order.modifications += 1
        if order.now.status == o.AMO_RECEIVED:
            order.states.append(merged._replace(at_ns=now_ns))
            order.triggered = merged.order_type not in STOPS
            self._desk.announce(order, o.UPDATE)
            return
        self._desk.move(order, o.MODIFY_VALIDATION_PENDING, now_ns)

        def pending(at_ns: int) -> None:
            if not order.done:
                self._desk.move(order, o.MODIFY_PENDING, at_ns)
                self._desk.later(at_ns, lambda t: self._apply(order, change, t), stages=2)

        self._desk.later(now_ns, pending, stages=2)

    def _check_change(self, order: Order, change: Change) -> OrderState:
        request, row = order.request, order.request.instrument
        waiting = order.now.status == o.AMO_RECEIVED
        check_change(request, change, self._rules, order.now.order_type in MARKETS)
        merged = order.now.merged(change)
        if merged.order_type not in MARKETS or merged.order_type == OrderType.SLM:
            check_terms(row, merged.order_type, merged.quantity, merged.px, merged.trigger_px, request.side)
        if change.disclosed_quantity is not None:
            check_disclosed(row, change.disclosed_quantity, merged.quantity, self._rules)
        if request.variety == o.CO and order.parent_id is None and change.trigger_px is not None:
            check_px(row, "trigger_price", change.trigger_px)
            check_cover(request.side, merged.px, change.trigger_px)
        if not waiting and (
            self._conditions.halted or not self._conditions.takes(order.slot, merged.order_type)
        ):
            raise Refusal("OrderException", CLOSED_MARKET[0])
        return merged

    def _apply(self, order: Order, change: Change, now_ns: int) -> None:
        if order.done:
            return
        was_open, was_type = o.OPEN if order.triggered else o.TRIGGER_PENDING, order.now.order_type
        merged = order.now.merged(change)
        if merged.quantity <= merged.filled:
            self._desk.move(order, was_open, now_ns, message="Quantity is already filled.")
            return
        before = len(order.states)
        order.states.append(merged)
        why = self.protect(order, merged, change.protection_percent or order.request.protection_percent)
        why = why or self._risk(order, order.now)
        if why is not None:
            del order.states[before:]
            self._desk.move(order, was_open, now_ns, message=why[0], message_raw=why[1])
            return
        order.states[-1] = order.now._replace(status=o.MODIFIED, at_ns=now_ns, exchange_ns=now_ns)
        if was_type not in STOPS and merged.order_type in STOPS:
            order.triggered = False  # it waits for its trigger, whatever it was before
        order.triggered = order.triggered or order.now.order_type not in STOPS
        self._desk.reserve(order)
        status = o.OPEN if order.triggered else o.TRIGGER_PENDING
        self._desk.move(order, status, now_ns, exchange_ns=now_ns)
        self._desk.announce(order, o.UPDATE)
        self._matching.again(order, now_ns)

    def cancel(self, order: Order, now_ns: int) -> None:
        """Ask for cancellation."""
        if order.now.status == o.AMO_RECEIVED:
            self.expire(order, now_ns)
            return
        self._desk.move(order, o.CANCEL_PENDING, now_ns)
        self._desk.later(now_ns, lambda t: self.expire(order, t), stages=1)

    def expire(self, order: Order, now_ns: int, message: str | None = None) -> None:
        """The order ends CANCELLED, unless it is done already."""
        if not order.done:
            self._desk.finish(order, o.CANCELLED, now_ns, message=message)
            self._matching.tidy(order.slot)


def _by_broker(order: Order) -> bool:
    """The broker's own orders and the stops of cover orders pass his risk system."""
    return order.placed_by is not None or (order.request.variety == o.CO and order.parent_id is not None)
