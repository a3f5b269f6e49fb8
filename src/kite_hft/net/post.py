"""Layer 3, supervisor and watchdog, cold: one HTTP call to tell somebody something; it blocks.

For alerts and heartbeats: called in a thread of its own (engine/alerts/sinks), because a name may take long
to resolve. One connection a call, certificates always verified, redirects never followed, the whole
call within one time-out (but for the resolving), the answer's size bounded. An address often is a
secret: no error holds a part of it. Imports nothing of the trading path, and little at all.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  # taken by each look-up of a name, when there may be no module to read
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final
from urllib.parse import urlsplit

BODY_MAX: Final = 1 << 16
HEAD_MAX: Final = 1 << 15
READ_BYTES: Final = 4096
_PLAIN: Final = re.compile(r"[!-~]+")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
ADDRESSES_MAX: Final = 3
"""So many addresses of a name are tried, each with its share of the time."""


class PostError(Exception):
    """No answer came, or none that can be read; the message says why, without the address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body (its first 64 KiB, as it came) of an answer. retry_after_s: it wants no call before."""

    status: int
    body: bytes
    retry_after_s: float = 0.0


def call(
    method: str,
    url: str,
    body: bytes = b"",
    content_type: str = "",
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """One request and its answer.

    url: https, or http of this machine; with path and query.

    Raises:
        PostError: an address that must not be used, no connection, no certificate, no answer in time.
    """
    try:
        parts = urlsplit(url)
        host, port, secure = parts.hostname or "", parts.port, parts.scheme == "https"
    except ValueError:
        raise PostError("the address cannot be read") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "kite_hft", "Connection": "close"}
    fields |= {"Content-Type": content_type} if content_type else {}
    fields |= {"Content-Length": str(len(body))} if body or method == "POST" else {}
    fields |= headers or {}
    if parts.scheme not in ("http", "https") or not host or not _PLAIN.fullmatch(path):
        raise PostError("the address is none of http(s)")
    if any("\n" in text or "\r" in text for pair in fields.items() for text in pair):
        raise PostError("a header has a line end in it")
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    data = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
    try:
        port = port or (443 if secure else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        end_s = time.monotonic() + timeout_s
        with contextlib.closing(_connect(host, end_s, found, context, secure=secure)) as link:
            link.settimeout(left_s(end_s))
            link.sendall(data)
            return _answer(link, end_s)
    except TimeoutError:
        raise PostError(f"no answer within {timeout_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise PostError(f"certificate refused: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise PostError(f"TLS failed: {error.reason or 'unknown'}") from None
    except OSError as error:
        raise PostError(f"no connection: {error.strerror or type(error).__name__}") from None


def _connect(
    host: str, end_s: float, found: Sequence[Any], context: ssl.SSLContext | None, *, secure: bool
) -> socket.socket:
    """The first address that takes a connection, secured when asked for. One that swallows every packet takes
    its share of the time, and no more. Raises OSError, PostError."""
    failed: OSError = OSError("the name has no address")
    chosen = _chosen(found)
    for turn, (family, kind, protocol, _, address) in enumerate(chosen):
        if not secure and not ipaddress.ip_address(str(address[0])).is_loopback:
            raise PostError("plain http is for this machine only")
        link = socket.socket(family, kind, protocol)
        try:
            link.settimeout(left_s(end_s) / (len(chosen) - turn))
            link.connect(address)
            link.settimeout(left_s(end_s))
            return _secured(link, host, context) if secure else link
        except (PostError, ssl.SSLError):
            link.close()
            raise
        except OSError as error:
            link.close()
            failed = error
    raise failed


def _chosen(found: Sequence[Any]) -> list[Any]:
    """The addresses to try: of each family in turn, for one of them may lead nowhere (as in RFC 8305)."""
    families = list(dict.fromkeys(row[0] for row in found))
    turns = zip_longest(*([row for row in found if row[0] == family] for family in families))
    return [row for turn in turns for row in turn if row is not None][:ADDRESSES_MAX]


def _secured(link: socket.socket, host: str, context: ssl.SSLContext | None) -> ssl.SSLSocket:
    context = context or ssl.create_default_context()
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise PostError("a TLS context that does not verify certificate and host name")
    return context.wrap_socket(link, server_hostname=host)  # its handshake keeps the socket's time-out


def left_s(end_s: float) -> float:
    """Seconds until `end_s`.

    Raises:
        TimeoutError: it has passed.
    """
    left = end_s - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _answer(link: socket.socket, end_s: float) -> Answer:
    """Status line, then what follows the head until the end, the told length or the bound."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = _read(link, end_s)
        data += chunk
        if not chunk or len(data) > HEAD_MAX:
            raise PostError("the server hung up or spoke no HTTP")
    head, _, body = data.partition(b"\r\n\r\n")
    status = _STATUS.match(head + b"\r\n")
    if status is None:
        raise PostError("the server spoke no HTTP")
    told = re.search(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})", head, re.IGNORECASE)
    wanted = min(BODY_MAX, int(told[1])) if told else BODY_MAX
    try:
        while len(body) < wanted and (chunk := _read(link, end_s)):
            body += chunk
    except OSError:  # the status stands: the rest was for curiosity only
        pass
    later = _RETRY_AFTER.search(head + b"\r\n")
    return Answer(int(status[1]), body[:wanted], float(later[1]) if later else 0.0)


def _read(link: socket.socket, end_s: float) -> bytes:
    link.settimeout(left_s(end_s))
    return link.recv(READ_BYTES)
