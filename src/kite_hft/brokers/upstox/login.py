"""Layer 2, whoever logs in, cold: Upstox's logins: by code, by approval on the phone; and where tokens end.

By code: OAuth 2.0 (RFC 6749, 4.1); the code is good once, also when the exchange fails. By approval: a call
asks for a token, the user says yes in Upstox's app or WhatsApp, and Upstox POSTs the token to the notifier
address that is registered for the app. Both tokens die at 03:30 IST; there is no refresh. Sandbox (30 days)
and analytics tokens (one year, reading only) are made on Upstox's pages and typed in. Source: Upstox's
developer pages "Authentication" and "Access token request", read in 2026-11.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from kite_hft.brokers.login import (
    DAY_NS,
    FORM,
    JSON,
    Approval,
    Approving,
    HttpCall,
    Login,
    LoginError,
    LoginWords,
    Person,
    TokenRefused,
    bare_code,
    fields_of,
    next_time_of_day_ns,
    page_host,
    plain_token,
    require_state,
    said,
)
from kite_hft.brokers.upstox.answers import GATEWAY
from kite_hft.brokers.upstox.doors import token_expiry_ns
from kite_hft.brokers.values import envelope_of
from kite_hft.trading.broker import TOKEN_DEAD
from kite_hft.units import IST_OFFSET_S, NS_PER_S

PAGE: Final = "https://api.upstox.com"
CODE: Final = "code"
DIES_S: Final = 3 * 3600 + 30 * 60
SANDBOX_NS: Final = 30 * DAY_NS
ANALYTICS_NS: Final = 365 * DAY_NS
NOTICE: Final = "access_token"
NS_PER_MS: Final = 1_000_000
_ACCEPT: Final = ("Accept", "application/json")
_KEYS: Final = "compare it with Upstox, My Apps, and store it with kite-hft credentials"

REFUSALS: Final[Mapping[str, str]] = {
    "UDAPI100057": "a code is good once (also when the login failed) and for a few minutes: log in again, "
    "and give the new address at once",
    "UDAPI100068": "redirect_url is not, letter for letter, the one registered for the app (a slash at the "
    f"end makes a difference): {_KEYS}",
    "UDAPI100069": f"the API key or the API secret is wrong: {_KEYS}",
    "UDAPI100016": f"the API key or the API secret is wrong: {_KEYS}",
    "UDAPI1123": "the app has no notifier address: register one at Upstox, My Apps, or log in by the page",
    "UDAPI1124": "this way is for individual accounts only: log in by the page",
    "UDAPI10005": "too many logins: wait some minutes",
}
"""Codes of the logins' own calls -> what to do; others as everywhere (answers.GATEWAY)."""


def login_url(api_key: str, redirect_url: str, state: str, page: str = PAGE) -> str:
    """Where the person logs in; redirect_url must be the registered one, letter for letter."""
    query = {"response_type": "code", "client_id": api_key, "redirect_uri": redirect_url}
    return f"{page}/v2/login/authorization/dialog?{urlencode(query | ({'state': state} if state else {}))}"


def code_of(redirected: str, state: str) -> str:
    """The code out of the redirected address, or what was given bare.

    Raises:
        LoginError: there is none, the person said no, or it is the answer to another login.
    """
    fields = fields_of(redirected, CODE)
    if isinstance(fields, str):
        return fields
    if CODE not in fields and (error := fields.get("error") or fields.get("errorCode")):
        words = said(f"{error} {fields.get('error_description') or fields.get('message') or ''}")
        raise LoginError(f"Upstox ended the login: {words}; log in again")
    code = bare_code(fields, CODE, ("client_id", "response_type"))
    require_state(fields, state)
    return code


def session_request(host: str, api_key: str, api_secret: str, code: str, redirect_url: str) -> HttpCall:
    """The call that makes an access token of a code."""
    form = {
        "code": code,
        "client_id": api_key,
        "client_secret": api_secret,
        "redirect_uri": redirect_url,
        "grant_type": "authorization_code",
    }
    return HttpCall("POST", f"{host}/v2/login/authorization/token", (_ACCEPT, FORM), urlencode(form).encode())


def parse_session(status: int, body: bytes, now_real_ns: int) -> Login:
    """The session that the call has opened; its answer has no envelope.

    Raises:
        LoginError: it has opened none.
    """
    answer = envelope_of(body)
    if status != 200 or "access_token" not in answer:
        raise _error(status, answer, "the login")
    return _login(answer, now_real_ns)


def _login(answer: Mapping[str, Any], now_real_ns: int, end_ns: int = 0) -> Login:
    token, user_id = answer.get("access_token"), answer.get("user_id")
    if not (isinstance(token, str) and isinstance(user_id, str) and user_id):
        raise LoginError("Upstox's answer holds no access token; log in again")
    token = plain_token(token)
    ends = [at for at in (token_expiry_ns(token), end_ns, token_end_ns(now_real_ns)) if at > 0]
    issued_s = _claim(token, "iat")
    ahead_s = None if issued_s is None else now_real_ns // NS_PER_S - issued_s
    return Login(token, user_id, said(answer.get("user_name")), min(ends), ahead_s)


