"""Layer 6, by hand, cold: which values the vault takes, by broker, and which of them are asked for."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Mapping
from typing import Final

from kite_hft.addresses import check_sink_address
from kite_hft.engine.keys.contents import (
    ALERTS,
    BROKERS,
    PLACES,
    SECTION,
    Contents,
    VaultError,
    check_contents,
)
from kite_hft.engine.keys.ends import SUFFIX, put_value
from kite_hft.engine.keys.old_files import LOGIN_SECRETS, NAMES

TELEGRAM: Final = ("telegram_bot_token", "telegram_chat_id")
ADDRESSES: Final = frozenset({"webhook", "heartbeat_url"})
HIDDEN: Final = ADDRESSES | {
    "api_secret", "access_token", "sandbox_token", "analytics_token", "password", "totp_secret",
    "telegram_bot_token",
}  # fmt: skip
"""Not shown while they are typed."""
ASKED: Final[Mapping[str, Mapping[str, str]]] = {
    "kite": {
        "api_key": "API key (developers.kite.trade, your app)",
        "api_secret": "API secret",
        "user_id": "user id (as AB1234)",
        "redirect_url": "redirect URL of the app (Enter: none)",
    },
    "upstox": {
        "api_key": "API key (account.upstox.com/developer/apps)",
        "api_secret": "API secret",
        "user_id": "user id (Enter: none)",
        "redirect_url": "redirect URL of the app",
        "analytics_token": "analytics token, reads for a year (Enter: none)",
        "sandbox_token": "sandbox token, 30 days (Enter: none)",
    },
    ALERTS: {
        "webhook": "webhook: https address that gets each alert as JSON (Enter: none)",
        "telegram_bot_token": "Telegram: the bot's token, of @BotFather (Enter: none)",
        "telegram_chat_id": "Telegram: the chat's id (Enter: none)",
        "heartbeat_url": "heartbeat: https address that is called while all is well (Enter: none)",
    },
}
"""What a person is asked for. Today's access token is not among it: kite-hft login brings it."""
TAKEN: Final[Mapping[str, frozenset[str]]] = {
    broker: frozenset(
        {*ASKED[broker], "access_token", *LOGIN_SECRETS}
        | {f"{name}{SUFFIX}" for name in ("access_token", *ASKED[broker]) if name.endswith("_token")}
    )
    for broker in BROKERS
} | {ALERTS: frozenset(ASKED[ALERTS])}
"""Every name that can be set."""

BOTH_FACTORS: Final = (
    "the vault holds the login's password and the secret of its one-time codes, both factors in one place: "
    "whoever opens the vault is the account's owner. kite_hft needs neither; remove one: "
    "kite-hft credentials --remove password"
)
WHY_NOT: Final = (
    "is no part of an API login and is not stored unless you insist (--login-secrets): whoever opens the "
    "vault could log in as you"
)


class NotTaken(VaultError):
    """A name or value that the vault does not take; the message says which are."""


def section_of(broker: str, profile: str) -> str:
    """The place in the vault. broker: or ALERTS.

    Raises:
        NotTaken: no such broker, or no word for a profile.
    """
    section = f"{broker}/{profile}"
    if broker not in PLACES or not SECTION.fullmatch(section):
        raise NotTaken(
            f"{section!r}: the broker is {' or '.join(BROKERS)} (alerts: how you are told), the profile a "
            "word of letters, digits, _ . -"
        )
    return section


def require_name(broker: str, name: str, *, login_secrets: bool) -> None:
    """Refuse what the vault does not take.

    Raises:
        NotTaken: names the nearest that it takes.
    """
    if name not in TAKEN[broker]:
        near = difflib.get_close_matches(name, TAKEN[broker], n=1, cutoff=0.5)
        known = ", ".join(sorted(TAKEN[broker] - LOGIN_SECRETS))
        raise NotTaken(
            f"{broker} has no value {name!r}; " + (f"did you mean {near[0]}?" if near else f"it has {known}")
        )
    if name in LOGIN_SECRETS and not login_secrets:
        raise NotTaken(f"{name} {WHY_NOT}")


QUOTES: Final = ("'", '"', "`")


def require_value(name: str, value: str) -> None:
    """Refuse what cannot be the value of this name.

    Raises:
        NotTaken: says what is expected; the value is not shown.
    """
    if not value:
        raise NotTaken(f"{name}: no value was given; type it at the prompt, or pipe it in")
    if name.endswith(SUFFIX):
        try:
            dt.datetime.fromisoformat(value)
        except ValueError:
            raise NotTaken(f"{name}: a time is expected, as 2026-11-22T06:00:00+05:30") from None
    elif name in ADDRESSES:
        try:
            check_sink_address(name, value)
        except ValueError as error:
            raise NotTaken(str(error)) from None
    elif name != "password" and (not value.isascii() or any(c.isspace() for c in value)):
        raise NotTaken(f"{name}: one word of plain characters is expected; was more pasted than it?")
    elif name != "password" and value[0] in QUOTES and value[-1] == value[0]:
        raise NotTaken(f"{name}: the quotes round it would become a part of it: give it without")


def take_lines(
    lines: Mapping[str, str], broker: str, profile: str, *, login_secrets: bool
) -> tuple[Contents, list[str]]:
    """(what to put into the vault, what was left out) of lines that standard input gave.

    Names are those of the vault (`api_key`, for this broker) or of a `.env` file (`UPSTOX_API_KEY`); other
    names in capitals are somebody else's variables.

    Raises:
        NotTaken: a name in small letters that there is none of, or a value that does not fit.
    """
    found: Contents = {}
    left: list[str] = []
    for name, text in lines.items():
        value = text.strip()
        if name.startswith(("master_", "new_master_", "old_master_")) or (
            name.isupper() and name not in NAMES
        ):
            continue
        whose, key = NAMES.get(name, (broker, name))
        if name in NAMES and (not value or (key in LOGIN_SECRETS and not login_secrets)):
            left.append(f"{name} ({'empty' if not value else 'not needed; see --login-secrets'})")
            continue
        require_name(whose, key, login_secrets=login_secrets)
        require_value(key, value)
        found.setdefault(section_of(whose, profile), {})[key] = value
    return found, left


def merged(contents: Contents, changes: Contents) -> None:
    """Put changes into the vault's contents; what an earlier token had beside it goes with it.

    Raises:
        VaultError: a value that does not fit.
    """
    for section, values in changes.items():
        there = contents.setdefault(section, {})
        for name in sorted(values):  # a token comes before its end
            put_value(there, name, values[name])
    check_contents(contents)


def warnings(contents: Contents) -> list[str]:
    """What to warn of: both factors of a login in one place; half of what Telegram needs."""
    found = [
        f"{section}: {BOTH_FACTORS}" for section, values in contents.items() if set(values) >= LOGIN_SECRETS
    ]
    for section, values in contents.items():
        if len(lacking := [name for name in TELEGRAM if name not in values]) == 1:
            found.append(
                f"{section}: Telegram needs {' and '.join(TELEGRAM)}, runs are refused so: kite-hft "
                f"credentials --broker alerts --profile {section.partition('/')[2]} --set {lacking[0]}"
            )
    return found
