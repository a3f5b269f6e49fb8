"""Layer 6, campaigns, cold: mistakes in what an adapter reads: books, updates, positions, holdings, funds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import Broker, OrderReport
from kite_hft.verify.brokers.mutants import Change, Changed


def _rows(name: str, change: Callable[[Any], Any]) -> Change:
    """Each row of what `parse_NAME` gives, changed; one that becomes None is left out."""

    def make(right: Broker) -> Changed:
        parse = getattr(right, name)

        def wrong(body: bytes) -> Any:
            found = (change(row) for row in parse(body))
            return [row for row in found if row is not None]

        return {name: wrong}

    return make


def _orders(change: Callable[[OrderReport], OrderReport]) -> Change:
    """The book and the updates alike: an adapter reads both by one function."""

    def make(right: Broker) -> Changed:
        def update(body: bytes) -> OrderReport | None:
            found = right.parse_update(body)
            return None if found is None else change(found)

        return _rows("parse_orders", change)(right) | {"parse_update": update}

    return make


def _set(**fields: Any) -> Callable[[Any], Any]:
    """The row with other fields; a function is given the row."""

    def change(row: Any) -> Any:
        new = {name: value(row) if callable(value) else value for name, value in fields.items()}
        return row._replace(**new) if hasattr(row, "_replace") else replace(row, **new)

    return change


def _when(condition: Callable[[Any], bool], change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda row: change(row) if condition(row) else row


def _status(one: OrderStatus, other: OrderStatus | None) -> Change:
    return _orders(_when(lambda row: row.status is one, _set(status=other)))


READ: Final[Mapping[str, Change]] = {
    "rejected orders are cancelled ones": _status(OrderStatus.REJECTED, OrderStatus.CANCELLED),
    "cancelled orders are rejected ones": _status(OrderStatus.CANCELLED, OrderStatus.REJECTED),
    "an order that waits for its trigger is open": _status(OrderStatus.TRIGGER_PENDING, OrderStatus.OPEN),
    "the word for complete is not known": _status(OrderStatus.COMPLETE, None),
    "an open order is still on its way": _status(OrderStatus.OPEN, OrderStatus.PENDING),
    "order: the quantity is what has filled": _orders(_set(quantity=lambda r: r.filled_quantity)),
    "order: nothing has filled": _orders(_set(filled_quantity=0)),
    "order: all has filled": _orders(_set(filled_quantity=lambda r: r.quantity)),
    "order: what is pending is the whole": _orders(_set(pending_quantity=lambda r: r.quantity)),
    "order: nothing is pending": _orders(_set(pending_quantity=0)),
    "order: nothing was cancelled": _orders(_set(cancelled_quantity=0)),
    "order: all was cancelled": _orders(_set(cancelled_quantity=lambda r: r.quantity)),
    "order: no average": _orders(_set(average_price=0.0)),
    "order: the average is its limit": _orders(_set(average_price=lambda r: float(r.px) / 100)),
    "order: no limit": _orders(_set(px=0)),
    "order: the limit in rupees": _orders(_set(px=lambda r: r.px // 100)),
    "order: no trigger price": _orders(_set(trigger_px=0)),
    "order: limit for trigger price": _orders(_set(trigger_px=lambda r: r.px)),
    "order: no tag": _orders(_set(tags=())),
    "order: the other side": _orders(_set(side=lambda r: _other(r.side))),
    "order: intraday is delivery": _orders(
        _when(lambda r: r.product is Product.MIS, _set(product=Product.CNC))
    ),
    "order: carried derivatives are delivered shares": _orders(
        _when(lambda r: r.product is Product.NRML, _set(product=Product.CNC))
    ),
    "order: no product": _orders(_set(product=None)),
    "order: every order is a limit order": _orders(_set(order_type=OrderType.LIMIT)),
    "order: a stop at market is a stop with limit": _orders(
        _when(lambda r: r.order_type is OrderType.SLM, _set(order_type=OrderType.SL))
    ),
    "order: no instrument": _orders(_set(token=0)),
    "order: the exchange of the shares": _orders(_set(exchange="NSE")),
    "order: no symbol": _orders(_set(symbol="")),
    "order: why it was rejected is left out": _orders(_set(message="")),
    "order: when it was placed is left out": _orders(_set(order_timestamp="")),
    "order: when the exchange took it is left out": _orders(_set(exchange_timestamp="")),
    "the book is read to its last order but one": lambda right: {
        "parse_orders": lambda body: right.parse_orders(body)[:-1]
    },
    "the book holds what works alone": _rows(
        "parse_orders",
        _when(lambda r: r.status in (OrderStatus.COMPLETE, OrderStatus.CANCELLED), lambda r: None),
    ),
    "updates tell of what has ended alone": lambda right: {
        "parse_update": lambda body: _ended_alone(right.parse_update(body))
    },
    "trades: the other side": _rows("parse_trades", _set(side=lambda r: _other(r.side))),
    "trades: no price": _rows("parse_trades", _set(average_price=0.0)),
    "trades: a price in paise": _rows("parse_trades", _set(average_price=lambda r: 100 * r.average_price)),
    "trades: no product": _rows("parse_trades", _set(product=None)),
    "trades: no time": _rows("parse_trades", _set(fill_timestamp="")),
    "trades: the order's number for the trade's": _rows("parse_trades", _set(trade_id=lambda r: r.order_id)),
    "trades: another exchange": _rows("parse_trades", _set(exchange="NSE")),
    "positions: without their sign": _rows("parse_positions", _set(quantity=lambda r: abs(r.quantity))),
    "positions: no price": _rows("parse_positions", _set(average_price=0.0)),
    "positions: bought and sold swapped": _rows(
        "parse_positions",
        _set(buy_quantity=lambda r: r.sell_quantity, sell_quantity=lambda r: r.buy_quantity),
    ),
    "positions: values swapped": _rows(
        "parse_positions", _set(buy_value=lambda r: r.sell_value, sell_value=lambda r: r.buy_value)
    ),
    "positions: nothing was carried in": _rows("parse_positions", _set(overnight_quantity=0)),
    "positions: without the multiplier": _rows("parse_positions", _set(multiplier=1)),
    "positions: no product": _rows("parse_positions", _set(product=None)),
    "positions: flat ones are left out": _rows(
        "parse_positions", _when(lambda r: not r.quantity, lambda r: None)
    ),
    "positions: another exchange": _rows("parse_positions", _set(exchange="NSE")),
    "holdings: what was sold today is left out": _rows("parse_holdings", _set(used=0)),
    "holdings: what is on its way is left out": _rows("parse_holdings", _set(t1=0)),
}


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def _ended_alone(report: OrderReport | None) -> OrderReport | None:
    ended = (OrderStatus.COMPLETE, OrderStatus.CANCELLED, OrderStatus.REJECTED)
    return report if report is None or report.status in ended else None


def _funds(**fields: Callable[[Any], int]) -> Change:
    def make(right: Broker) -> Changed:
        def wrong(body: bytes) -> Any:
            found = right.parse_funds(body)
            return found._replace(**{name: value(found) for name, value in fields.items()})

        return {"parse_funds": wrong}

    return make


def _bands(change: Callable[[int, int], tuple[int, int]]) -> Change:
    def make(right: Broker) -> Changed:
        def wrong(body: bytes, scales: Mapping[str, int]) -> Any:
            return {key: change(*band) for key, band in right.parse_bands(body, scales).items()}

        return {"parse_bands": wrong}

    return make


def _margin(right: Broker) -> Changed:
    def wrong(body: bytes) -> Any:
        found = right.parse_basket_margin(body)
        return replace(found, initial_paise=found.final_paise, final_paise=found.initial_paise)

    return {"parse_basket_margin": wrong}


ACCOUNT: Final[Mapping[str, Change]] = {
    "funds: in rupees": _funds(net_paise=lambda f: f.net_paise // 100),
    "funds: what is used is left out": _funds(used_paise=lambda f: 0),
    "funds: those of the morning": _funds(net_paise=lambda f: f.opening_paise),
    "funds: no opening balance": _funds(opening_paise=lambda f: 0),
    "bands: upper for lower": _bands(lambda low, high: (high, high)),
    "bands: upper and lower swapped": _bands(lambda low, high: (high, low)),
    "bands: in rupees": _bands(lambda low, high: (low // 100, high // 100)),
    "margins: as a whole and one by one swapped": _margin,
}
