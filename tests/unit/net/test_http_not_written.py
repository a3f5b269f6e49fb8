"""A call of which the kernel took no byte goes by the next connection, or waits for one; no other does."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from raw_server import answer, certificate, read_request, serve
from torn import Torn

from kite_hft.clock import SystemClock
from kite_hft.net.connection import Phase
from kite_hft.net.http import HttpSettings, HttpTransport
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

CLOCK = SystemClock()
POST = HttpRequest("POST", "/orders/regular", b"a=1&b=2", "application/x-www-form-urlencoded")


class Following:
    """Lets everything pass, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def waits(self, request_id: int) -> None:
        self.told.append(("waits", request_id))

    def urgent(self, request_id: int) -> bool:
        return False

    def waits_on(self, request_id: int) -> bool:
        return False

    def placed(self, request_id: int) -> bool:
        return True

    def stops(self, request_id: int) -> str:
        self.told.append(("stops", request_id))
        return ""

    def wrote(self, request_id: int, at_ns: int | None) -> None:
        self.told.append(("wrote" if at_ns is not None else "given up", request_id))


def answers(transport: HttpTransport, n: int) -> dict[int, HttpResponse | TransportError]:
    done: dict[int, HttpResponse | TransportError] = {}
    while len(done) < n:
        done |= dict(transport.poll())
        threading.Event().wait(0.001)
    return done


@contextmanager
def connected(
    seen: list[bytes], connections: int, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
) -> Iterator[HttpTransport]:
    """A transport whose connections for orders all stand."""

    def script(peer: socket.socket) -> None:
        while request := read_request(peer):
            seen.append(request.rpartition(b"\r\n")[2])
            peer.sendall(answer(b"ok"))

    with serve(script, tls[0] if tls else None) as port:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        settings = HttpSettings(connections, 0, 20.0, 20.0, 20.0)
        transport = HttpTransport(url, CLOCK, settings=settings, context=tls[1] if tls else None)
        while not all(line.phase is Phase.IDLE for line in transport._orders.connections):
            transport.poll()
            threading.Event().wait(0.001)
        yield transport
        transport.close()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    if request.param == "plain":
        return None
    cert, key = certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


def tear(transport: HttpTransport, at: int, n: int = 0) -> None:
    line = transport._orders.connections[at]
    assert line._socket is not None
    line._socket = Torn(line._socket, n)  # type: ignore[assignment]


def test_it_goes_by_the_next_connection_at_once(
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> None:
    seen: list[bytes] = []
    with connected(seen, 2, tls) as transport:
        transport.follower = following = Following()
        tear(transport, 0)
        transport.submit(1, POST)
        assert transport._orders.connections[0].phase is Phase.CLOSED and not following.told
        done = answers(transport, 1)
    assert isinstance(done[1], HttpResponse) and len(seen) == 1


def test_without_another_one_it_waits_as_a_call_that_found_none_free(
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> None:
    seen: list[bytes] = []
    with connected(seen, 1, tls) as transport:
        transport.follower = following = Following()
        tear(transport, 0)
        transport.submit(1, POST)
        assert following.told == [("waits", 1)] and not seen
        done = answers(transport, 1)
    assert isinstance(done[1], HttpResponse) and len(seen) == 1
    assert following.told == [("waits", 1), ("stops", 1), ("wrote", 1)]


def test_one_that_had_waited_waits_on_in_front() -> None:
    seen: list[bytes] = []
    with connected(seen, 1) as transport:
        transport.follower = following = Following()
        line = transport._orders.connections[0]
        line.phase = Phase.BUSY
        for number in (1, 2):
            transport.submit(number, POST._replace(body=b"n=%d" % number))
        line.phase = Phase.IDLE
        tear(transport, 0)
        assert not transport.poll() and [call.request_id for call in transport._orders.waiting] == [1, 2]
        assert ("wrote", 1) not in following.told
        done = answers(transport, 2)
    assert seen == [b"n=1", b"n=2"] and all(isinstance(each, HttpResponse) for each in done.values())


def test_of_one_byte_nobody_knows_what_became_and_it_is_not_sent_again() -> None:
    seen: list[bytes] = []
    with connected(seen, 2) as transport:
        transport.follower = following = Following()
        tear(transport, 0, 1)
        transport.submit(1, POST)
        done = answers(transport, 1)
    ended = done[1]
    assert isinstance(ended, TransportError) and ended.sent and not seen and not following.told


def test_a_socket_of_the_kernel_that_takes_nothing_more() -> None:
    seen: list[bytes] = []
    with connected(seen, 2) as transport:
        first = transport._orders.connections[0]
        assert first._socket is not None
        transport._looked_ns = CLOCK.mono_ns()  # it counts as standing
        first._socket.shutdown(socket.SHUT_WR)
        transport.submit(1, POST)
        done = answers(transport, 1)
    assert isinstance(done[1], HttpResponse) and len(seen) == 1 and first.last_failure == "Broken pipe"
