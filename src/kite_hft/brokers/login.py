"""Layer 2, whoever logs in, cold: the words between a login and the two brokers' ways of it.

A broker's way is pure: requests go out as `HttpCall`, answers come as status and body, what is wrong comes as
`LoginError`, in words for the person at the keyboard, without a secret. Reached through brokers/table.py.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from kite_hft.addresses import is_loopback
from kite_hft.units import NS_PER_S

DAY_NS: Final = 86_400 * NS_PER_S
FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")
JSON: Final = ("Content-Type", "application/json")
SAID_MAX: Final = 200
_CODE: Final = re.compile(r"[A-Za-z0-9._~-]{1,256}")
_TOKEN: Final = re.compile(r"[!-~]{8,4096}")


class LoginError(Exception):
    """A login that did not come about; the message says cause and fix."""


class TokenRefused(LoginError):
    """The broker does not take the access token."""


class HttpCall(NamedTuple):
    """One request, with its credentials. `repr` would show them: never print it."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Login:
    """A session that the broker has opened.

    until_real_ns: when the token dies by itself, epoch ns. clock_ahead_s: by how much this machine's clock is
    before the broker's, as far as the answer tells (whole seconds); None: it does not.
    """

    access_token: str = field(repr=False)
    user_id: str
    user_name: str
    until_real_ns: int
    clock_ahead_s: float | None = None


class Person(NamedTuple):
    """Whose session it is, as the broker says."""

    user_id: str
    user_name: str


class Approval(NamedTuple):
    """A login that waits for the user's word in the broker's app. until_real_ns: for so long at most."""

    until_real_ns: int
    notifier_url: str


@dataclass(frozen=True, slots=True)
class Approving:
    """The way by which the user approves on his phone. request(host, api_key, api_secret);
    parse(status, body, now_real_ns); login_of(body, api_key, now_real_ns): what the notifier was sent.
    """

    request: Callable[[str, str, str], HttpCall]
    parse: Callable[[int, bytes, int], Approval]
    login_of: Callable[[bytes, str, int], Login]


@dataclass(frozen=True, slots=True)
class LoginWords:
    """A broker's way of logging in. host: address of its API (scheme and host).

    code: how the redirected address calls what is exchanged for a token. ends: when tokens die, for people.
    page(api_url): where its login page is. end_ns(token, now): when this token, good now, ends. Each `parse`
    raises LoginError. approving: None: there is no such way.
    """

    broker: str
    title: str
    code: str
    ends: str
    login_url: Callable[[str, str, str, str], str]  # api_key, redirect_url, state, page
    code_of: Callable[[str, str], str]
    session_request: Callable[[str, str, str, str, str], HttpCall]
    parse_session: Callable[[int, bytes, int], Login]
    token_end_ns: Callable[[int], int]
    profile_request: Callable[[str, str, str], HttpCall]
    parse_profile: Callable[[int, bytes], Person]
    logout_request: Callable[[str, str, str], HttpCall]
    parse_logout: Callable[[int, bytes], None]
    page: Callable[[str], str]
    end_ns: Callable[[str, int], int]
    approving: Approving | None = None


def page_host(api_url: str, official: str) -> str:
    """Where a login page is: the broker's own, unless the API is of this machine: then beside it."""
    return api_url.rstrip("/") if is_loopback(api_url) else official


def next_time_of_day_ns(now_real_ns: int, second_of_day: int, offset_s: int) -> int:
    """The first instant after `now_real_ns` at which a clock `offset_s` before UTC shows this second."""
    local_ns = now_real_ns + offset_s * NS_PER_S
    return now_real_ns + DAY_NS - (local_ns - second_of_day * NS_PER_S) % DAY_NS


def fields_of(redirected: str, code: str) -> Mapping[str, str] | str:
    """What somebody has pasted: the fields of an address, or the bare code.

    Raises:
        LoginError: neither; a field that stands there twice.
    """
    text = redirected.strip().strip("'\"<>").strip()
    if not text:
        raise LoginError("nothing was given: paste the whole address of the page that the browser ended on")
    if not any(mark in text for mark in "?=:/"):
        if not _CODE.fullmatch(text):
            raise LoginError(
                f"that is neither an address nor a bare {code}: paste the browser's whole address, in quotes "
                "where a shell reads it"
            )
        return text
    try:
        query = urlsplit(text).query or (text if "=" in text and "?" not in text else "")
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise LoginError(
            "that address cannot be read; copy it whole from the browser's address bar"
        ) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise LoginError("a field stands twice in that address: it is not the one the broker made")
    return fields


def require_state(fields: Mapping[str, str], state: str) -> None:
    """The address must be the answer to this login, and to no other (RFC 6749, 10.12).

    Raises:
        LoginError: it is not.
    """
    if state and not hmac.compare_digest(fields.get("state", "").encode(), state.encode()):
        raise LoginError(
            "that address is not the answer to this login (its state differs): open the address that is "
            "shown now. A code that is surely yours can be given bare"
        )


def bare_code(fields: Mapping[str, str], code: str, page_marks: Sequence[str]) -> str:
    """The code out of the fields. page_marks: fields of the login page's own address.

    Raises:
        LoginError: it is not there; the message says what was pasted instead.
    """
    found = fields.get(code, "")
    if _CODE.fullmatch(found):
        return found
    if any(mark in fields for mark in page_marks):
        raise LoginError(
            "that is the address of the login page: log in there, then paste the address that it leads to"
        )
    raise LoginError(
        f"there is no {code} in that address: paste the one that the browser ended on after the login, also "
        "when the page itself shows an error"
    )


def plain_token(text: str) -> str:
    """An access token as it is given by hand.

    Raises:
        LoginError: it cannot be one.
    """
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise LoginError("that is no token: one word of plain characters is expected, copied whole")
    return token


def said(message: object) -> str:
    """What a broker says, fit to be shown."""
    text = " ".join(str(message or "").split())[:SAID_MAX]
    return text if text.isprintable() else ""
