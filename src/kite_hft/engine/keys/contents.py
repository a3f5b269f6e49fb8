"""Layer 5, keys, cold: what a vault holds, and how its troubles are told. No encryption: imports little."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

Contents = dict[str, dict[str, str]]
"""Broker and profile ("kite/default") -> name ("api_key") -> value. A token NAME has its end beside it as
NAME_until: ISO time with +05:30. "alerts/default" stands beside the brokers: how a person is told."""

BROKERS: Final = ("kite", "upstox")
ALERTS: Final = "alerts"
PLACES: Final = (*BROKERS, ALERTS)
"""What has values in the vault."""
SECTION: Final = re.compile(r"(kite|upstox|alerts)/[A-Za-z0-9_.-]{1,32}")
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
VALUE_CHARACTERS_MAX: Final = 8192


class VaultError(Exception):
    """The vault cannot be used; the message says why and what to do."""


class VaultMissing(VaultError):
    """There is no vault at this place yet."""


def require_password(password: bytes) -> None:
    """Refuse what is no master password. PBKDF2 and scrypt, through HMAC, take a zero byte at the end for
    none at all (RFC 2104, 2): two passwords would open one vault.

    Raises:
        VaultError: it is empty, or holds a zero byte.
    """
    if not password:
        raise VaultError("a vault needs a master password")
    if b"\0" in password:
        raise VaultError("a master password holds no zero byte")


def check_contents(contents: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse what is no broker and profile, name or value.

    Raises:
        VaultError: names it; a value is never shown.
    """
    for section, values in contents.items():
        if not SECTION.fullmatch(section):
            raise VaultError(
                f"{section!r} is no place in the vault: a broker and a profile are expected, as kite/default"
            )
        for name, value in values.items():
            if not NAME.fullmatch(name):
                raise VaultError(f"{section}: {name!r} is no name of a value: small letters, digits and _")
            if not value or len(value) > VALUE_CHARACTERS_MAX or not value.isprintable():
                raise VaultError(
                    f"{section}: {name} is empty, too long, or holds characters that cannot be printed"
                )
