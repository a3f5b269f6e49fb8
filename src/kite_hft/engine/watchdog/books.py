"""Layer 5, watchdog, cold: the broker's raw books as positions, orders and triggers.

A reading of its own (Kite's JSON, by msgspec's decoder into its own small structs), apart from the one by
which ORDERS trades: a mistake in one is seen by the other. What is not in a struct is skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from kite_hft.trading.exits.protection import Held, Leg, Resting, Trigger

Body = TypeVar("Body")
Traded = Counter[tuple[str, str]]
"""(EXCHANGE:SYMBOL, BUY or SELL) -> quantity."""


class BadBook(ValueError):
    """A book that cannot be read; the message says where."""


class _Position(msgspec.Struct):
    exchange: str
    tradingsymbol: str
    product: str
    quantity: int
    last_price: float = 0.0
    average_price: float = 0.0
    multiplier: float = 1.0


class _Net(msgspec.Struct):
    net: list[_Position]


class _Positions(msgspec.Struct):
    data: _Net


class _Order(msgspec.Struct):
    order_id: str
    exchange: str
    tradingsymbol: str
    product: str
    transaction_type: str
    order_type: str
    status: str
    quantity: int = 0
    filled_quantity: int = 0
    cancelled_quantity: int = 0


class _Orders(msgspec.Struct):
    data: list[_Order]


class _Trade(msgspec.Struct):
    exchange: str
    tradingsymbol: str
    transaction_type: str
    quantity: int


class _Trades(msgspec.Struct):
    data: list[_Trade]


class _Leg(msgspec.Struct):
    transaction_type: str
    product: str
    quantity: int


class _Condition(msgspec.Struct):
    exchange: str
    tradingsymbol: str
    trigger_values: list[float]
    last_price: float = 0.0


class _Trigger(msgspec.Struct):
    status: str
    condition: _Condition
    orders: list[_Leg]
    type: str = "single"


class _Triggers(msgspec.Struct):
    data: list[_Trigger]


class _Tended(msgspec.Struct):
    order_id: str
    stop: float


_EXITS = msgspec.json.Decoder(list[_Tended])
_POSITIONS = msgspec.json.Decoder(_Positions)
_ORDERS = msgspec.json.Decoder(_Orders)
_TRADES = msgspec.json.Decoder(_Trades)
_TRIGGERS = msgspec.json.Decoder(_Triggers)


def decoded(decoder: msgspec.json.Decoder[Body], what: str, body: bytes) -> Body:
    """The body of a book. Raises BadBook."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadBook(f"{what}: {error}") from None


def positions_of(body: bytes) -> list[Held]:
    """Net positions, closed ones among them.

    Raises:
        BadBook: see the class.
    """
    rows = decoded(_POSITIONS, "positions", body).data.net
    return [
        Held(
            f"{row.exchange}:{row.tradingsymbol}", row.product, row.quantity,
            row.last_price or row.average_price, max(1, round(row.multiplier)),
        )
        for row in rows
    ]  # fmt: skip


def traded_of(body: bytes) -> Traded:
    """What has traded today: when it has changed, so have the positions.

    Raises:
        BadBook: see the class.
    """
    rows = decoded(_TRADES, "trades", body).data
    found: Traded = Counter()
    for row in rows:
        found[f"{row.exchange}:{row.tradingsymbol}", row.transaction_type] += row.quantity
    return found


def orders_of(body: bytes, seen: dict[tuple[str, ...], int], now_ns: int) -> list[Resting]:
    """The orders of the day. seen: when each was first seen in its form; it is kept up here.

    Raises:
        BadBook: see the class.
    """
    rows = decoded(_ORDERS, "orders", body).data
    found: list[Resting] = []
    forms: dict[tuple[str, ...], int] = {}
    for row in rows:
        pending = row.quantity - row.filled_quantity - row.cancelled_quantity
        form = (row.order_id, row.order_type, row.status)
        forms[form] = since_ns = seen.get(form, now_ns)
        found.append(
            Resting(
                f"{row.exchange}:{row.tradingsymbol}", row.product, row.transaction_type, row.order_type,
                row.status, pending, since_ns, row.order_id, filled=row.filled_quantity,
            )
        )  # fmt: skip
    seen.clear()
    seen.update(forms)
    return found


def exits_of(body: bytes) -> dict[str, float]:
    """Orders at their target that ORDERS turns back into stops when the price leaves it -> the stop, rupees.

    Raises:
        BadBook: see the class.
    """
    return {row.order_id: row.stop for row in decoded(_EXITS, "exits", body)}


def triggers_of(body: bytes) -> list[Trigger]:
    """Good-till-triggered orders, whatever became of them.

    Raises:
        BadBook: see the class.
    """
    rows = decoded(_TRIGGERS, "triggers", body).data
    return [
        Trigger(
            f"{row.condition.exchange}:{row.condition.tradingsymbol}", row.status, row.type,
            tuple(row.condition.trigger_values), row.condition.last_price,
            tuple(Leg(leg.transaction_type, leg.product, leg.quantity) for leg in row.orders),
        )
        for row in rows
    ]  # fmt: skip


class Reading(NamedTuple):
    """How a broker's books are read. Each raises BadBook.

    positions(body); orders(body, seen, now_ns); trades(body); triggers(body).
    """

    positions: Callable[[bytes], list[Held]]
    orders: Callable[[bytes, dict[tuple[str, ...], int], int], list[Resting]]
    trades: Callable[[bytes], Traded]
    triggers: Callable[[bytes], list[Trigger]]


KITE: Final = Reading(positions_of, orders_of, traded_of, triggers_of)
