"""Layer 3, whoever connects, cold: what a host's name stands for, at first and once nothing answers there.

A broker's host may move while a process lives. The first look-up blocks, before anything trades; later ones
run on a thread beside, because a name server may take seconds, and change nothing until they have found
something. That thread stays on the cores of whoever looked first: a process takes its own core later. Kind of
address (IPv4, IPv6), source address and TLS stay what they were.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
import threading
from typing import Any, Final
from urllib.parse import urlsplit

from kite_hft.net.connection import Target
from kite_hft.units import NS_PER_S

AGAIN_NS: Final = 10 * NS_PER_S
"""Between two look-ups of a name at least."""


class TransportConfigError(ValueError):
    """An address or TLS setting that must not be used."""


def targets_of(
    url: str, context: ssl.SSLContext | None, bind: str, family: int = socket.AF_UNSPEC
) -> tuple[str, list[Target]]:
    """The path that an address for calls begins with, and all that its host's name stands for (it blocks).

    Raises:
        TransportConfigError: another scheme, plain http to another machine, or a context that does not
            verify.
        OSError: the host's name cannot be resolved.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise TransportConfigError(f"{parts.scheme}://{parts.hostname}: not a plain http(s) base address")
    secure = parts.scheme == "https"
    if secure:
        context = context or ssl.create_default_context()
        # Some Pythons take a cut for the end of an answer unless told otherwise.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
            raise TransportConfigError("a TLS context that does not verify certificate and host name")
    port = parts.port or (443 if secure else 80)
    found = socket.getaddrinfo(parts.hostname, port, family, socket.SOCK_STREAM)
    targets = []
    for family, _, _, _, address in found:
        if not secure and not ipaddress.ip_address(str(address[0])).is_loopback:
            raise TransportConfigError(f"plain http to {address[0]}: allowed on this machine only")
        local: Any = (bind, 0) if bind else None
        targets.append(Target(parts.hostname, family, address, context if secure else None, local))
    return parts.path.rstrip("/"), targets


class Addresses:
    """What one host's name stands for. path: what every path of its calls begins with.

    Raises: as targets_of, which it asks first (it blocks).
    """

    def __init__(self, url: str, context: ssl.SSLContext | None, bind: str, family: int, now_ns: int) -> None:
        self.path, self._targets = targets_of(url, context, bind, family)
        self._url, self._bind, self._family, self._asked_ns = url, bind, family, now_ns
        self._context = self._targets[0].context
        self._found: list[Target] = []
        self._thread: threading.Thread | None = None
        self._cores = os.sched_getaffinity(0)
        with contextlib.suppress(ValueError):  # a name
            ipaddress.ip_address(self._targets[0].host)
            self._asked_ns = 2**62  # stands for itself

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, turn: int) -> Target:
        """The one whose turn it is, by a number that grows."""
        if self._found:
            self._targets, self._found = self._found, []
        return self._targets[turn % len(self._targets)]

    def look_again(self, now_ns: int) -> None:
        """Nothing answers: look the name up, beside. Does nothing while one look-up runs, within AGAIN_NS of
        the last, and where the machine gives no thread.
        """
        running = self._thread is not None and self._thread.is_alive()
        if now_ns - self._asked_ns >= AGAIN_NS and not running:
            self._asked_ns = now_ns
            thread = threading.Thread(target=self._look, name="kite_hft-name", daemon=True)
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _look(self) -> None:
        with contextlib.suppress(OSError):  # they are not to be had any more: where it is
            os.sched_setaffinity(0, self._cores)
        with contextlib.suppress(OSError, TransportConfigError):  # it stays as it was
            self._found = targets_of(self._url, self._context, self._bind, self._family)[1]
