"""Layer 4, simulator, cold: Kite Connect's REST API over an Exchange, without a socket.

`KiteApi.handle` turns one request into one response; who calls it says what time it is. In this
order a request is checked: path, token, method, rate limit, address, parameters. Paths,
parameters, bodies and error texts follow the broker's pages, official clients and mock data; the
work is done by the desks (kite_orders, kite_portfolio, ...).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.kite.alerts import AlertsDesk
from kite_hft.sim.kite.calculators import CalculatorsDesk
from kite_hft.sim.kite.candles import Array, Candles, odd_days
from kite_hft.sim.kite.funds import FundsDesk
from kite_hft.sim.kite.gtt import GttDesk
from kite_hft.sim.kite.market import MarketDesk
from kite_hft.sim.kite.orders import OrdersDesk
from kite_hft.sim.kite.portfolio import PortfolioDesk
from kite_hft.sim.kite.quota import Quota, RateLimits, broker_limits
from kite_hft.sim.kite.routes import error, success
from kite_hft.sim.kite.rows import order_row, position_row, trade_row
from kite_hft.sim.kite.session import BAD_TOKEN, Credentials, SessionDesk
from kite_hft.sim.rest import JSON, Call, Query, Response, RouteTable, encode
from kite_hft.trading.instruments import InstrumentTable

__all__ = ["JSON", "Credentials", "KiteApi", "Response", "error", "success"]

LOOPBACK: Final = "127.0.0.1"
# The words as users quote them; type and code as most of them were told (HTTP 403 is its usual one).
WRONG_IP: Final = (
    "IP ({}) is not allowed to place orders for this app. Update allowed IPs on the Kite developer console."
)
ALERTS_EVERY_NS: Final = 1_000_000_000


class KiteApi:
    """The REST API of one exchange."""

    def __init__(
        self,
        exchange: Exchange,
        instruments: InstrumentTable,
        credentials: Credentials,
        limits: RateLimits | None = None,
        *,
        allowed_ips: Collection[str] | None = None,
        seed: int = 0,
        candles: Candles | None = None,
        flat_slices: bool = False,
    ) -> None:
        """`limits` None: the broker's own on the rules' day; `quota.UNLIMITED` for load tests.
        `allowed_ips` None: orders from any address. `seed`: of the made-up candles."""
        self.exchange = exchange
        self.credentials = credentials
        self.quota = Quota(limits or broker_limits(exchange.params.market))
        self.candles = candles or Candles(
            instruments, seed, odd_days(exchange.params.calendar), _closing_auction(exchange)
        )
        self.allowed_ips = None if allowed_ips is None else frozenset(allowed_ips)
        self.session = SessionDesk(credentials)
        self.alerts = AlertsDesk(exchange, credentials.user_id)
        self._alerts_due_ns = 0
        if exchange.params.orders_per_day is None:
            exchange.desk.orders_per_day = self.quota.limits.orders_per_day
        user_id = credentials.user_id
        self._routes = RouteTable(
            [
                *self.session.routes(),
                *OrdersDesk(exchange, user_id, flat_slices=flat_slices).routes(),
                *PortfolioDesk(exchange, lambda: credentials.api_key).routes(),
                *GttDesk(exchange, user_id, credentials.app_id).routes(),
                *self.alerts.routes(),
                *MarketDesk(exchange, self.candles).routes(),
                *CalculatorsDesk(exchange).routes(),
                *FundsDesk(user_id).routes(),
            ]
        )

    # -- tokens

    def authorised(self, api_key: str, access_token: str) -> bool:
        """Whether this pair opens the API and the websocket."""
        return self.session.authorised(api_key, access_token)

    @property
    def token_dies_at_ns(self) -> int:
        """When the access token dies (epoch ns): the next 06:00 IST; 0 before the first call."""
        return self.session.token_dies_at_ns

    def kill_token(self, now_ns: int) -> None:
        """The access token dies now: 403 until the next login."""
        self.session.kill(now_ns)

    def new_token(self, now_ns: int) -> str:
        """A login by hand: the access token that holds from now on."""
        return self.session.renew(now_ns)

    def app(self, now_ns: int) -> dict[str, str]:
        """What a registered app has in hand after its user's login."""
        return self.session.app(now_ns)

    @property
    def refusals(self) -> Mapping[str, int]:
        """Requests refused for their number, by kind."""
        return self.quota.refusals

    def account(self) -> dict[str, object]:
        """The one client's account at this moment: exact integers beside the API's rows."""
        exchange, user = self.exchange, self.credentials.user_id
        account, latest = exchange.account, exchange.latest
        return {
            "orders": [order_row(order, order.now, user) for order in exchange.orders.values()],
            "trades": [
                trade_row(t) | {"value_paise": t.value_paise, "price_units": t.px} for t in account.trades
            ],
            "positions": [
                position_row(p, int(latest[slot]["last_px"]), int(latest[slot]["close_px"]))
                for (slot, _), p in account.positions.items()
            ],
            "cash_paise": account.cash_paise,
            "opening_paise": account.opening_paise,
        }

    # -- time and market

    def on_ticks(self, ticks: Array, now_ns: int) -> None:
        """The market moves: exchange, candles and alerts see it. The rows must not change later."""
        self.exchange.on_ticks(ticks, now_ns)
        self.candles.on_ticks(self.exchange.overlay(ticks))
        self._keep_time(now_ns)

    def step(self, now_ns: int) -> None:
        """Time passes: orders move on, the token may die, alerts are looked at once a second."""
        self.exchange.step(now_ns)
        self._keep_time(now_ns)

    def _keep_time(self, now_ns: int) -> None:
        self.session.step(now_ns)
        if now_ns >= self._alerts_due_ns:
            self._alerts_due_ns = now_ns + ALERTS_EVERY_NS
            self.alerts.book.step(now_ns)

    def update_frame(self, row: Mapping[str, Any]) -> bytes:
        """The text frame (and HTTP postback body's data) for one of Exchange.drain_updates()."""
        secret = f"{row['order_id']}{row['order_timestamp']}{self.credentials.api_secret}"
        data = dict(row) | {
            "user_id": self.credentials.user_id,
            "app_id": self.credentials.app_id,
            "unfilled_quantity": row["quantity"] - row["filled_quantity"],
            "checksum": hashlib.sha256(secret.encode()).hexdigest(),
        }
        return encode({"type": "order", "data": data})

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
            return error(404, "GeneralException", "Route not found")
        if not (found and found[0].open) and not self._header_ok(headers):
            return error(403, "TokenException", BAD_TOKEN)
        if found is None:
            return error(405, "GeneralException", "Method not allowed")
        route, args = found
        if not self.quota.allows(route.kind, now_ns):
            return error(429, "NetworkException", "Too many requests")
        if route.fixed_ip and self.allowed_ips is not None and remote not in self.allowed_ips:
            return error(403, "PermissionException", WRONG_IP.format(remote))
        return _answer(route.answer, Call(args, query, headers, body, now_ns, remote))

    def _header_ok(self, headers: Mapping[str, str]) -> bool:
        scheme, _, pair = headers.get("authorization", "").partition(" ")
        key, _, token = pair.partition(":")
        return scheme.lower() == "token" and self.authorised(key, token)


def _closing_auction(exchange: Exchange) -> frozenset[int]:
    return frozenset(row.slot for row in exchange.instruments if exchange.conditions.is_cas(row.slot))


def _answer(act: Callable[[Call], Any], call: Call) -> Response:
    """A desk's answer in the envelope, or its refusal."""
    try:
        data = act(call)
    except Refusal as refusal:
        return error(refusal.status, refusal.error_type, refusal.message)
    return data if isinstance(data, Response) else success(data)
