"""Layer 3, orders process, hot: the engine's only way to a REST host.

A few keep-alive connections, some for order calls and some for reads, so that an order never waits
behind a slow book. Non-blocking: `submit` writes at once when a connection is free, `poll` hands
back answers. `fileno()` is an epoll descriptor of our own that becomes readable when anything
happens here; the engine waits on that one. Certificates are always verified, redirects never
followed, nothing is ever sent twice. Credentials are handed in as headers and stay here.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

import h11

from kite_hft._calling import LOOKED_NS, NEVER_LOOKED_NS, Caller
from kite_hft.clock import Clock, SystemClock
from kite_hft.net.connection import Connection, Done, Phase
from kite_hft.net.resolving import Addresses, TransportConfigError
from kite_hft.net.source import family_of
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.units import NS_PER_S

__all__ = ["BODY_MAX", "Follower", "HttpSettings", "HttpTransport", "TransportConfigError", "fetch"]

WAITING_MAX: Final = 1024
WAIT_ON_NS: Final = NS_PER_S // 10
EVENTS_PER_POLL: Final = 64
BODY_MAX: Final = 16 << 20
_NEVER_NS: Final = 2**62
_HEADS_MAX: Final = 256
_PLAIN: Final = re.compile(r"[!-~]+")
"""Of these characters a target or a content type is made: nothing in it ends the line."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Connections and times of a transport."""

    order_connections: int = 2
    read_connections: int = 1
    timeout_s: float = 7.0  # as the official client's
    connect_timeout_s: float = 5.0
    queue_s: float = 1.0  # a call that finds no connection for so long is given up, unsent; an exit is not
    body_max: int = BODY_MAX
    bind_address: str = ""
    ipv4: bool = False  # for a broker that knows the machine by a registered IPv4 address


@dataclass(slots=True, eq=False)
class _Waiting:
    request_id: int
    request: HttpRequest
    give_up_ns: int
    late: bool = False  # it has waited for longer than that, no connection is free, and it waits on


@dataclass(slots=True)
class _Lane:
    connections: list[Connection]
    waiting: deque[_Waiting] = field(default_factory=deque)


class Follower(Protocol):
    """Told of calls that found no connection free (trading/sending/egress.py)."""

    def waits(self, request_id: int) -> None:
        """The call that is being submitted waits for a connection."""

    def urgent(self, request_id: int) -> bool:
        """Asked of those that wait, the oldest first, when a connection is free: it goes before others."""

    def waits_on(self, request_id: int) -> bool:
        """Asked when a call has waited for as long as one may, and ten times a second from then on: it is not
        given up."""

    def placed(self, request_id: int) -> bool:
        """Asked of those that wait when a connection is free: False, it has no place in the broker's windows
        (or its turn in a cool-down has not come), and waits on behind the others."""

    def stops(self, request_id: int) -> str:
        """Asked right before one that has waited is written: why it must not leave any more; "": it may."""

    def wrote(self, request_id: int, at_ns: int | None) -> None:
        """It has been written, by a clock read after that; None: it never will be."""


