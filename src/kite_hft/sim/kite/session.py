"""Layer 4, simulator, cold: login, tokens and their end, and what the broker knows of the client.

A login turns a request token (one use, five minutes) into an access token, which dies at 06:00
IST by the exchange's clock, with a logout, or with the next login.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.kite.rows import ist_text
from kite_hft.sim.rest import HTML, Call, Response, Route
from kite_hft.units import IST_OFFSET_S, NS_PER_S

REQUEST_TOKEN_NS: Final = 300 * NS_PER_S
BAD_TOKEN: Final = "Incorrect `api_key` or `access_token`."
BAD_LOGIN: Final = "Token is invalid or has expired."
BAD_CHECKSUM: Final = "Invalid `checksum`."
BAD_KEY: Final = "Invalid `api_key`."
LOGIN_PAGE: Final = "/connect/login"

_DAY_NS: Final = 86_400 * NS_PER_S
_SIX_NS: Final = 6 * 3_600 * NS_PER_S


@dataclass(slots=True)
class Credentials:
    """What the one simulated app and client know. `request_token` may be used for one login;
    further ones come from the login page. `refresh_token`: approved platforms have one."""

    api_key: str
    api_secret: str
    access_token: str
    request_token: str = "sim-request-token"
    user_id: str = "SIM001"
    app_id: int = 1
    redirect_url: str = "http://127.0.0.1/"
    refresh_token: str = ""


def next_six_ns(now_ns: int) -> int:
    """The next 06:00 in India after an instant (epoch ns)."""
    local = now_ns + IST_OFFSET_S * NS_PER_S
    return now_ns + _DAY_NS - (local - _SIX_NS) % _DAY_NS


class SessionDesk:
    """Tokens of the one app, and the calls about the user."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.token_dies_at_ns = 0
        self.logins = 0
        self._request_tokens = {credentials.request_token: 0}
        self._pages = 0

    def routes(self) -> list[Route]:
        """Login, logout, profile."""
        return [
            Route("POST", "/session/token", self._log_in, open=True),
            Route("DELETE", "/session/token", self._log_out, open=True),
            Route("POST", "/session/refresh_token", self._refresh, open=True),
            Route("GET", LOGIN_PAGE, self._login_page, open=True),
            Route("GET", "/user/profile", lambda _: profile(self.credentials.user_id)),
            Route("GET", "/user/profile/full", lambda _: full_profile(self.credentials.user_id)),
        ]

    # -- tokens

    def step(self, now_ns: int) -> None:
        """Time passes: at 06:00 IST the token dies."""
        if not self.token_dies_at_ns:
            self.token_dies_at_ns = next_six_ns(now_ns)
        elif now_ns >= self.token_dies_at_ns:
            self.kill(now_ns)

    def authorised(self, api_key: str, access_token: str) -> bool:
        """Whether this pair opens the API and the websocket."""
        ours = self.credentials
        known = bool(ours.access_token) and api_key == ours.api_key
        return known and hmac.compare_digest(access_token.encode(), ours.access_token.encode())

    def kill(self, now_ns: int) -> None:
        """The token is dead until the next login."""
        self.credentials.access_token = ""
        self.token_dies_at_ns = next_six_ns(now_ns)

    def renew(self, now_ns: int) -> str:
        """A new access token; the one before it is dead."""
        self.logins += 1
        ours = self.credentials
        secret = f"{ours.api_key}{ours.api_secret}{self.logins}access"
        ours.access_token = hashlib.sha256(secret.encode()).hexdigest()[:32]
        self.token_dies_at_ns = next_six_ns(now_ns)
        return ours.access_token

    def new_request_token(self, now_ns: int) -> str:
        """What the login page sends back to the app: good for one login within five minutes."""
        self._pages += 1
        ours = self.credentials
        text = hashlib.sha256(f"{ours.api_secret}{self._pages}request".encode()).hexdigest()[:32]
        self._request_tokens[text] = now_ns + REQUEST_TOKEN_NS
        return text

    def app(self, now_ns: int) -> dict[str, str]:
        """What a registered app has in hand after its user's login, for scripts that log in."""
        ours = self.credentials
        return {
            "api_key": ours.api_key,
            "api_secret": ours.api_secret,
            "request_token": self.new_request_token(now_ns),
        }

    # -- calls

    def _log_in(self, call: Call) -> dict[str, Any]:
        form, ours = call.form(), self.credentials
        for name in ("api_key", "request_token", "checksum"):
            if not form.get(name):
                raise Refusal("InputException", f"Missing or empty field `{name}`")
        if form["api_key"] != ours.api_key:
            raise Refusal("TokenException", BAD_KEY, 403)
        if form["checksum"] != checksum(ours, form["request_token"]):
            raise Refusal("TokenException", BAD_CHECKSUM, 403)
        expires_ns = self._request_tokens.pop(form["request_token"], None)
        if expires_ns is None or (expires_ns and call.now_ns > expires_ns):
            raise Refusal("TokenException", BAD_LOGIN, 403)
        self.renew(call.now_ns)
        return session(ours, call.now_ns)

    def _log_out(self, call: Call) -> bool:
        ours = self.credentials
        if refresh_token := call.given("refresh_token"):
            if call.given("api_key") != ours.api_key or refresh_token != ours.refresh_token:
                raise Refusal("TokenException", BAD_LOGIN, 403)
            ours.refresh_token = ""
            return True
        if not self.authorised(call.given("api_key"), call.given("access_token")):
            raise Refusal("TokenException", BAD_TOKEN, 403)
        self.kill(call.now_ns)
        return True

    def _refresh(self, call: Call) -> dict[str, Any]:
        form, ours = call.form(), self.credentials
        given = form.get("refresh_token", "")
        fine = bool(ours.refresh_token) and given == ours.refresh_token
        if not fine or form.get("api_key") != ours.api_key or form.get("checksum") != checksum(ours, given):
            raise Refusal("TokenException", BAD_LOGIN, 403)
        names = ("user_id", "api_key", "access_token", "refresh_token", "login_time")
        self.renew(call.now_ns)
        return {name: value for name, value in session(ours, call.now_ns).items() if name in names}

    def _login_page(self, call: Call) -> Response:
        """The browser's part: the user is taken as logged in and sent back to the app."""
        ours = self.credentials
        if call.given("api_key") != ours.api_key:
            raise Refusal("InputException", "Invalid `api_key`.", 400)
        token = self.new_request_token(call.now_ns)
        back = {"action": "login", "type": "login", "status": "success", "request_token": token}
        url = f"{ours.redirect_url}?{urlencode(back)}"
        if extra := call.given("redirect_params"):
            url += f"&{quote(extra, safe='=&%')}"
        return Response(302, HTML, b"", (("Location", url),))


