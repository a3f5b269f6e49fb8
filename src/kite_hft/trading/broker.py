"""Layer 2, orders process, cold: the words between the order stage and every broker adapter.

A broker is a folder of pure functions between its bytes and these records, plus a table of its
limits. Nothing here opens a socket or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.polling import PollShare


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
    """No answer. `sent` False proves that no byte of the request left the machine. withheld: it was not to
    leave any more, which is no failure of the host.
    """

    reason: str
    sent: bool
    at_ns: int = 0
    withheld: bool = False


AUTOMATIC_BAND: Final = -1.0
"""As a protection of MARKET and SL-M orders: the band is the broker's to choose."""


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
    protection_percent: float = AUTOMATIC_BAND  # of MARKET and SL-M
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker named the order."""

    order_id: str


TOKEN_DEAD: Final = "TokenException"
NOT_PERMITTED: Final = "PermissionException"
NO_SUCH_ORDER: Final = "NoSuchOrder"
"""Words of Refused.error_type that mean something to the order stage: the session has ended; the machine or
the app may not trade; the call named an order that is not there, which proves nothing of a placement."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Proof that no order came of it. error_type: one of the words above, or the broker's own."""

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
    account: str = ""  # whose order it is, where the broker says so


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
    overnight_quantity: int = 0  # what was carried in; signed


class HoldingReport(NamedTuple):
    """Shares in the account. settled, t1: as carried in over night; used: sold of them today, and what sales
    at work have still to sell (Broker.used_with_open).
    """

    key: str  # EXCHANGE:SYMBOL
    settled: int
    t1: int
    used: int
    authorised: int  # may leave the account today


COMMODITY_EXCHANGES: Final = frozenset({"MCX", "NCO"})
"""Paid for out of the commodity segment's funds."""


class Funds(NamedTuple):
    """The account's money in paise, each view as the broker prints it: they are not one another's sum.

    net: what new orders may use, margins and collateral counted in. cash: money alone, as it stood
    after the trades. live: cash that is free now. collateral: what pledged holdings lend. All of equity and
    derivatives; commodity: net of the commodity segment, a purse of its own, None: there is one for all.
    """

    net_paise: int
    cash_paise: int
    live_paise: int
    opening_paise: int
    collateral_paise: int
    used_paise: int
    commodity_paise: int | None = None

    def free_paise(self, exchange: str) -> int:
        """What new orders on an exchange may use."""
        apart = self.commodity_paise is not None and exchange in COMMODITY_EXCHANGES
        return self.commodity_paise or 0 if apart else self.net_paise


class TriggerRequest(NamedTuple):
    """A trigger that is to lie at the broker: one leg, or two of which the lower one comes first.

    `legs[i]` is placed when the price reaches `trigger_px[i]`; `last_px`: the last price as we see it.
    """

    instrument: Instrument
    trigger_px: tuple[int, ...]
    last_px: int
    legs: tuple[OrderRequest, ...]


@dataclass(frozen=True, slots=True)
class TriggerLeg:
    """One order of a trigger; `order_id` is set once it was placed, `failed` says why it was not."""

    trigger_px: int
    side: Side
    product: Product | None
    quantity: int
    px: int
    order_id: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """One row of the broker's list of triggers. `active`: it still waits; `status`: the broker's word."""

    trigger_id: str
    status: str
    active: bool
    token: int
    legs: tuple[TriggerLeg, ...]

    @property
    def placed(self) -> TriggerLeg | None:
        """The leg that has placed its order."""
        return next((leg for leg in self.legs if leg.order_id and not leg.failed), None)


@dataclass(frozen=True, slots=True)
class RateWindow:
    """At most `calls` in any `window_s` seconds, the last `reserved` of them for exits and cancels.

    reads: so many of them may be reads of the broker's books; 0: as many as are not reserved.
    """

    calls: int
    window_s: float
    reserved: int = 0
    reads: int = 0


@dataclass(frozen=True, slots=True)
class Conduct:
    """Where a contract or a strategy becomes noise to the exchange; 0: never.

    A ratio is messages (orders, modifications, cancels) to trades; it counts from `messages_min` on.
    """

    messages_min: int = 0
    ratio_warn: float = 0.0
    ratio_stop: float = 0.0
    modifications_warn: int = 0
    modifications_stop: int = 0


