"""Layer 6, by hand, cold: an authenticator's one-time codes (RFC 6238), for the person who types them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

PERIOD_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES_MIN: Final = 10


class BadSecret(ValueError):
    """A text that is no authenticator's secret; the message does not show it."""


def secret_of(text: str) -> bytes:
    """The secret as the broker shows it beside the QR code: base32, in groups or not, in any case.

    Raises:
        BadSecret: it is none.
    """
    plain = "".join(text.split()).replace("-", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < SECRET_BYTES_MIN:
        raise BadSecret(
            "totp_secret is no authenticator's secret: letters A-Z and digits 2-7 are expected, 16 or more; "
            "it is shown once, as text beside the QR code, when an external authenticator is set up"
        )
    return secret


def totp(secret: bytes, unix_s: int, digits: int = DIGITS, algorithm: str = "sha1") -> str:
    """The code of an instant (RFC 6238: HOTP of RFC 4226 over the number of 30-second steps)."""
    counter = (unix_s // PERIOD_S).to_bytes(8, "big")
    mac = hmac.new(secret, counter, getattr(hashlib, algorithm)).digest()
    at = mac[-1] & 0x0F
    number = int.from_bytes(mac[at : at + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}d}"


def left_s(unix_s: int) -> int:
    """For how many seconds the code of an instant still holds."""
    return PERIOD_S - unix_s % PERIOD_S
