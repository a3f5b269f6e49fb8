"""A connection that carries nothing for long: its way stays open, and it comes back at once after its end."""

from __future__ import annotations

import socket
import threading

import pytest
from raw_server import serve
from transport_tools import Later, up

from kite_hft.clock import SystemClock
from kite_hft.net.connection import BACKOFF_FIRST_S, STOOD_NS, Phase
from kite_hft.net.http import HttpSettings, HttpTransport
from kite_hft.units import NS_PER_S


@pytest.mark.parametrize(("stands_ns", "pause_s"), [(STOOD_NS, BACKOFF_FIRST_S), (0, 0.1 * 2**4)])
def test_the_pause_before_it_is_made_anew(stands_ns: int, pause_s: float) -> None:
    """The peer has enough of it, time after time, as long as nobody calls."""
    peers: list[socket.socket] = []
    gone = threading.Event()

    def script(peer: socket.socket) -> None:
        peers.append(peer)
        gone.wait(20)

    clock = Later()
    with serve(script) as port:
        transport = HttpTransport(
            f"http://127.0.0.1:{port}", clock, settings=HttpSettings(1, 0, 5.0, 5.0, 0.3)
        )
        for number in range(1, 6):
            connection = up(transport)
            while len(peers) < number:
                gone.wait(0.001)
            clock.ahead_ns += stands_ns
            peers[-1].sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            while connection.phase is Phase.IDLE:
                transport.poll()
            wait_s = (connection.retry_ns - clock.mono_ns()) / NS_PER_S
            clock.ahead_ns += max(0, connection.retry_ns - clock.mono_ns())
        gone.set()
        transport.close()
    assert pause_s / 2 < wait_s <= pause_s


def test_its_way_is_kept_open() -> None:
    """A router between forgets it else, and the first order after an hour goes nowhere."""
    with serve(lambda peer: None) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", SystemClock(), settings=HttpSettings(1, 0))
        (connection,) = transport._orders.connections
        transport.poll()
        sock = connection._socket
        assert sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        transport.close()
    assert idle_s <= 60
