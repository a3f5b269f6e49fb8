"""Layer 4, simulator, cold: the calculator calls: margins of orders and baskets, charges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kite_hft.layout import OrderType, Side
from kite_hft.sessions import ist_date
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import VARIETIES
from kite_hft.sim.kite import forms as kite_forms
from kite_hft.sim.kite.charges import order_charges
from kite_hft.sim.kite.margins import MarginLeg, basket_margin, compact, order_margin
from kite_hft.sim.rest import Call, Route
from kite_hft.trading.instruments import Instrument


class CalculatorsDesk:
    """What orders would take and cost; nothing is placed."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._margins = exchange.margins

    def routes(self) -> list[Route]:
        """The calculator calls; their bodies are JSON."""
        return [
            Route("POST", "/margins/orders", self._orders),
            Route("POST", "/margins/basket", self._basket),
            Route("POST", "/charges/orders", self._charges),
        ]

    def _orders(self, call: Call) -> list[dict[str, Any]]:
        day, short = ist_date(call.now_ns), _mode(call)
        rows = [order_margin(self._leg(order), day) for order in call.json_rows()]
        return [compact(row) for row in rows] if short else rows

    def _basket(self, call: Call) -> dict[str, Any]:
        short = _mode(call)
        held = self._held() if kite_forms.flag(dict(call.query), "consider_positions") else []
        answer = basket_margin([self._leg(o) for o in call.json_rows()], held, ist_date(call.now_ns))
        if not short:
            return answer
        whole = {name: compact(answer[name]) for name in ("initial", "final")}
        return whole | {"orders": [compact(row) for row in answer["orders"]], "charges": answer["charges"]}

    def _charges(self, call: Call) -> list[dict[str, Any]]:
        day, rows = ist_date(call.now_ns), []
        for order in call.json_rows():
            kite_forms.needed(order, "order_id")
            instrument, side, product = self._terms(order)
            quantity = _quantity(order)
            price = kite_forms.rupees(order, "average_price")
            if not price:
                raise kite_forms.bad("Invalid `average_price`.")
            kind = kite_forms.choice(order, "order_type", kite_forms.TYPES)
            rows.append(
                {
                    "transaction_type": side.name,
                    "tradingsymbol": instrument.symbol,
                    "exchange": instrument.exchange,
                    "variety": _variety(order),
                    "product": product.name,
                    "order_type": next(text for text, known in kite_forms.TYPES.items() if known == kind),
                    "quantity": quantity,
                    "price": price,
                    "charges": order_charges(instrument, side, product, quantity, price, day),
                }
            )
        return rows

    def _terms(self, order: Mapping[str, Any]) -> tuple[Instrument, Side, Any]:
        row = kite_forms.instrument_of(order, self._exchange.instruments)
        if row.is_index:
            raise kite_forms.bad(f"{row.symbol} is an index and cannot be traded.")
        side = kite_forms.choice(order, "transaction_type", kite_forms.SIDES)
        return row, side, kite_forms.choice(order, "product", kite_forms.PRODUCTS)

    def _leg(self, order: Mapping[str, Any]) -> MarginLeg:
        row, side, product = self._terms(order)
        _variety(order)
        kind = kite_forms.choice(order, "order_type", kite_forms.TYPES)
        price = kite_forms.rupees(order, "price", 0.0) or kite_forms.rupees(order, "trigger_price", 0.0)
        if kind in (OrderType.MARKET, OrderType.SLM) or not price:
            price = self._margins.last(row)
        return self._margins.leg(row, side, product, _quantity(order), price)

    def _held(self) -> list[MarginLeg]:
        """Open positions as legs."""
        legs = []
        for position in self._exchange.account.positions.values():
            if net := position.net:
                row = position.instrument
                side = Side.BUY if net > 0 else Side.SELL
                price = self._margins.last(row)
                legs.append(self._margins.leg(row, side, position.product, abs(net), price))
        return legs


def _quantity(order: Mapping[str, Any]) -> int:
    quantity = kite_forms.whole(order, "quantity")
    if not quantity:
        raise kite_forms.bad("Invalid `quantity`.")
    return quantity


def _variety(order: Mapping[str, Any]) -> str:
    return kite_forms.choice(order, "variety", {name: name for name in VARIETIES})


def _mode(call: Call) -> bool:
    """Whether the compact mode is asked for. Raises Refusal for another one."""
    mode = call.given("mode")
    if mode not in ("", "compact"):
        raise kite_forms.bad("Invalid `mode`.")
    return mode == "compact"
