"""Layer 4, simulator, cold: the calls about alerts, and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import VARIETIES, Refusal
from kite_hft.sim.kite import forms as kite_forms
from kite_hft.sim.kite.alert_book import ATO, OPERATORS, SIMPLE, Alert, AlertBook, AlertSpec, Firing
from kite_hft.sim.kite.quotes import ohlc_of
from kite_hft.sim.kite.rows import ist_text
from kite_hft.sim.rest import Call, Route, json_of
from kite_hft.trading.instruments import Instrument

ATTRIBUTE: Final = "LastTradedPrice"
INDICES: Final = "INDICES"
NO_TIME: Final = "0001-01-01 00:00:00"
# Kinds of the right side and of the attribute.
_CONSTANT: Final = "constant"
_INSTRUMENT: Final = "instrument"


class AlertsDesk:
    """Alerts of the account."""

    def __init__(self, exchange: Exchange, user_id: str) -> None:
        self._exchange = exchange
        self._user_id = user_id
        self.book = AlertBook(lambda slot: int(exchange.latest[slot]["last_px"]), self._place_basket)
        self._indices = {row.symbol: row for row in exchange.instruments if row.is_index}

    def routes(self) -> list[Route]:
        """The alert calls."""
        return [
            Route("GET", "/alerts", self._list),
            Route("POST", "/alerts", lambda call: self._row(self.book.create(self._spec(call), call.now_ns))),
            Route("DELETE", "/alerts", self._delete),
            Route("GET", "/alerts/*", lambda call: self._row(self.book.get(call.args[0]), basket=True)),
            Route("PUT", "/alerts/*", self._modify),
            Route("GET", "/alerts/*/history", self._history),
        ]

    def _list(self, call: Call) -> list[dict[str, Any]]:
        status = call.given("status")
        return [self._row(a, basket=True) for a in self.book.rows() if status in ("", a.status)]

    def _modify(self, call: Call) -> dict[str, Any]:
        return self._row(self.book.modify(call.args[0], self._spec(call), call.now_ns))

    def _delete(self, call: Call) -> None:
        names = call.all_given("uuid")
        if not names:
            raise kite_forms.missing("uuid")
        self.book.delete(names)

    def _history(self, call: Call) -> list[dict[str, Any]]:
        alert = self.book.get(call.args[0])
        return [self._firing(alert, firing) for firing in reversed(alert.history)]

    def _spec(self, call: Call) -> AlertSpec:
        form = call.form()
        kind = kite_forms.choice(form, "type", {SIMPLE: SIMPLE, ATO: ATO})
        name = kite_forms.needed(form, "name")
        kite_forms.choice(form, "lhs_attribute", {ATTRIBUTE: ATTRIBUTE})
        left = self._side(form, "lhs")
        sign = kite_forms.choice(form, "operator", {sign: sign for sign in OPERATORS})
        right_kind = kite_forms.choice(form, "rhs_type", {k: k for k in (_CONSTANT, _INSTRUMENT)})
        right, constant = None, 0.0
        if right_kind == _INSTRUMENT:
            right = self._side(form, "rhs")
        else:
            constant = kite_forms.rupees(form, "rhs_constant")
        basket = None
        if kind == ATO:
            basket = json_of(kite_forms.needed(form, "basket"), "basket")
            items = basket.get("items") if isinstance(basket, dict) else None
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items) or not items:
                raise kite_forms.bad("Invalid `basket`.")
        return AlertSpec(
            kind, name, left, form["lhs_exchange"], sign,
            right, form.get("rhs_exchange", "") if right else "", constant, basket,
        )  # fmt: skip

    def _side(self, form: Mapping[str, str], side: str) -> Instrument:
        """One side's instrument; an index stands under the exchange INDICES."""
        exchange = kite_forms.needed(form, f"{side}_exchange")
        symbol = kite_forms.needed(form, f"{side}_tradingsymbol")
        if exchange == INDICES and symbol in self._indices:
            return self._indices[symbol]
        found = self._exchange.instruments.by_key.get(f"{exchange}:{symbol}")
        if found is None:
            raise kite_forms.bad(f"Invalid `{side}_tradingsymbol`.")
        return found

    def _place_basket(self, basket: Mapping[str, Any], now_ns: int) -> list[dict[str, Any]]:
        """Place a basket's orders: an id or an error of each."""
        answers: list[dict[str, Any]] = []
        for item in basket["items"]:
            params = item.get("params")
            terms = dict(params) if isinstance(params, dict) else {}
            named = {name: item.get(name) for name in ("exchange", "tradingsymbol")}
            tags = terms.get("tags")
            if isinstance(tags, list) and tags:
                terms["tag"] = tags[0]
            variety = terms.get("variety", VARIETIES[0])
            try:
                order = kite_forms.new_order(terms | named, str(variety), self._exchange.instruments)
                answers.append({"order_id": self._exchange.place(order, now_ns)})
            except Refusal as refusal:
                answers.append({"error_type": refusal.error_type, "message": refusal.message})
        return answers

    def _row(self, alert: Alert, *, basket: bool = False) -> dict[str, Any]:
        spec = alert.spec
        row: dict[str, Any] = {
            "type": spec.kind,
            "user_id": self._user_id,
            "uuid": alert.alert_id,
            "name": spec.name,
            "status": alert.status,
            "disabled_reason": "",
        }
        if basket and spec.basket is not None:
            row["basket"] = spec.basket
        return row | {
            "lhs_attribute": ATTRIBUTE,
            "lhs_exchange": spec.left_exchange,
            "lhs_tradingsymbol": spec.left.symbol,
            "operator": spec.operator,
            "rhs_type": _CONSTANT if spec.right is None else _INSTRUMENT,
            "rhs_attribute": "" if spec.right is None else ATTRIBUTE,
            "rhs_exchange": spec.right_exchange,
            "rhs_tradingsymbol": "" if spec.right is None else spec.right.symbol,
            "rhs_constant": spec.constant,
            "alert_count": len(alert.history),
            "created_at": ist_text(alert.created_ns),
            "updated_at": ist_text(alert.updated_ns),
        }

    def _firing(self, alert: Alert, firing: Firing) -> dict[str, Any]:
        row = alert.spec.left
        tick, scale = self._exchange.latest[row.slot], row.scale
        low, high = (0, 0) if row.is_index else self._exchange.band(row.slot)
        traded_ns = int(tick["last_trade_s"]) * 10**9
        meta = {
            "instrument_token": row.token,
            "tradingsymbol": row.symbol,
            "timestamp": ist_text(firing.at_ns),
            "last_price": firing.left_px / scale,
            "ohlc": ohlc_of(tick, scale),
            "net_change": (firing.left_px - int(tick["close_px"])) / scale,
            "exchange": alert.spec.left_exchange,
            "last_trade_time": ist_text(traded_ns) or NO_TIME,
            "last_quantity": int(tick["last_qty"]),
            "buy_quantity": int(tick["total_buy_qty"]),
            "sell_quantity": int(tick["total_sell_qty"]),
            "volume": int(tick["volume"]),
            "volume_tick": 0,
            "average_price": int(tick["average_px"]) / scale,
            "oi": int(tick["oi"]),
            "oi_day_high": int(tick["oi_day_high"]),
            "oi_day_low": int(tick["oi_day_low"]),
            "lower_circuit_limit": low / scale,
            "upper_circuit_limit": high / scale,
        }
        return {
            "uuid": alert.alert_id,
            "type": alert.spec.kind,
            "meta": [meta],
            "condition": firing.condition,
            "created_at": ist_text(firing.at_ns),
            "order_meta": firing.orders,
        }
