"""Layer 4, simulator, cold: orders, trades and their states as the rows of Upstox's JSON.

The exchange's states are Kite's labels; Upstox has 17 words, in lower case. Some of them tell what
became of a request (`not modified`, `not cancelled`) where the exchange has only what follows.
Field names follow the official client's models and the portfolio feed's documented messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kite_hft.layout import Product
from kite_hft.sessions import ist_text
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.orders import Order, OrderState, Trade
from kite_hft.sim.kite.rows import ORDER_TYPES, VALIDITIES
from kite_hft.sim.market.keys import upstox_lot_of, upstox_symbol_of
from kite_hft.trading.instruments import Instrument

PRODUCT_WORDS: Final = {Product.CNC: "D", Product.NRML: "D", Product.MIS: "I", Product.MTF: "MTF"}
EXCHANGE_WORDS: Final = {"NCO": "NSCOM"}
"""Where Upstox's exchange is not called as Kite's."""
_STATUS_WORDS: Final = {
    o.RECEIVED: "put order req received",
    o.AMO_RECEIVED: "after market order req received",
    o.VALIDATION_PENDING: "validation pending",
    o.OPEN_PENDING: "open pending",
    o.OPEN: "open",
    o.TRIGGER_PENDING: "trigger pending",
    o.MODIFY_VALIDATION_PENDING: "modify validation pending",
    o.MODIFY_PENDING: "modify pending",
    o.MODIFIED: "modified",
    o.CANCEL_PENDING: "cancel pending",
    o.COMPLETE: "complete",
    o.CANCELLED: "cancelled",
    o.REJECTED: "rejected",
}
NOT_MODIFIED: Final = "not modified"
NOT_CANCELLED: Final = "not cancelled"
AMO_MODIFIED: Final = "modify after market order req received"
AMO_CANCELLED: Final = "cancelled after market order"
STATUSES: Final = frozenset(
    (*_STATUS_WORDS.values(), NOT_MODIFIED, NOT_CANCELLED, AMO_MODIFIED, AMO_CANCELLED)
)
"""All 17."""

_DETAILS: Final = (
    "exchange", "price", "product", "quantity", "status", "tag", "validity", "average_price",
    "disclosed_quantity", "exchange_order_id", "exchange_timestamp", "instrument_token", "is_amo",
    "status_message", "order_id", "order_request_id", "order_type", "parent_order_id", "tradingsymbol",
    "trading_symbol", "order_timestamp", "filled_quantity", "transaction_type", "trigger_price", "placed_by",
    "variety",
)  # fmt: skip
"""Fields of one order's details and history (OrderData); the book has some more."""


def exchange_word(row: Instrument) -> str:
    """Upstox's name of an instrument's exchange."""
    return EXCHANGE_WORDS.get(row.exchange, row.exchange)


def told_states(order: Order) -> list[tuple[str, OrderState]]:
    """(status word, state) of all that is told of an order, oldest first; it only ever grows."""
    told: list[tuple[str, OrderState]] = []
    before = ""
    for state in order.states:
        word = _STATUS_WORDS[state.status]
        if state.status == o.AMO_RECEIVED and before == o.AMO_RECEIVED:
            word = AMO_MODIFIED
        elif state.status == o.CANCELLED and before == o.AMO_RECEIVED:
            word = AMO_CANCELLED
        elif before == o.MODIFY_PENDING and state.status != o.MODIFIED:
            told.append((NOT_MODIFIED, state))
        elif before == o.CANCEL_PENDING and state.status not in (o.CANCELLED, o.CANCEL_PENDING):
            told.append((NOT_CANCELLED, state))
        told.append((word, state))
        before = state.status
    return told


def book_row(order: Order, user_id: str) -> dict[str, Any]:
    """An order of the day's book: its last state."""
    word, state = told_states(order)[-1]
    return order_row(order, word, state, user_id)


def order_row(order: Order, word: str, state: OrderState, user_id: str) -> dict[str, Any]:
    """One state of an order (OrderBookData)."""
    request, row = order.request, order.request.instrument
    symbol, lot = upstox_symbol_of(row), upstox_lot_of(row)
    average = state.filled_units / (state.filled * row.scale) if state.filled else 0.0
    return {
        "exchange": exchange_word(row),
        "product": PRODUCT_WORDS[request.product],
        "price": state.px / row.scale,
        "quantity": state.quantity // lot,
        "status": word,
        "guid": None,
        "tag": order.tag,
        "instrument_token": row.upstox_key,
        "placed_by": order.placed_by or user_id,
        "tradingsymbol": symbol,
        "trading_symbol": symbol,
        "order_type": ORDER_TYPES[state.order_type],
        "validity": VALIDITIES[state.validity],
        "trigger_price": state.trigger_px / row.scale,
        "disclosed_quantity": state.disclosed // lot,
        "transaction_type": request.side.name,
        "average_price": average,
        "filled_quantity": state.filled // lot,
        "pending_quantity": (state.quantity - state.filled) // lot,
        "status_message": state.message or "",
        "status_message_raw": state.message_raw,
        "exchange_order_id": state.exchange_order_id or "",
        "parent_order_id": order.parent_id,
        "order_id": order.order_id,
        "variety": "AMO" if request.variety == o.AMO else "SIMPLE",
        "order_timestamp": ist_text(order.placed_ns),
        "exchange_timestamp": ist_text(state.exchange_ns) if state.exchange_ns else None,
        "is_amo": request.variety == o.AMO,
        "order_request_id": str(1 + order.modifications),
        "order_ref_id": f"1{order.order_id[6:]:0>13}",
    }


def details_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that details and history show of a row."""
    return {name: row[name] for name in _DETAILS}


def history_rows(order: Order, user_id: str) -> list[dict[str, Any]]:
    """All states of an order, oldest first, each with its own time."""
    rows = []
    for word, state in told_states(order):
        row = order_row(order, word, state, user_id) | {"order_timestamp": ist_text(state.at_ns)}
        rows.append(details_row(row))
    return rows


def update_row(order: Order, word: str, state: OrderState, user_id: str) -> dict[str, Any]:
    """One state of an order as the portfolio feed tells it."""
    row = order_row(order, word, state, user_id)
    return row | {
        "update_type": "order",
        "user_id": user_id,
        "userId": user_id,
        "instrument_key": row["instrument_token"],
    }


def trade_row(trade: Trade, order: Order) -> dict[str, Any]:
    """One trade (TradeData)."""
    row, stamp = trade.instrument, ist_text(trade.at_ns)
    symbol = upstox_symbol_of(row)
    return {
        "exchange": exchange_word(row),
        "product": PRODUCT_WORDS[trade.product],
        "tradingsymbol": symbol,
        "trading_symbol": symbol,
        "instrument_token": row.upstox_key,
        "order_type": ORDER_TYPES[order.request.order_type],
        "transaction_type": trade.side.name,
        "quantity": trade.quantity // upstox_lot_of(row),
        "exchange_order_id": trade.exchange_order_id,
        "order_id": trade.order_id,
        "exchange_timestamp": stamp,
        "average_price": trade.px / row.scale,
        "trade_id": trade.trade_id,
        "order_ref_id": f"1{trade.order_id[6:]:0>13}",
        "order_timestamp": ist_text(order.placed_ns),
    }
