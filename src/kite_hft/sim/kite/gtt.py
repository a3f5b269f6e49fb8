"""Layer 4, simulator, cold: the calls about good-till-triggered orders, and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kite_hft.layout import Product
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.gtt import ACTIVE, NOT_FOUND, Gtt, GttOrder, GttResult, GttSpec
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.kite import forms as kite_forms
from kite_hft.sim.kite.rows import ORDER_TYPES, PRODUCTS, ist_text
from kite_hft.sim.rest import Call, Route, json_of


class GttDesk:
    """Triggers of the account."""

    def __init__(self, exchange: Exchange, user_id: str, app_id: int) -> None:
        self._exchange = exchange
        self._user_id = user_id
        self._app_id = app_id

    def routes(self) -> list[Route]:
        """The trigger calls."""
        return [
            Route("GET", "/gtt/triggers", lambda _: [self._row(g) for g in self._exchange.gtts.rows()]),
            Route("POST", "/gtt/triggers", self._place),
            Route("GET", "/gtt/triggers/*", lambda call: self._row(self._exchange.gtts.get(_id(call)))),
            Route("PUT", "/gtt/triggers/*", self._modify),
            Route("DELETE", "/gtt/triggers/*", self._delete),
        ]

    def _place(self, call: Call) -> dict[str, int]:
        return {"trigger_id": self._exchange.gtts.place(self._spec(call), call.now_ns)}

    def _modify(self, call: Call) -> dict[str, int]:
        return {"trigger_id": self._exchange.gtts.modify(_id(call), self._spec(call), call.now_ns)}

    def _delete(self, call: Call) -> dict[str, int]:
        return {"trigger_id": self._exchange.gtts.cancel(_id(call), call.now_ns)}

    def _spec(self, call: Call) -> GttSpec:
        """Type, condition and orders of a form. Raises Refusal."""
        form = call.form()
        kind = kite_forms.needed(form, "type")
        condition = json_of(kite_forms.needed(form, "condition"), "condition")
        orders = json_of(kite_forms.needed(form, "orders"), "orders")
        if not isinstance(condition, dict):
            raise kite_forms.bad("Invalid `condition`.")
        if not isinstance(orders, list) or not all(isinstance(order, dict) for order in orders):
            raise kite_forms.bad("Invalid `orders`.")
        row = kite_forms.instrument_of(condition, self._exchange.instruments)
        values = condition.get("trigger_values")
        if not isinstance(values, list) or not values:
            raise kite_forms.missing("trigger_values")
        triggers = tuple(kite_forms.px_of({"trigger_values": v}, "trigger_values", row) or 0 for v in values)
        last_px = kite_forms.px_of(condition, "last_price", row) or 0
        for order in orders:
            if kite_forms.instrument_of(order, self._exchange.instruments) is not row:
                raise kite_forms.bad("Invalid `orders`: the instrument differs from the condition's.")
        legs = tuple(self._leg(order, row) for order in orders)
        return GttSpec(kind, row, triggers, last_px, legs)

    def _leg(self, order: Mapping[str, Any], row: Any) -> GttOrder:
        return GttOrder(
            side=kite_forms.choice(order, "transaction_type", kite_forms.SIDES),
            product=kite_forms.choice(order, "product", {p.name: p for p in Product}),
            order_type=kite_forms.choice(order, "order_type", kite_forms.TYPES),
            quantity=kite_forms.whole(order, "quantity"),
            px=kite_forms.px_of(order, "price", row) or 0,
        )

    def _row(self, gtt: Gtt) -> dict[str, Any]:
        spec = gtt.spec
        row = spec.instrument
        return {
            "id": gtt.gtt_id,
            "user_id": self._user_id,
            "parent_trigger": None,
            "type": spec.kind,
            "created_at": ist_text(gtt.created_ns),
            "updated_at": ist_text(gtt.updated_ns),
            "expires_at": ist_text(gtt.expires_ns),
            "status": gtt.status,
            "condition": {
                "exchange": row.exchange,
                "last_price": spec.last_px / row.scale,
                "tradingsymbol": row.symbol,
                "trigger_values": [px / row.scale for px in spec.trigger_px],
                "instrument_token": row.token,
            },
            "orders": [
                self._order(gtt, order, result)
                for order, result in zip(spec.orders, gtt.results, strict=True)
            ],
            "meta": {} if gtt.status == ACTIVE else None,
        }

    def _order(self, gtt: Gtt, order: GttOrder, result: GttResult | None) -> dict[str, Any]:
        row = gtt.spec.instrument
        leg: dict[str, Any] = {
            "exchange": row.exchange,
            "tradingsymbol": row.symbol,
            "product": PRODUCTS[order.product],
            "order_type": ORDER_TYPES[order.order_type],
            "transaction_type": order.side.name,
            "quantity": order.quantity,
            "price": order.px / row.scale,
        }
        if result is None:
            return leg | {"result": None}
        meta = msgspec.json.encode({"app_id": self._app_id, "gtt": gtt.gtt_id}).decode()
        fired = {
            "account_id": self._user_id,
            "validity": "DAY",
            "meta": meta,
            "timestamp": ist_text(result.at_ns),
            "triggered_at": result.triggered_px / row.scale,
            "order_result": {
                "status": result.status,
                "order_id": result.order_id,
                "rejection_reason": result.rejection_reason,
            },
        }
        return leg | {"result": leg | fired}


def _id(call: Call) -> int:
    text = call.args[0]
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Refusal("GeneralException", NOT_FOUND, 404)
    return int(text)
