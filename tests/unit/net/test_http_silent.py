"""What others saw of the transport's sockets, and how long it is believed."""

from __future__ import annotations

import select
import socket

from raw_server import answer, read_request, serve

from kite_hft.clock import ManualClock
from kite_hft.net.http import HttpSettings, HttpTransport
from kite_hft.trading.broker import HttpRequest

ONE = HttpSettings(order_connections=1, read_connections=0)
POST = HttpRequest("POST", "/orders/regular", b"a=1", "text/plain")


def script(peer: socket.socket) -> None:
    while read_request(peer):
        peer.sendall(answer(b"{}"))


def test_what_others_saw_spares_one_look_and_stands_no_longer_than_a_look_of_its_own() -> None:
    clock = ManualClock(10**9)
    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", clock, settings=ONE)
        ready = select.poll()
        ready.register(transport.fileno(), select.POLLIN)
        assert ready.poll(5000)  # connected
        transport.poll()
        transport.submit(1, POST)
        assert ready.poll(5000)  # the answer is there
        transport.silent(clock.mono_ns())  # untrue, so that it shows
        assert transport.poll() == []
        assert [number for number, _ in transport.poll()] == [1]
        transport.submit(2, POST)
        assert ready.poll(5000)
        transport.silent(clock.mono_ns())
        clock.advance(1_000_000)  # too long ago
        assert [number for number, _ in transport.poll()] == [2]
        transport.silent(clock.mono_ns() + 1)  # of a time to come: a clock of another kind
        transport.submit(3, POST)
        assert ready.poll(5000)
        assert [number for number, _ in transport.poll()] == [3]
        transport.close()


def test_a_connection_that_others_saw_silent_counts_as_standing_for_as_long() -> None:
    clock = ManualClock(10**9)
    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", clock, settings=ONE)
        ready = select.poll()
        ready.register(transport.fileno(), select.POLLIN)
        assert ready.poll(5000)
        transport.poll()
        (connection,) = transport._orders.connections
        looked: list[int] = []
        connection.fresh = lambda: bool(looked.append(1)) or True  # type: ignore[method-assign]
        for seconds, asked in ((0, 0), (1, 1)):
            transport.silent(clock.mono_ns())
            transport.poll()
            clock.advance(seconds * 10**9)
            transport.submit(7, POST)
            assert len(looked) == asked
            assert ready.poll(5000)
            assert [number for number, _ in transport.poll()] == [7]
        transport.close()
