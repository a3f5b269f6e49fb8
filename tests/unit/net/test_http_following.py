"""Calls that find no connection free: who keeps the broker's windows is told, and may stop them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from raw_server import answer, nobody_accepts, read_request, serve

from kite_hft.clock import ManualClock, SystemClock
from kite_hft.net.connection import Phase
from kite_hft.net.hosts import Host, Hosts
from kite_hft.net.http import HttpSettings, HttpTransport
from kite_hft.net.sandboxed import SandboxTransport
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

CLOCK = SystemClock()
QUICK = HttpSettings(timeout_s=0.3, connect_timeout_s=0.5, queue_s=0.5)
PATIENT = replace(QUICK, timeout_s=20.0, connect_timeout_s=20.0, queue_s=20.0)
POST = HttpRequest("POST", "/orders/regular", b"a=1&b=2", "application/x-www-form-urlencoded")


class Following:
    """Notes what it is told; `no`: why a call may not leave. first: calls that go before others. patient:
    calls that wait on.
    """

    def __init__(self, no: str = "", first: tuple[int, ...] = (), patient: tuple[int, ...] = ()) -> None:
        self.no, self.first, self.told = no, first, list[tuple[str, int, bool]]()
        self.patient, self.asked = patient, 0
        self.without_place: set[int] = set()

    def waits(self, request_id: int) -> None:
        self.told.append(("waits", request_id, True))

    def urgent(self, request_id: int) -> bool:
        return request_id in self.first

    def waits_on(self, request_id: int) -> bool:
        self.asked += 1
        return request_id in self.patient

    def placed(self, request_id: int) -> bool:
        return request_id not in self.without_place

    def stops(self, request_id: int) -> str:
        self.told.append(("stops", request_id, True))
        return self.no

    def wrote(self, request_id: int, at_ns: int | None) -> None:
        self.told.append(("wrote", request_id, at_ns is not None))


@contextmanager
def one_connection(seen: list[bytes]) -> Iterator[tuple[HttpTransport, threading.Event]]:
    """A transport whose one connection for orders is free, and what lets the server answer."""
    release = threading.Event()

    def script(peer: socket.socket) -> None:
        while request := read_request(peer):
            seen.append(request.rpartition(b"\r\n")[2])
            release.wait(10)
            peer.sendall(answer(b"ok"))

    with serve(script) as port:
        settings = replace(PATIENT, order_connections=1)
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=settings)
        while not transport.takes_orders():
            transport.poll()
            threading.Event().wait(0.001)
        yield transport, release
        transport.close()


def answers(transport: HttpTransport, n: int) -> dict[int, HttpResponse | TransportError]:
    done: dict[int, HttpResponse | TransportError] = {}
    while len(done) < n:
        done |= dict(transport.poll())
        threading.Event().wait(0.001)
    return done


@pytest.mark.parametrize("no", ["", "killed: enough"])
def test_who_follows_is_told_of_calls_that_wait_and_may_stop_them(no: str) -> None:
    seen: list[bytes] = []
    with one_connection(seen) as (transport, release):
        transport.follower = following = Following(no)
        transport.submit(0, POST)
        assert not following.told, "it was written at once"
        transport.submit(1, POST)
        assert following.told == [("waits", 1, True)]
        release.set()
        done = answers(transport, 2)
    assert isinstance(done[0], HttpResponse)
    assert following.told[1:] == [("stops", 1, True), ("wrote", 1, not no)]
    assert len(seen) == (1 if no else 2)
    if no:
        assert done[1] == TransportError(no, False, done[1].at_ns, withheld=True)


def test_urgent_calls_go_before_those_that_wait_longer() -> None:
    """A broker that answers slowly holds all connections: what takes risk away has the next free one."""
    seen: list[bytes] = []
    with one_connection(seen) as (transport, release):
        transport.follower = Following(first=(3, 5))
        for number in range(6):
            transport.submit(number, POST._replace(body=b"n=%d" % number))
        release.set()
        answers(transport, 6)
    assert seen == [b"n=0", b"n=3", b"n=5", b"n=1", b"n=2", b"n=4"]


def test_what_has_no_place_in_the_windows_lets_others_go_and_leaves_when_it_has_one() -> None:
    seen: list[bytes] = []
    with one_connection(seen) as (transport, release):
        transport.follower = following = Following(first=(1,), patient=(1,))
        following.without_place = {1}
        for number in range(3):
            transport.submit(number, POST._replace(body=b"n=%d" % number))
        release.set()
        done = answers(transport, 2)
        assert done.keys() == {0, 2} and seen == [b"n=0", b"n=2"]
        assert following.told == [
            ("waits", 1, True),
            ("waits", 2, True),
            ("stops", 2, True),
            ("wrote", 2, True),
        ]
        assert not transport.poll()
        due_ns = transport.next_deadline_ns()
        assert due_ns is not None and due_ns <= CLOCK.mono_ns() + 10**8, "it is asked again soon"
        while not following.asked:
            assert not transport.poll()
            threading.Event().wait(0.001)
        assert transport.late() == [], "a connection is free: another host is of no use"
        following.without_place.clear()
        answers(transport, 1)
    assert seen == [b"n=0", b"n=2", b"n=1"]


def test_who_follows_is_told_of_a_call_that_is_given_up() -> None:
    clock = ManualClock(10**9, 0)
    with nobody_accepts() as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", clock, settings=QUICK)
        transport.follower = following = Following()
        transport.submit(1, POST)
        clock.advance(round(QUICK.queue_s * 1e9))
        ((number, result),) = transport.poll()
        transport.close()
    assert number == 1 and isinstance(result, TransportError) and not result.sent
    assert following.told == [("waits", 1, True), ("wrote", 1, False)]


@pytest.mark.parametrize("end", ["they die", "they are given up"])
@pytest.mark.parametrize("request_", [POST, POST._replace(method="PUT"), HttpRequest("DELETE", "/o/1")])
def test_an_exit_outlives_both_connections_that_hang_and_leaves_once(request_: HttpRequest, end: str) -> None:
    """It waits for as long as a call may, and for as long as nothing is free: with the next one it goes."""
    seen: list[bytes] = []
    hang, dies = threading.Event(), threading.Event()

    def script(peer: socket.socket) -> None:
        while request := read_request(peer):
            seen.append(request.partition(b" HTTP")[0] + request.rpartition(b"\r\n")[2])
            if not hang.is_set():
                dies.wait(10)
                return
            peer.sendall(answer(b"ok"))

    with serve(script) as port:
        settings = HttpSettings(read_connections=0, timeout_s=20.0 if end == "they die" else 0.8, queue_s=0.1)
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=settings)
        pause = threading.Event()
        while not all(line.phase is Phase.IDLE for line in transport._orders.connections):
            transport.poll()
            pause.wait(0.001)
        transport.follower = following = Following(first=(4,), patient=(4,))
        for number in range(2):
            transport.submit(number, HttpRequest("POST", f"/hangs/{number}"))
        transport.submit(3, HttpRequest("POST", "/entry"))
        transport.submit(4, request_)
        done: dict[int, HttpResponse | TransportError] = {}

        def until(n: int) -> None:
            end_ns = CLOCK.mono_ns() + 8 * 10**9
            while len(done) < n and CLOCK.mono_ns() < end_ns:
                for found in transport.poll():
                    assert found[0] not in done
                    done[found[0]] = found[1]
                pause.wait(0.001)

        until(1)
        entry = done[3]
        assert isinstance(entry, TransportError) and not entry.sent and "no connection" in entry.reason
        assert len(seen) == 2 and 4 not in done, "both hang, and the exit waits on"
        transport.use_headers([("Authorization", "another")])
        hang.set()
        dies.set() if end == "they die" else None
        until(4)
        transport.close()
        dies.set()
    assert isinstance(done[4], HttpResponse), done[4]
    for number in range(2):
        ended = done[number]
        assert isinstance(ended, TransportError) and ended.sent, "what may have left is not sent again"
    assert sum(f"{request_.method} {request_.path}".encode() in call for call in seen) == 1 and len(seen) == 3
    assert following.told[-2:] == [("stops", 4, True), ("wrote", 4, True)] and following.asked >= 2


def test_transports_of_several_hosts_and_of_a_sandbox_hand_it_on() -> None:
    with nobody_accepts() as port:
        api, other = (HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=QUICK) for _ in range(2))
        hosts = Hosts(api, [Host("other", other)], ("/order",), CLOCK.mono_ns)
        hosts.follower = following = Following()
        assert api.follower is other.follower is hosts.follower is following
        hosts.close()
        sandbox = SandboxTransport(api, None, CLOCK.mono_ns, str)  # type: ignore[arg-type]
        sandbox.follower = another = Following()
        assert api.follower is another and sandbox.follower is another
