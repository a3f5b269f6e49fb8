"""Layer 2, feed processes, cold: where Upstox's two websockets are made, and when a token dies.

A GET to `.../authorize` answers with a one-time address; or the upgrade goes to api.upstox.com and is
redirected there. Both need the token as a header, and a new address for every connection.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from kite_hft.brokers.upstox.wire import MARKET_PATH, PORTFOLIO_PATH, parse_authorized, updates_query

SAID_MAX: Final = 200


class Parts(NamedTuple):
    """url, headers; parse: of the answer to the authorisation, None: `url` is the websocket's; refusal: what
    another answer says; expires_ns: end of the token, epoch ns, 0: not known."""

    url: str
    headers: tuple[tuple[str, str], ...]
    parse: Callable[[bytes], str] | None
    refusal: Callable[[int, bytes], str]
    expires_ns: int


def market(url: str, access_token: str) -> Parts:
    """The market feed. url: http(s): asked to authorise; ws(s): redirects the upgrade."""
    return _door(url, MARKET_PATH, "", access_token)


def portfolio(url: str, access_token: str) -> Parts:
    """The updates of orders, and of triggers: their list does not show those that have fired."""
    return _door(url, PORTFOLIO_PATH, f"?{updates_query(('order', 'gtt_order'))}", access_token)


def _door(url: str, path: str, query: str, access_token: str) -> Parts:
    bearer, expires_ns = ("Authorization", f"Bearer {access_token}"), token_expiry_ns(access_token)
    base = url.rstrip("/")
    if base.startswith("ws"):
        return Parts(f"{base}{path}{query}", (bearer, ("Accept", "*/*")), None, refusal_words, expires_ns)
    headers = (bearer, ("Accept", "application/json"))
    return Parts(f"{base}{path}/authorize{query}", headers, parse_authorized, refusal_words, expires_ns)


def refusal_words(status: int, body: bytes) -> str:
    """What the broker says with a refusal: its codes and messages; "" for anything but its JSON."""
    try:
        rows: list[dict[str, Any]] = json.loads(body)["errors"]
        told = [f"{row.get('errorCode') or row.get('error_code')}: {row.get('message')}" for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    text = "; ".join(told)[:SAID_MAX]
    return text if text.isprintable() else ""


def token_expiry_ns(access_token: str) -> int:
    """When a token dies by itself, epoch ns, by the `exp` in it (a JWT; nothing is verified); 0: not said."""
    parts = access_token.split(".")
    if len(parts) != 3:
        return 0
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        exp = claims["exp"]
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        return 0
    return int(exp) * 10**9 if isinstance(exp, int | float) and 0 < exp < 2**33 else 0
