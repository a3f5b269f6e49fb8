"""Layer 5, keys, cold: where the master password comes from: no argument, and hardly the environment.

In this order: a descriptor that was handed over; a credential of systemd (LoadCredential= or
LoadCredentialEncrypted=, as kite_hft-master); the kernel's keyring (a key of type user, kite_hft:master);
with a warning, KITE_MASTER_PASSWORD: an environment is inherited by every program that is started from it,
and stands in /proc; and a hidden prompt. The prompt is last: whoever has set up one of the others wants to
be asked no more, at a terminal as little as from a script.
"""

from __future__ import annotations

import ctypes
import errno
import getpass
import os
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from kite_hft.engine.keys.contents import VaultError

SYSTEMD_NAME: Final = "kite_hft-master"
KEYRING_NAME: Final = "kite_hft:master"
VARIABLE: Final = "KITE_MASTER_PASSWORD"
BYTES_MAX: Final = 1024
CHARACTERS_MIN: Final = 10
"""Of a new master password. Argon2id makes each guess cost a quarter of a second; it cannot make up for a
word of six letters."""
SYSCALLS: Final = {"x86_64": (249, 250), "aarch64": (218, 219)}
"""request_key and keyctl, by machine."""
KEYCTL_SEARCH, KEYCTL_READ = 10, 11
USER_KEYRING: Final = -4


class NoPassword(VaultError):
    """No source has a master password; the message names them."""


def find_password(
    *,
    fd: int | None,
    prompt: Callable[[], str] | None,
    environ: Mapping[str, str],
    say: Callable[[str], None] | None = None,
    keyring: bool = True,
) -> bytes:
    """The master password from the first source that has one.

    fd: its first line; nothing behind it is read. prompt: asks a person, and may return nothing; None where
    there is nobody. say: gets the warning; default: standard error. keyring: False passes over the kernel's
    keyring.

    Raises:
        NoPassword: no source has one, or the descriptor is empty.
    """
    if fd is not None:
        return _from_fd(fd)
    if found := from_systemd(environ) or (from_keyring() if keyring else b""):
        return found
    if held := environ.get(VARIABLE):
        (say or _warn)(
            f"the master password comes from {VARIABLE}, which every program started from here inherits; "
            f"`unset {VARIABLE}` to be asked instead (docs/security.md)"
        )
        return as_bytes(held)
    if prompt is not None and (typed := prompt()):
        return as_bytes(typed)
    raise NoPassword(
        f"the vault needs its master password: type it at the prompt of a terminal, hand over a descriptor "
        f"(--password-fd N), a systemd credential ({SYSTEMD_NAME}) or a key of the kernel keyring "
        f"({KEYRING_NAME})"
    )


def from_systemd(environ: Mapping[str, str]) -> bytes:
    """The service's credential; b"": there is none.

    Raises:
        NoPassword: it is there and cannot be read, or is empty.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder or "") / SYSTEMD_NAME
    if not folder or not path.exists():
        return b""
    try:
        found = clean(path.read_bytes())
    except OSError as error:
        raise NoPassword(f"{path}: the credential cannot be read: {error.strerror}") from None
    if not found:
        raise NoPassword(f"{path}: the credential is empty")
    return found


def from_keyring() -> bytes:
    """The key of the kernel's keyring; b"": none, or none that this process may read."""
    numbers = SYSCALLS.get(os.uname().machine)
    if numbers is None:
        return b""
    request_key, keyctl = numbers
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    kind, name = b"user", KEYRING_NAME.encode()
    number = syscall(ctypes.c_long(request_key), kind, name, None, ctypes.c_long(0))
    if number < 0:
        where = ctypes.c_long(USER_KEYRING)
        number = syscall(ctypes.c_long(keyctl), ctypes.c_long(KEYCTL_SEARCH), where, kind, name,
                         ctypes.c_long(0))  # fmt: skip
    if number < 0:
        return b""
    held = ctypes.create_string_buffer(BYTES_MAX)
    n = syscall(ctypes.c_long(keyctl), ctypes.c_long(KEYCTL_READ), ctypes.c_long(number), held,
                ctypes.c_long(BYTES_MAX))  # fmt: skip
    found = clean(held.raw[:n]) if 0 < n <= BYTES_MAX else b""
    ctypes.memset(held, 0, BYTES_MAX)
    return found


def _from_fd(fd: int) -> bytes:
    """One line, byte by byte: what follows it is for somebody else."""
    found = bytearray()
    try:
        while len(found) <= BYTES_MAX and (byte := os.read(fd, 1)) not in (b"", b"\n"):
            found += byte
    except (OSError, OverflowError) as error:
        if isinstance(error, OverflowError) or error.errno == errno.EBADF:
            raise NoPassword(
                f"descriptor {fd} is not open; hand it over as in: kite-hft run CONFIG --password-fd 3 "
                "3< <(systemd-ask-password)"
            ) from None
        raise NoPassword(f"descriptor {fd} cannot be read: {error.strerror}") from None
    if len(found) > BYTES_MAX:
        raise NoPassword(
            f"the first line of descriptor {fd} is longer than {BYTES_MAX:,} bytes: no master password"
        )
    if not (password := clean(bytes(found))):
        raise NoPassword(f"descriptor {fd} gave no master password: its first line is empty")
    return password


def clean(raw: bytes) -> bytes:
    """Without a line's end; the same password is the same bytes, whichever way it was typed (NFC)."""
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return as_bytes(raw.decode())
    except UnicodeDecodeError:
        return raw


def as_bytes(text: str) -> bytes:
    """A typed password as the vault takes it."""
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape")


def require_good(password: bytes) -> None:
    """Refuse a new master password that is guessed soon.

    Raises:
        NoPassword: too short, one character again and again, or too long for every way of handing it over.
    """
    if len(password) > BYTES_MAX:
        raise NoPassword(f"a master password has at most {BYTES_MAX:,} bytes")
    text = password.decode("utf-8", "replace")
    if len(text) < CHARACTERS_MIN or len(set(text)) < CHARACTERS_MIN // 2:
        raise NoPassword(
            f"a master password has at least {CHARACTERS_MIN} characters, not always the same; four or five "
            "words by chance are easy to keep in mind"
        )


def hidden_prompt(text: str) -> Callable[[], str] | None:
    """Asks on the terminal without showing what is typed; None where standard input is none."""
    if sys.stdin is None or not sys.stdin.isatty():  # None: it was closed before the start
        return None
    return lambda: getpass.getpass(text)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
