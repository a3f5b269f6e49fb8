"""Layer 2, whoever logs in, cold: Kite's login: the page, the exchange of its request token, the end.

The person logs in on Kite's page, which redirects to the address that is registered for the app, with a
request token: good once, for a few minutes. With SHA-256(api_key + request_token + api_secret) it becomes an
access token. That dies at 06:00 IST, with a logout, or with a logout of all sessions in Kite's settings.
Source: Kite Connect v3, page "User"; the checksum as pykiteconnect 5.2.2 computes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import urlencode

from kite_hft.brokers.login import (
    FORM,
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
    require_state,
    said,
)
from kite_hft.brokers.values import envelope_of
from kite_hft.units import IST_OFFSET_S, NS_PER_S

PAGE: Final = "https://kite.zerodha.com"
CODE: Final = "request_token"
LOGIN: Final = "the login"
DIES_S: Final = 6 * 3600
_IST: Final = timezone(timedelta(seconds=IST_OFFSET_S))
_VERSION: Final = ("X-Kite-Version", "3")
_AGAIN: Final = (
    "a request token is good once and for a few minutes: log in again, and give the new address at once"
)


def login_url(api_key: str, redirect_url: str, state: str, page: str = PAGE) -> str:
    """Where the person logs in. redirect_url stands at the broker's, under the app; it is not sent.

    state comes back in the redirected address (redirect_params).
    """
    query = {"v": "3", "api_key": api_key} | (
        {"redirect_params": urlencode({"state": state})} if state else {}
    )
    return f"{page}/connect/login?{urlencode(query)}"


def code_of(redirected: str, state: str) -> str:
    """The request token out of the redirected address, or what was given bare.

    Raises:
        LoginError: there is none, the login was not finished, or it is the answer to another one.
    """
    fields = fields_of(redirected, CODE)
    if isinstance(fields, str):
        return fields
    if CODE not in fields and (status := fields.get("status", "")) not in ("", "success"):
        words = said(fields.get("message") or fields.get("error") or status)
        raise LoginError(f"Kite ended the login: {words}; open the address again and finish it")
    code = bare_code(fields, CODE, ("api_key", "sess_id"))
    require_state(fields, state)
    return code


def checksum(api_key: str, request_token: str, api_secret: str) -> str:
    """What proves that the app knows its secret."""
    return hashlib.sha256(f"{api_key}{request_token}{api_secret}".encode()).hexdigest()


def session_request(host: str, api_key: str, api_secret: str, code: str, redirect_url: str) -> HttpCall:
    """The call that makes an access token of a request token."""
    form = {"api_key": api_key, "request_token": code, "checksum": checksum(api_key, code, api_secret)}
    return HttpCall("POST", f"{host}/session/token", (_VERSION, FORM), urlencode(form).encode())


def parse_session(status: int, body: bytes, now_real_ns: int) -> Login:
    """The session that the call has opened.

    Raises:
        LoginError: it has opened none.
    """
    data = _data(status, body, LOGIN)
    token, user_id = data.get("access_token"), data.get("user_id")
    if not (isinstance(token, str) and token and isinstance(user_id, str) and user_id):
        raise LoginError("Kite's answer to the login holds no access token; log in again")
    name, told = str(data.get("user_name") or ""), _broker_time_s(data.get("login_time"))
    ahead_s = None if told is None else now_real_ns // NS_PER_S - told
    return Login(token, user_id, said(name), token_end_ns(now_real_ns), ahead_s)


def token_end_ns(now_real_ns: int) -> int:
    """When a token that is good at this instant dies by itself: the next 06:00 IST."""
    return next_time_of_day_ns(now_real_ns, DIES_S, IST_OFFSET_S)


def profile_request(host: str, api_key: str, access_token: str) -> HttpCall:
    """A read that changes nothing, and says whose session it is."""
    return HttpCall(
        "GET", f"{host}/user/profile", (_VERSION, ("Authorization", f"token {api_key}:{access_token}"))
    )


def parse_profile(status: int, body: bytes) -> Person:
    """Whose session it is.

    Raises:
        TokenRefused: nobody's. LoginError: no answer that can be read.
    """
    data = _data(status, body, "the profile")
    user_id = data.get("user_id")
    if not (isinstance(user_id, str) and user_id):
        raise LoginError("Kite's profile names no user; try again")
    return Person(user_id, said(data.get("user_name")))


def logout_request(host: str, api_key: str, access_token: str) -> HttpCall:
    """The call that ends a session."""
    query = urlencode({"api_key": api_key, "access_token": access_token})
    return HttpCall("DELETE", f"{host}/session/token?{query}", (_VERSION,))


def parse_logout(status: int, body: bytes) -> None:
    """Raises TokenRefused: there was no such session any more. LoginError: it may still live."""
    envelope = envelope_of(body)
    if status == 200 and envelope.get("status") == "success":
        return
    raise _error(status, envelope, "the logout")


def _data(status: int, body: bytes, what: str) -> Mapping[str, Any]:
    envelope = envelope_of(body)
    data = envelope.get("data")
    if status != 200 or envelope.get("status") != "success" or not isinstance(data, Mapping):
        raise _error(status, envelope, what)
    return data


def _error(status: int, envelope: Mapping[str, Any], what: str) -> LoginError:
    """What the broker has said, with what to do. Kite has one error type for all this: its words decide."""
    words, kind = said(envelope.get("message")), envelope.get("error_type")
    low = words.lower() if what == LOGIN else ""
    if "checksum" in low:
        return LoginError(
            f"Kite: {words} The API secret is not that of this API key: copy it from developers.kite.trade "
            "and store it with kite-hft credentials"
        )
    if "request_token" in low or "expired" in low:
        return LoginError(f"Kite: {words} The request token was used before or is too old; {_AGAIN}")
    if "api_key" in low:
        return LoginError(
            f"Kite: {words} There is no app with this API key, or it was stopped: compare it with "
            "developers.kite.trade, and store it with kite-hft credentials"
        )
    if kind == "TokenException":
        return TokenRefused(f"Kite: {words} There is no such session (any more): kite-hft login")
    if kind:
        return LoginError(f"Kite refuses {what} with HTTP {status}: {words or kind}")
    return LoginError(f"Kite's answer to {what} is none of its own (HTTP {status}): try again in a minute")


def _broker_time_s(text: object) -> int | None:
    """`YYYY-MM-DD HH:MM:SS` in India as epoch seconds; None: not that."""
    try:
        return int(datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=_IST).timestamp())
    except ValueError:
        return None


KITE_LOGIN: Final = LoginWords(
    broker="kite",
    title="Kite",
    code=CODE,
    ends="06:00 IST",
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
    end_ns=lambda token, now_real_ns: token_end_ns(now_real_ns),
)
