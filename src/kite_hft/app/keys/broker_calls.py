"""Layer 6, by hand, cold: what a login asks the broker, over HTTPS: one call each, never sent twice."""

from __future__ import annotations

import time
from typing import Final

from kite_hft.brokers.login import Approval, HttpCall, Login, LoginError, LoginWords, Person
from kite_hft.net.http import TransportConfigError, fetch
from kite_hft.net.unreachable import why_unreachable

CALL_S: Final = 15.0
CLOCK_S: Final = 5.0
"""The broker's times are whole seconds, and an answer takes its time: less is no difference."""


class Unreachable(LoginError):
    """No answer came."""


class OtherPerson(LoginError):
    """A token of another user than the vault's."""


def asked(call: HttpCall, url_key: str, bind: str = "") -> tuple[int, bytes]:
    """(status, body) of a call. url_key: key of the configuration that its address stands under. bind:
    source address, here and below; "": the system chooses.

    Raises:
        Unreachable: no answer; the message says why, without the address's path.
    """
    try:
        return fetch(call.url, call.headers, method=call.method, body=call.body, timeout_s=CALL_S, bind=bind)
    except (OSError, TransportConfigError) as error:
        raise Unreachable(why_unreachable(call.url, url_key, error)) from None


def exchanged(
    words: LoginWords,
    host: str,
    api_key: str,
    api_secret: str,
    code: str,
    redirect_url: str,
    bind: str = "",
) -> Login:
    """The session that a code opens.

    Raises:
        LoginError: none.
    """
    call = words.session_request(host, api_key, api_secret, code, redirect_url)
    try:
        status, body = asked(call, f"{words.broker}.api_url", bind)
    except Unreachable as error:
        raise Unreachable(f"{error}. The {words.code} may be used up: log in again") from None
    return words.parse_session(status, body, time.time_ns())


def person_of(words: LoginWords, host: str, api_key: str, access_token: str, bind: str = "") -> Person:
    """Whose token it is.

    Raises:
        TokenRefused: nobody's. LoginError: it cannot be found out.
    """
    call = words.profile_request(host, api_key, access_token)
    return words.parse_profile(*asked(call, f"{words.broker}.api_url", bind))


def approval_of(words: LoginWords, host: str, api_key: str, api_secret: str, bind: str = "") -> Approval:
    """Ask the user on his phone.

    Raises:
        LoginError: the broker has no such way, or did not ask him.
    """
    if words.approving is None:
        raise LoginError(f"{words.title} has no login by approval; log in by the page: kite-hft login")
    call = words.approving.request(host, api_key, api_secret)
    return words.approving.parse(*asked(call, f"{words.broker}.api_url", bind), time.time_ns())


def ended(words: LoginWords, host: str, api_key: str, access_token: str, bind: str = "") -> None:
    """End a session at the broker.

    Raises:
        TokenRefused: it had ended before. LoginError: it may still live.
    """
    call = words.logout_request(host, api_key, access_token)
    words.parse_logout(*asked(call, f"{words.broker}.api_url", bind))


def require_person(login: Login | Person, wanted: str, section: str) -> None:
    """The session must be the account's that the vault names.

    Raises:
        OtherPerson: it is another one's.
    """
    if wanted and login.user_id.upper() != wanted.upper():
        raise OtherPerson(
            f"the broker says this is {login.user_id} ({login.user_name}), and {section} is {wanted}: the "
            "token was not kept. Log in as that user (a private window has no other session), or give this "
            "account a profile of its own: --profile NAME"
        )


def clock_words(login: Login) -> str:
    """What to say when this machine's clock is not the broker's; "": it is, or he does not tell."""
    ahead_s = login.clock_ahead_s
    if ahead_s is None or abs(ahead_s) <= CLOCK_S:
        return ""
    way = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"this machine's clock is {abs(ahead_s):,.0f} s {way} the broker's: one-time codes fail at 30 s, and "
        "the engine opens nothing; see timedatectl, let chrony or systemd-timesyncd keep it"
    )