class HttpTransport(Caller):
    """Calls to one host. Single-threaded. How a call leaves on a free connection is compiled
    (ext/calling.pyx: submit).

    dated(date, sent, received): told of the Date headers of reads, with CLOCK_MONOTONIC ns before and
    behind; None: nobody asks. follower: told of calls that wait here.
    """

    _mono_ns: Callable[[], int]
    _heads: dict[tuple[str, str, str], bytes]
    _orders: _Lane
    _reads: _Lane
    _done: list[Done]

    def __init__(
        self,
        url: str,
        clock: Clock,
        headers: Sequence[tuple[str, str]] = (),
        settings: HttpSettings | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`url`: scheme://host[:port][/base]. Resolves the host (blocking; beside, and anew, when none of its
        addresses answers any more) and starts to connect.

        Raises:
            TransportConfigError: another scheme, plain http to another machine, or a context that
                does not verify. OSError: the host's name cannot be resolved.
        """
        self._settings, self._mono_ns = settings or HttpSettings(), clock.mono_ns
        self._timeout_ns = round(self._settings.timeout_s * NS_PER_S)
        family = family_of(self._settings.bind_address, socket.AF_INET if self._settings.ipv4 else 0)
        self._addresses = Addresses(url, context, self._settings.bind_address, family, clock.mono_ns())
        self._base = self._addresses.path
        host = urlsplit(url).netloc.rpartition("@")[2]
        self._fixed = (("Host", host), ("User-Agent", "kite_hft"), ("Accept-Encoding", "identity"))
        self.use_headers(headers)
        self._turn = 0
        self._looked_ns = NEVER_LOOKED_NS  # when `poll` last saw that the sockets had nothing to say
        self._silent_ns = NEVER_LOOKED_NS  # when somebody else saw it for the next `poll`
        self._due_ns = 0  # before then `poll` has nothing to do but what the sockets say
        self._done = []
        self._idle = Phase.IDLE
        self.dated: Callable[[bytes, int, int], None] | None = None
        self.follower: Follower | None = None
        self._epoll = select.epoll()
        self._epoll_fd = self._epoll.fileno()
        self._orders = _Lane([self._connection() for _ in range(self._settings.order_connections)])
        self._reads = _Lane([self._connection(self._date) for _ in range(self._settings.read_connections)])
        self._lanes = (self._orders, self._reads)
        self._all = [*self._orders.connections, *self._reads.connections]
        for connection in self._all:
            self._open(connection)

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Credentials of the calls from now on; what is under way keeps its own."""
        pairs = [*self._fixed, *headers]
        h11.Request(method="GET", target="/", headers=pairs)  # refuses what is no header
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in pairs)
        self._heads = {}

    def _connection(self, dated: Callable[[bytes, int, int], None] | None = None) -> Connection:
        connect_ns = round(self._settings.connect_timeout_s * NS_PER_S)
        return Connection(
            self._epoll, self._mono_ns, self._done.append, self._settings.body_max, connect_ns, dated
        )

    def _date(self, date: bytes, sent_ns: int, received_ns: int) -> None:
        if self.dated is not None:
            self.dated(date, sent_ns, received_ns)

    def fileno(self) -> int:
        """Becomes readable when `poll` has something to do (but see `next_deadline_ns`)."""
        return self._epoll.fileno()

    def silent(self, now_ns: int) -> None:
        """At `now_ns` somebody who waits for `fileno` too saw that it is not readable: the next `poll`
        need not ask the kernel once more.
        """
        self._silent_ns = now_ns

    def _wait(self, request_id: int, called: tuple[str, str, bytes, str], now_ns: int) -> None:
        """No connection is free: the call waits for one, for so long."""
        request = HttpRequest(*called)
        lane = self._reads if request.method == "GET" else self._orders
        if len(lane.waiting) >= WAITING_MAX:
            self._done.append((request_id, TransportError("too many calls wait", False, now_ns)))
            return
        give_up_ns = now_ns + round(self._settings.queue_s * NS_PER_S)
        lane.waiting.append(_Waiting(request_id, request, give_up_ns))
        if self.follower is not None:
            self.follower.waits(request_id)

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        """Handle what happened on the sockets; the answers since the last call."""
        asked_ns = self._mono_ns()
        ready: Sequence[tuple[int, int]] = ()
        if 0 <= asked_ns - self._silent_ns < LOOKED_NS:
            self._looked_ns = self._silent_ns
        else:
            ready = self._epoll.poll(0, EVENTS_PER_POLL)
            # After news, of an answer say, there may be more: the server hangs up. The next call looks again.
            self._looked_ns = NEVER_LOOKED_NS if ready else asked_ns
        self._silent_ns = NEVER_LOOKED_NS  # it was told of one look
        if not ready and asked_ns < self._due_ns:
            return []
        now_ns = self._mono_ns()
        if ready:
            events = dict(ready)
            for connection in self._all:
                if connection.fd in events:
                    connection.ready(events[connection.fd])
            if self._done:  # an answer does not wait for the housekeeping: that is the next call's
                self._due_ns = 0
                return self._answers()
            now_ns = self._mono_ns()
        for connection in self._all:
            connection.expire(now_ns)
            if connection.phase is Phase.CLOSED and now_ns >= connection.retry_ns:
                self._open(connection)
        for lane in self._lanes:
            self._serve(lane, now_ns)
        done = self._answers()
        due_ns = self.next_deadline_ns()
        self._due_ns = _NEVER_NS if due_ns is None else due_ns
        return done

    def _answers(self) -> list[Done]:
        done = self._done[:]
        self._done.clear()
        return done

    def next_deadline_ns(self) -> int | None:
        """When `poll` must run next although no descriptor becomes ready; None: not by itself."""
        times = [w.give_up_ns for lane in self._lanes for w in lane.waiting]
        for connection in self._all:
            if connection.phase is Phase.CLOSED:
                times.append(connection.retry_ns)
            elif (at := connection.deadline_ns()) is not None:
                times.append(at)
        return 0 if self._done else min(times, default=None)

    def connected(self) -> bool:
        """True when every lane has a connection that stands."""
        return all(any(c.phase in (Phase.IDLE, Phase.BUSY) for c in lane.connections) for lane in self._lanes)

    def leaves_from(self) -> str:
        """The address of this machine that order calls leave from; "": no connection stands."""
        found = (connection.near() for connection in self._orders.connections)
        return self._settings.bind_address or next(filter(None, found), "")

    def takes_orders(self) -> bool:
        """True when a connection for order calls stands."""
        return any(c.phase in (Phase.IDLE, Phase.BUSY) for c in self._orders.connections)

    def nowhere(self) -> str:
        """Why no connection came up, once each address of the host was tried; "": one did, or may yet."""
        closed = all(c.phase is Phase.CLOSED for c in self._all)
        return self.last_failure() if closed and self._turn >= len(self._addresses) else ""

    def last_failure(self) -> str:
        """Why a connection was last lost, for people; empty: never."""
        return next((c.last_failure for c in self._all if c.last_failure), "")

    def close(self) -> None:
        """Close all connections; calls under way end unanswered."""
        for connection in self._all:
            connection.fail("closed by us", calm=True)
        self._epoll_fd = -1
        self._epoll.close()

    # Between hosts (net/hosts.py)

    def late(self) -> list[tuple[int, HttpRequest]]:
        """Order calls that wait on although no connection was free for as long as one may wait."""
        return [(call.request_id, call.request) for call in self._orders.waiting if call.late]

    def free(self) -> bool:
        """A connection for order calls is free, and nobody waits for it. One that is found closed is made
        anew by the next `poll`.
        """
        self._due_ns = 0
        return not self._orders.waiting and any(c.fresh() for c in self._orders.connections)

    def withdraw(self, request_id: int) -> None:
        """A call that waits here, and has not left, leaves from another host."""
        waiting = self._orders.waiting
        self._orders.waiting = deque(call for call in waiting if call.request_id != request_id)

    def take_over(self, request_id: int, request: HttpRequest) -> None:
        """One that has waited elsewhere stands in line here; the next `poll` lets it go."""
        self._orders.waiting.append(_Waiting(request_id, request, self._mono_ns(), late=True))
        self._due_ns = 0

    def _open(self, connection: Connection) -> None:
        if all(c.keeps_failing() for c in self._all):
            self._addresses.look_again(self._mono_ns())  # its name may lead elsewhere by now
        connection.open(self._addresses[self._turn])
        self._turn += 1

    def _head(self, method: str, path: str, content_type: str) -> bytes:
        if not (_PLAIN.fullmatch(path) and _PLAIN.fullmatch(content_type or "-")):
            raise ValueError(f"{method} {path!r} of {content_type!r}: not fit for a head")
        typed = f"Content-Type: {content_type}\r\n" if content_type else ""
        if len(self._heads) >= _HEADS_MAX:
            self._heads.clear()
        text = f"{method} {self._base}{path} HTTP/1.1\r\n{self._headers}{typed}"
        self._heads[method, path, content_type] = head = text.encode("ascii")
        return head

    def _serve(self, lane: _Lane, now_ns: int) -> None:
        """Let waiting calls go on free connections; give up those that waited too long."""
        for late in [call for call in lane.waiting if call.give_up_ns <= now_ns]:
            if self.follower is not None and self.follower.waits_on(late.request_id):
                late.give_up_ns = now_ns + WAIT_ON_NS
                late.late = not any(c.fresh() for c in lane.connections)
                continue
            lane.waiting.remove(late)
            why = next((c.last_failure for c in lane.connections if c.last_failure), "all busy")
            self._give_up(late, f"no connection was free: {why}", now_ns)
        while lane.waiting:
            free = next((c for c in lane.connections if c.fresh()), None)
            if free is None:
                return
            call = self._next(lane.waiting)
            if call is None:
                for waits in lane.waiting:  # soon again
                    waits.give_up_ns = min(waits.give_up_ns, now_ns + WAIT_ON_NS)
                return
            if self.follower is not None and (why := self.follower.stops(call.request_id)):
                self._give_up(call, why, now_ns, withheld=True)
                continue
            data, deadline_ns = self.bytes_of(call.request), now_ns + self._timeout_ns
            if not free.start(call.request_id, call.request.method, data, deadline_ns):
                lane.waiting.appendleft(call)  # no byte of it has left: the next one takes it
                continue
            if self.follower is not None:
                self.follower.wrote(call.request_id, self._mono_ns())

    def _next(self, waiting: deque[_Waiting]) -> _Waiting | None:
        """The one that goes next leaves the line; None: none of them may leave yet."""
        follower, call = self.follower, waiting[0]
        if follower is not None:
            line = sorted(waiting, key=lambda waits: not follower.urgent(waits.request_id))
            found = next((waits for waits in line if follower.placed(waits.request_id)), None)
            if found is None:
                return None
            call = found
        waiting.remove(call)
        return call

    def _give_up(self, call: _Waiting, text: str, now_ns: int, *, withheld: bool = False) -> None:
        self._done.append((call.request_id, TransportError(text, False, now_ns, withheld)))
        if self.follower is not None:
            self.follower.wrote(call.request_id, None)


