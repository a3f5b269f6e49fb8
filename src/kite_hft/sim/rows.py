"""Layer 4, simulator, cold: orders, trades and positions as the rows of Kite's JSON.

The only place where exact integers become decimals: each number is divided once, at the end.
Field names and shapes follow the official mock responses.
"""

from __future__ import annotations

import time
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Validity
from kite_hft.sim.account import Account, Position
from kite_hft.sim.orders import Order, OrderState, Trade
from kite_hft.units import IST_OFFSET_S, NS_PER_S

ORDER_TYPES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.SL: "SL",
    OrderType.SLM: "SL-M",
}
PRODUCTS: Final = {p: p.name for p in Product}
VALIDITIES: Final = {v: v.name for v in Validity}


def ist_text(ns: int) -> str | None:
    """Epoch ns as Kite prints times: IST, whole seconds, no zone. 0 is None."""
    if not ns:
        return None
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ns // NS_PER_S + IST_OFFSET_S))


def date_digits(ns: int) -> str:
    """yymmdd in IST: how order ids begin."""
    return time.strftime("%y%m%d", time.gmtime(ns // NS_PER_S + IST_OFFSET_S))


def order_row(order: Order, state: OrderState, user_id: str) -> dict[str, Any]:
    """One row of the order book or of an order's history."""
    request, row = order.request, order.request.instrument
    own = [tag for tag in order.tags if not tag.startswith("mktp")]
    average = state.filled_units / (state.filled * row.scale) if state.filled else 0
    return {
        "account_id": user_id,
        "placed_by": user_id,
        "order_id": order.order_id,
        "exchange_order_id": state.exchange_order_id,
        "parent_order_id": None,
        "status": state.status,
        "status_message": state.message,
        "status_message_raw": state.message_raw,
        "order_timestamp": ist_text(state.at_ns),
        "exchange_update_timestamp": ist_text(state.exchange_ns),
        "exchange_timestamp": ist_text(state.exchange_ns),
        "variety": request.variety,
        "modified": state.modified,
        "exchange": row.exchange,
        "tradingsymbol": row.symbol,
        "instrument_token": row.token,
        "order_type": ORDER_TYPES[state.order_type],
        "transaction_type": request.side.name,
        "validity": VALIDITIES[state.validity],
        "validity_ttl": request.validity_ttl,
        "product": PRODUCTS[request.product],
        "quantity": state.quantity,
        "disclosed_quantity": request.disclosed_quantity,
        "price": state.px / row.scale,
        "trigger_price": state.trigger_px / row.scale,
        "average_price": average,
        "filled_quantity": state.filled,
        "pending_quantity": state.pending,
        "cancelled_quantity": state.cancelled,
        "market_protection": 0,
        "auction_number": None,
        "meta": {},
        "tag": own[0] if own else None,
        "tags": list(order.tags),
        "guid": None,
    }


def trade_row(trade: Trade) -> dict[str, Any]:
    """One row of the trade book."""
    row, stamp = trade.instrument, ist_text(trade.at_ns) or ""
    return {
        "trade_id": trade.trade_id,
        "order_id": trade.order_id,
        "exchange": row.exchange,
        "tradingsymbol": row.symbol,
        "instrument_token": row.token,
        "product": PRODUCTS[trade.product],
        "average_price": trade.px / row.scale,
        "quantity": trade.quantity,
        "exchange_order_id": trade.exchange_order_id,
        "transaction_type": trade.side.name,
        "fill_timestamp": stamp,
        "order_timestamp": stamp[11:],
        "exchange_timestamp": stamp,
    }


def position_row(position: Position, last_px: int, close_px: int) -> dict[str, Any]:
    """One row of the positions: all of it is from today, nothing was carried overnight."""
    row = position.instrument
    scale, multiplier, net = row.scale, row.multiplier or 1, position.net
    buy_value, sell_value = position.buy_paise / 100, position.sell_paise / 100
    buy_price = position.buy_units / (position.buy_quantity * scale) if position.buy_quantity else 0
    sell_price = position.sell_units / (position.sell_quantity * scale) if position.sell_quantity else 0
    value_paise = position.sell_paise - position.buy_paise
    pnl = value_paise / 100 + net * last_px * multiplier / scale
    average = buy_price if net > 0 else sell_price if net < 0 else 0
    return {
        "tradingsymbol": row.symbol,
        "exchange": row.exchange,
        "instrument_token": row.token,
        "product": PRODUCTS[position.product],
        "quantity": net,
        "overnight_quantity": 0,
        "multiplier": multiplier,
        "average_price": average,
        "close_price": close_px / scale,
        "last_price": last_px / scale,
        "value": value_paise / 100,
        "pnl": pnl,
        "m2m": pnl,
        "unrealised": pnl,
        "realised": 0,
        "buy_quantity": position.buy_quantity,
        "buy_price": buy_price,
        "buy_value": buy_value,
        "buy_m2m": buy_value,
        "sell_quantity": position.sell_quantity,
        "sell_price": sell_price,
        "sell_value": sell_value,
        "sell_m2m": sell_value,
        "day_buy_quantity": position.buy_quantity,
        "day_buy_price": buy_price,
        "day_buy_value": buy_value,
        "day_sell_quantity": position.sell_quantity,
        "day_sell_price": sell_price,
        "day_sell_value": sell_value,
    }


def margins_row(account: Account) -> dict[str, Any]:
    """The equity segment of the margins call; commodity shares the one pot of cash."""
    cash, opening = account.cash_paise / 100, account.opening_paise / 100
    free = account.available_paise / 100
    used = (account.opening_paise - account.available_paise) / 100
    available = {
        "adhoc_margin": 0,
        "cash": cash,
        "opening_balance": opening,
        "live_balance": free,
        "collateral": 0,
        "intraday_payin": 0,
    }
    utilised = dict.fromkeys(
        (
            "debits", "exposure", "m2m_realised", "m2m_unrealised", "option_premium", "payout", "span",
            "holding_sales", "turnover", "liquid_collateral", "stock_collateral", "delivery",
        ),
        0.0,
    )  # fmt: skip
    return {
        "enabled": True,
        "net": free,
        "available": available,
        "utilised": utilised | {"debits": used},
    }
