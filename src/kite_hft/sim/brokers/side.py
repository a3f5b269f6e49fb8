"""Layer 4, campaigns and tests, cold: what a campaign must know of a broker, as data and functions.

The order path is the same for every broker. What differs (words on the wire, rows of the books, answers that
a fault puts in place of his own, triggers) stands in one `BrokerSide` for each: brokers/kite.py and
brokers/upstox.py here. The wire is read without the adapter's code, so that a mistake there is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

from kite_hft.layout import Product
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Order, Trade
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.market.source import Ticks
from kite_hft.sim.rest import Query, Response
from kite_hft.sim.server.stream import Stream
from kite_hft.trading.broker import Broker, HttpRequest
from kite_hft.trading.feed_words import FeedWords
from kite_hft.trading.instruments import InstrumentTable

SIDES: Final = {"BUY": 1, "SELL": 2}
TYPES: Final = {"MARKET": 1, "LIMIT": 2, "SL": 3, "SL-M": 4}
PLACE: Final = "place"
MODIFY: Final = "modify"
CANCEL: Final = "cancel"
TRIGGER: Final = "trigger"
"""Kinds of a Call; "" is a read."""
API_KEY: Final = "key"
TOKEN: Final = "token"
PROOFS: Final = ("refused", "token", "limited", "missing", "permission")
"""A plain refusal; a dead token; too many calls; no such order; the machine or the app may not trade."""
Terms = tuple[int, int, int, int]
"""(side, quantity, price, trigger price) of one leg of a trigger; prices in units."""


class Call(NamedTuple):
    """One request as the wire has it. kind: above. method: of a trigger's call: POST, PUT or DELETE.

    side, product, order_type: numbers of layout.py. Prices in units. legs: of a trigger.
    """

    kind: str
    method: str
    order_id: str = ""
    tag: str = ""
    slot: int = -1
    side: int = 0
    product: int = 0
    order_type: int = 0
    quantity: int = 0
    px: int = 0
    trigger_px: int = 0
    legs: tuple[Terms, ...] = ()


class Update(NamedTuple):
    """One update as it leaves the broker. order_id: ""; it tells of a trigger."""

    order_id: str
    tag: str
    frame: bytes


class Quota(Protocol):
    """What a simulator counts requests with."""

    def allows(self, kind: str, now_ns: int) -> bool: ...


class Api(Protocol):
    """A simulated broker without a socket."""

    exchange: Exchange

    @property
    def quota(self) -> Quota: ...

    def handle(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes, now_ns: int
    ) -> Response: ...

    def authorised(self, api_key: str, access_token: str) -> bool: ...

    def kill_token(self, now_ns: int) -> None: ...

    def new_token(self, now_ns: int) -> str: ...

    def step(self, now_ns: int) -> None: ...


@dataclass(frozen=True, slots=True)
class BrokerSide:
    """One broker.

    rules: file of config/rules with his limits. table: gives instruments the names that he knows them by.
    broker: the adapter. make_api(exchange, unlimited): his simulator; the one token is TOKEN.
    take(api, ticks, now_ns): the market moves. read(request, table): a request as the wire has it.
    updates(api): order updates since the last call. order_row, trade_row: rows of the books as objects.
    orders_path, trades_path, positions_path, triggers_path: reads of the books. answers: fault or cause ->
    (status, body) in his words. ambiguous: further answers to a placement that
    prove nothing: name, answer, ns until it comes. placed_id(body): the order of a confirmed placement.
    trigger_number(body): of a confirmed trigger; trigger_id(row): of a row of the list.
    trigger_of(api, order): which trigger has placed an order, 0 or "": none has. waits(api, number): it
    waits still. trigger_quantities(api, number): of its legs. position_rows(told): rows of the answer to
    `positions_path`; position_of(row, table): (slot, product) of one.
    words, updates_words: of his websockets (market data; order updates). stream(table): what the simulator
    keeps of one connection for market data. master_path, parse_master: his list
    of instruments. proofs: refusals that prove that nothing came of a call: name, answer, what it is: one of
    PROOFS. carried: product of a position in shares that was carried in, other than a holding.
    own: limits of config/rules/market_*.yaml that are others with him.
    closed: exchange -> why no order goes there through his API. stands_for: fault kind -> what it is with
    him, where that is another thing than its name says. without: fault kind -> why it has no meaning here.
    """

    name: str
    rules: str
    table: Callable[[InstrumentTable], InstrumentTable]
    broker: Callable[[InstrumentTable], Broker]
    make_api: Callable[[Exchange, bool], Any]
    take: Callable[[Any, Ticks, int], None]
    read: Callable[[HttpRequest, InstrumentTable], Call]
    updates: Callable[[Any], list[Update]]
    order_row: Callable[[Order], Mapping[str, Any]]
    trade_row: Callable[[Trade, Order], Mapping[str, Any]]
    orders_path: str
    trades_path: str
    positions_path: str
    triggers_path: str
    answers: Mapping[str, tuple[int, bytes]]
    ambiguous: tuple[tuple[str, tuple[int, bytes], int], ...]
    placed_id: Callable[[Any], str]
    trigger_number: Callable[[Any], int | str]
    trigger_id: Callable[[Mapping[str, Any]], int | str]
    trigger_of: Callable[[Any, Order], int | str]
    waits: Callable[[Any, int | str], bool]
    trigger_quantities: Callable[[Any, int | str], list[int]]
    position_rows: Callable[[Any], list[dict[str, Any]]]
    position_of: Callable[[Mapping[str, Any], InstrumentTable], tuple[int, int]]
    words: Callable[[InstrumentTable], FeedWords]
    updates_words: Callable[[InstrumentTable], FeedWords]
    stream: Callable[[InstrumentTable], Stream]
    master_path: str
    parse_master: Callable[[bytes], InstrumentTable]
    proofs: tuple[tuple[str, tuple[int, bytes], str], ...]
    carried: Product = Product.NRML
    own: Mapping[str, Any] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    stands_for: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)

    def params(self, given: ExchangeParams | None = None) -> ExchangeParams:
        """Knobs of an exchange that this broker stands before."""
        found = given or ExchangeParams()
        if not self.own:
            return found
        market = replace(found.market, limits={**found.market.limits, **self.own})
        return replace(found, market=market, orders_per_day=0)

    def headers(self, broker: Broker, token: str) -> dict[str, str]:
        """What the transport adds to a call, as a server sees it."""
        return {name.lower(): value for name, value in broker.auth_headers(API_KEY, token)}

    def ask(self, api: Any, broker: Broker, request: HttpRequest, token: str, now_ns: int) -> Response:
        """The broker's answer to a request."""
        path, _, query = request.path.partition("?")
        headers = self.headers(broker, token)
        found: Response = api.handle(
            request.method, path, parse_qsl(query) if query else [], headers, request.body, now_ns
        )
        return found
