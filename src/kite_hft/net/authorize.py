"""Layer 3, feed process, cold: the address of a websocket, where a broker gives it away by a call.

A one-time address: it is asked for before every connection. The call runs on a thread of its own,
because resolving a name blocks; the connection that it is for does not exist yet, so no tick waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import urljoin, urlsplit

from kite_hft.addresses import is_loopback
from kite_hft.net.http import TransportConfigError, fetch

AUTHORIZE_S = 7.0


class AddressRefused(Exception):
    """The broker gave no address: `status` as of a refused upgrade; the message says what it said."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


def safe_websocket(url: str) -> bool:
    """Whether `url` is an encrypted websocket address, or one of this machine."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and (parts.scheme == "wss" or (parts.scheme == "ws" and is_loopback(url)))


def redirect_target(url: str, location: str) -> str:
    """Where a redirect of `url` leads; "": nowhere that may be followed.

    From this machine to another one is no way either: a run on a simulator stays here.
    """
    target = urljoin(url, location) if location else ""
    if target.startswith("http"):  # a gateway that thinks in pages: http -> ws, https -> wss
        target = "ws" + target.removeprefix("http")
    if not safe_websocket(target) or is_loopback(url) != is_loopback(target):
        return ""
    return target


async def authorized(
    url: str,
    headers: Sequence[tuple[str, str]],
    parse: Callable[[bytes], str],
    refusal: Callable[[int, bytes], str] = lambda status, body: "",
    bind: str = "",
) -> str:
    """GET `url` and take the websocket's address from the answer. parse: of the body; raises ValueError.
    refusal: what another answer says, in words without secrets. bind: source address.

    Raises:
        AddressRefused: another status than 200, or no address that may be used. OSError: no answer.
    """
    try:
        status, body = await asyncio.to_thread(fetch, url, headers, timeout_s=AUTHORIZE_S, bind=bind)
    except TransportConfigError as error:
        raise AddressRefused(400, str(error)) from None
    if status != 200:
        raise AddressRefused(status, refusal(status, body))
    try:
        address = parse(body)
    except ValueError:
        raise AddressRefused(0, "the answer to the authorisation holds no address") from None
    if not safe_websocket(address) or is_loopback(url) != is_loopback(address):
        raise AddressRefused(0, "the address that was given is not encrypted, or of another kind of host")
    return address