def checksum(credentials: Credentials, token: str) -> str:
    """What proves that the app knows its secret."""
    text = credentials.api_key + token + credentials.api_secret
    return hashlib.sha256(text.encode()).hexdigest()


def profile(user_id: str) -> dict[str, Any]:
    """The user's profile."""
    return {
        "user_id": user_id,
        "user_type": "individual",
        "email": "sim@example.invalid",
        "user_name": "Simulated Client",
        "user_shortname": "Simulated",
        "broker": "ZERODHA",
        "exchanges": ["NSE", "NFO", "BSE", "BFO", "CDS", "BCD", "MCX", "MF"],
        "products": ["CNC", "NRML", "MIS", "BO", "CO"],
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "avatar_url": None,
        "meta": {"demat_consent": "physical"},
    }


def full_profile(user_id: str) -> dict[str, Any]:
    """The profile with bank accounts and the like, all of them empty of meaning."""
    short = profile(user_id)
    del short["meta"]
    return short | {
        "twofa_type": "totp",
        "phone": "*0000",
        "bank_accounts": [{"name": "SIMULATED BANK", "branch": "", "account": "*0000"}],
        "dp_ids": ["0000000000000000"],
        "pan": "*000S",
        "tags": [],
        "password_timestamp": "1970-01-01 00:00:00",
        "twofa_timestamp": "1970-01-01 00:00:00",
        "meta": {"poa": "physical", "silo": "", "account_blocks": []},
    }


def session(credentials: Credentials, now_ns: int) -> dict[str, Any]:
    """What a login answers."""
    public = hashlib.sha256(f"{credentials.access_token}public".encode()).hexdigest()[:32]
    return profile(credentials.user_id) | {
        "api_key": credentials.api_key,
        "access_token": credentials.access_token,
        "public_token": public,
        "enctoken": "",
        "refresh_token": credentials.refresh_token,
        "silo": "",
        "login_time": ist_text(now_ns),
    }
