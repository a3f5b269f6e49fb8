"""Layer 4, simulator, cold: orders, trades and positions as the rows of Kite's JSON.

The only place where exact integers become decimals: each number is divided once, at the end.
Field names and shapes follow the official mock responses.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Validity
from kite_hft.sim.exchange.account import Account, Position
from kite_hft.sim.exchange.orders import CANCELLED, Order, OrderState, Trade
from kite_hft.units import IST_OFFSET_S, NS_PER_S, value_paise

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
    average = state.filled_units / (state.filled * row.scale) if state.filled else 0
    # A cancelled order's row keeps what was never filled as pending, as in the official mock.
    pending = state.quantity - state.filled if state.status == CANCELLED else state.pending
    return {
        "account_id": user_id,
        "placed_by": order.placed_by or user_id,
        "order_id": order.order_id,
        "exchange_order_id": state.exchange_order_id,
        "parent_order_id": order.parent_id,
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
        "disclosed_quantity": state.disclosed,
        "price": state.px / row.scale,
        "trigger_price": state.trigger_px / row.scale,
        "average_price": average,
        "filled_quantity": state.filled,
        "pending_quantity": pending,
        "cancelled_quantity": state.cancelled,
        "market_protection": 0,
        "auction_number": request.auction_number,
        "meta": {} if order.leg is None else {"iceberg": order.leg._asdict()},
        "tag": order.tag,
        "tags": order.tags,
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


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a position: quantity, value, and value at the close for what was carried in."""

    quantity: int
    paise: int
    marked_paise: int

    def price(self, multiplier: int) -> float:
        return self.paise / (100 * self.quantity * multiplier) if self.quantity else 0


def _sides(position: Position, close_px: int, *, carried: bool) -> tuple[_Side, _Side]:
    """(buys, sells) of the day and, if `carried`, of what was carried in: long as a buy, short as a
    sell, at its own price and (for the mark to market) at yesterday's close."""
    held = position.overnight_quantity if carried else 0
    row = position.instrument
    at_close = value_paise(close_px or position.overnight_px, abs(held), row.multiplier or 1, row.scale)
    cost = abs(position.overnight_paise)
    sides = []
    for quantity, paise, more in (
        (position.buy_quantity, position.buy_paise, max(held, 0)),
        (position.sell_quantity, position.sell_paise, max(-held, 0)),
    ):
        sides.append(_Side(quantity + more, paise + (cost if more else 0), paise + (at_close if more else 0)))
    return sides[0], sides[1]


def position_row(position: Position, last_px: int, close_px: int, *, carried: bool = True) -> dict[str, Any]:
    """One row of the positions: of `net`, or, without what was carried in, of `day`."""
    row, multiplier = position.instrument, position.instrument.multiplier or 1
    buys, sells = _sides(position, close_px, carried=carried)
    day_buys, day_sells = _sides(position, close_px, carried=False)
    net = buys.quantity - sells.quantity
    worth = net * last_px * multiplier / row.scale
    buy_price, sell_price = buys.price(multiplier), sells.price(multiplier)
    pnl = (sells.paise - buys.paise) / 100 + worth
    return {
        "tradingsymbol": row.symbol,
        "exchange": row.exchange,
        "instrument_token": row.token,
        "product": PRODUCTS[position.product],
        "quantity": net,
        "overnight_quantity": position.overnight_quantity if carried else 0,
        "multiplier": multiplier,
        "average_price": buy_price if net > 0 else sell_price if net < 0 else 0,
        "close_price": close_px / row.scale,
        "last_price": last_px / row.scale,
        "value": (sells.paise - buys.paise) / 100,
        "pnl": pnl,
        "m2m": (sells.marked_paise - buys.marked_paise) / 100 + worth,
        "unrealised": pnl,
        "realised": 0,
        "buy_quantity": buys.quantity,
        "buy_price": buy_price,
        "buy_value": buys.paise / 100,
        "buy_m2m": buys.marked_paise / 100,
        "sell_quantity": sells.quantity,
        "sell_price": sell_price,
        "sell_value": sells.paise / 100,
        "sell_m2m": sells.marked_paise / 100,
        "day_buy_quantity": day_buys.quantity,
        "day_buy_price": day_buys.price(multiplier),
        "day_buy_value": day_buys.paise / 100,
        "day_sell_quantity": day_sells.quantity,
        "day_sell_price": day_sells.price(multiplier),
        "day_sell_value": day_sells.paise / 100,
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