def fetch(
    url: str,
    headers: Sequence[tuple[str, str]] = (),
    *,
    method: str = "GET",
    body: bytes = b"",
    timeout_s: float = 30.0,
    context: ssl.SSLContext | None = None,
    clock: Clock | None = None,
    bind: str = "",
) -> tuple[int, bytes]:
    """One call, blocking: for what is asked before anything trades. Returns (status, body).

    headers: with the body's Content-Type, where there is a body. It is sent once, whatever comes. bind:
    source address; "": the system chooses.

    Raises:
        TransportConfigError: as HttpTransport. ConnectionError: no answer; the message says why.
    """
    parts = urlsplit(url)
    reads = int(method == "GET")
    settings = HttpSettings(1 - reads, reads, timeout_s, timeout_s, timeout_s, 64 << 20, bind)
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    transport = HttpTransport(base, clock or SystemClock(), headers, settings, context)
    try:
        ready = select.poll()
        ready.register(transport.fileno(), select.POLLIN)
        transport.submit(1, HttpRequest(method, path, body))
        while not (done := transport.poll()):
            if why := transport.nowhere():
                raise ConnectionError(f"{base}: {why}")
            ready.poll(50)
        result = done[0][1]
    finally:
        transport.close()
    if isinstance(result, TransportError):
        raise ConnectionError(f"{base}: {result.reason}")
    return result.status, result.body
