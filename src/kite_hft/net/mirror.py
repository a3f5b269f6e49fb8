"""Layer 3, orders process, hot between orders: a transport that reaches nobody.

It takes calls as net/http.py does, by the same compiled code: bytes, encryption, one write call on a TCP
connection. The other end of that connection is its own, on this machine, and what arrives there is thrown
away. For rehearsals, which keep code and kernel paths of an order warm.

Both ends of its TLS are here as well. They exchange no secret and prove no identity: the suite is an
anonymous one, which no other context of this engine offers or takes. Its cipher is AES-256-GCM, as a
broker's is: it is that code that has to stay warm.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Final

from kite_hft._calling import NEVER_LOOKED_NS, Caller, Line
from kite_hft.clock import Clock
from kite_hft.net.connection import Phase
from kite_hft.trading.broker import HttpRequest

ANONYMOUS: Final = "ADH-AES256-GCM-SHA384:@SECLEVEL=0"
GROUP: Final = b"""-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""The group ffdhe2048 of RFC 7919: an anonymous suite has to be given one."""
ROUNDS_MAX: Final = 8
READ_BYTES: Final = 1 << 16


class MirrorError(OSError):
    """The connection to ourselves could not be made."""


class _Open(Line):
    """A connection that is never closed while the mirror lives."""

    def fresh(self) -> bool:
        return True

    def not_sent(self, error: OSError) -> None:
        raise error

    def _flush(self) -> None:
        """What did not fit is left: `forget` throws it away."""


class Mirror(Caller):
    """Calls to nobody.

    Raises:
        MirrorError: this machine does not connect to itself, or knows no anonymous suite.
    """

    def __init__(self, clock: Clock) -> None:
        self._mono_ns, self._timeout_ns = clock.mono_ns, 0
        self._looked_ns = self._silent_ns = NEVER_LOOKED_NS
        self._heads, self._done, self._idle = {}, [], Phase.IDLE
        try:
            near, self._far = _pair()
        except OSError as error:
            raise MirrorError(f"no connection to ourselves: {error.strerror}") from error
        self._line = line = _Open()
        line._socket, line.fd, line._now, line._busy = near, near.fileno(), clock.mono_ns, Phase.BUSY
        line._out = bytearray()
        try:
            line._tls, line._outbox = _session()
        except OSError as error:  # ssl.SSLError is one
            self.close()
            raise MirrorError(f"no anonymous TLS: {error}") from error
        self.connections, self.waiting = [line], ()
        self._orders = self._reads = self
        self.forget()

    def _head(self, method: str, path: str, content_type: str) -> bytes:
        text = f"{method} {path} HTTP/1.1\r\nHost: nobody\r\nContent-Type: {content_type}\r\n"
        self._heads[method, path, content_type] = head = text.encode("ascii")
        return head

    def _wait(self, request_id: int, request: HttpRequest, now_ns: int) -> None:
        """There is always a connection."""
        raise MirrorError("the connection to ourselves is busy")

    def forget(self) -> None:
        """Read what was sent away: the next call finds a free connection."""
        line = self._line
        line.phase, line._exchange = Phase.IDLE, None
        line._out.clear()
        with contextlib.suppress(BlockingIOError):
            while self._far.recv(READ_BYTES):
                pass

    def close(self) -> None:
        """Harmless when repeated."""
        self._line._socket.close()
        self._far.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection on this machine, and nobody else's."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        near = socket.create_connection(server.getsockname(), timeout=1.0)
        far, address = server.accept()
    if address != near.getsockname():
        near.close()
        far.close()
        raise OSError(0, "somebody else came first")
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for end in (near, far):
        end.setblocking(False)
    return near, far


def _session() -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    """One side of a TLS session with ourselves, and what it writes into."""
    sides = []
    ends = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    for protocol, (inbox, outbox) in zip(
        (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER), ends, strict=True
    ):
        context = ssl.SSLContext(protocol)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ANONYMOUS)
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            _know_group(context)
        sides.append(context.wrap_bio(inbox, outbox, server_side=protocol == ssl.PROTOCOL_TLS_SERVER))
    for _ in range(ROUNDS_MAX):
        for at in (0, 1):
            with contextlib.suppress(ssl.SSLWantReadError):
                sides[at].do_handshake()
            ends[1 - at][0].write(ends[at][1].read())
    return sides[0], ends[0][1]


def _know_group(context: ssl.SSLContext) -> None:
    """`context` takes GROUP from a file alone: one in memory."""
    with os.fdopen(os.memfd_create("group"), "wb") as file:
        file.write(GROUP)
        file.flush()
        context.load_dh_params(f"/proc/self/fd/{file.fileno()}")
