"""Layer 4, simulator, cold: Upstox's tokens and their end, one-time feed addresses, static IPs.

A login turns a code (one use) into an access token, which dies at 03:30 IST by the exchange's clock (a
sandbox's after thirty days), with a logout, with the next login, and with a change of static IPs or of the
kill switch: order calls with a token from before a change of addresses go on failing with UDAPI1154. The
analytics token lives for a year and reads alone. A feed address carries a code of one use, and lives as long
as its token.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from kite_hft.sessions import ist_date
from kite_hft.sim.rest import HTML, JSON, Call, Response, Route, encode
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import json_object
from kite_hft.units import IST_OFFSET_S, NS_PER_S

DIALOG: Final = "/v2/login/authorization/dialog"
CODE_NS: Final = 60 * NS_PER_S
"""A feed address that nobody opened is worth nothing after this (invented)."""
MARKET_FEED: Final = "/market-data-feeder/v3/upstox-developer-api/feeds"
PORTFOLIO_FEED: Final = "/portfolio-feed/v2/upstox-developer-api/feeds"
_DAY_NS: Final = 86_400 * NS_PER_S
_DIES_NS: Final = (3 * 3600 + 30 * 60) * NS_PER_S
_SANDBOX_NS: Final = 30 * _DAY_NS
"""Life of a sandbox app's token, from the page that makes it."""


@dataclass(slots=True)
class Credentials:
    """What the one simulated app and client know."""

    api_key: str
    api_secret: str
    access_token: str
    user_id: str = "SIM001"
    redirect_url: str = "http://127.0.0.1/"
    notifier_url: str = ""


@dataclass(slots=True)
class StaticIps:
    """The addresses that order calls may come from. `checked` False: from everywhere."""

    checked: bool = False
    primary: str = ""
    secondary: str = ""
    changed_on: dt.date | None = None
    given: frozenset[str] = field(default_factory=frozenset)

    @property
    def allowed(self) -> frozenset[str]:
        return self.given | {ip for ip in (self.primary, self.secondary) if ip}


def next_half_past_three_ns(now_ns: int) -> int:
    """The next 03:30 in India after an instant (epoch ns)."""
    local = now_ns + IST_OFFSET_S * NS_PER_S
    return now_ns + _DAY_NS - (local - _DIES_NS) % _DAY_NS


