"""Layer 4, simulator, cold: the order calls: place, modify, cancel, books, history, trades."""

from __future__ import annotations

from typing import Any

from kite_hft.sim.exchange.exchange import NOT_FOUND, Exchange
from kite_hft.sim.exchange.orders import VARIETIES, NewOrder, Order, Refusal
from kite_hft.sim.kite import forms as kite_forms
from kite_hft.sim.kite.quota import ORDER
from kite_hft.sim.kite.rows import order_row, trade_row
from kite_hft.sim.rest import Call, Route


class OrdersDesk:
    """Orders and trades of the day."""

    def __init__(self, exchange: Exchange, user_id: str, *, flat_slices: bool = False) -> None:
        """`flat_slices`: an autoslice call answers a flat list instead of parent and children."""
        self._exchange = exchange
        self._user_id = user_id
        self._flat_slices = flat_slices

    def routes(self) -> list[Route]:
        """Place, modify and cancel count against the order limits and ask for the registered IP."""
        return [
            Route("GET", "/orders", lambda _: self.book()),
            Route("GET", "/orders/*", self._history),
            Route("POST", "/orders/*", self._place, ORDER, fixed_ip=True),
            Route("GET", "/orders/*/trades", self._order_trades),
            Route("PUT", "/orders/*/*", self._modify, ORDER, fixed_ip=True),
            Route("DELETE", "/orders/*/*", self._cancel, ORDER, fixed_ip=True),
            Route("GET", "/trades", lambda _: [trade_row(t) for t in self._exchange.account.trades]),
        ]

    def book(self) -> list[dict[str, Any]]:
        """GET /orders: the last state of each order, in no order of time (as at the broker)."""
        orders = sorted(self._exchange.orders.values(), key=lambda order: order.order_id[::-1])
        return [order_row(order, order.now, self._user_id) for order in orders]

    def _place(self, call: Call) -> Any:
        (variety,) = call.args
        if variety not in VARIETIES:
            raise Refusal("InputException", f"Invalid `variety`: {variety}.")
        form = call.form()
        order = kite_forms.new_order(form, variety, self._exchange.instruments)
        if order.autoslice:
            return self._place_sliced(order, call.now_ns)
        return {"order_id": self._exchange.place(order, call.now_ns)}

    def _place_sliced(self, order: NewOrder, now_ns: int) -> Any:
        parent, children = self._exchange.place_sliced(order, now_ns)
        rows = [_child(child) for child in children]
        if self._flat_slices:
            return rows or [{"order_id": parent}]
        return {"order_id": parent, "children": rows}

    def _modify(self, call: Call) -> dict[str, str]:
        order = self._named(call)
        wanted = kite_forms.change(call.form(), order.request.instrument)
        return {"order_id": self._exchange.modify(order.order_id, wanted, call.now_ns)}

    def _cancel(self, call: Call) -> dict[str, str]:
        order = self._named(call)
        parent = call.given("parent_order_id") or None
        return {"order_id": self._exchange.cancel(order.order_id, call.now_ns, parent)}

    def _named(self, call: Call) -> Order:
        """The order of `/orders/{variety}/{order_id}`. Raises Refusal."""
        variety, order_id = call.args
        if variety not in VARIETIES:
            raise Refusal("InputException", f"Invalid `variety`: {variety}.")
        order = self._known(order_id)
        if variety != order.request.variety:
            raise Refusal("InputException", f"Invalid `variety`: the order's is {order.request.variety}.")
        return order

    def _known(self, order_id: str) -> Order:
        order = self._exchange.orders.get(order_id)
        if order is None:
            raise Refusal("OrderException", NOT_FOUND)
        return order

    def _history(self, call: Call) -> list[dict[str, Any]]:
        order = self._known(call.args[0])
        return [order_row(order, state, self._user_id) for state in order.states]

    def _order_trades(self, call: Call) -> list[dict[str, Any]]:
        order = self._known(call.args[0])
        mine = frozenset(order.trade_ids)
        return [trade_row(t) for t in self._exchange.account.trades if t.trade_id in mine]


def _child(child: str | Refusal) -> dict[str, Any]:
    """One slice of an autosliced order: its id, or why it was not taken."""
    if isinstance(child, str):
        return {"order_id": child}
    return {
        "error": {
            "code": child.status,
            "error_type": child.error_type,
            "message": child.message,
            "data": None,
        }
    }
