"""Layer 3, whoever connects, cold: why an address cannot be reached, and what to do, in one sentence.

A person who mistypes an address is told the address, the key of the configuration that it stands under,
the cause and the fix. Causes come as exceptions of sockets and TLS, or as words that net/connection.py
has made of them. Of an address only scheme, host and port are shown: its path may hold a token.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

_NAME: Final = "no host has this name"
_CAUSES: Final = (
    (r"address family",
     "it has no address of the source address's kind (IPv4, IPv6)", "check bind_address"),
    (r"name or service not known|name resolution|nodename nor servname|no address associated|gaierror"
     r"|not known|idna",
     _NAME, "check its spelling, and this machine's network and name server"),
    (r"wrong.version.number|record.layer.failure|unexpected.(message|eof)|http.request",
     "no TLS is spoken there", "check the port; of a server on this machine that speaks none write {plain}://"),
    (r"certificate",
     "its certificate is not trusted", "check the host's name, this machine's clock and its ca-certificates"),
    (r"econnrefused|connection refused|connect call failed",
     "nothing listens there", "check host and port, and whether the server runs"),
    (r"timed out|timeout|etimedout",
     "nothing answers", "check host and port; a firewall or a proxy may stand between"),
    (r"eaddrnotavail|cannot assign|can't assign",
     "no connection can leave from the source address",
     "check bind_address; `ip -brief address` shows this machine's"),
    (r"unreach|enetdown|ehostdown",
     "there is no way to it", "check this machine's network"),
)  # fmt: skip
"""What the error says -> cause, fix; the first that is found holds."""
_MUTE: Final = re.compile(r"closed|reset|without an answer|no whole http|no usable|illegal|invalid", re.I)
_PLAIN: Final = {"https": "http", "wss": "ws"}
_SECURE: Final = {"http": "https", "ws": "wss"}


def shown(url: str, key: str = "") -> str:
    """An address without its path, and the key that it stands under: `wss://host:1234 (kite.ws_url)`."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return f"{place} ({key})" if key else place


def why_unreachable(url: str, key: str, why: BaseException | str) -> str:
    """`cannot reach ADDRESS (KEY): CAUSE (what was said): FIX`. why: what went wrong."""
    said = str(why) or type(why).__name__
    kind = f"{type(why).__name__} {said}" if isinstance(why, BaseException) else said
    scheme = urlsplit(url).scheme
    cause, fix = "it cannot be used", "check the address"
    for pattern, found, advice in _CAUSES:
        if (isinstance(why, socket.gaierror) and found is _NAME) or re.search(pattern, kind, re.I):
            cause, fix = found, advice
            break
    else:
        if isinstance(why, ssl.SSLError):
            cause, fix = "TLS fails", "check host and port"
        elif scheme in _SECURE and _MUTE.search(kind):
            cause = f"it does not answer in plain {scheme}"
            fix = f"check the port; if it speaks TLS write {_SECURE[scheme]}://"
        elif _MUTE.search(kind):
            cause, fix = "it hangs up", "check the port, and that TLS is spoken there"
    fix = fix.format(plain=_PLAIN.get(scheme, scheme))
    return f"cannot reach {shown(url, key)}: {cause} ({_short(said, url)}); {fix}"


def _short(said: str, url: str) -> str:
    """What was said, without our own address, the source lines of a library, and what a path may hold."""
    said = re.sub(r"\s*\(_ssl\.c:\d+\)", "", said).replace(shown(url) + ": ", "")
    parts = urlsplit(url)
    for part in (parts.query, parts.path):
        if len(part) > 1:
            said = said.replace(part, "...")
    return said
