"""Layer 2, orders process, cold: the words between the order stage and every broker adapter.

A broker is a folder of pure functions between its bytes and these records, plus a table of its
limits. Nothing here opens a socket or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.instruments import Instrument


class HttpRequest(NamedTuple):
    """One call, without host and credentials: the transport adds both."""

    method: str
    path: str  # with query
    body: bytes = b""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer. Times are CLOCK_MONOTONIC ns."""

    status: int
    body: bytes
    sent_ns: int = 0
    received_ns: int = 0


@dataclass(frozen=True, slots=True)
class TransportError:
    """No answer. `sent` False proves that no byte of the request left the machine."""

    reason: str
    sent: bool
    at_ns: int = 0


class OrderRequest(NamedTuple):
    """What is to be placed, in engine terms. Prices in the instrument's unit."""

    instrument: Instrument
    side: Side
    order_type: OrderType
    product: Product
    validity: Validity
    quantity: int
    px: int = 0
    trigger_px: int = 0
    protection_percent: float = -1.0  # MARKET and SL-M; -1: the broker's automatic band
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker named the order."""

    order_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Proof that no order came of it."""

    error_type: str
    message: str
    http_status: int = 0


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Neither: the order may live. Look it up, never send it again."""

    why: str


Outcome = Confirmed | Refused | Ambiguous


@dataclass(frozen=True, slots=True)
class OrderReport:
    """One row of the broker's order book, or one order update; times as the broker prints them.

    None stands for a word that says nothing to us: a status label such as `UPDATE`, a product or
    an order type that the engine does not trade.
    """

    order_id: str
    status: OrderStatus | None
    status_text: str
    message: str
    exchange: str
    symbol: str
    token: int
    side: Side
    order_type: OrderType | None
    product: Product | None
    quantity: int
    filled_quantity: int
    pending_quantity: int
    cancelled_quantity: int
    average_price: float
    px: int
    trigger_px: int
    tags: tuple[str, ...] = ()
    parent_order_id: str = ""
    order_timestamp: str = ""
    exchange_timestamp: str = ""
    placed_by: str = ""


@dataclass(frozen=True, slots=True)
class TradeReport:
    """One execution."""

    trade_id: str
    order_id: str
    exchange: str
    symbol: str
    token: int
    side: Side
    product: Product | None
    quantity: int
    average_price: float
    fill_timestamp: str = ""


@dataclass(frozen=True, slots=True)
class PositionReport:
    """Net position of one (instrument, product) at the broker; quantity is signed."""

    exchange: str
    symbol: str
    token: int
    product: Product | None
    quantity: int
    average_price: float
    buy_quantity: int
    sell_quantity: int
    buy_value: float
    sell_value: float
    multiplier: int = 1


@dataclass(frozen=True, slots=True)
class RateWindow:
    """At most `calls` in any `window_s` seconds, the last `reserved` of them for exits and cancels."""

    calls: int
    window_s: float
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """A broker's limits, loaded from config/rules (dated): never constants in code."""

    name: str
    valid_from: str
    order_windows: tuple[RateWindow, ...]
    orders_per_day: int
    entry_share_of_day: float
    modifications_per_order: int
    other_windows: tuple[RateWindow, ...] = ()
    tag_length_max: int = 20
    cooldown_after_429_s: float = 10.0
    cooldown_urgent_gap_s: float = 1.0
    instruments_per_connection: int = 3000
    connections: int = 3
    loopback_only: bool = False  # no broker's limits: for load tests against this machine
    extras: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broker:
    """An adapter: all that differs between brokers, as functions and data."""

    name: str
    place: Callable[[OrderRequest], HttpRequest]
    modify: Callable[[str, Instrument, int, int, int], HttpRequest]
    cancel: Callable[[str], HttpRequest]
    order_book: Callable[[], HttpRequest]
    trade_book: Callable[[], HttpRequest]
    positions: Callable[[], HttpRequest]
    margins: Callable[[], HttpRequest]
    parse_outcome: Callable[[HttpResponse], Outcome]
    parse_orders: Callable[[bytes], list[OrderReport]]
    parse_trades: Callable[[bytes], list[TradeReport]]
    parse_positions: Callable[[bytes], list[PositionReport]]
    parse_cash_paise: Callable[[bytes], int]
    parse_update: Callable[[bytes], OrderReport | None]
    auth_headers: Callable[[str, str], list[tuple[str, str]]]
