"""Layer 4, simulator, cold: what becomes of cover orders, icebergs, after-market orders and slices.

A cover order's first leg, once filled, brings its second leg: a stop at market on the other side
that names its parent. An iceberg shows one leg at a time: an order of its own, the next one comes
when it is complete. Slices are independent orders with a common tag.
"""

from __future__ import annotations

from dataclasses import replace

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.chain import Chain
from kite_hft.sim.exchange.conditions import Conditions
from kite_hft.sim.exchange.desk import DAY_CAP, Desk
from kite_hft.sim.exchange.matching import Matching
from kite_hft.sim.exchange.orders import Leg, NewOrder, Order, Refusal
from kite_hft.sim.exchange.rules import MARKETS, protected_px
from kite_hft.trading.market_rules import MarketRules
from kite_hft.units import rupees_text

AUTOSLICE = "autoslice"
PARENT_NEEDED = "Exiting a cover order needs `parent_order_id`."


class Varieties:
    """Begins orders by their variety, and goes on when a leg is done."""

    def __init__(self, desk: Desk, chain: Chain, matching: Matching, conditions: Conditions) -> None:
        self._desk, self._chain, self._matching, self._conditions = desk, chain, matching, conditions
        desk.on_done.append(self._done)

    @property
    def _rules(self) -> MarketRules:
        return self._conditions.params.market

    # -- beginnings

    def begin(self, request: NewOrder, now_ns: int, gtt_id: int | None = None) -> Order:
        """The first (or only) order of a request, counted to the day's cap.

        Raises:
            Refusal: the day's cap is reached.
        """
        self._desk.require_placement(now_ns)
        if request.variety == o.AMO:
            order = self._desk.new_order(request, now_ns, o.AMO_RECEIVED)
            due_ns = self._conditions.next_open_ns(request.instrument, request.order_type)
            if due_ns is not None:
                self._desk.at(due_ns, lambda t: self.release(order, t))
            return order
        if request.variety == o.ICEBERG:
            return self._leg(request, 1, request.quantity, now_ns, None)
        if request.variety == o.CO:
            request = replace(request, product=Product.MIS)  # cover orders live for the day only
        order = self._desk.new_order(request, now_ns, gtt_id=gtt_id)
        self._chain.start(order, now_ns)
        return order

    def release(self, order: Order, now_ns: int) -> None:
        """The market takes orders: an after-market order goes the normal way."""
        if order.now.status == o.AMO_RECEIVED:
            self._desk.move(order, o.RECEIVED, now_ns)
            self._chain.start(order, now_ns)

    def slices(self, request: NewOrder, now_ns: int) -> tuple[str, list[str | Refusal]]:
        """Orders of at most the freeze quantity each: (id of the whole, id or error of each).

        The id of the whole is no order. A slice for which the money does not suffice is refused.

        Raises:
            Refusal: more slices than are allowed.
        """
        row = request.instrument
        lot, freeze = max(row.lot_size, 1), self._rules.freeze(row)
        size = max(freeze // lot * lot, lot)
        number, most = -(-request.quantity // size), self._rules.limit("slices_max")
        if number > most:
            raise Refusal("InputException", f"Order would be split into {number} orders; {most} are allowed.")
        parent_id = self._desk.new_id(now_ns)
        children: list[str | Refusal] = []
        claimed = 0
        for i in range(number):
            part = replace(request, quantity=min(size, request.quantity - i * size), autoslice=False)
            need = self._needed_paise(part)
            refusal = self._unaffordable(need, claimed)
            if refusal is None and not self._desk.count_placement(now_ns):
                refusal = Refusal("OrderException", DAY_CAP)
            if refusal is not None:
                children.append(refusal)
                continue
            claimed += need
            order = self._desk.new_order(part, now_ns)
            order.marks += [AUTOSLICE, f"{AUTOSLICE}:{parent_id}"]
            self._chain.start(order, now_ns)
            children.append(order.order_id)
        return parent_id, children

    def _needed_paise(self, request: NewOrder) -> int:
        """Money that an order will take, at its limit or at the protection price."""
        px, slot = request.px or request.trigger_px, request.instrument.slot
        if request.order_type in MARKETS and self._matching.seen[slot]:
            last_px, percent = int(self._matching.latest[slot]["last_px"]), request.protection_percent
            if percent in (0.0, -1.0):
                percent = self._rules.auto_protection(request.instrument, last_px)
            px = protected_px(request.instrument, request.side, last_px, percent)
        return self._desk.margins.order_paise(
            request.instrument, request.side, request.product, request.quantity, px
        )

    def _unaffordable(self, need_paise: int, claimed_paise: int) -> Refusal | None:
        have = self._desk.account.available_paise - claimed_paise
        if not need_paise or need_paise <= have:
            return None
        return Refusal(
            "MarginException",
            f"Insufficient funds. Required margin is {rupees_text(need_paise)} "
            f"but available margin is {rupees_text(have)}.",
        )

    # -- what follows

    def _done(self, order: Order, now_ns: int) -> None:
        if order.request.variety == o.CO and order.parent_id is None and order.now.filled:
            self._second_leg(order, now_ns)
        elif order.leg is not None and order.now.status == o.COMPLETE and order.leg.leg < order.leg.legs:
            self._next_leg(order, now_ns)

    def _leg(self, whole: NewOrder, number: int, left: int, now_ns: int, parent_id: str | None) -> Order:
        """Leg `number` of an iceberg of which `left` is still to come; `whole` is the request."""
        quantity = min(whole.iceberg_quantity, left)
        leg = Leg(number, whole.iceberg_legs, quantity, whole.quantity, left - quantity)
        order = self._desk.new_order(
            replace(whole, quantity=quantity), now_ns, leg=leg, leg_of=whole, parent_id=parent_id
        )
        self._chain.start(order, now_ns)
        return order

    def _next_leg(self, order: Order, now_ns: int) -> None:
        """The next leg, at the price the last one ended with; none beyond the day's cap. A changed
        quantity is the changed leg's alone."""
        leg, whole = order.leg, order.leg_of
        if leg is None or whole is None or not self._desk.count_placement(now_ns):
            return
        if whole.order_type != OrderType.MARKET:
            whole = replace(whole, px=order.now.px)
        parent_id = order.parent_id or order.order_id
        self._leg(whole, leg.leg + 1, leg.remaining_quantity, now_ns, parent_id)

    def _second_leg(self, first: Order, now_ns: int) -> None:
        request = first.request
        side = Side.SELL if request.side == Side.BUY else Side.BUY
        stop = replace(
            request, side=side, order_type=OrderType.SLM, quantity=first.now.filled, px=0, tag=None,
            trigger_px=first.now.trigger_px, protection_percent=-1,
        )  # fmt: skip
        self._chain.start(self._desk.new_order(stop, now_ns, parent_id=first.order_id), now_ns)

    # -- leaving a cover order

    def exit_cover(self, order: Order, parent_order_id: str | None, now_ns: int) -> None:
        """Close a cover position: its stop becomes a market order now.

        Raises:
            Refusal: the parent's id is missing or another's.
        """
        if not parent_order_id:
            raise Refusal("InputException", PARENT_NEEDED)
        if parent_order_id != order.parent_id:
            raise Refusal("InputException", "Invalid `parent_order_id`.")

        def exit_now(at_ns: int) -> None:
            if order.working and not order.triggered:
                self._matching.trigger(order, at_ns, at_once=True)
                self._matching.tidy(order.slot)

        self._desk.later(now_ns, exit_now, stages=1)
