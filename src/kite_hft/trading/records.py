"""Layer 2, orders process, hot: an order's story as events, journal payloads and rows for people.

Pure translations from Book's objects; the stage decides when.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from kite_hft import _journal
from kite_hft.layout import (
    ORDER_EVENT,
    EventKind,
    OrderStatus,
    OrderType,
    Product,
    Reason,
    Side,
)
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.order import Change, Order
from kite_hft.trading.positions import divide_half_even, paise_of_units
from kite_hft.units import price_text, rupees_text

encode_json: Final = msgspec.json.Encoder().encode

UNPROVEN: Final = frozenset({OrderStatus.SENT, OrderStatus.AMBIGUOUS, OrderStatus.ABSENT})
_NOT_THERE: Final = UNPROVEN | {OrderStatus.REJECTED, OrderStatus.REFUSED}
KNOWN_GOOD: Final = WORKING | {OrderStatus.COMPLETE, OrderStatus.CANCELLED}
_END_EVENT: Final = {
    OrderStatus.SENT: EventKind.SENT,
    OrderStatus.COMPLETE: EventKind.COMPLETE,
    OrderStatus.CANCELLED: EventKind.CANCELLED,
    OrderStatus.REJECTED: EventKind.REJECTED,
    OrderStatus.ABSENT: EventKind.REJECTED,
    OrderStatus.REFUSED: EventKind.REFUSED,
    OrderStatus.AMBIGUOUS: EventKind.AMBIGUOUS,
}


def accepted(change: Change) -> bool:
    """The broker has the order, and we did not know before."""
    return change.status_changed and change.before in _NOT_THERE and change.order.status in KNOWN_GOOD


def event_kinds(change: Change) -> list[EventKind]:
    """What a strategy is told of a change, in order: acceptance, fill, end or update."""
    kinds: list[EventKind] = []
    if accepted(change):
        kinds.append(EventKind.ACCEPTED)
    if change.fill_quantity:
        kinds.append(EventKind.FILL)
    end = _END_EVENT.get(change.order.status) if change.status_changed else None
    if end is not None:
        kinds.append(end)
    elif (change.status_changed and not kinds) or change.terms:
        kinds.append(EventKind.UPDATED)
    return kinds


def order_event(
    kind: EventKind, change: Change, reason: Reason, position: int, instrument: Instrument, now_ns: int
) -> npt.NDArray[np.void]:
    """One ORDER_EVENT record (array of 1). `position`: net quantity after the change.

    An acceptance never says that the order has ended, though both may be heard of at once: its fill and its
    end are told behind it, and a strategy that forgot the order at its end would miss them.
    """
    order = change.order
    ended_at_once = kind is EventKind.ACCEPTED and order.status in TERMINAL
    event = np.zeros(1, ORDER_EVENT)
    fill = change.fill_quantity if kind is EventKind.FILL else 0
    event[0] = (
        0,
        now_ns,
        order.strategy_seq,
        order.order_no,
        position,
        paise_of_units(order.filled_units, instrument),
        order.slot,
        order.strategy,
        reason,
        kind,
        OrderStatus.OPEN if ended_at_once else order.status,
        order.side,
        order.product,
        order.order_type,
        (0, 0, 0),
        order.quantity,
        order.filled,
        order.pending,
        fill,
        divide_half_even(change.fill_units, fill) if fill else 0,
        order.px,
        (0, 0, 0, 0, 0),
    )
    return event


def snapshot_event(
    order: Order, reason: Reason, position: int, instrument: Instrument, now_ns: int
) -> npt.NDArray[np.void]:
    """One SNAPSHOT (array of 1): an order as it stands, whatever was told of it before."""
    return order_event(EventKind.SNAPSHOT, Change(order, order.status), reason, position, instrument, now_ns)


def position_event(
    strategy: int, slot: int, product: int, position: int, now_ns: int
) -> npt.NDArray[np.void]:
    """One SNAPSHOT (array of 1) of a position alone: strategy_seq and order_no are 0."""
    event = np.zeros(1, ORDER_EVENT)
    row = event[0]
    row["event_ns"], row["position"], row["slot"], row["strategy"] = now_ns, position, slot, strategy
    row["kind"], row["product"] = EventKind.SNAPSHOT, product
    return event


def refusal_event(intent: Intent, reason: Reason, position: int, now_ns: int) -> npt.NDArray[np.void]:
    """The ORDER_EVENT (array of 1) of an intent that was refused before it became anything."""
    event = np.zeros(1, ORDER_EVENT)
    row = event[0]
    row["event_ns"], row["strategy_seq"], row["position"] = now_ns, intent.strategy_seq, position
    row["slot"], row["strategy"], row["reason"] = intent.slot, intent.strategy, reason
    row["kind"], row["status"], row["side"] = EventKind.REFUSED, OrderStatus.REFUSED, intent.side
    row["product"], row["order_type"] = intent.product, intent.order_type
    row["qty"], row["px"] = intent.qty, intent.px
    return event


def intent_words(order: Order, token: int, judged: tuple[int, int, int]) -> bytes:
    """The payload of a journal record INTENT: all that finds the order again, and what it was judged by."""
    words = {
        "no": order.order_no,
        "strategy": order.strategy,
        "seq": order.strategy_seq,
        "slot": order.slot,
        "token": token,
        "side": order.side,
        "type": order.order_type,
        "product": order.product,
        "validity": order.validity,
        "flags": order.flags,
        "qty": order.quantity,
        "px": order.px,
        "trigger_px": order.trigger_px,
        "tag": order.tag,
        "opening": order.opening,
        "parent": order.parent,
        "created_ns": order.created_ns,
        "ref_px": judged[0],
        "tick_seq": judged[1],
        "tick_age_ns": judged[2],
    }
    return encode_json(words)


intent_payload: Final = _journal.IntentPayload(intent_words)
"""`intent_words`, compiled (ext/journal.pyx): each order waits for it."""


ORDER_COLUMNS: Final = (
    "order_no",
    "time_ns",
    "strategy",
    "strategy_seq",
    "instrument",
    "side",
    "type",
    "product",
    "quantity",
    "price",
    "filled",
    "average_price",
    "status",
    "reason",
    "order_id",
    "tag",
    "message",
    "charges",
)
"""Columns of orders.csv: an order when it ended, or as it stood when the engine stopped.

