"""Layer 3, orders process, hot: a broker with a host for orders beside its API's, and others to stand in.

A call goes to the host that serves its path: order calls to the first of the order hosts that stands,
everything else to the API's. A host that fails a call is passed over for a while. A call is handed
to one host only, once: whatever became of it, nothing is sent a second time here. What waits on for a free
connection, and has not left, changes to a host that has one.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kite_hft.net.http import Follower, HttpTransport
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.units import NS_PER_S

ASIDE_NS: Final = 30 * NS_PER_S
"""So long after a failure a host gets no order call while another one stands."""
GATEWAY_FAILS: Final = frozenset({502, 503, 504})


@dataclass(slots=True)
class Host:
    """One host for order calls, and until when it is passed over."""

    url: str
    transport: HttpTransport
    aside_until_ns: int = 0


@dataclass(slots=True)
class Hosts:
    """Calls to a broker of several hosts; used as an HttpTransport is. Single-threaded.

    api: for every path that is none of `order_paths` (beginnings). orders: in the order in which they are
    tried; one of them may be the API's. now: CLOCK_MONOTONIC ns. say: one line when order calls move.
    """

    api: HttpTransport
    orders: Sequence[Host]
    order_paths: tuple[str, ...]
    now: Callable[[], int]
    say: Callable[[str], None] = lambda text: None
    _all: list[HttpTransport] = field(init=False)
    _under_way: dict[int, Host] = field(default_factory=dict, init=False)
    _last: Host | None = field(default=None, init=False)
    _epoll: select.epoll = field(init=False)

    def __post_init__(self) -> None:
        if not self.orders:
            raise ValueError("no host for order calls")
        self._all = list(dict.fromkeys([self.api, *(host.transport for host in self.orders)]))
        self._epoll = select.epoll()
        for transport in self._all:
            self._epoll.register(transport.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Becomes readable when one of the hosts has something to say."""
        return self._epoll.fileno()

    def leaves_from(self) -> str:
        """The address of this machine that order calls leave from; "": no connection stands."""
        return next(filter(None, (host.transport.leaves_from() for host in self.orders)), "")

    def submit(self, request_id: int, request: HttpRequest) -> None:
        """Send a call to its host. Its one answer comes from `poll`."""
        if not request.path.startswith(self.order_paths):
            self.api.submit(request_id, request)
            return
        host = self._choose()
        self._under_way[request_id] = host
        host.transport.submit(request_id, request)

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        """The answers of all hosts since the last call."""
        found = [answer for transport in self._all for answer in transport.poll()]
        for request_id, result in found:
            host = self._under_way.pop(request_id, None)
            if host is not None and _failed(result):
                host.aside_until_ns = self.now() + ASIDE_NS
        for host in self.orders:
            for request_id, request in host.transport.late():
                self._move(request_id, request, host)
        return found

    def _move(self, request_id: int, request: HttpRequest, host: Host) -> None:
        """A call that waits on at a host without a free connection, and has not left, goes by another."""
        other = next((h for h in self.orders if h is not host and h.transport.free()), None)
        if other is not None:
            host.transport.withdraw(request_id)
            other.transport.take_over(request_id, request)
            self._under_way[request_id] = other
            self.say(f"an order call that {host.url} had no connection for goes to {other.url}")

    def next_deadline_ns(self) -> int | None:
        """When `poll` must run next although no descriptor becomes ready; None: not by itself."""
        times = (transport.next_deadline_ns() for transport in self._all)
        return min((at for at in times if at is not None), default=None)

    def silent(self, now_ns: int) -> None:
        """At `now_ns` none of the hosts had anything to say."""
        for transport in self._all:
            transport.silent(now_ns)

    def quiet(self, now_ns: int) -> bool:
        """Nothing has come from any host that `poll` would hand back or see to."""
        return all([transport.quiet(now_ns) for transport in self._all])

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Credentials of the calls from now on."""
        for transport in self._all:
            transport.use_headers(headers)

    @property
    def dated(self) -> Callable[[bytes, int, int], None] | None:
        """Told of the Date headers of reads, which the API's host answers."""
        return self.api.dated

    @dated.setter
    def dated(self, told: Callable[[bytes, int, int], None] | None) -> None:
        self.api.dated = told

    @property
    def follower(self) -> Follower | None:
        """Told of calls that wait for a connection, whichever host they are for."""
        return self.api.follower

    @follower.setter
    def follower(self, told: Follower | None) -> None:
        for transport in self._all:
            transport.follower = told

    def last_failure(self) -> str:
        """Why a connection was last lost; empty: never."""
        return next((why for transport in self._all if (why := transport.last_failure())), "")

    def close(self) -> None:
        """Close all connections; calls under way end unanswered."""
        for transport in self._all:
            transport.close()
        self._epoll.close()

    def _choose(self) -> Host:
        now_ns, orders = self.now(), self.orders
        standing = [host for host in orders if host.transport.takes_orders()]
        good = [host for host in standing if host.aside_until_ns <= now_ns]
        chosen = (good or standing or orders)[0]
        if chosen is not self._last:
            if self._last is not None:
                self.say(f"order calls go to {chosen.url}, no longer to {self._last.url}")
            self._last = chosen
        return chosen


def _failed(result: HttpResponse | TransportError) -> bool:
    if isinstance(result, TransportError):
        return not result.withheld
    return result.status in GATEWAY_FAILS
