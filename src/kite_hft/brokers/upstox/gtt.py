"""Layer 2, orders process, cold: Upstox's good-till-triggered orders (v3) as pure functions on bytes.

A GTT begins with an ENTRY. One ENTRY alone (SINGLE) of the closing side does for a position that is held;
a stop and a target for it in one GTT are impossible, because TARGET and STOPLOSS exist beside an ENTRY only
(Broker.trigger_legs_max = 1: the engine keeps stop and target itself). It fires as a LIMIT order *at* its
trigger price (Broker.trigger_limit_apart = False). It carries no tag: the order that it has placed is known
by `order_id` of its rule. The list leaves out what has fired: the portfolio socket tells of that, and where
that text is lost the order's terms (trading/exits/claims.py). Source: official GTT pages, SDK 2.30.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.calls import JSON
from kite_hft.brokers.upstox.keys import Names, key_of, lot_of, product_of, product_word, wire_quantity
from kite_hft.brokers.values import COUNT_MAX, AnswerError, count, envelope_of, price, rows_of, text
from kite_hft.layout import Side
from kite_hft.trading.broker import HttpRequest, TriggerLeg, TriggerReport, TriggerRequest
from kite_hft.units import price_text

_PATH: Final = "/v3/order/gtt"
LEGS_MAX: Final = 1
_COMPLETED: Final = "COMPLETED"
_FAILED: Final = frozenset({"FAILED", "REJECTED"})
_ENDED: Final = frozenset({_COMPLETED, "CANCELLED", "EXPIRED"}) | _FAILED
"""Words after which a rule waits no more. Of one that is not here nothing is concluded: it waits still,
unless it names its order."""


def place(request: TriggerRequest) -> HttpRequest:
    """POST /v3/order/gtt/place.

    Raises:
        ValueError: more legs than one, a limit apart from its trigger, or no last price.
    """
    leg = request.legs[0]
    form = {
        "type": "SINGLE",
        "quantity": wire_quantity(request.instrument, leg.quantity),
        "product": product_word(leg.product),
        "instrument_token": key_of(request.instrument),
        "transaction_type": leg.side.name,
        "rules": [_rule(request)],
    }
    return HttpRequest("POST", f"{_PATH}/place", msgspec.json.encode(form), JSON)


def modify(trigger_id: str, request: TriggerRequest) -> HttpRequest:
    """PUT /v3/order/gtt/modify: quantity and rule are sent anew. Raises as `place`."""
    form = {
        "gtt_order_id": trigger_id,
        "type": "SINGLE",
        "quantity": wire_quantity(request.instrument, request.legs[0].quantity),
        "rules": [_rule(request)],
    }
    return HttpRequest("PUT", f"{_PATH}/modify", msgspec.json.encode(form), JSON)


def delete(trigger_id: str) -> HttpRequest:
    """DELETE /v3/order/gtt/cancel, with a JSON body."""
    body = msgspec.json.encode({"gtt_order_id": trigger_id})
    return HttpRequest("DELETE", f"{_PATH}/cancel", body, JSON)


def triggers() -> HttpRequest:
    """GET /v3/order/gtt: all of them."""
    return HttpRequest("GET", _PATH)


def _rule(request: TriggerRequest) -> dict[str, Any]:
    """From which side the trigger is reached follows from the last price."""
    if len(request.legs) != LEGS_MAX or len(request.trigger_px) != LEGS_MAX:
        raise ValueError(f"{len(request.legs)} legs: Upstox takes one for a position that is held")
    trigger_px = request.trigger_px[0]
    if request.legs[0].px != trigger_px:
        raise ValueError("Upstox places the order of a trigger at the trigger price: give its limit the same")
    if request.last_px <= 0:
        raise ValueError("no last price: the side from which a trigger is reached is not known")
    return {
        "strategy": "ENTRY",
        "trigger_type": "ABOVE" if trigger_px >= request.last_px else "BELOW",
        "trigger_price": float(price_text(trigger_px, request.instrument.scale)),
    }


def parse_triggers(names: Names, body: bytes) -> list[TriggerReport]:
    """The rows of GET /v3/order/gtt; those of other instruments as far as they can be read.

    Raises:
        AnswerError: not a whole list, or a row of ours that cannot be read.
    """
    return _reports(names, rows_of(data_of(body)))


def _reports(names: Names, rows: Iterable[Mapping[str, Any]]) -> list[TriggerReport]:
    found = []
    for row in rows:
        try:
            found.append(_report(names, row))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if names.instrument(str(row.get("instrument_token"))) is not None:
                raise AnswerError(f"trigger row: {type(error).__name__}: {error}") from error
    return found


def parse_update(names: Names, body: bytes) -> TriggerReport | None:
    """A text of the portfolio socket. None: not about a trigger, about one in a foreign instrument that
    cannot be read, or about one that has fired and does not name its order yet.

    Raises:
        AnswerError: unreadable, and of ours.
    """
    row = envelope_of(body)
    if row.get("update_type") != "gtt_order":
        return None
    for found in _reports(names, [row]):
        fired = (rule for rule in rows_of(row["rules"]) if text(rule, "status").upper() == _COMPLETED)
        return None if any(not rule.get("order_id") for rule in fired) else found
    return None


def _report(names: Names, row: Mapping[str, Any]) -> TriggerReport:
    named = names.row(row)
    lot = lot_of(named.instrument) if named.instrument is not None else 1
    quantity = count(row, "quantity") * lot
    if quantity > COUNT_MAX:
        raise ValueError(f"quantity {quantity} does not fit 32 bits")
    product = product_of(row.get("product"), named.exchange)
    rules = rows_of(row["rules"])
    if not rules:
        raise ValueError("a trigger without a rule")
    legs = []
    for rule in rules:
        px = round(price(rule, "trigger_price", named.scale) * named.scale)
        side = Side[rule["transaction_type"]]
        legs.append(TriggerLeg(px, side, product, quantity, px, text(rule, "order_id"), _failed(rule)))
    return TriggerReport(
        trigger_id=text(row, "gtt_order_id", required=True),
        status=" ".join(text(rule, "status", required=True) for rule in rules),
        active=any(waits(rule) for rule in rules),
        token=named.token,
        legs=tuple(legs),
    )


def waits(rule: Mapping[str, Any]) -> bool:
    """Whether a rule of a trigger has neither fired nor ended."""
    return not rule.get("order_id") and text(rule, "status").upper() not in _ENDED


def _failed(rule: Mapping[str, Any]) -> str:
    if text(rule, "status").upper() not in _FAILED:
        return ""
    return text(rule, "message") or "failed"