@dataclass(frozen=True, slots=True)
class ProofTimes:
    """When the broker is asked whether he takes order calls from here (sending/address.py).

    at_s: seconds of the day in India, besides the start; None: at the start alone. wait_s: so long is the
    start held up for the answer. tries: so often in a row, as long as answers prove nothing. pause_s,
    pause_max_s: between two, doubled each time.
    """

    at_s: int | None
    wait_s: float
    tries: int
    pause_s: float
    pause_max_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """A broker's limits, loaded from config/rules (dated): never constants in code.

    order_windows, other_windows, quote_windows, historical_windows: by kind of call. all_windows: every
    call counts in them. orders_per_day: placements. read_wait_s: a read is kept waiting so long at most
    while order calls take every place. address_proof: None: the broker is never asked. polling: of a feed
    that asks for prices by HTTP; None: there can be none. triggers_are_orders: placing, changing and deleting
    a trigger are order calls; else they count among the other calls. quotes_are_reads: quotes count in
    other_windows, with the books; else in windows of their own.
    """

    name: str
    valid_from: str
    order_windows: tuple[RateWindow, ...]
    orders_per_day: int
    entry_share_of_day: float
    modifications_per_order: int
    all_windows: tuple[RateWindow, ...] = ()
    other_windows: tuple[RateWindow, ...] = ()
    quote_windows: tuple[RateWindow, ...] = ()
    historical_windows: tuple[RateWindow, ...] = ()
    read_wait_s: float = 2.5
    per_contract: Conduct = Conduct()
    per_strategy: Conduct = Conduct()
    tag_length_max: int = 20
    cooldown_after_429_s: float = 10.0
    cooldown_urgent_gap_s: float = 1.0
    instruments_per_connection: int = 3000
    connections: int = 3
    address_proof: ProofTimes | None = None
    polling: PollShare | None = None
    triggers_are_orders: bool = False
    quotes_are_reads: bool = False
    loopback_only: bool = False  # no broker's limits: for load tests against this machine
    extras: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BasketMargin:
    """Paise that a basket of orders takes: `initial` one by one, `final` as a whole."""

    initial_paise: int
    final_paise: int


@dataclass(frozen=True, slots=True)
class Broker:
    """An adapter: all that differs between brokers, as functions and data.

    modify takes order id, instrument, quantity, price, trigger price, order type, protection percent. Of
    these 0 leaves a term as it is; with modify_whole price, trigger price and type are given always.
    trigger_legs_max: legs of one trigger; 0: the broker takes none. trigger_limit_apart: a leg's limit may
    lie elsewhere than its trigger price. order_paths: calls whose path begins so go to the broker's host
    for orders, where it has one. protection_percent: (least, most) that MARKET and SL-M orders may ask for.
    catch_all: business refusals (an order type that is not taken) come under a code that proves nothing.
    no_order: the id of an order that cannot exist; "": nothing tells whether the address is taken.
    register_at: where a person registers the address of this machine. used_with_open: of holdings he counts
    as used also what sales at work have still to sell. parse_trigger_update: of a text that is no order
    update: what it tells of a trigger; None: nothing. lists_fired: the list of triggers shows those that
    have fired, too.
    """

    name: str
    place: Callable[[OrderRequest], HttpRequest]
    modify: Callable[[str, Instrument, int, int, int, int, float], HttpRequest]
    cancel: Callable[[str], HttpRequest]
    order_book: Callable[[], HttpRequest]
    trade_book: Callable[[], HttpRequest]
    positions: Callable[[], HttpRequest]
    margins: Callable[[], HttpRequest]
    parse_outcome: Callable[[HttpResponse], Outcome]
    parse_orders: Callable[[bytes], list[OrderReport]]
    parse_trades: Callable[[bytes], list[TradeReport]]
    parse_positions: Callable[[bytes], list[PositionReport]]
    parse_funds: Callable[[bytes], Funds]
    parse_update: Callable[[bytes], OrderReport | None]
    auth_headers: Callable[[str, str], list[tuple[str, str]]]
    trigger_place: Callable[[TriggerRequest], HttpRequest]
    trigger_modify: Callable[[str, TriggerRequest], HttpRequest]
    trigger_delete: Callable[[str], HttpRequest]
    triggers: Callable[[], HttpRequest]
    parse_trigger_outcome: Callable[[HttpResponse], Outcome]
    parse_triggers: Callable[[bytes], list[TriggerReport]]
    quotes: Callable[[Sequence[str]], HttpRequest]
    parse_bands: Callable[[bytes, Mapping[str, int]], dict[str, tuple[int, int]]]
    holdings: Callable[[], HttpRequest]
    parse_holdings: Callable[[bytes], list[HoldingReport]]
    basket_margin: Callable[[Sequence[OrderRequest]], HttpRequest]
    parse_basket_margin: Callable[[bytes], BasketMargin]
    modify_whole: bool = False
    trigger_legs_max: int = 2
    trigger_limit_apart: bool = True
    order_paths: tuple[str, ...] = ()
    protection_percent: tuple[float, float] = (0.0, 100.0)
    catch_all: bool = False
    used_with_open: bool = False
    no_order: str = ""
    register_at: str = ""
    parse_trigger_update: Callable[[bytes], TriggerReport | None] = lambda body: None
    lists_fired: bool = True
