"""Layer 2, orders process, hot: Upstox's orders, executions and positions as our reports.

Rows name instruments by key. One about an instrument outside the run's table is reported as far as it can
be read; one of ours that cannot be read makes the whole answer unreadable, for it would prove an absence.
There is no cancelled quantity on the wire: of a cancelled or rejected order it is what has not filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.calls import ORDER_TYPE_OF
from kite_hft.brokers.upstox.keys import Named, Names, product_of
from kite_hft.brokers.upstox.status import ENDED, status_of
from kite_hft.brokers.values import (
    COUNT_MAX,
    AnswerError,
    average,
    count,
    envelope_of,
    price,
    rows_of,
    text,
    whole,
)
from kite_hft.layout import OrderStatus, Side
from kite_hft.trading.broker import OrderReport, PositionReport, TradeReport

R = TypeVar("R")
_MONTHS: Final = {
    name: f"{number:02d}"
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_UNREADABLE: Final = (KeyError, TypeError, ValueError, OverflowError)


def parse_orders(names: Names, body: bytes) -> list[OrderReport]:
    """The rows of GET /v2/order/retrieve-all.

    Raises:
        AnswerError: not a whole, readable book. Such a read proves nothing about absence.
    """
    return [order_of(names, row) for row in rows_of(data_of(body))]


def parse_update(names: Names, body: bytes) -> OrderReport | None:
    """A text frame of the portfolio socket, or a webhook's call: the bare row. None: not about an order.

    Raises:
        AnswerError: unreadable.
    """
    row = envelope_of(body)
    if not row:
        raise AnswerError(f"no JSON object: {body[:200]!r}")
    if row.get("update_type", "order") != "order":
        return None
    return order_of(names, row)


def order_of(names: Names, row: Mapping[str, Any]) -> OrderReport:
    """One row. Raises AnswerError."""
    try:
        named = names.row(row)
        try:
            return _order(row, named)
        except _UNREADABLE:
            if named.instrument is not None:
                raise
            return _order(_FOREIGN | {key: row[key] for key in _FOREIGN_KEYS if key in row}, named)
    except _UNREADABLE as error:
        raise AnswerError(f"order row: {type(error).__name__}: {error}") from error


_FOREIGN: Final[dict[str, Any]] = {"quantity": 0}
_FOREIGN_KEYS: Final = ("order_id", "status", "transaction_type", "tag", "status_message", "placed_by")
"""What is told of an order in a foreign instrument whose numbers we cannot hold."""


def _order(row: Mapping[str, Any], named: Named) -> OrderReport:
    exchange, symbol, token, scale, lot, _ = named
    label = text(row, "status", required=True)
    status = status_of(label)
    quantity, filled = _units(row, "quantity", lot), _units(row, "filled_quantity", lot)
    ended = status in ENDED
    pending = max(0, quantity - filled) if row.get("pending_quantity") is None else None
    return OrderReport(
        order_id=text(row, "order_id", required=True),
        status=status,
        status_text=label,
        message=text(row, "status_message") or text(row, "status_message_raw"),
        exchange=exchange,
        symbol=symbol,
        token=token,
        side=Side[row["transaction_type"]],
        order_type=ORDER_TYPE_OF.get(row.get("order_type") or ""),
        product=product_of(row.get("product"), exchange),
        quantity=quantity,
        filled_quantity=filled,
        pending_quantity=0 if ended else _units(row, "pending_quantity", lot) if pending is None else pending,
        cancelled_quantity=max(0, quantity - filled) if ended and status is not OrderStatus.COMPLETE else 0,
        average_price=average(row, "average_price", scale, filled),
        px=round(price(row, "price", scale) * scale),
        trigger_px=round(price(row, "trigger_price", scale) * scale),
        tags=(text(row, "tag"),) if row.get("tag") else (),
        parent_order_id=text(row, "parent_order_id"),
        order_timestamp=time_text(row, "order_timestamp"),
        exchange_timestamp=time_text(row, "exchange_timestamp"),
        placed_by=text(row, "placed_by"),
        account=text(row, "user_id"),
    )


def _units(row: Mapping[str, Any], key: str, lot: int) -> int:
    """A count of the wire in our units."""
    units = count(row, key) * lot
    if units > COUNT_MAX:
        raise ValueError(f"{key} {units} does not fit 32 bits")
    return units


def time_text(row: Mapping[str, Any], key: str) -> str:
    """`YYYY-MM-DD HH:MM:SS` (IST), also where the broker writes `03-Aug-2017 15:03:42`."""
    found = text(row, key)
    day, _, time = found.partition(" ")
    parts = day.split("-")
    if len(parts) == 3 and parts[1] in _MONTHS:
        return f"{parts[2]}-{_MONTHS[parts[1]]}-{parts[0].zfill(2)} {time}"
    return found


def _known_only(
    names: Names, rows: Iterable[Mapping[str, Any]], read: Callable[[Mapping[str, Any], Named], R], what: str
) -> list[R]:
    """Reports of rows; a foreign one that cannot be read is left out.

    Raises:
        AnswerError: one of ours cannot be read, or one does not say what it is about.
    """
    found = []
    for row in rows:
        try:
            named = names.row(row)
            try:
                found.append(read(row, named))
            except _UNREADABLE:
                if named.instrument is not None:
                    raise
        except _UNREADABLE as error:
            raise AnswerError(f"{what} row: {type(error).__name__}: {error}") from error
    return found


def parse_trades(names: Names, body: bytes) -> list[TradeReport]:
    """The rows of GET /v2/order/trades/get-trades-for-day. Raises AnswerError."""
    return _known_only(names, rows_of(data_of(body)), _trade, "trade")


def _trade(row: Mapping[str, Any], named: Named) -> TradeReport:
    quantity = _units(row, "quantity", named.lot)
    return TradeReport(
        trade_id=text(row, "trade_id", required=True),
        order_id=text(row, "order_id", required=True),
        exchange=named.exchange,
        symbol=named.symbol,
        token=named.token,
        side=Side[row["transaction_type"]],
        product=product_of(row.get("product"), named.exchange),
        quantity=quantity,
        average_price=average(row, "average_price", named.scale, quantity),
        fill_timestamp=time_text(row, "exchange_timestamp") or time_text(row, "order_timestamp"),
    )


def parse_positions(names: Names, body: bytes) -> list[PositionReport]:
    """The rows of GET /v2/portfolio/short-term-positions: net, by instrument and product. Raises AnswerError.

    Carried MTF positions are not among them (GET /v3/portfolio/mtf-positions).
    """
    return _known_only(names, rows_of(data_of(body)), _position, "position")


def _position(row: Mapping[str, Any], named: Named) -> PositionReport:
    lot, instrument = named.lot, named.instrument
    quantity = whole(whole(row["quantity"]) * lot)
    bought, sold = _units(row, "day_buy_quantity", lot), _units(row, "day_sell_quantity", lot)
    multiplier = instrument.multiplier if instrument is not None else None
    return PositionReport(
        exchange=named.exchange,
        symbol=named.symbol,
        token=named.token,
        product=product_of(row.get("product"), named.exchange),
        quantity=quantity,
        average_price=_held_at(row, named.scale, quantity),
        buy_quantity=bought + _units(row, "overnight_buy_quantity", lot),
        sell_quantity=sold + _units(row, "overnight_sell_quantity", lot),
        buy_value=float(row.get("buy_value") or 0),
        sell_value=float(row.get("sell_value") or 0),
        multiplier=multiplier or whole(row.get("multiplier") or 1),
        overnight_quantity=_carried(
            whole(whole(row.get("overnight_quantity") or 0) * lot), quantity, bought - sold
        ),
    )


def _held_at(row: Mapping[str, Any], scale: int, quantity: int) -> float:
    """Of what was traded today the broker may leave the average out: then it is that of its side."""
    side = "buy_price" if quantity > 0 else "sell_price"
    unsaid = quantity and not row.get("average_price")
    return average(row, side if unsaid else "average_price", scale, quantity)


def _carried(shown: int, quantity: int, today: int) -> int:
    """What was carried in, signed. Of a short the broker may print it without its sign: then only the other
    sign adds up with what was traded today."""
    return -shown if shown + today != quantity == today - shown else shown
