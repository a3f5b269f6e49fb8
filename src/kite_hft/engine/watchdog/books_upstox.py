"""Layer 5, watchdog, cold: Upstox's raw books as positions, orders and triggers.

A reading of its own, like the one of Kite's (books.py), apart from the one by which ORDERS trades. It is told
what each instrument key is called, and how many of our units one of the wire's is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from kite_hft.engine.watchdog.books import Reading, Traded, decoded
from kite_hft.trading.exits.protection import ACTIVE, Held, Leg, Resting, Trigger

Called = Mapping[str, Sequence[str | int]]
"""Instrument key -> [EXCHANGE:SYMBOL, our units in one of the wire's, multiplier]."""

_CASH: Final = frozenset({"NSE", "BSE"})
_OVER: Final = frozenset({"COMPLETED", "CANCELLED", "EXPIRED", "FAILED", "REJECTED"})
_ENDED_WORDS: Final = {"cancelled after market order": "CANCELLED AMO"}


class _Row(msgspec.Struct):
    instrument_token: str
    product: str
    exchange: str = ""
    trading_symbol: str | None = None
    quantity: int = 0


class _Trade(msgspec.Struct):
    quantity: int
    instrument_token: str | None = None
    exchange: str | None = None
    trading_symbol: str | None = None
    transaction_type: str | None = None


class _Trades(msgspec.Struct):
    data: list[_Trade]


class _Position(_Row):
    last_price: float | None = None
    average_price: float | None = None
    multiplier: float | None = None


class _Positions(msgspec.Struct):
    data: list[_Position]


class _Order(_Row, kw_only=True):
    order_id: str
    transaction_type: str
    order_type: str
    status: str
    filled_quantity: int = 0


class _Orders(msgspec.Struct):
    data: list[_Order]


class _Rule(msgspec.Struct):
    strategy: str
    status: str
    trigger_type: str
    trigger_price: float
    transaction_type: str
    order_id: str | None = None


class _Gtt(_Row, kw_only=True):
    rules: list[_Rule]


class _Gtts(msgspec.Struct):
    data: list[_Gtt]


_POSITIONS = msgspec.json.Decoder(_Positions)
_ORDERS = msgspec.json.Decoder(_Orders)
_TRADES = msgspec.json.Decoder(_Trades)
_GTTS = msgspec.json.Decoder(_Gtts)


def reading_of(called: Called) -> Reading:
    """The reading of a run's instruments; others keep the broker's names."""
    return Reading(
        partial(positions_of, called),
        partial(orders_of, called),
        partial(traded_of, called),
        partial(triggers_of, called),
    )


def _called(called: Called, row: _Row | _Trade) -> tuple[str, int]:
    """(EXCHANGE:SYMBOL, our units in one of the wire's)."""
    found = called.get(row.instrument_token or "")
    if found:
        return str(found[0]), int(found[1])
    return f"{row.exchange}:{row.trading_symbol or row.instrument_token}", 1


def _named(called: Called, row: _Row) -> tuple[str, str, int]:
    """(EXCHANGE:SYMBOL, product, our units in one of the wire's)."""
    name, units = _called(called, row)
    delivered = "CNC" if name.partition(":")[0] in _CASH else "NRML"
    return name, {"I": "MIS", "D": delivered}.get(row.product, row.product), units


def positions_of(called: Called, body: bytes) -> list[Held]:
    """Net positions, closed ones among them. Raises BadBook."""
    found = []
    for row in decoded(_POSITIONS, "positions", body).data:
        name, product, units = _named(called, row)
        known = called.get(row.instrument_token)
        multiplier = int(known[2]) if known else max(1, round(row.multiplier or 1))
        price = row.last_price or row.average_price or 0.0
        found.append(Held(name, product, row.quantity * units, price, multiplier))
    return found


def orders_of(called: Called, body: bytes, seen: dict[tuple[str, ...], int], now_ns: int) -> list[Resting]:
    """The orders of the day in the words of trading/exits/protection.py. seen: as in books.py. Raises
    BadBook."""
    found: list[Resting] = []
    forms: dict[tuple[str, ...], int] = {}
    for row in decoded(_ORDERS, "orders", body).data:
        name, product, units = _named(called, row)
        status = _ENDED_WORDS.get(row.status, row.status.upper())
        form = (row.order_id, row.order_type, status)
        forms[form] = since_ns = seen.get(form, now_ns)
        pending = (row.quantity - row.filled_quantity) * units
        words = (name, product, row.transaction_type, row.order_type, status, pending, since_ns)
        found.append(Resting(*words, row.order_id, filled=row.filled_quantity * units))
    seen.clear()
    seen.update(forms)
    return found


def traded_of(called: Called, body: bytes) -> Traded:
    """What has traded today, in our units. Raises BadBook."""
    found: Traded = Counter()
    for row in decoded(_TRADES, "trades", body).data:
        name, units = _called(called, row)
        found[name, row.transaction_type or ""] += row.quantity * units
    return found


def triggers_of(called: Called, body: bytes) -> list[Trigger]:
    """Rules that wait, each as a trigger of its own; target and stop of a bracket wait for its entry first.

    A rule does not tell the price at which it was made, only from which side it is reached: a price on that
    side stands for it. Raises BadBook.
    """
    found = []
    for row in decoded(_GTTS, "triggers", body).data:
        name, product, units = _named(called, row)
        entered = all(_over(rule) for rule in row.rules if rule.strategy == "ENTRY")
        for rule in row.rules:
            if _over(rule) or not (entered or rule.strategy == "ENTRY"):
                continue
            value = rule.trigger_price
            last = value + 1 if _from_above(rule) else value - 1
            leg = Leg(rule.transaction_type, product, row.quantity * units)
            found.append(Trigger(name, ACTIVE, "single", (value,), last, (leg,)))
    return found


def _over(rule: _Rule) -> bool:
    return bool(rule.order_id) or rule.status.upper() in _OVER


def _from_above(rule: _Rule) -> bool:
    if rule.strategy == "ENTRY":
        return rule.trigger_type == "BELOW"
    return (rule.strategy == "STOPLOSS") == (rule.transaction_type == "SELL")
