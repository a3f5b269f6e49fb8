"""Layer 4, simulator, cold: Upstox's order calls of one order: place, modify, cancel, and what is read."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from kite_hft.sessions import CLOSED, ist_date, ist_midnight_ns
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.chain import NOT_FOUND
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import NewOrder, Order, Refusal
from kite_hft.sim.rest import Call, Response, Route
from kite_hft.sim.upstox import order_forms
from kite_hft.sim.upstox.answers import refusal, success
from kite_hft.sim.upstox.body import json_object
from kite_hft.sim.upstox.order_forms import Wish, needed_id
from kite_hft.sim.upstox.order_rows import book_row, details_row, history_rows, trade_row
from kite_hft.sim.upstox.quota import ORDER
from kite_hft.units import NS_PER_S

LATENCY_MS: Final = (30, 90)
"""What the broker says that he took, from to (staff and advertisement)."""
SLICES_MAX: Final = 25
"""Orders that one with slice may become (place order v3)."""
OPENS_NS: Final = (5 * 3600 + 30 * 60) * NS_PER_S
"""Service hours: from then until midnight, IST."""


class OrdersDesk:
    """Orders and trades of the day. `blocked(row)`: raises Refusal where the kill switch is on."""

    def __init__(
        self,
        exchange: Exchange,
        user_id: str,
        seed: int,
        blocked: Callable[[NewOrder], None],
        *,
        sandbox: bool = False,
    ) -> None:
        self.exchange = exchange
        self.sandbox = sandbox
        self._user_id = user_id
        self._blocked = blocked
        self._random = random.Random(seed)

    def routes(self) -> list[Route]:
        """Place, modify and cancel count against the order limits and ask for the registered IP."""
        writes = [
            Route("POST", "/v3/order/place", self._place_v3, ORDER, fixed_ip=True),
            Route("PUT", "/v3/order/modify", self._modify_v3, ORDER, fixed_ip=True),
            Route("DELETE", "/v3/order/cancel", self._cancel_v3, ORDER, fixed_ip=True),
            Route("POST", "/v2/order/place", self._place_v2, ORDER, fixed_ip=True),
            Route("PUT", "/v2/order/modify", self._modify_v2, ORDER, fixed_ip=True),
            Route("DELETE", "/v2/order/cancel", self._cancel_v2, ORDER, fixed_ip=True),
        ]
        if self.sandbox:
            return writes
        return [
            *writes,
            Route("GET", "/v2/order/details", self._details),
            Route("GET", "/v2/order/history", self._history),
            Route("GET", "/v2/order/retrieve-all", lambda _: self.book()),
            Route("GET", "/v2/order/trades", self._order_trades),
            Route("GET", "/v2/order/trades/get-trades-for-day", lambda _: self._trades(None)),
        ]

    @property
    def latency_ms(self) -> int:
        """The figure in metadata.latency of the next answer."""
        return self._random.randint(*LATENCY_MS)

    # -- writing

    def _place_v3(self, call: Call) -> Response:
        ids = self.place(order_forms.wish(json_object(call.body), self.exchange.instruments), call.now_ns)
        return success({"order_ids": ids}, self.latency_ms)

    def _place_v2(self, call: Call) -> Mapping[str, str]:
        body = {name: value for name, value in json_object(call.body).items() if name != "slice"}
        return {"order_id": self.place(order_forms.wish(body, self.exchange.instruments), call.now_ns)[0]}

    def place(self, wish: Wish, now_ns: int) -> list[str]:
        """Take an order in; returns its id, or those of its slices.

        Raises:
            Refusal: no order exists.
        """
        if self.sandbox:
            return [self.exchange.desk.new_id(now_ns) for _ in self._parts(wish)]
        self._blocked(wish.order)
        order = wish.order
        # Outside the day's session it becomes an after-market order, whatever the request says. Within it,
        # what the phase does not take (a stop in an auction, anything in its pause) is rejected later: the
        # answer to a placement says that it was received.
        phase = self.exchange.conditions.phase(order.instrument.slot)
        if phase is not None and phase.name == CLOSED and not self.exchange.halted:
            order = replace(order, variety=o.AMO)
        ids: list[str] = []
        for quantity in [order.quantity] if order.variety == o.AMO else self._parts(wish):
            try:
                part = replace(order, quantity=quantity)
                ids.append(self.exchange.place(part, now_ns, taken_first=True))
            except Refusal:
                if not ids:
                    raise
                break  # the day's last orders; what was taken stands
        return ids

    def fired(self, order: NewOrder, now_ns: int) -> str:
        """The order of a trigger; a kill switch holds it too. Raises Refusal."""
        self._blocked(order)
        return self.exchange.place(order, now_ns, taken_first=True)

    def _parts(self, wish: Wish) -> list[int]:
        """Quantities of the orders that a wish becomes; for some of them the money may fail later."""
        order = wish.order
        freeze, lot = self.exchange.params.market.freeze(order.instrument), max(order.instrument.lot_size, 1)
        if not wish.slice or not freeze or order.quantity <= freeze:
            return [order.quantity]
        size = max(freeze // lot * lot, lot)
        number = -(-order.quantity // size)
        if number > SLICES_MAX:
            raise refusal(
                "UDAPI1118", f"Order would be split into {number} orders; {SLICES_MAX} are allowed."
            )
        return [min(size, order.quantity - at * size) for at in range(number)]

    def _modify_v3(self, call: Call) -> Response:
        return success({"order_id": self._modify(call)}, self.latency_ms)

    def _modify_v2(self, call: Call) -> Mapping[str, str]:
        return {"order_id": self._modify(call)}

    def _modify(self, call: Call) -> str:
        body = json_object(call.body)
        order_id = needed_id(body.get("order_id"), "UDAPI1003")
        if self.sandbox:
            order_forms.check_change(body)
            return order_id
        order = self.known(order_id)
        request = order.request
        wanted = order_forms.change(body, request.instrument, order.now.order_type, request.side)
        return self.exchange.modify(order_id, wanted, call.now_ns)

    def _cancel_v3(self, call: Call) -> Response:
        return success({"order_id": self._cancel(call)}, self.latency_ms)

    def _cancel_v2(self, call: Call) -> Mapping[str, str]:
        return {"order_id": self._cancel(call)}

    def _cancel(self, call: Call) -> str:
        order_id = needed_id(call.given("order_id"), "UDAPI1023")
        return order_id if self.sandbox else self.exchange.cancel(order_id, call.now_ns)

    def known(self, order_id: str) -> Order:
        """An order of the day.

        Raises:
            Refusal: there is none.
        """
        order = self.exchange.orders.get(order_id)
        if order is None:
            raise refusal("UDAPI100010", NOT_FOUND, 404)
        return order

    # -- reading

    def book(self) -> list[dict[str, Any]]:
        """The day's orders, each in its last state."""
        return [book_row(order, self._user_id) for order in self.exchange.orders.values()]

    def _details(self, call: Call) -> dict[str, Any]:
        order = self.known(needed_id(call.given("order_id"), "UDAPI1003"))
        return details_row(book_row(order, self._user_id))

    def _history(self, call: Call) -> list[dict[str, Any]]:
        """By order id, or all orders of a tag."""
        tag, order_id = call.given("tag"), call.given("order_id")
        if not order_id and not tag:
            raise refusal("UDAPI1003", "Order id or tag is required")
        if order_id:
            orders = [self.known(needed_id(order_id, "UDAPI1003"))]
        else:
            orders = list(self.exchange.orders.values())
        rows = [row for order in orders for row in history_rows(order, self._user_id)]
        return [row for row in rows if not tag or row["tag"] == tag]

    def _order_trades(self, call: Call) -> list[dict[str, Any]]:
        return self._trades(self.known(needed_id(call.given("order_id"), "UDAPI1003")).order_id)

    def _trades(self, order_id: str | None) -> list[dict[str, Any]]:
        return [
            trade_row(trade, self.exchange.orders[trade.order_id])
            for trade in self.exchange.account.trades
            if order_id in (None, trade.order_id)
        ]


def outside_service(now_ns: int) -> bool:
    """Between midnight and 05:30 IST."""
    return now_ns - ist_midnight_ns(ist_date(now_ns)) < OPENS_NS
