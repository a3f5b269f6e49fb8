"""Layer 4, simulator, cold: Kite Connect's REST API over an Exchange, without a socket.

`KiteApi.handle` turns one request into one response; who calls it says what time it is. Paths,
parameters, bodies and error texts follow the broker's pages, official clients and mock data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote_plus

import msgspec

from kite_hft.sim import kite_forms, kite_quotes
from kite_hft.sim.exchange import NOT_FOUND, Exchange
from kite_hft.sim.orders import Refusal
from kite_hft.sim.quota import Quota, RateLimits
from kite_hft.sim.rows import ist_text, margins_row, order_row, position_row, trade_row
from kite_hft.trading.instruments import InstrumentTable

JSON: Final = "application/json"
CSV: Final = "text/csv"
_encode: Final = msgspec.json.Encoder().encode

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes


@dataclass(slots=True)
class Credentials:
    """What the one simulated app and client know. `request_token` serves once per login."""

    api_key: str
    api_secret: str
    access_token: str
    request_token: str = "sim-request-token"
    user_id: str = "SIM001"
    app_id: int = 1


class KiteApi:
    """The REST API of one exchange."""

    def __init__(
        self,
        exchange: Exchange,
        instruments: InstrumentTable,
        credentials: Credentials,
        limits: RateLimits | None = None,
    ) -> None:
        """`limits` None: the broker's own; `quota.UNLIMITED` for load tests."""
        self.exchange = exchange
        self.credentials = credentials
        self.quota = Quota(limits or RateLimits())
        self._instruments = instruments
        self._csv: dict[str, bytes] = {}
        self._logins = 0

    def authorised(self, api_key: str, access_token: str) -> bool:
        """Whether this pair opens the API and the websocket."""
        ours = self.credentials
        return bool(ours.access_token) and (api_key, access_token) == (ours.api_key, ours.access_token)

    def update_frame(self, row: Mapping[str, Any]) -> bytes:
        """The text frame (and HTTP postback body's data) for one of Exchange.drain_updates()."""
        secret = f"{row['order_id']}{row['order_timestamp']}{self.credentials.api_secret}"
        data = dict(row) | {
            "user_id": self.credentials.user_id,
            "app_id": self.credentials.app_id,
            "unfilled_quantity": row["quantity"] - row["filled_quantity"],
            "checksum": hashlib.sha256(secret.encode()).hexdigest(),
        }
        return _encode({"type": "order", "data": data})

    def handle(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes,
        now_ns: int,
    ) -> Response:
        """Answer one request. `query`: decoded pairs; `headers`: lower-case names; `now_ns`: epoch."""
        self.exchange.step(now_ns)
        parts = [part for part in path.split("/") if part]
        try:
            if parts == ["session", "token"]:
                return self._session(method, query, body, now_ns)
            if not self._header_ok(headers):
                return error(403, "TokenException", "Incorrect `api_key` or `access_token`.")
            return self._route(method, parts, query, body, now_ns)
        except Refusal as refusal:
            return error(refusal.status, refusal.error_type, refusal.message)

    def _header_ok(self, headers: Mapping[str, str]) -> bool:
        scheme, _, pair = headers.get("authorization", "").partition(" ")
        key, _, token = pair.partition(":")
        return scheme.lower() == "token" and self.authorised(key, token)

    def _route(self, method: str, parts: list[str], query: Query, body: bytes, now_ns: int) -> Response:
        """Find the endpoint; count the request against its limit; answer."""
        head = parts[0] if parts else ""
        allowed, kind, act = self._endpoint(head, parts, query, body, now_ns)
        if not allowed:
            return error(404, "GeneralException", "Route not found")
        if method not in allowed:
            return error(405, "GeneralException", "Method not allowed")
        if not self.quota.allows(kind(method), now_ns):
            return error(429, "NetworkException", "Too many requests")
        return act(method)

    def _endpoint(
        self, head: str, parts: list[str], query: Query, body: bytes, now_ns: int
    ) -> tuple[tuple[str, ...], Callable[[str], str], Callable[[str], Response]]:
        """(methods, kind of limit by method, answer by method); no methods: no such path."""

        def other(_: str) -> str:
            return "other"

        def reads(answer: Callable[[], Response]) -> Callable[[str], Response]:
            return lambda _: answer()

        if head == "orders":
            return self._orders_endpoint(parts, body, now_ns)
        if head == "quote" and parts[1:] in ([], ["ohlc"], ["ltp"]):
            depth = parts[1] if len(parts) > 1 else "quote"
            return ("GET",), lambda _: "quote", reads(lambda: self._quote(depth, query, now_ns))
        if head == "instruments" and len(parts) <= 2:
            return ("GET",), other, reads(lambda: self._dump(parts[1] if len(parts) == 2 else ""))
        answers: dict[tuple[str, ...], Callable[[], Response]] = {
            ("trades",): self._trades,
            ("portfolio", "positions"): self._positions,
            ("portfolio", "holdings"): lambda: success([]),
            ("user", "profile"): lambda: success(profile(self.credentials.user_id)),
            ("user", "margins"): self._margins,
            ("user", "margins", "equity"): lambda: success(margins_row(self.exchange.account)),
        }
        found = answers.get(tuple(parts))
        return (("GET",), other, reads(found)) if found else ((), other, reads(lambda: success(None)))

    def _orders_endpoint(
        self, parts: list[str], body: bytes, now_ns: int
    ) -> tuple[tuple[str, ...], Callable[[str], str], Callable[[str], Response]]:
        def kind(method: str) -> str:
            return "other" if method == "GET" else "order"

        if len(parts) == 1:
            return ("GET",), kind, lambda _: self._order_book()
        if len(parts) == 3 and parts[2] == "trades":
            return ("GET",), kind, lambda _: self._order_trades(parts[1])
        if len(parts) == 3 and parts[1] == "regular":
            order_id = parts[2]
            return (
                ("PUT", "DELETE"),
                kind,
                lambda method: (
                    self._modify(order_id, body, now_ns)
                    if method == "PUT"
                    else self._cancel(order_id, now_ns)
                ),
            )
        if len(parts) == 2:
            variety = parts[1]
            return (
                ("GET", "POST"),
                kind,
                lambda method: (
                    self._history(variety) if method == "GET" else self._place(variety, body, now_ns)
                ),
            )
        return (), kind, lambda _: success(None)

    # -- session

    def _session(self, method: str, query: Query, body: bytes, now_ns: int) -> Response:
        ours = self.credentials
        if method == "POST":
            form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
            secret = ours.api_key + form.get("request_token", "") + ours.api_secret
            fine = (
                form.get("api_key") == ours.api_key
                and form.get("request_token") == ours.request_token
                and form.get("checksum") == hashlib.sha256(secret.encode()).hexdigest()
            )
            if not fine:
                return error(403, "TokenException", "Token is invalid or has expired.")
            self._logins += 1
            ours.access_token = hashlib.sha256(f"{secret}{self._logins}".encode()).hexdigest()[:32]
            return success(session(ours, now_ns))
        if method == "DELETE":
            given = dict(query)
            if not self.authorised(given.get("api_key", ""), given.get("access_token", "")):
                return error(403, "TokenException", "Incorrect `api_key` or `access_token`.")
            ours.access_token = ""
            return success(True)
        return error(405, "GeneralException", "Method not allowed")

    # -- orders

    def _place(self, variety: str, body: bytes, now_ns: int) -> Response:
        if variety != "regular":
            raise Refusal("InputException", f"Invalid `variety`: {variety} orders are not simulated.")
        if not self.quota.placement_allowed(now_ns):
            raise Refusal("OrderException", "Maximum allowed order requests exceeded")
        order = kite_forms.new_order(_form(body), variety, self._instruments)
        return success({"order_id": self.exchange.place(order, now_ns)})

    def _modify(self, order_id: str, body: bytes, now_ns: int) -> Response:
        order = self.exchange.orders.get(order_id)
        if order is None:
            raise Refusal("OrderException", NOT_FOUND, 404)
        wanted = kite_forms.change(_form(body), order.request.instrument)
        return success({"order_id": self.exchange.modify(order_id, wanted, now_ns)})

    def _cancel(self, order_id: str, now_ns: int) -> Response:
        return success({"order_id": self.exchange.cancel(order_id, now_ns)})

    def _order_book(self) -> Response:
        user = self.credentials.user_id
        return success([order_row(order, order.now, user) for order in self.exchange.orders.values()])

    def _history(self, order_id: str) -> Response:
        order = self.exchange.orders.get(order_id)
        if order is None:
            raise Refusal("OrderException", NOT_FOUND, 404)
        return success([order_row(order, state, self.credentials.user_id) for state in order.states])

    def _trades(self) -> Response:
        return success([trade_row(trade) for trade in self.exchange.account.trades])

    def _order_trades(self, order_id: str) -> Response:
        order = self.exchange.orders.get(order_id)
        if order is None:
            raise Refusal("OrderException", NOT_FOUND, 404)
        return success([trade_row(t) for t in self.exchange.account.trades if t.order_id == order_id])

    # -- account and market

    def _positions(self) -> Response:
        latest = self.exchange.latest
        rows = [
            position_row(p, int(latest[slot]["last_px"]), int(latest[slot]["close_px"]))
            for (slot, _), p in self.exchange.account.positions.items()
        ]
        return success({"net": rows, "day": rows})

    def _margins(self) -> Response:
        row = margins_row(self.exchange.account)
        return success({"equity": row, "commodity": row})

    def _quote(self, depth: str, query: Query, now_ns: int) -> Response:
        keys = [value for name, value in query if name == "i"]
        if not keys:
            raise Refusal("InputException", "Missing or empty field `i`")
        return success(kite_quotes.quotes(self.exchange, keys, depth, now_ns))

    def _dump(self, exchange: str) -> Response:
        if exchange not in self._csv:
            rows = [r for r in self._instruments if not exchange or r.exchange == exchange]
            if not rows:
                raise Refusal("InputException", "Invalid exchange")
            self._csv[exchange] = kite_quotes.dump_csv(rows)
        return Response(200, CSV, self._csv[exchange])


