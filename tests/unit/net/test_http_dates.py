"""The Date headers of reads are handed on, with the times around them."""

from __future__ import annotations

import select
import socket

import pytest
from raw_server import read_request, serve

from kite_hft.clock import SystemClock
from kite_hft.net.http import HttpTransport
from kite_hft.trading.broker import HttpRequest, HttpResponse

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
WHOLE = b"Content-Length: 2\r\n\r\nok"
GET = HttpRequest("GET", "/orders")
POST = HttpRequest("POST", "/orders/regular", b"a=1", "application/x-www-form-urlencoded")


def ask(transport: HttpTransport, request: HttpRequest) -> HttpResponse:
    ready = select.poll()
    ready.register(transport.fileno(), select.POLLIN)
    transport.submit(1, request)
    for _ in range(2000):
        if done := transport.poll():
            assert isinstance(done[0][1], HttpResponse), done
            return done[0][1]
        ready.poll(5)
    raise AssertionError("no answer")


@pytest.mark.parametrize("rest", [WHOLE, CHUNKED], ids=["read at once", "by the parser"])
def test_reads_tell_their_date_and_order_calls_do_not(rest: bytes) -> None:
    def script(peer: socket.socket) -> None:
        while read_request(peer):
            peer.sendall(b"HTTP/1.1 200 OK\r\ndate: " + DATE + b"\r\n" + rest)

    told: list[tuple[bytes, int, int]] = []
    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", SystemClock())
        try:
            ask(transport, GET)  # nobody asks
            transport.dated = lambda *words: told.append(words)
            read = ask(transport, GET)
            ask(transport, POST)
        finally:
            transport.close()
    assert told == [(DATE, read.sent_ns, read.received_ns)]


def test_an_answer_without_a_date_tells_nothing() -> None:
    def script(peer: socket.socket) -> None:
        while read_request(peer):
            peer.sendall(b"HTTP/1.1 200 OK\r\n" + WHOLE)

    told: list[object] = []
    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", SystemClock())
        transport.dated = lambda *words: told.append(words)
        try:
            ask(transport, GET)
        finally:
            transport.close()
    assert not told
