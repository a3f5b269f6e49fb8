"""Layer 4, simulator, cold: Upstox's calls about good-till-triggered orders, and their rows."""

from __future__ import annotations

from typing import Any

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.kite.rows import date_digits
from kite_hft.sim.market.keys import segment_of, upstox_lot_of, upstox_symbol_of
from kite_hft.sim.rest import Call, Response, Route
from kite_hft.sim.upstox.answers import refusal, success
from kite_hft.sim.upstox.body import Body, choice, instrument_of, json_object, number, px_of, text_of, units
from kite_hft.sim.upstox.gtt_book import (
    ABOVE,
    BELOW,
    ENTRY,
    IMMEDIATE,
    STOPLOSS,
    TARGET,
    VALID_NS,
    Gtt,
    GttBook,
    Rule,
)
from kite_hft.sim.upstox.order_forms import AUTOMATIC, PROTECTION_MAX, SIDES, check_exchange, product_of
from kite_hft.sim.upstox.order_rows import PRODUCT_WORDS
from kite_hft.sim.upstox.orders import OrdersDesk
from kite_hft.sim.upstox.quota import ORDER
from kite_hft.trading.instruments import Instrument

_STRATEGIES = {name: name for name in (ENTRY, TARGET, STOPLOSS)}
_TRIGGERS = {name: name for name in (ABOVE, BELOW, IMMEDIATE)}


class GttDesk:
    """Triggers of the account."""

    def __init__(self, exchange: Exchange, orders: OrdersDesk) -> None:
        self._exchange = exchange
        self._orders = orders
        self.book = GttBook(
            orders.fired, lambda slot: int(exchange.latest[slot]["last_px"]) if exchange.seen[slot] else 0
        )
        exchange.desk.on_done.append(self.book.order_done)

    def routes(self) -> list[Route]:
        """The trigger calls; writing counts as an order and asks for the registered IP."""
        return [
            Route("GET", "/v3/order/gtt", self._list),
            Route("POST", "/v3/order/gtt/place", self._place, ORDER, fixed_ip=True),
            Route("PUT", "/v3/order/gtt/modify", self._modify, ORDER, fixed_ip=True),
            Route("DELETE", "/v3/order/gtt/cancel", self._cancel, ORDER, fixed_ip=True),
        ]

    def _place(self, call: Call) -> Response:
        body = json_object(call.body)
        row = instrument_of(body, self._exchange.instruments)
        if row.is_index:
            raise refusal("UDAPI100011", "Invalid Instrument key")
        check_exchange(row)
        side = choice(body, "transaction_type", SIDES, "UDAPI1057", "UDAPI1057")
        gtt = Gtt(
            date_digits(call.now_ns), text_of(body, "type"), row, side, product_of(body, row),
            _quantity(body, row), _rules(body, row), call.now_ns, call.now_ns + VALID_NS,
        )  # fmt: skip
        return self._reply(self.book.add(gtt, call.now_ns))

    def _modify(self, call: Call) -> Response:
        body = json_object(call.body)
        gtt = self.book.all.get(text_of(body, "gtt_order_id"))
        if gtt is None:
            raise refusal("UDAPI1129", "No such GTT order.", 404)
        row = gtt.instrument
        rules = _rules(body, row)
        return self._reply(self.book.modify(gtt.gtt_id, text_of(body, "type"), _quantity(body, row), rules))

    def _cancel(self, call: Call) -> Response:
        return self._reply(self.book.cancel(text_of(json_object(call.body), "gtt_order_id")))

    def _reply(self, gtt_id: str) -> Response:
        return success({"gtt_order_ids": [gtt_id]}, self._orders.latency_ms)

    def _list(self, call: Call) -> list[dict[str, Any]]:
        """The one that is asked for, whatever has become of it, or all that wait."""
        if not (wanted := call.given("gtt_order_id")):
            return [gtt_row(gtt) for gtt in self.book.all.values() if gtt.live]
        if wanted not in self.book.all:
            raise refusal("UDAPI1129", "No such GTT order.", 404)
        return [gtt_row(self.book.all[wanted])]


def gtt_row(gtt: Gtt) -> dict[str, Any]:
    """One GTT (GttOrderDetails). Its exchange is the segment, its times are epoch microseconds."""
    row = gtt.instrument
    other = {"BUY": "SELL", "SELL": "BUY"}[gtt.side.name]
    return {
        "type": gtt.kind,
        "exchange": segment_of(row),
        "quantity": gtt.quantity // upstox_lot_of(row),
        "product": PRODUCT_WORDS[gtt.product],
        "rules": [
            {
                "strategy": rule.strategy,
                "status": rule.status,
                "trigger_type": rule.trigger_type,
                "trigger_price": rule.trigger_px / row.scale,
                "transaction_type": gtt.side.name if rule.strategy == ENTRY else other,
                "message": rule.message,
                "order_id": rule.order_id,
                "trailing_gap": rule.gap_px / row.scale if rule.gap_px else None,
            }
            for rule in gtt.rules
        ],
        "trading_symbol": upstox_symbol_of(row),
        "instrument_token": row.upstox_key,
        "gtt_order_id": gtt.gtt_id,
        "expires_at": gtt.expires_ns // 1000,
        "created_at": gtt.created_ns // 1000,
    }


def gtt_update(gtt: Gtt) -> dict[str, Any]:
    """One GTT as the portfolio feed tells it."""
    return {"update_type": "gtt_order"} | gtt_row(gtt)


def _quantity(body: Body, row: Instrument) -> int:
    quantity = units(body, "quantity", row)
    if not quantity:
        raise refusal("UDAPI1052", "The quantity cannot be zero")
    if quantity % max(row.lot_size, 1):
        raise refusal("UDAPI100036", f"Quantity should be multiple of lot size {row.lot_size}.")
    return quantity


def _rules(body: Body, row: Instrument) -> list[Rule]:
    given = body.get("rules")
    if not isinstance(given, list) or not all(isinstance(rule, dict) for rule in given):
        raise refusal("UDAPI1135", "The 'rules' are required.")
    rules = []
    for rule in given:
        strategy = choice(rule, "strategy", _STRATEGIES, "UDAPI1138", "UDAPI1138")
        trigger = choice(rule, "trigger_type", _TRIGGERS, "UDAPI1139", "UDAPI1139")
        px = px_of(rule, "trigger_price", row)
        if not px or px % max(row.tick_px, 1):
            raise refusal("UDAPI1140", "The trigger price is a positive multiple of the tick size.")
        _check_protection(rule)
        rules.append(Rule(strategy, trigger, px, px_of(rule, "trailing_gap", row)))
    return rules


def _check_protection(rule: Body) -> None:
    """Market protection of a rule, which the limit order that it fires has no use for. Raises Refusal."""
    percent = number(rule, "market_protection", AUTOMATIC)
    if percent > PROTECTION_MAX:
        raise refusal("UDAPI1176", f"Market protection should be at most {PROTECTION_MAX} percent.")
    if percent not in (AUTOMATIC, 0.0) and percent < 1:
        raise refusal("UDAPI1177", "Invalid market protection.")
