"""Layer 3, orders process, hot: one keep-alive HTTP/1.1 connection, non-blocking, TCP or TLS.

TLS runs over memory buffers (ssl.MemoryBIO), so that reading, writing and waiting look the same
with and without it. Requests come as whole bytes. An answer that comes whole and plain is read at once,
h11 parses every other. A connection carries one call at a time; after any
doubt (time-out, garbage, more bytes than asked for) it is closed, never used again.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import re
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import h11

from kite_hft._calling import Exchange, Line
from kite_hft.trading.broker import HttpResponse, TransportError
from kite_hft.units import NS_PER_S

READ_BYTES: Final = 1 << 16
READS_PER_EVENT: Final = 64
HEAD_BYTES_MAX: Final = 1 << 16
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
STOOD_NS: Final = 5 * NS_PER_S
"""One that has stood for so long ends as idle ones do: what kept those before it from coming up is over."""
OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""The way of one that is idle for an hour stays open through routers that forget, or is known to be closed
before a call is written on it.
"""


class Phase(enum.Enum):
    """Where a connection stands."""

    CLOSED = enum.auto()
    CONNECTING = enum.auto()
    HANDSHAKE = enum.auto()
    IDLE = enum.auto()
    BUSY = enum.auto()


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to connect to; `context` None: plain TCP (loopback only, see http.py)."""

    host: str
    family: int
    address: tuple[Any, ...]
    context: ssl.SSLContext | None
    bind: tuple[str, int] | None = None


_PLAIN_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([245]\d\d)(?: [ -~]*)?(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~]*)+"
)
_FRAMING: Final = re.compile(
    rb"^HTTP/1\.1 204|\r\n(?:Transfer-Encoding|Upgrade|Connection:(?![ \t]*keep-alive[ \t]*(?:\r|$))"
    rb"|Content-Length:(?![ \t]*\d{1,9}[ \t]*(?:\r|$)))",
    re.I,
)
"""What makes an answer end otherwise than after its length, or the connection with it."""
_LENGTH: Final = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,9})[ \t]*(?=\r|$)", re.I)
_DATE: Final = re.compile(rb"\r\nDate:[ \t]*([ -~]*)", re.I)
_SPOKEN: Final = {
    method: h11.Request(method=method, target="/", headers=[("Host", "-")])
    for method in ("GET", "POST", "PUT", "DELETE")
}
"""What the parser is told of a request before it reads the answer: how one ends depends on the method."""

Done = tuple[int, HttpResponse | TransportError]


class Connection(Line):
    """One connection. `finished` collects answers; `now` is CLOCK_MONOTONIC ns. How a call is written on it
    is compiled (ext/calling.pyx: start).

    dated(date, sent, received): told of each answer's Date header; None: nobody asks.
    """

    phase: Phase
    fd: int
    _now: Callable[[], int]
    _socket: socket.socket | None
    _tls: ssl.SSLObject | None
    _outbox: ssl.MemoryBIO
    _out: bytearray
    _exchange: Exchange | None

    def __init__(
        self,
        epoll: select.epoll,
        now: Callable[[], int],
        finished: Callable[[Done], None],
        body_max: int,
        connect_timeout_ns: int,
        dated: Callable[[bytes, int, int], None] | None = None,
    ) -> None:
        self._dated = dated
        self._epoll, self._now, self._finished = epoll, now, finished
        self._body_max, self._connect_timeout_ns = body_max, connect_timeout_ns
        self.phase, self._busy = Phase.CLOSED, Phase.BUSY
        self.fd = -1
        self.retry_ns = 0
        self.last_failure = ""
        self._failures = 0
        self._opened_ns = 0
        self._socket = self._tls = self._exchange = None
        self._inbox, self._outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._out = bytearray()
        self._events = 0
        self._parser = h11.Connection(h11.CLIENT)

    def near(self) -> str:
        """The address of this machine that it has; "": it is not connected."""
        try:
            return "" if self._socket is None else str(self._socket.getsockname()[0])
        except OSError:
            return ""

    # Opening

    def open(self, target: Target) -> None:
        """Begin to connect. Failures show in `phase` and `retry_ns`."""
        self._opened_ns = self._now()
        self._socket = sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            for level, option, value in OPTIONS:
                sock.setsockopt(level, option, value)
            if target.bind is not None:
                sock.bind(target.bind)
            code = sock.connect_ex(target.address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, errno.errorcode.get(code, "connect"))
        except OSError as error:
            self.fail(f"cannot connect: {error.strerror}")
            return
        self._tls = None
        self._out.clear()
        if target.context is not None:
            self._inbox, self._outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = target.context.wrap_bio(self._inbox, self._outbox, server_hostname=target.host)
        self.phase = Phase.CONNECTING
        self.fd = sock.fileno()
        self._events = select.EPOLLIN | select.EPOLLOUT
        self._epoll.register(self.fd, self._events)

    def ready(self, events: int) -> None:
        """The socket became readable or writable."""
        if self._socket is None:
            return
        if self.phase is Phase.CONNECTING:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.fail(f"cannot connect: {errno.errorcode.get(code, code)}")
                return
            if not events & select.EPOLLOUT:
                return
            self.phase = Phase.HANDSHAKE if self._tls else Phase.IDLE
            self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        try:
            if events & ~select.EPOLLOUT:
                self._receive()
            self._shake_hands()
            self._flush()
        except (OSError, h11.RemoteProtocolError) as error:  # ssl.SSLError is an OSError
            self.fail(_words(error))

    def _shake_hands(self) -> None:
        if self.phase is not Phase.HANDSHAKE or self._tls is None:
            return
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.phase = Phase.IDLE

    # A call

    def not_sent(self, error: OSError) -> None:
        """A call could not be written. Whoever asked keeps one of which the kernel took no byte: it is proven
        that the server has nothing of it, and never will.
        """
        if self._exchange is not None and not self._exchange.sent:
            self._exchange = None
        self.fail(_words(error))

    def fresh(self) -> bool:
        """True when an IDLE connection still stands: the peer has neither closed it nor spoken."""
        while self.phase is Phase.IDLE and self._socket is not None:
            try:
                self._socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return True
            except OSError:
                pass  # told by the read below
            self.ready(select.EPOLLIN)
        return False

    def _flush(self) -> None:
        sock = self._socket
        if sock is None or self.phase is Phase.CONNECTING:
            return
        if self._outbox.pending:
            self._out += self._outbox.read()
        while self._out:
            try:
                n = sock.send(self._out)
            except (BlockingIOError, InterruptedError):
                break
            if self._exchange is not None and n:
                self._exchange.sent = True
            del self._out[:n]
        events = select.EPOLLIN | (select.EPOLLOUT if self._out else 0)
        if events != self._events:
            self._events = events
            self._epoll.modify(self.fd, events)

    def _receive(self) -> None:
        """Read what is there and parse it."""
        for _ in range(READS_PER_EVENT):
            sock = self._socket
            if sock is None:
                return
            try:
                data = sock.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            if self._tls is None:
                self._parse(data)
            else:
                self._decrypt(self._tls, data)
            if len(data) < READ_BYTES:
                return  # what comes later makes the socket readable again

    def _decrypt(self, tls: ssl.SSLObject, data: bytes) -> None:
        if data:
            self._inbox.write(data)
        else:
            self._inbox.write_eof()
        self._shake_hands()
        while self.phase in (Phase.IDLE, Phase.BUSY):
            try:
                plain = tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                plain = b""
            self._parse(plain)
            if not plain or (data and not self._inbox.pending and not tls.pending()):
                return
        if not data:
            self.fail("closed by the server")

    def _parse(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.fail("closed by the server" if not data else "the server spoke unasked", calm=not data)
            return
        if not data and not exchange.status:
            begun = bool(self._parser.trailing_data[0])
            words = "in the middle of its answer" if begun else "without an answer"
            self.fail(f"the server closed the connection {words}")
            return
        if not exchange.heard:
            plain = None if self._out else whole_answer(data)
            if plain is not None and len(plain[1]) <= self._body_max:
                self._exchange, self._failures, self.phase = None, 0, Phase.IDLE
                response = HttpResponse(*plain, exchange.sent_ns, self._now())
                if self._dated is not None and (date := _DATE.search(data, 0, len(data) - len(plain[1]))):
                    self._dated(date[1], response.sent_ns, response.received_ns)
                self._finished((exchange.request_id, response))
                return
            exchange.heard = True
            self._parser.send(_SPOKEN[exchange.method])
            self._parser.send(h11.EndOfMessage())
        self._parser.receive_data(data)
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                exchange.status = event.status_code
                exchange.date = dict(event.headers).get(b"date", b"")
            elif isinstance(event, h11.Data):
                exchange.body += event.data
                if len(exchange.body) > self._body_max:
                    self.fail(f"answer longer than {self._body_max} bytes")
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._finish(exchange)
                return

    def _finish(self, exchange: Exchange) -> None:
        self._exchange = None
        self._failures = 0
        response = HttpResponse(exchange.status, bytes(exchange.body), exchange.sent_ns, self._now())
        spare = self._parser.trailing_data[0] or self._out  # more was said than asked, or asked than read
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE and not spare:
            self._parser.start_next_cycle()
            self.phase = Phase.IDLE
        else:
            self.fail("not kept alive by the server", calm=True)
        if self._dated is not None and exchange.date:
            self._dated(exchange.date, response.sent_ns, response.received_ns)
        self._finished((exchange.request_id, response))

    # Ending

    def expire(self, now_ns: int) -> None:
        """Give up what has passed its time: a call, or the attempt to connect."""
        if self._exchange is not None and now_ns >= self._exchange.deadline_ns:
            self.fail("timed out")
        elif (
            self.phase in (Phase.CONNECTING, Phase.HANDSHAKE)
            and now_ns >= self._opened_ns + self._connect_timeout_ns
        ):
            self.fail("timed out while connecting")

    def deadline_ns(self) -> int | None:
        """When `expire` will have something to do."""
        if self._exchange is not None:
            return self._exchange.deadline_ns
        if self.phase in (Phase.CONNECTING, Phase.HANDSHAKE):
            return self._opened_ns + self._connect_timeout_ns
        return None

    def keeps_failing(self) -> bool:
        """It is down, and neither this time nor the last did it come up and stand, or bring an answer."""
        return self.phase not in (Phase.IDLE, Phase.BUSY) and self._failures > 1

    def fail(self, reason: str, *, calm: bool = False) -> None:
        """Close; the call under way ends with a TransportError. `calm`: no fault, reconnect at once."""
        if self._socket is None:
            return
        exchange, self._exchange = self._exchange, None
        now_ns = self._now()
        if self.phase in (Phase.IDLE, Phase.BUSY) and now_ns - self._opened_ns >= STOOD_NS:
            self._failures = 0  # it could be made, and stood: it ends as idle ones do
        self._socket.close()  # leaves the epoll set with it
        self._socket, self.fd, self.phase = None, -1, Phase.CLOSED
        self.last_failure = reason
        wait_s = 0.0
        if not calm:
            self._failures += 1
            wait_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 16))
        self.retry_ns = now_ns + round(wait_s * NS_PER_S)
        if exchange is not None:
            self._finished((exchange.request_id, TransportError(reason, exchange.sent, now_ns)))


def whole_answer(data: bytes) -> tuple[int, bytes] | None:
    """(status, body) of `data` if that is one whole HTTP/1.1 answer of the plainest kind.

    That is: its length is told once and is what came, nothing says how else it is framed or that the
    connection ends, and no line is odd. None: it may be anything, a parser must look.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    found = _PLAIN_HEAD.fullmatch(head)
    if found is None or _FRAMING.search(head):
        return None
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or int(lengths[0]) != len(body):
        return None
    return int(found[1]), body


def _words(error: Exception) -> str:
    if isinstance(error, h11.RemoteProtocolError):
        return f"the server's answer is no whole HTTP: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
