"""Layer 4, simulator, cold: Upstox's REST API v2 and v3 over an Exchange, without a socket.

`UpstoxApi.handle` turns one request into one response; who calls it says what time it is. In this
order a request is checked: path, method, token, rate limit; of order calls the address, the algorithm
and the service hours; parameters. One host takes all paths: api, the low-latency host of orders, and
the instrument files. In sandbox mode there are seven calls, which answer with ids and do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.kite.candles import Candles, odd_days
from kite_hft.sim.market.source import Ticks
from kite_hft.sim.rest import Call, Query, Response, Route, RouteTable
from kite_hft.sim.upstox.answers import (
    BAD_ALGORITHM,
    BAD_TOKEN,
    NO_METHOD,
    NO_ROUTE,
    NO_STATIC_IP,
    ORDERS_CLOSED,
    READS_ALONE,
    TOO_MANY,
    WRONG_IP,
    error,
    refused,
    success,
)
from kite_hft.sim.upstox.bulk import BulkDesk
from kite_hft.sim.upstox.candles import CandlesDesk
from kite_hft.sim.upstox.feeds import FeedDoors
from kite_hft.sim.upstox.funds import FundsDesk
from kite_hft.sim.upstox.gtt import GttDesk
from kite_hft.sim.upstox.history import HistoryDesk
from kite_hft.sim.upstox.hours import Segments
from kite_hft.sim.upstox.instruments import InstrumentFiles, MasterRows
from kite_hft.sim.upstox.kill_switch import KillSwitch
from kite_hft.sim.upstox.market import MarketDesk
from kite_hft.sim.upstox.not_built import not_built_routes
from kite_hft.sim.upstox.options import OptionsDesk
from kite_hft.sim.upstox.order_rows import book_row, trade_row
from kite_hft.sim.upstox.orders import OrdersDesk, outside_service
from kite_hft.sim.upstox.portfolio import PortfolioDesk, position_row
from kite_hft.sim.upstox.quota import BROKER_LIMITS, ORDER, REGISTERED_LIMITS, UNNAMED, Quota, Windows
from kite_hft.sim.upstox.quotes import QuotesDesk
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.sim.upstox.search import SearchDesk
from kite_hft.sim.upstox.session import Credentials, SessionDesk, bearer
from kite_hft.sim.upstox.updates import Updates

LOOPBACK: Final = "127.0.0.1"
OF_THE_ACCOUNT: Final = (
    "/v2/order",
    "/v3/order",
    "/v2/portfolio",
    "/v3/portfolio",
    "/v2/user",
    "/v3/user",
    "/v2/charges/historical",
)
"""Reads of the account, not of the market."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms the one user trades.

    limits: by kind of request; quota.NO_LIMITS for load tests. suspension_s: how long a kind stays
    refused after 429. allowed_ips None: order calls from any address. algo_name: of the one algorithm that
    is registered with the exchange (50 orders a second); "": there is none, and any name is refused. plus:
    Upstox Plus.
    redirect_code: 302 (docs) or 307 (seen) of the feeds' first address.
    """

    limits: Mapping[str, Windows] | None = None
    suspension_s: float = 5.0
    allowed_ips: Collection[str] | None = None
    algo_name: str = ""
    plus: bool = False
    sandbox: bool = False
    redirect_code: int = 302
    seed: int = 0


class UpstoxApi:
    """The REST API of one exchange."""

    def __init__(
        self,
        exchange: Exchange,
        credentials: Credentials,
        rows: FeedRows | None = None,
        terms: Terms | None = None,
        candles: Candles | None = None,
    ) -> None:
        """`rows`: makes the content of quotes and frames, and sees the market before it is asked."""
        self.exchange = exchange
        self.credentials = credentials
        self.terms = terms or Terms()
        self.rows = rows or FeedRows(exchange.instruments)
        own_limits = REGISTERED_LIMITS if self.terms.algo_name else BROKER_LIMITS
        limits = own_limits if self.terms.limits is None else self.terms.limits
        self.quota = Quota(limits, self.terms.suspension_s)
        self.session = SessionDesk(credentials, self.terms.allowed_ips, sandbox=self.terms.sandbox)
        self.segments = Segments(exchange.conditions)
        self.doors = FeedDoors(self.session, self.terms.redirect_code, self.terms.plus)
        cas = frozenset(row.slot for row in exchange.instruments if exchange.conditions.is_cas(row.slot))
        self.candles = candles or Candles(
            exchange.instruments, self.terms.seed, odd_days(exchange.params.calendar), cas
        )
        switch = KillSwitch(exchange, self.session)
        user_id = credentials.user_id
        self.orders = OrdersDesk(
            exchange, user_id, self.terms.seed, switch.blocked, sandbox=self.terms.sandbox
        )
        bulk = BulkDesk(self.orders, lambda n, now_ns: self.quota.allows(ORDER, now_ns, n))
        self.gtts = GttDesk(exchange, self.orders)
        self.updates = Updates(exchange, self.gtts.book, user_id)
        routes: list[Route] = [*self.orders.routes(), *bulk.routes()]
        if not self.terms.sandbox:
            bars = CandlesDesk(exchange, self.candles)
            files = MasterRows(exchange.instruments, exchange.params.market, cas)
            routes += [
                *self.gtts.routes(),
                *self.session.routes(),
                *self.doors.routes(),
                *switch.routes(),
                *PortfolioDesk(exchange).routes(),
                *FundsDesk(exchange).routes(),
                *MarketDesk(exchange, self.segments).routes(),
                *QuotesDesk(exchange, self.rows, bars).routes(),
                *bars.routes(),
                *InstrumentFiles(files).routes(),
                *OptionsDesk(exchange, self.rows, files).routes(),
                *SearchDesk(files).routes(),
                *HistoryDesk(exchange).routes(),
                *not_built_routes(),
            ]
        self._routes = RouteTable(routes)

    # -- tokens

    def authorised(self, api_key: str, access_token: str) -> bool:
        """Whether this token opens the feeds; the key is not looked at."""
        return self.session.authorised(access_token) or self.session.may_read(access_token)

    def kill_token(self, now_ns: int) -> None:
        """The access token dies now: 401 until the next login."""
        self.session.kill(now_ns)

    def new_token(self, now_ns: int) -> str:
        """A login by hand: the access token that holds from now on."""
        return self.session.renew(now_ns)

    def app(self, now_ns: int) -> Mapping[str, str]:
        """What a registered app has in hand after its user's login."""
        return self.session.app(now_ns)

    @property
    def refusals(self) -> Mapping[str, int]:
        """Requests refused for their number, by kind."""
        return self.quota.refusals

    # -- time and market

    def on_ticks(self, ticks: Ticks, now_ns: int) -> None:
        """The market moves: exchange, candles and GTTs see it. The rows must not change later."""
        self.take(ticks, now_ns)
        self.candles.on_ticks(self.exchange.overlay(ticks))

    def take(self, ticks: Ticks, now_ns: int) -> None:
        """As on_ticks, without candles: for floods."""
        self.exchange.on_ticks(ticks, now_ns)
        if watched := self.gtts.book.watched():
            for i in np.flatnonzero(np.isin(ticks["slot"], list(watched))).tolist():
                slot = int(ticks["slot"][i])
                if self.exchange.conditions.mode(slot) == "continuous":
                    self.gtts.book.on_last(slot, int(ticks["last_px"][i]), now_ns)
        self.session.step(now_ns)

    def step(self, now_ns: int) -> None:
        """Time passes: orders move on, the token may die."""
        self.exchange.step(now_ns)
        self.session.step(now_ns)

    def account(self) -> dict[str, object]:
        """The one client's account at this moment: exact integers beside the API's rows."""
        exchange, user = self.exchange, self.credentials.user_id
        account = exchange.account
        return {
            "orders": [book_row(order, user) for order in exchange.orders.values()],
            "trades": [
                trade_row(t, exchange.orders[t.order_id])
                | {"value_paise": t.value_paise, "price_units": t.px}
                for t in account.trades
            ],
            "positions": [position_row(exchange, p) for p in account.positions.values()],
            "cash_paise": account.cash_paise,
            "opening_paise": account.opening_paise,
        }

    # -- requests

    def handle(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes,
        now_ns: int,
        remote: str = LOOPBACK,
    ) -> Response:
        """Answer one request. `query`: decoded pairs; `headers`: lower-case names; `now_ns`: epoch;
        `remote`: the caller's address."""
        self.step(now_ns)
        parts = [part for part in path.split("/") if part]
        try:
            found = self._routes.find(method, parts)
        except LookupError:
            return error(*NO_ROUTE)
        if found is None:
            return error(*NO_METHOD)
        route, args = found
        shut = None if route.open else self._token_refusal(method, path, headers, route, remote)
        if shut is not None:
            return error(*shut)
        kinds = [route.kind]
        if route.kind == ORDER and not headers.get("x-algo-name"):
            kinds.append(UNNAMED)
        if not all(self.quota.allows(kind, now_ns) for kind in kinds):
            return error(*TOO_MANY)
        shut = self._order_refusal(headers, remote, now_ns) if route.fixed_ip else None
        if shut is not None:
            return error(*shut)
        return _answer(route.answer, Call(args, query, headers, body, now_ns, remote))

    def _token_refusal(
        self, method: str, path: str, headers: Mapping[str, str], route: Route, remote: str
    ) -> tuple[str, str, int] | None:
        """Why a token opens nothing here. That for analytics reads the market from anywhere, and the account
        from a registered address."""
        token, ips = bearer(headers), self.session.ips
        if self.session.authorised(token):
            return None
        if self.session.is_outdated(token) and route.fixed_ip:
            return "UDAPI1154", WRONG_IP.format(remote), 403
        if not self.session.may_read(token) or self.terms.sandbox:
            return BAD_TOKEN
        if method != "GET":
            return READS_ALONE
        if ips.checked and path.startswith(OF_THE_ACCOUNT) and remote not in ips.allowed:
            return "UDAPI1154", WRONG_IP.format(remote) if ips.allowed else NO_STATIC_IP, 403
        return None

    def _order_refusal(
        self, headers: Mapping[str, str], remote: str, now_ns: int
    ) -> tuple[str, str, int] | None:
        """Why no order call passes at all; the sandbox asks for the hours alone."""
        if not self.terms.sandbox:
            ips, algorithm = self.session.ips, headers.get("x-algo-name", "")
            if ips.checked and remote not in ips.allowed:
                return "UDAPI1154", WRONG_IP.format(remote) if ips.allowed else NO_STATIC_IP, 403
            if algorithm and algorithm != self.terms.algo_name:
                return BAD_ALGORITHM
        closed = self.exchange.conditions.enforced and outside_service(now_ns)
        return ORDERS_CLOSED if closed else None


def _answer(act: Callable[[Call], Any], call: Call) -> Response:
    """A desk's answer in the envelope, or its refusal."""
    try:
        data = act(call)
    except Refusal as refusal:
        return refused(refusal)
    return data if isinstance(data, Response) else success(data)