charges: rupees, of the whole order (costs.Charges)."""

TRADE_COLUMNS: Final = (
    "time_ns",
    "order_no",
    "order_id",
    "strategy",
    "instrument",
    "side",
    "product",
    "quantity",
    "price",
    "value",
    "position",
    "charges",
)
"""Columns of trades.csv: a fill as it was accounted; a correction of value has quantity 0.

charges: rupees, what the order costs more for this fill."""


def name_of(words: type[Side] | type[OrderType] | type[Product], value: int) -> str:
    """The name of an enum value; the number itself when it has none."""
    try:
        return words(value).name
    except ValueError:
        return str(value)


def order_row(
    order: Order, reason: str, instrument: Instrument, real_ns: int, charges_paise: int
) -> dict[str, Any]:
    """One row of orders.csv, keyed by ORDER_COLUMNS."""
    scale = instrument.scale
    average = divide_half_even(order.filled_units, order.filled) if order.filled else 0
    return {
        "order_no": order.order_no,
        "time_ns": real_ns,
        "strategy": order.strategy,
        "strategy_seq": order.strategy_seq,
        "instrument": instrument.key,
        "side": name_of(Side, order.side),
        "type": name_of(OrderType, order.order_type),
        "product": name_of(Product, order.product),
        "quantity": order.quantity,
        "price": price_text(order.px, scale),
        "filled": order.filled,
        "average_price": price_text(average, scale),
        "status": order.status.name,
        "reason": reason,
        "order_id": order.order_id,
        "tag": order.tag,
        "message": order.message,
        "charges": rupees_text(charges_paise),
    }


def trade_row(
    change: Change, position: int, instrument: Instrument, real_ns: int, charges_paise: int
) -> dict[str, Any]:
    """One row of trades.csv, keyed by TRADE_COLUMNS."""
    order = change.order
    quantity = change.fill_quantity
    px = divide_half_even(change.fill_units, quantity) if quantity else 0
    return {
        "time_ns": real_ns,
        "order_no": order.order_no,
        "order_id": order.order_id,
        "strategy": order.strategy,
        "instrument": instrument.key,
        "side": name_of(Side, order.side),
        "product": name_of(Product, order.product),
        "quantity": quantity,
        "price": price_text(px, instrument.scale),
        "value": rupees_text(paise_of_units(change.fill_units, instrument)),
        "position": position,
        "charges": rupees_text(charges_paise),
    }
