"""Layer 4, simulator, cold: the way to Upstox's feeds: authorize, redirect, one-time addresses, limits.

The address that a client knows answers with a redirect (or, to /authorize, with JSON) to a one-time
address on the feed's own host; that one upgrades. Too many connections: 403 at the upgrade (what the
broker does is not published).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from kite_hft.sim.rest import JSON, Call, Response, Route
from kite_hft.sim.server.face import MARKET, UPDATES, UPGRADED, Door
from kite_hft.sim.upstox.answers import BAD_TOKEN, NO_ROUTE, error, refusal
from kite_hft.sim.upstox.session import MARKET_FEED, PORTFOLIO_FEED, SessionDesk, bearer

MARKET_PATH: Final = "/v3/feed/market-data-feed"
PORTFOLIO_PATH: Final = "/v2/feed/portfolio-stream-feed"
CONNECTIONS_MAX: Final = 2
CONNECTIONS_MAX_PLUS: Final = 5
UPDATE_TYPES: Final = ("order", "gtt_order", "position", "holding")
_FEEDS: Final = {MARKET_PATH: MARKET_FEED, PORTFOLIO_PATH: PORTFOLIO_FEED}


class FeedDoors:
    """`ws_url`: where the feeds listen, set when they do."""

    def __init__(self, session: SessionDesk, redirect_code: int = 302, plus: bool = False) -> None:
        self.ws_url = "ws://127.0.0.1"
        self._session = session
        self._redirect_code = redirect_code
        self._most = CONNECTIONS_MAX_PLUS if plus else CONNECTIONS_MAX

    def routes(self) -> list[Route]:
        """Both feeds, both ways."""
        return [
            Route("GET", f"{MARKET_PATH}/authorize", lambda c: self._authorize(c, MARKET_PATH)),
            Route("GET", f"{PORTFOLIO_PATH}/authorize", lambda c: self._authorize(c, PORTFOLIO_PATH)),
            Route("GET", MARKET_PATH, lambda c: self._redirect(c, MARKET_PATH)),
            Route("GET", PORTFOLIO_PATH, lambda c: self._redirect(c, PORTFOLIO_PATH)),
        ]

    def _authorize(self, call: Call, path: str) -> dict[str, str]:
        uri = self._address(path, call.given("update_types"), call.now_ns, bearer(call.headers))
        return {"authorized_redirect_uri": uri, "authorizedRedirectUri": uri}  # the client reads the latter

    def _redirect(self, call: Call, path: str) -> Response:
        location = self._address(path, call.given("update_types"), call.now_ns, bearer(call.headers))
        return Response(self._redirect_code, JSON, b"", (("Location", location),))

    def _address(self, path: str, update_types: str, now_ns: int, token: str) -> str:
        wants = [word for word in update_types.split(",") if word]
        if any(word not in UPDATE_TYPES for word in wants):
            raise refusal("UDAPI100036", "Invalid input: update_types")
        return self.ws_url + self._session.new_feed(_FEEDS[path], ",".join(wants), now_ns, token)

    # -- handshakes

    def admit(self, target: str, headers: Mapping[str, str], open_now: Sequence[str], now_ns: int) -> Door:
        """The answer to a handshake on the feeds' host; the well-known addresses redirect here too."""
        path = urlsplit(target).path
        if path in _FEEDS:
            token = bearer(headers)
            if not self._session.authorised(token) and not self._session.may_read(token):
                return _shut(BAD_TOKEN)
            wants = dict(parse_qsl(urlsplit(target).query)).get("update_types", "")
            location = self._address(path, wants, now_ns, token)
            return Door(self._redirect_code, headers=(("Location", location),))
        if path not in _FEEDS.values():
            return _shut(NO_ROUTE)
        opened = self._session.take_feed(target, now_ns)
        if opened is None:
            return _shut(("UDAPI100050", "The code of this address is used, too old or unknown.", 403))
        kind = MARKET if path == MARKET_FEED else UPDATES
        if sum(other == kind for other in open_now) >= self._most:
            return _shut(("UDAPI10005", f"At most {self._most} connections are allowed.", 403))
        ours = self._session.credentials
        wanted = frozenset(opened[1].split(",")) if opened[1] else frozenset(("order",))
        return Door(
            UPGRADED, credentials=(ours.api_key, opened[2]), kind=kind,
            wants=wanted if kind == UPDATES else frozenset(),
        )  # fmt: skip


def _shut(why: tuple[str, str, int]) -> Door:
    body: Any = error(*why).body
    return Door(why[2], body, (("Content-Type", JSON),))