class SessionDesk:
    """Tokens of the one app, and the calls about them."""

    def __init__(
        self,
        credentials: Credentials,
        allowed_ips: Collection[str] | None = None,
        *,
        sandbox: bool = False,
    ) -> None:
        self.credentials = credentials
        self._sandbox = sandbox
        self.token_dies_at_ns = 0
        self.logins = 0
        self.ips = StaticIps(allowed_ips is not None, given=frozenset(allowed_ips or ()))
        self._outdated = ""  # the token from before a change of addresses
        self._codes: set[str] = set()
        self._pages = 0
        self._feeds: dict[str, tuple[str, str, int, str]] = {}  # code -> path, wanted updates, until, token
        self._feed_no = 0
        self._notices: list[tuple[str, bytes]] = []

    def routes(self) -> list[Route]:
        """Login, logout, static IPs."""
        return [
            Route("GET", DIALOG, self._dialog, open=True),
            Route("POST", "/v2/login/authorization/token", self._log_in, open=True),
            Route("POST", "/v3/login/auth/token/request/*", self._token_request, open=True),
            Route("DELETE", "/v2/logout", self._log_out),
            Route("GET", "/v2/user/profile", lambda _: self.profile()),
            Route("GET", "/v2/user/ip", lambda _: self._ip_row()),
            Route("PUT", "/v2/user/ip", self._set_ip),
        ]

    # -- tokens

    def step(self, now_ns: int) -> None:
        """Time passes: at 03:30 IST the token dies, a sandbox's after thirty days."""
        if not self.token_dies_at_ns:
            self.token_dies_at_ns = self._end_ns(now_ns)
        elif now_ns >= self.token_dies_at_ns:
            self.kill(now_ns)

    def authorised(self, access_token: str) -> bool:
        """Whether this token opens the API and the feeds."""
        ours = self.credentials.access_token
        return bool(ours) and hmac.compare_digest(access_token.encode(), ours.encode())

    @property
    def analytics_token(self) -> str:
        """The account's one, from a page of its own: good for a year of reading."""
        return _digest(f"{self.credentials.api_key}{self.credentials.api_secret}analytics")

    def may_read(self, token: str) -> bool:
        """Whether this is the analytics token."""
        return hmac.compare_digest(token.encode(), self.analytics_token.encode())

    def is_outdated(self, token: str) -> bool:
        """Whether this token is one from before a change of addresses."""
        return bool(self._outdated) and hmac.compare_digest(token.encode(), self._outdated.encode())

    def kill(self, now_ns: int) -> None:
        """The token is dead until the next login."""
        self.credentials.access_token = ""
        self.token_dies_at_ns = self._end_ns(now_ns)

    def _end_ns(self, now_ns: int) -> int:
        """When a token of this moment dies by itself."""
        return now_ns + _SANDBOX_NS if self._sandbox else next_half_past_three_ns(now_ns)

    def renew(self, now_ns: int) -> str:
        """A new access token; the one before it is dead."""
        self.logins += 1
        ours = self.credentials
        ours.access_token = _digest(f"{ours.api_key}{ours.api_secret}{self.logins}access")
        self._feeds.clear()  # addresses that were asked for with the one before
        self.token_dies_at_ns = self._end_ns(now_ns)
        return ours.access_token

    def app(self, now_ns: int) -> dict[str, str]:
        """What a registered app has in hand after its user's login, for scripts that log in."""
        ours = self.credentials
        names = {"api_key": ours.api_key, "api_secret": ours.api_secret, "redirect_uri": ours.redirect_url}
        return names | {"code": self._new_code(), "analytics_token": self.analytics_token}

    # -- feed addresses

    def new_feed(self, path: str, wants: str, now_ns: int, token: str) -> str:
        """Path and query of a feed address, good for one handshake, while its token lives."""
        self._feed_no += 1
        seed = f"{self.credentials.api_secret}{self._feed_no}"
        code = _uuid(seed + "code")
        self._feeds[code] = path, wants, now_ns + CODE_NS, token
        return f"{path}?{urlencode({'requestId': _uuid(seed + 'request'), 'code': code})}"

    def take_feed(self, target: str, now_ns: int) -> tuple[str, str, str] | None:
        """(path, wanted updates, token) of a feed address; it is used up. None: it opens nothing."""
        parts = urlsplit(target)
        code = parse_qs(parts.query).get("code", [""])[0]
        found = self._feeds.pop(code, None)
        if found is None or found[0] != parts.path or now_ns > found[2]:
            return None
        alive = self.authorised(found[3]) or self.may_read(found[3])
        return (found[0], found[1], found[3]) if alive else None

    # -- calls

    def _new_code(self) -> str:
        self._pages += 1
        code = _digest(f"{self.credentials.api_secret}{self._pages}login")[:6]
        self._codes.add(code)
        return code

    def _dialog(self, call: Call) -> Response:
        """The browser's part: the user is taken as logged in and sent back to the app."""
        ours = self.credentials
        if call.given("client_id") != ours.api_key:
            raise refusal("UDAPI100069", "Check your 'client_id'; it is invalid.", 401)
        if call.given("redirect_uri") != ours.redirect_url:
            raise refusal("UDAPI100068", "Check your 'redirect_uri'; it is invalid.", 401)
        back = {"code": self._new_code()} | ({"state": s} if (s := call.given("state")) else {})
        return Response(302, HTML, b"", (("Location", f"{ours.redirect_url}?{urlencode(back)}"),))

    def _log_in(self, call: Call) -> Response:
        form, ours = dict(parse_qsl(call.body.decode("latin-1"))), self.credentials
        code = form.get("code", "")
        known = code in self._codes
        self._codes.discard(code)  # single use, also when the rest is wrong
        if form.get("client_id") != ours.api_key or form.get("client_secret") != ours.api_secret:
            raise refusal("UDAPI100069", "Check your 'client_id' and 'client_secret'; one is invalid.", 401)
        if form.get("redirect_uri") != ours.redirect_url:
            raise refusal("UDAPI100068", "Check your 'redirect_uri'; it is invalid.", 401)
        if not known:
            raise refusal("UDAPI100057", "Invalid Auth code", 401)
        token = self.renew(call.now_ns)
        answer = self.profile() | {"access_token": token, "extended_token": None}
        return Response(200, JSON, encode(answer))

    def _token_request(self, call: Call) -> dict[str, Any]:
        """The semi-automatic login: the user approves in his app; here he does at once, and the token goes to
        the notifier address, where there is one.
        """
        secret = json_object(call.body).get("client_secret")
        if call.args[0] != self.credentials.api_key or secret != self.credentials.api_secret:
            raise refusal("UDAPI100069", "Check your 'client_id' and 'client_secret'; one is invalid.", 401)
        token, ours, dies = self.renew(call.now_ns), self.credentials, str(self.token_dies_at_ns // 1_000_000)
        if ours.notifier_url:
            notice = {
                "client_id": ours.api_key, "user_id": ours.user_id, "access_token": token,
                "token_type": "Bearer", "expires_at": dies, "issued_at": str(call.now_ns // 1_000_000),
                "message_type": "access_token",
            }  # fmt: skip
            self._notices.append((ours.notifier_url, encode(notice)))
        return {
            "authorization_expiry": dies,
            "notifier_url": ours.notifier_url or f"{ours.redirect_url}notifier",
        }

    def notices(self) -> list[tuple[str, bytes]]:
        """(address, JSON) of what is to be sent to the app's notifier since the last call."""
        found, self._notices = self._notices, []
        return found

    def _log_out(self, call: Call) -> bool:
        self.kill(call.now_ns)
        return True

    def profile(self) -> dict[str, Any]:
        """The user's profile."""
        return {
            "email": "sim@example.invalid",
            "exchanges": ["NSE", "NFO", "BSE", "CDS", "BFO", "BCD", "MCX", "NSCOM"],
            "products": ["D", "I", "MTF"],
            "broker": "UPSTOX",
            "user_id": self.credentials.user_id,
            "user_name": "Simulated Client",
            "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
            "user_type": "individual",
            "poa": False,
            "is_active": True,
        }

    def _ip_row(self) -> dict[str, Any]:
        ips = self.ips
        given = sorted(ips.given)
        changed = str(ips.changed_on) if ips.changed_on else None
        return {
            "primary_ip": ips.primary or (given[0] if given else None),
            "secondary_ip": ips.secondary or (given[1] if len(given) > 1 else None),
            "primary_ip_updated_at": changed,
            "secondary_ip_updated_at": changed if ips.secondary else None,
        }

    def _set_ip(self, call: Call) -> dict[str, Any]:
        wanted, ips, today = json_object(call.body), self.ips, ist_date(call.now_ns)
        primary, secondary = str(wanted.get("primary_ip") or ""), str(wanted.get("secondary_ip") or "")
        if not primary:
            raise refusal("UDAPI1182", "Primary IP is required.")
        if not all(_is_ip(ip) for ip in (primary, secondary) if ip):
            raise refusal("UDAPI1183", "Invalid IP address.")
        if primary == secondary or (primary, secondary) == (ips.primary, ips.secondary):
            raise refusal("UDAPI1184", "The IP addresses are the same.")
        if ips.changed_on is not None and ips.changed_on.isocalendar()[:2] == today.isocalendar()[:2]:
            raise refusal("UDAPI1185", "Static IP can be changed once in a calendar week.")
        ips.checked, ips.primary, ips.secondary = True, primary, secondary
        ips.changed_on, ips.given = today, frozenset()
        self._outdated = self.credentials.access_token
        self.kill(call.now_ns)
        return self._ip_row() | {"access_tokens_invalidated": True}


def bearer(headers: Mapping[str, str]) -> str:
    """The token of an Authorization header; "": there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_ip(text: str) -> bool:
    parts = text.split(".")
    four = len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)
    return four or (":" in text and all(c in "0123456789abcdefABCDEF:" for c in text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _uuid(text: str) -> str:
    d = _digest(text)
    return f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:32]}"
