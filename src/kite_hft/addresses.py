"""Layer 0, every process, cold: which addresses the engine may call. Nothing is resolved here."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether the host of `url` is this machine's loopback."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(key: str, url: str, *, plain: str, encrypted: str) -> None:
    """Refuse an address of another kind, without host, or plain to another machine.

    Raises:
        ValueError: names the key and the reason.
    """
    try:
        parts = urlsplit(url)
        port = parts.port  # raises for what is no port
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if parts.scheme not in {plain, encrypted} or not parts.hostname or port == 0:
        raise ValueError(f"{key}: expected {encrypted}://host or {plain}://127.0.0.1:port")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError(f"{key}: scheme, host and port only; keys have settings of their own")
    if parts.scheme == plain and not is_loopback(url):
        raise ValueError(f"{key}: {url!r} is not encrypted; plain {plain} only on loopback")


def check_source(key: str, address: str) -> None:
    """Refuse a source address of connections that is no address.

    Raises:
        ValueError: names the key and what is expected.
    """
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(
            f"{key}: {address!r} is no address: write one of this machine's (`ip -brief address` shows "
            "them), 0.0.0.0 for any IPv4 one"
        ) from None


def is_inner(address: str) -> bool:
    """Whether an address is of this machine's loopback: nobody else is reached from it."""
    return ipaddress.ip_address(address).is_loopback


def check_sink_address(key: str, url: str) -> None:
    """Refuse an address that an alert must not go to. The message holds no part of it: it is a secret.

    Raises:
        ValueError: no https address, and no http address of this machine.
    """
    try:
        parts = urlsplit(url)
        bad = not parts.hostname or parts.port == 0 or bool(parts.username or parts.fragment)
    except ValueError:
        bad = True
    if bad or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))):
        raise ValueError(f"{key}: expected https://host/path, or http:// of this machine")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"{key}: an address has no spaces and no odd characters")
