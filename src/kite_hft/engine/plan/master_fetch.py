"""Layer 5, supervisor and verbs, cold: an instrument list as its broker sends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from kite_hft.engine.plan.session import Access, SessionError
from kite_hft.net.http import TransportConfigError, fetch
from kite_hft.net.unreachable import shown, why_unreachable

_KEYS: Final = {"kite": "kite.api_url", "upstox": "upstox.instruments_url"}
_NAMES: Final = {"kite": "Kite's instrument list", "upstox": "Upstox's instrument list"}


def list_url(access: Access) -> str:
    """Where the list lies. The simulator adds multiplier and freeze quantity to Kite's when asked; Kite
    ignores the query."""
    return f"{access.api_url}/instruments?extended=1" if access.broker == "kite" else access.instruments_url


def fetched(access: Access) -> bytes:
    """The body of a broker's list.

    Raises:
        SessionError: no answer, or another status than 200; it says what to look at.
    """
    headers = []
    if access.broker == "kite":
        headers.append(("X-Kite-Version", "3"))
        if access.access_token:
            headers.append(("Authorization", f"token {access.api_key}:{access.access_token}"))
    return _body(_NAMES[access.broker], list_url(access), _KEYS[access.broker], headers, access.bind_address)


def _body(what: str, url: str, key: str, headers: Sequence[tuple[str, str]], bind: str) -> bytes:
    try:
        status, body = fetch(url, headers, bind=bind)
    except (OSError, TransportConfigError) as error:
        raise SessionError(f"{what}: {why_unreachable(url, key, error)}") from None
    if status == 200:
        return body
    place = f"{shown(url, key)} refuses it with HTTP {status}"
    if status in (401, 403) and any(name == "Authorization" for name, _ in headers):
        fix = "the access token, or the key, is not taken: log in again, kite-hft login"
    elif b"TokenException" in body:
        fix = "it wants a session: log in, kite-hft login"
    elif status in (404, 405):
        fix = f"there is no such list at {urlsplit(url).path}: check the address"
    elif 300 <= status < 400:
        fix = "it leads elsewhere, which is not followed: check the address"
    else:
        fix = "try again later, or check the address"
    said = " ".join(body[:200].decode("utf-8", "replace").split())
    raise SessionError(f"{what}: {place}; {fix} (it says {said or 'nothing'})")
