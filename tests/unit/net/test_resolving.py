"""A host that has moved while the process lives: its name is looked up anew, beside the calls."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from raw_server import answer, read_request, serve
from transport_tools import LOOKING, Later, Names, up

from kite_hft.net.http import HttpSettings, HttpTransport
from kite_hft.net.resolving import AGAIN_NS
from kite_hft.trading.broker import HttpRequest, HttpResponse

ONE = HttpSettings(1, 0, 5.0, 5.0, 5.0)
NAMED = HttpSettings(1, 0, 5.0, 5.0, 5.0, ipv4=True)
ORDER = HttpRequest("POST", "/orders/regular", b"a=1", "application/x-www-form-urlencoded")


def answers(peer: socket.socket) -> None:
    while read_request(peer):
        peer.sendall(answer(b"ok"))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names([])
    monkeypatch.setattr(socket, "getaddrinfo", found)
    yield found
    found.go.set()


@contextlib.contextmanager
def moved(names: Names, clock: Later, settings: HttpSettings = NAMED) -> Iterator[HttpTransport]:
    """A transport whose host has answered and is gone from where its name led to."""
    with serve(answers) as port:
        names.ports = [port]
        transport = HttpTransport("http://localhost:1", clock, settings=settings)
        up(transport)
    try:
        yield transport
    finally:
        names.go.set()
        transport.close()


def polled(transport: HttpTransport, clock: Later, steps: int, step_ns: int = 100_000_000) -> list[Any]:
    found, pause = [], threading.Event()
    for _ in range(steps):
        clock.ahead_ns += step_ns
        found += transport.poll()
        pause.wait(0.001)
    return found


def test_calls_go_where_the_name_leads_now(names: Names) -> None:
    clock = Later()
    with moved(names, clock) as transport, serve(answers) as port:
        polled(transport, clock, 50)
        assert names.looks() == 0, "it may be back in a moment"
        names.ports = [port]
        polled(transport, clock, 150)
        assert 1 <= names.looks() <= 2
        up(transport)
        transport.submit(7, ORDER)
        (done,) = [*polled(transport, clock, 20, 0)] or polled(transport, clock, 500, 0)
        assert done[0] == 7 and isinstance(done[1], HttpResponse) and done[1].body == b"ok"
        told = names.looks()
        polled(transport, clock, 3, AGAIN_NS // 20)
        assert names.looks() == told, "it stands"


def test_one_that_takes_long_holds_nothing_up(names: Names) -> None:
    clock = Later()
    with moved(names, clock) as transport, serve(answers) as port:
        names.go.clear()
        polled(transport, clock, 400)
        assert names.looks() == 1, "one at a time"
        assert names.asked[0][0] != LOOKING and all(thread == LOOKING for thread, _ in names.asked[1:])
        names.ports = [port]
        names.go.set()
        polled(transport, clock, 60)
        up(transport)


def test_one_that_fails_is_tried_again_and_not_in_haste(names: Names) -> None:
    clock = Later()
    with moved(names, clock) as transport, serve(answers) as port:
        names.ports = []
        polled(transport, clock, 350)
        assert 2 <= names.looks() <= 4, "every ten seconds at most"
        names.ports = [port]
        polled(transport, clock, 200)
        up(transport)


def test_a_machine_that_gives_no_thread_is_asked_again(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, started, tries = Later(), threading.Thread.start, list[str]()

    def start(thread: threading.Thread) -> None:
        if thread.name != LOOKING:
            return started(thread)
        tries.append(thread.name)
        if len(tries) < 3:
            raise RuntimeError("can't start new thread")
        return started(thread)

    with moved(names, clock) as transport, serve(answers) as port:
        monkeypatch.setattr(threading.Thread, "start", start)
        names.ports = [port]
        polled(transport, clock, 250)
        assert len(tries) == 2 and names.looks() == 0, "every ten seconds at most"
        polled(transport, clock, 200)
        assert names.looks() == 1
        up(transport)


def test_it_is_done_where_the_transport_was_made_not_on_the_core_that_was_taken_since(names: Names) -> None:
    clock, allowed = Later(), os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one core")
    with moved(names, clock) as transport:
        os.sched_setaffinity(0, {max(allowed)})
        try:
            polled(transport, clock, 150)
        finally:
            os.sched_setaffinity(0, allowed)
        assert names.looks() and names.cores == allowed


def test_the_kind_of_address_stays_what_it_was(names: Names) -> None:
    clock = Later()
    with moved(names, clock) as transport:
        polled(transport, clock, 250)
        assert names.looks() and {family for _, family in names.asked} == {socket.AF_INET}


def test_idle_connections_that_end_are_no_reason(names: Names) -> None:
    """Hosts close what nobody uses, all of it at once."""
    peers: list[socket.socket] = []
    gone, clock = threading.Event(), Later()

    def script(peer: socket.socket) -> None:
        peers.append(peer)
        gone.wait(20)

    with serve(script) as port:
        names.ports = [port]
        transport = HttpTransport("http://localhost:1", clock, settings=NAMED)
        for number in range(1, 5):
            up(transport)
            while len(peers) < number:
                gone.wait(0.001)
            clock.ahead_ns += 60 * AGAIN_NS
            peers[-1].shutdown(socket.SHUT_RDWR)
            polled(transport, clock, 20, 10_000_000)
        gone.set()
        transport.close()
    assert names.looks() == 0


def test_a_number_stands_for_itself(names: Names) -> None:
    clock = Later()
    with serve(answers) as port:
        names.ports = [port]
        transport = HttpTransport(f"http://127.0.0.1:{port}", clock, settings=ONE)
        names.ports = []
    polled(transport, clock, 300)
    transport.close()
    assert names.looks() == 0
