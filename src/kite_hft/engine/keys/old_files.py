"""Layer 5, keys, cold: keys out of older files: a `.env` file, and an encrypted file of the older design.

The older file is a Fernet token (github.com/fernet/spec: AES-128-CBC and HMAC-SHA256, whatever it was called)
under a key from PBKDF2-SHA256 with 100,000 iterations, its salt in a file of its own. It is read here so
that its keys can be sealed anew; nothing writes it any more.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from kite_hft.engine.keys.contents import ALERTS, Contents, VaultError
from kite_hft.plain import plain_bytes

FERNET_START: Final = b"gAAAA"
"""Version 0x80 and the upper bytes of a time stamp before the year 2242, in base64."""
FERNET_ROUNDS: Final = 100_000
SALT_FILE: Final = ".salt"
BYTES_MAX: Final = 1 << 20
LOGIN_SECRETS: Final = frozenset({"password", "totp_secret"})
"""Together they are both factors of the login: left out unless somebody asks for them."""
_KITE: Final = {
    "API_KEY": "api_key", "API_SECRET": "api_secret", "USER_ID": "user_id", "PASSWORD": "password",
    "TOTP_SECRET": "totp_secret", "ACCESS_TOKEN": "access_token", "REDIRECT_URL": "redirect_url",
    "REDIRECT_URI": "redirect_url",
}  # fmt: skip
_UPSTOX: Final = {**_KITE, "SANDBOX_TOKEN": "sandbox_token", "ANALYTICS_TOKEN": "analytics_token",
                  "CLIENT_ID": "api_key", "CLIENT_SECRET": "api_secret"}  # fmt: skip
_ALERTS: Final = {"telegram_token": "telegram_bot_token", "telegram_chat_id": "telegram_chat_id"}
NAMES: Final[Mapping[str, tuple[str, str]]] = {
    **{f"KITE_{name}": ("kite", key) for name, key in _KITE.items()},
    **{f"ZERODHA_{name}": ("kite", key) for name, key in _KITE.items()},
    **{f"UPSTOX_{name}": ("upstox", key) for name, key in _UPSTOX.items()},
    "LIVE_ACCESS_TOKEN": ("upstox", "access_token"),
    "SANDBOX_ACCESS_TOKEN": ("upstox", "sandbox_token"),
    **{f"KITE_{name.upper()}": (ALERTS, key) for name, key in _ALERTS.items()},
}
"""Variable of a `.env` file -> broker (or alerts) and name in the vault."""
_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_SECRET_NAME: Final = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASS\b|_ID$", re.IGNORECASE)
PLACEHOLDER: Final = re.compile(r"your[_-].*|<.*>|x{4,}|\.{3}|changeme", re.IGNORECASE)


@dataclass(slots=True)
class Imported:
    """What was found. left_out: names with the reason. warnings: for the person who imports."""

    contents: Contents = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def put(self, broker: str, profile: str, name: str, value: str) -> None:
        self.contents.setdefault(f"{broker}/{profile}", {})[name] = value

    def names(self) -> list[str]:
        """section: names, for people."""
        return [f"{section}: {', '.join(sorted(values))}" for section, values in self.contents.items()]


def is_fernet(path: Path) -> bool:
    """Whether the file is of the older encrypted kind (and not a `.env`).

    Raises:
        VaultError: it cannot be read.
    """
    return _read(path).lstrip().startswith(FERNET_START)


def read_env(path: Path, profile: str, *, login_secrets: bool = False) -> Imported:
    """Keys of a `.env` file.

    Raises:
        VaultError: unreadable, not text, or with no key of a broker in it.
    """
    try:
        text = _read(path).decode()
    except UnicodeDecodeError:
        raise VaultError(f"{path}: neither a .env file nor an encrypted file of the older design") from None
    found = Imported(warnings=_seen_by_others(path))
    for variable, value in env_lines(text).items():
        if variable not in NAMES:
            if _SECRET_NAME.search(variable):
                found.left_out.append(f"{variable} (no key of a broker)")
            continue
        broker, name = NAMES[variable]
        if not value or PLACEHOLDER.fullmatch(value):
            found.left_out.append(f"{variable} (not filled in)")
        elif name in LOGIN_SECRETS and not login_secrets:
            found.left_out.append(f"{variable} (not needed; see --login-secrets)")
        else:
            found.put(broker, profile, name, value)
    if not found.contents:
        raise VaultError(
            f"{path}: no key of a broker is in it; names are KITE_API_KEY, UPSTOX_ACCESS_TOKEN ..."
        )
    return found


def env_lines(text: str) -> dict[str, str]:
    """Variables of a `.env` text; quotes, `export` and comments are taken off. Later lines win."""
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if line.lstrip().startswith("#") or not match:
            continue
        name, value = match.groups()
        if quoted := re.match(r"""(['"])(.*?)\1\s*(#.*)?$""", value):
            value = quoted.group(2)
        else:
            value = re.split(r"(?:^|\s)#", value)[0].strip()
        found[name] = value
    return found


def read_fernet(
    path: Path, password: bytes, profile: str, *, salt: Path | None = None, login_secrets: bool = False
) -> Imported:
    """Keys of an encrypted file of the older design. salt: its salt file; default: `.salt` beside it.

    Raises:
        VaultError: no salt, a wrong password or a damaged file, or something else in it.
    """
    salt = salt or path.parent / SALT_FILE
    try:
        kdf = PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=_read(salt), iterations=FERNET_ROUNDS)
    except VaultError as error:
        raise VaultError(f"{error}; name the salt file of {path.name}: --salt FILE") from None
    key = base64.urlsafe_b64encode(kdf.derive(password))
    try:
        rows = msgspec.json.decode(Fernet(key).decrypt(_read(path).strip()))
    except InvalidToken:
        raise VaultError(
            f"{path}: the old master password is wrong, {salt} is not its salt, or the file is damaged"
        ) from None
    except msgspec.DecodeError:
        raise VaultError(f"{path}: decrypted, and no JSON is in it") from None
    if not isinstance(rows, dict):
        raise VaultError(f"{path}: decrypted, and no names with values are in it")
    found = Imported(warnings=_seen_by_others(path))
    for name, value in rows.items():
        _take(found, profile, str(name), value, login_secrets=login_secrets)
    if not found.contents:
        raise VaultError(f"{path}: decrypted, and no key of a broker is in it")
    return found


def _take(found: Imported, profile: str, name: str, value: Any, *, login_secrets: bool) -> None:
    if name not in _KITE.values() and name not in _ALERTS:
        found.left_out.append(f"{name} (no key of a broker)")
    elif not isinstance(value, str) or not value.strip():
        found.left_out.append(f"{name} (empty)")
    elif name in LOGIN_SECRETS and not login_secrets:
        found.left_out.append(f"{name} (not needed; see --login-secrets)")
    else:
        found.put(ALERTS if name in _ALERTS else "kite", profile, _ALERTS.get(name, name), value.strip())


def _read(path: Path) -> bytes:
    try:
        return plain_bytes(path, BYTES_MAX)
    except OSError as error:
        raise VaultError(f"{path}: cannot be read: {error.strerror}") from None


def _seen_by_others(path: Path) -> list[str]:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if not mode & 0o077:
        return []
    return [
        f"{path} could be read by other users (mode {mode:04o}): make new keys at the broker if they could "
        "log in here"
    ]
