"""Layer 4, simulator, cold: an order at the simulated broker, and every state it has been in.

Statuses are Kite's own labels. An order's history is a list of immutable states; the order book
shows the last one, the order history all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.instruments import Instrument

RECEIVED: Final = "PUT ORDER REQ RECEIVED"
AMO_RECEIVED: Final = "AMO REQ RECEIVED"
VALIDATION_PENDING: Final = "VALIDATION PENDING"
OPEN_PENDING: Final = "OPEN PENDING"
OPEN: Final = "OPEN"
TRIGGER_PENDING: Final = "TRIGGER PENDING"
MODIFY_VALIDATION_PENDING: Final = "MODIFY VALIDATION PENDING"
MODIFY_PENDING: Final = "MODIFY PENDING"
MODIFIED: Final = "MODIFIED"
CANCEL_PENDING: Final = "CANCEL PENDING"
COMPLETE: Final = "COMPLETE"
CANCELLED: Final = "CANCELLED"
REJECTED: Final = "REJECTED"
UPDATE: Final = "UPDATE"
"""A label of order updates only: partial fill, modification, trigger. Never in the order book."""

TERMINAL: Final = frozenset((COMPLETE, CANCELLED, REJECTED))
NOT_YET_OPEN: Final = frozenset((AMO_RECEIVED, RECEIVED, VALIDATION_PENDING, OPEN_PENDING))

REGULAR: Final = "regular"
AMO: Final = "amo"
CO: Final = "co"
ICEBERG: Final = "iceberg"
AUCTION: Final = "auction"
VARIETIES: Final = (REGULAR, AMO, CO, ICEBERG, AUCTION)


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What a client asks for. Prices in the instrument's unit; 0 where there is none.

    `protection_percent`: 0 none given, -1 automatic, else percent of the last price.
    `quantity` of an iceberg is the total; `trigger_px` of a cover order is its second leg's.
    `validity_ttl`: minutes.
    """

    instrument: Instrument
    side: Side
    order_type: OrderType
    product: Product
    quantity: int
    validity: Validity = Validity.DAY
    px: int = 0
    trigger_px: int = 0
    protection_percent: float = 0.0
    tag: str | None = None
    disclosed_quantity: int = 0
    validity_ttl: int = 0
    variety: str = REGULAR
    iceberg_legs: int = 0
    iceberg_quantity: int = 0
    autoslice: bool = False
    algo_id: str | None = None
    auction_number: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A modification: None leaves a field as it is."""

    order_type: OrderType | None = None
    quantity: int | None = None
    px: int | None = None
    trigger_px: int | None = None
    validity: Validity | None = None
    protection_percent: float = 0.0
    disclosed_quantity: int | None = None
    parent_order_id: str | None = None


class OrderState(NamedTuple):
    """One row of an order's history. `filled_units` is the sum of price x quantity, in units."""

    status: str
    at_ns: int
    exchange_ns: int
    exchange_order_id: str | None
    order_type: OrderType
    validity: Validity
    quantity: int
    px: int
    trigger_px: int
    filled: int
    filled_units: int
    cancelled: int
    modified: bool
    message: str | None
    message_raw: str | None
    disclosed: int = 0

    def merged(self, change: Change) -> OrderState:
        """The state with a modification's fields."""
        fields: tuple[tuple[str, Any], ...] = (
            ("order_type", change.order_type),
            ("quantity", change.quantity),
            ("px", change.px),
            ("trigger_px", change.trigger_px),
            ("validity", change.validity),
            ("disclosed", change.disclosed_quantity),
        )
        changed = {name: value for name, value in fields if value is not None}
        return self._replace(modified=True, message=None, message_raw=None, **changed)

    @property
    def pending(self) -> int:
        """What may still fill."""
        return 0 if self.status in TERMINAL else self.quantity - self.filled


class Leg(NamedTuple):
    """Which part of an iceberg an order is, for `meta` of its row."""

    leg: int
    legs: int
    leg_quantity: int
    total_quantity: int
    remaining_quantity: int


@dataclass(slots=True)
class Order:
    """An order and its history. `working`: the exchange has it and may fill it.

    `placed_by` is None for the client's own orders, else the name of who acted for the broker.
    `parent_id`: first leg of a cover order, or first leg of an iceberg.
    """

    order_id: str
    request: NewOrder
    placed_ns: int
    states: list[OrderState]
    tag: str | None = None
    """The client's own; None also where tags are forgotten."""
    marks: list[str] = field(default_factory=list)
    """Tags that the broker adds by himself: market protection, slices."""
    working: bool = False
    triggered: bool = True
    queue_ahead: int | None = None
    """Quantity in front of it at its price; None: its price is not among the displayed levels."""
    reserved_paise: int = 0
    modifications: int = 0
    trade_ids: list[str] = field(default_factory=list)
    parent_id: str | None = None
    placed_by: str | None = None
    leg: Leg | None = None
    leg_of: NewOrder | None = None
    """The whole request of an iceberg, of which this order is one leg."""
    gtt_id: int | None = None
    fee_paise: int = 0

    @property
    def now(self) -> OrderState:
        return self.states[-1]

    @property
    def done(self) -> bool:
        return self.now.status in TERMINAL

    @property
    def tags(self) -> list[str]:
        """All tags: the broker's first, the client's behind them."""
        return [*self.marks, *([] if self.tag is None else [self.tag])]

    @property
    def slot(self) -> int:
        return self.request.instrument.slot

    @property
    def remaining(self) -> int:
        return 0 if self.done else self.now.quantity - self.now.filled

    def priority(self) -> tuple[int, int]:
        """Sort key among the orders of one side: better price first, then the older one."""
        px = self.now.px
        return (-px if self.request.side == Side.BUY else px), self.placed_ns


class Trade(NamedTuple):
    """One execution, price in the instrument's unit."""

    trade_id: str
    order_id: str
    exchange_order_id: str
    instrument: Instrument
    side: Side
    product: Product
    quantity: int
    px: int
    value_paise: int
    at_ns: int


class Refusal(Exception):
    """The request is refused before any order exists or changes: an HTTP error, with proof."""

    def __init__(self, error_type: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.status = status