def success(data: Any) -> Response:
    """Kite's envelope around an answer."""
    return Response(200, JSON, _encode({"status": "success", "data": data}))


def error(status: int, error_type: str, message: str) -> Response:
    """Kite's envelope around a refusal."""
    body = {"status": "error", "message": message, "error_type": error_type}
    return Response(status, JSON, _encode(body))


def profile(user_id: str) -> dict[str, Any]:
    """The user's profile."""
    return {
        "user_id": user_id,
        "user_type": "individual",
        "email": "sim@example.invalid",
        "user_name": "Simulated Client",
        "user_shortname": "Simulated",
        "broker": "ZERODHA",
        "exchanges": ["NSE", "NFO", "BSE", "BFO", "CDS", "MCX"],
        "products": ["CNC", "NRML", "MIS"],
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "avatar_url": None,
        "meta": {"demat_consent": "physical"},
    }


def session(credentials: Credentials, now_ns: int) -> dict[str, Any]:
    """What a login answers."""
    return profile(credentials.user_id) | {
        "api_key": credentials.api_key,
        "access_token": credentials.access_token,
        "public_token": quote_plus(credentials.user_id),
        "enctoken": "",
        "refresh_token": "",
        "silo": "",
        "login_time": ist_text(now_ns),
    }


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(body)))
    except ValueError:
        raise Refusal("InputException", "Invalid form data.") from None