def token_end_ns(now_real_ns: int) -> int:
    """When a token that is good at this instant dies by itself: the next 03:30 IST."""
    return next_time_of_day_ns(now_real_ns, DIES_S, IST_OFFSET_S)


def typed_end_ns(token: str, issued_real_ns: int, life_ns: int) -> int:
    """When a token that was typed in ends: as it says itself (a JWT), else a life after it was made."""
    return token_expiry_ns(token) or issued_real_ns + life_ns


def profile_request(host: str, api_key: str, access_token: str) -> HttpCall:
    """A read that changes nothing, and says whose session it is."""
    return HttpCall("GET", f"{host}/v2/user/profile", (_ACCEPT, _bearer(access_token)))


def parse_profile(status: int, body: bytes) -> Person:
    """Whose session it is.

    Raises:
        TokenRefused: nobody's. LoginError: no answer that can be read, or the token may not ask.
    """
    answer = envelope_of(body)
    data = answer.get("data")
    if status != 200 or answer.get("status") != "success" or not isinstance(data, Mapping):
        raise _error(status, answer, "the profile")
    user_id = data.get("user_id")
    if not (isinstance(user_id, str) and user_id):
        raise LoginError("Upstox's profile names no user; try again")
    return Person(user_id, said(data.get("user_name")))


def logout_request(host: str, api_key: str, access_token: str) -> HttpCall:
    """The call that ends a session."""
    return HttpCall("DELETE", f"{host}/v2/logout", (_ACCEPT, _bearer(access_token)))


def parse_logout(status: int, body: bytes) -> None:
    """Raises TokenRefused: there was no such session any more. LoginError: it may still live."""
    answer = envelope_of(body)
    if status != 200 or answer.get("status") != "success":
        raise _error(status, answer, "the logout")


# By approval


def approval_request(host: str, api_key: str, api_secret: str) -> HttpCall:
    """The call that asks the user, on his phone, for a session."""
    body = json.dumps({"client_secret": api_secret}).encode()
    path = f"/v3/login/auth/token/request/{quote(api_key, safe='')}"
    return HttpCall("POST", f"{host}{path}", (_ACCEPT, JSON), body)


def parse_approval(status: int, body: bytes, now_real_ns: int) -> Approval:
    """Until when the user may approve, and where the token goes then.

    Raises:
        LoginError: he was not asked.
    """
    answer = envelope_of(body)
    data = answer.get("data")
    if status != 200 or not isinstance(data, Mapping):
        raise _error(status, answer, "the token request")
    until_ns = _milliseconds(data.get("authorization_expiry")) or token_end_ns(now_real_ns)
    return Approval(until_ns, said(data.get("notifier_url")))


def login_of_notice(body: bytes, api_key: str, now_real_ns: int) -> Login:
    """What was sent to the notifier address once the user had said yes.

    Raises:
        LoginError: something else, or of another app.
    """
    notice = envelope_of(body)
    if notice.get("message_type") != NOTICE:
        raise LoginError("that is no notice of an access token")
    if notice.get("client_id") != api_key:
        raise LoginError("that notice is for another app")
    return _login(notice, now_real_ns, _milliseconds(notice.get("expires_at")))


def _milliseconds(value: object) -> int:
    """Epoch milliseconds, as a number or as text, in ns; 0: none that makes sense."""
    text = str(value)
    return int(text) * NS_PER_MS if text.isdecimal() and len(text) == 13 else 0


def _bearer(access_token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {access_token}"


def _claim(token: str, name: str) -> int | None:
    """A whole number out of a JWT, which is not verified: it is shown, never trusted."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))[name]
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        return None
    return value if type(value) is int and 0 < value < 2**33 else None


def _error(status: int, answer: Mapping[str, Any], what: str) -> LoginError:
    """What the broker has said, with what to do."""
    rows = answer.get("errors")
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], Mapping) else {}
    code = said(row.get("errorCode") or row.get("error_code"))
    words = said(row.get("message"))
    if code in REFUSALS:
        return LoginError(f"Upstox ({code}): {words}; {REFUSALS[code]}")
    proof = GATEWAY.get(code)
    told = f"Upstox ({code}): {words}" + (f"; {proof.fix}" if proof and proof.fix else "")
    if proof is not None and proof.word == TOKEN_DEAD:
        return TokenRefused(told)
    if code:
        return LoginError(f"{told} (HTTP {status})")
    if status == 401:
        return TokenRefused("Upstox takes this token no more: kite-hft login")
    return LoginError(
        f"Upstox's answer to {what} is none of its own (HTTP {status}); try again in a minute, see "
        "status.upstox.com"
    )


UPSTOX_LOGIN: Final = LoginWords(
    broker="upstox",
    title="Upstox",
    code=CODE,
    ends="03:30 IST",
    login_url=login_url,
    code_of=code_of,
    session_request=session_request,
    parse_session=parse_session,
    token_end_ns=token_end_ns,
    profile_request=profile_request,
    parse_profile=parse_profile,
    logout_request=logout_request,
    parse_logout=parse_logout,
    page=lambda api_url: page_host(api_url, PAGE),
    end_ns=lambda token, now_real_ns: token_expiry_ns(token) or token_end_ns(now_real_ns),
    approving=Approving(approval_request, parse_approval, login_of_notice),
)
