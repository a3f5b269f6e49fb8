"""Layer 6, by hand, cold: what becomes of a token: it is tried, kept in the vault, given to whoever runs."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any, Final

from kite_hft.app.keys.broker_calls import (
    OtherPerson,
    Unreachable,
    clock_words,
    person_of,
    require_person,
)
from kite_hft.app.keys.handing import Given, Handed, engines_of, hand_over
from kite_hft.app.keys.opened import TOKENS, Opened
from kite_hft.app.steer.token import read_token
from kite_hft.brokers.login import Login, LoginError, LoginWords, TokenRefused, plain_token
from kite_hft.brokers.table import login_of
from kite_hft.brokers.upstox.login import ANALYTICS_NS, SANDBOX_NS, typed_end_ns
from kite_hft.engine.keys.ends import SUFFIX, until_text
from kite_hft.sessions import ist_midnight_ns, ist_text
from kite_hft.settings import Settings, SettingsError

ACCESS: Final = "access_token"
SANDBOX: Final = "sandbox_token"
ANALYTICS: Final = "analytics_token"
LIVES_NS: Final = {SANDBOX: SANDBOX_NS, ANALYTICS: ANALYTICS_NS}

Say = Callable[[str], None]


def api_url(settings: Settings, broker: str) -> str:
    """Where calls of a broker go."""
    section = settings.kite if broker == "kite" else settings.upstox
    return section.api_url.rstrip("/")


def source_of(settings: Settings, broker: str) -> str:
    """Which address of this machine they leave from; "": the system chooses."""
    return settings.kite.bind_address if broker == "kite" else settings.upstox.bind_address


def typed_login(words: LoginWords) -> Login:
    """A day's token that was made elsewhere: the broker is asked whose it is."""
    return Login(plain_token(read_token()), "", "", words.token_end_ns(time.time_ns()))


def keep_login(
    held: Opened, words: LoginWords, host: str, got: Login, say: Say, bind: str = ""
) -> dict[str, Any]:
    """Check a token by a read that changes nothing, and keep it. bind: source address of that call.

    Raises:
        LoginError: it is another user's, or the broker does not take it. VaultError: it cannot be kept.
    """
    wanted = held.values.get("user_id", "")
    person = got.user_id, got.user_name
    if got.user_id:
        require_person(got, wanted, held.section)
    try:
        found = person_of(words, host, held.needed("api_key"), got.access_token, bind)
        require_person(found, wanted, held.section)
        person = found
    except Unreachable as error:
        if not got.user_id:
            raise
        say(f"warning: the new token could not be tried: {error}")
    if clock := clock_words(got):
        say(f"warning: {clock}")
    until = until_text(got.until_real_ns)
    held.keep(
        {ACCESS: got.access_token, ACCESS + SUFFIX: until, **({} if wanted else {"user_id": person[0]})}
    )
    return {
        "broker": held.broker, "profile": held.profile, "token": ACCESS, "user_id": person[0],
        "user_name": person[1], "until": until, "until_ist": ist_text(got.until_real_ns),
    }  # fmt: skip


def keep_typed(held: Opened, settings: Settings, name: str, issued: str, say: Say) -> dict[str, Any]:
    """A sandbox or an analytics token, as its page shows it."""
    if held.broker != "upstox":
        raise LoginError(f"{held.broker} has no {TOKENS[name]}; say --broker upstox")
    now_ns = time.time_ns()
    try:
        made_ns = ist_midnight_ns(dt.date.fromisoformat(issued)) if issued else now_ns
    except ValueError:
        raise SettingsError(f"--issued {issued!r}: a date is expected, as 2026-11-20") from None
    token = plain_token(read_token())
    end_ns = typed_end_ns(token, made_ns, LIVES_NS[name])
    if end_ns <= now_ns:
        raise LoginError(f"that token has ended at {ist_text(end_ns)} IST: make a new one on Upstox's page")
    words, person = login_of("upstox"), ("", "")
    if name == ANALYTICS:
        try:
            key, source = held.values.get("api_key", ""), source_of(settings, "upstox")
            found = person_of(words, api_url(settings, "upstox"), key, token, source)
            require_person(found, held.values.get("user_id", ""), held.section)
            person = found
        except (TokenRefused, OtherPerson):
            raise
        except LoginError as error:
            say(f"warning: whose token it is could not be found out ({error}); reading prices will tell")
    else:
        say("the sandbox answers no reads: whether it takes the token shows with the first order")
    until = until_text(end_ns)
    held.keep({name: token, name + SUFFIX: until})
    return {
        "broker": held.broker, "profile": held.profile, "token": name, "user_id": person[0],
        "user_name": person[1], "until": until, "until_ist": ist_text(end_ns),
    }  # fmt: skip


def give_engines(
    held: Opened, host: str, token: str, account: str | None, wait_s: float, say: Say
) -> list[Handed]:
    """Give the token to whoever runs with this login."""
    given = Given(held.broker, held.needed("api_key"), host, token)
    rows = []
    for note in engines_of(given.broker, given.api_key, host, account):
        say(f"{note.title} runs: it gets the new token")
        rows.append(hand_over(note, given, wait_s))
    return rows
