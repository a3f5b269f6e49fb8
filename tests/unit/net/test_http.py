"""The transport against a server that misbehaves in every way we could think of."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from raw_server import answer, certificate, nobody_accepts, read_request, serve

from kite_hft.clock import ManualClock, SystemClock
from kite_hft.net.http import HttpSettings, HttpTransport, TransportConfigError, fetch
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

CLOCK = SystemClock()
QUICK = HttpSettings(timeout_s=0.3, connect_timeout_s=0.5, queue_s=0.5, body_max=1 << 16)
PATIENT = replace(QUICK, timeout_s=20.0, connect_timeout_s=20.0, queue_s=20.0)
"""Where nothing times out: a busy machine is slow."""
GET = HttpRequest("GET", "/orders")
POST = HttpRequest("POST", "/orders/regular", b"a=1&b=2", "application/x-www-form-urlencoded")

Result = HttpResponse | TransportError


def call(transport: HttpTransport, *requests: HttpRequest, wait_s: float = 5.0) -> list[Result]:
    """Submit all, wait for all answers; in order of the requests."""
    for number, request in enumerate(requests):
        transport.submit(number, request)
    return collect(transport, len(requests), wait_s)


def collect(transport: HttpTransport, n: int, wait_s: float = 5.0) -> list[Result]:
    answers: dict[int, Result] = {}
    end_ns = CLOCK.mono_ns() + round(wait_s * 1e9)
    pause = threading.Event()
    while len(answers) < n and CLOCK.mono_ns() < end_ns:
        for number, result in transport.poll():
            assert number not in answers
            answers[number] = result
        pause.wait(0.001)
    assert len(answers) == n, f"{len(answers)} of {n} answered"
    return [answers[i] for i in sorted(answers)]


def with_server(
    script: Callable[[socket.socket], None], *requests: HttpRequest, settings: HttpSettings = QUICK
) -> list[Result]:
    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=settings)
        try:
            return call(transport, *requests)
        finally:
            transport.close()


def failure(result: Result) -> TransportError:
    assert isinstance(result, TransportError), result
    return result


def test_a_hundred_calls_over_kept_connections() -> None:
    opened = []

    def script(peer: socket.socket) -> None:
        opened.append(1)
        while request := read_request(peer):
            peer.sendall(answer(request.split(b"\r\n\r\n")[1] or b"book"))

    posts = [HttpRequest("POST", "/o", b"n=%d" % i, "text/plain") for i in range(100)]
    results = with_server(script, *posts)
    assert [r.body for r in results if isinstance(r, HttpResponse)] == [b"n=%d" % i for i in range(100)]
    assert len(opened) <= 3


def test_the_request_as_the_server_sees_it() -> None:
    seen: list[bytes] = []

    def script(peer: socket.socket) -> None:
        while request := read_request(peer):
            seen.append(request)
            peer.sendall(answer(b"{}"))

    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}/base", CLOCK, [("Authorization", "token k:t")])
        result = call(transport, POST)[0]
        transport.close()
    assert isinstance(result, HttpResponse) and result.sent_ns and result.received_ns >= result.sent_ns
    head, body = seen[0].split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /base/orders/regular HTTP/1.1" and body == POST.body
    headers = {k.lower(): v for k, v in (line.split(b": ", 1) for line in lines[1:])}
    assert headers[b"host"] == b"127.0.0.1:%d" % port
    assert headers[b"authorization"] == b"token k:t"
    assert headers[b"content-length"] == b"7"
    assert headers[b"content-type"] == b"application/x-www-form-urlencoded"


def test_an_order_does_not_wait_behind_a_slow_book() -> None:
    release = threading.Event()

    def script(peer: socket.socket) -> None:
        while request := read_request(peer):
            if request.startswith(b"GET"):
                release.wait(5)
            peer.sendall(answer(b"ok"))

    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK)
        transport.submit(1, GET)
        transport.submit(2, POST)
        done: list[int] = []
        while not done:
            done += [number for number, _ in transport.poll()]
        assert done == [2]
        release.set()
        assert isinstance(collect(transport, 1)[0], HttpResponse)
        transport.close()


def test_chunked_answer_in_single_bytes() -> None:
    def script(peer: socket.socket) -> None:
        while read_request(peer):
            text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            for i in range(len(text)):
                peer.sendall(text[i : i + 1])

    results = with_server(script, GET, GET)
    assert [r.body for r in results if isinstance(r, HttpResponse)] == [b"abcde", b"abcde"]


def test_answer_until_close_and_reconnect() -> None:
    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    results = with_server(script, GET, GET, GET)
    assert [r.body for r in results if isinstance(r, HttpResponse)] == [b"all of it"] * 3


BROKEN = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "garbage": b"\x00\x01\x02 not http at all\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "too long": b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_an_error_of_a_sent_call(name: str) -> None:
    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(BROKEN[name])

    result = failure(with_server(script, POST)[0])
    assert result.sent and result.reason


def test_silence_ends_at_the_deadline_and_the_connection_is_not_used_again() -> None:
    opened: list[socket.socket] = []

    def script(peer: socket.socket) -> None:
        opened.append(peer)
        while request := read_request(peer):
            if b"silent" not in request:
                peer.sendall(answer(b"ok"))

    one = HttpSettings(1, 1, timeout_s=0.2, queue_s=2.0)
    results = with_server(script, HttpRequest("POST", "/silent"), HttpRequest("POST", "/b"), settings=one)
    assert failure(results[0]) and failure(results[0]).sent and failure(results[0]).reason == "timed out"
    assert isinstance(results[1], HttpResponse) and len(opened) == 3


def test_nobody_listens_so_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=QUICK)
    result = failure(call(transport, POST)[0])
    transport.close()
    assert not result.sent and "ECONNREFUSED" in result.reason


def test_idle_connection_closed_by_the_server_is_replaced_before_a_call() -> None:
    counted: list[bytes] = []

    def script(peer: socket.socket) -> None:
        counted.append(read_request(peer))
        peer.sendall(answer(b"once"))
        peer.shutdown(socket.SHUT_RDWR)

    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=QUICK)
        for _ in range(5):
            result = call(transport, POST)[0]
            assert isinstance(result, HttpResponse)
            threading.Event().wait(0.02)  # the close arrives while the connection is idle
        transport.close()
    assert len([c for c in counted if c]) == 5


def test_silence_before_an_answer_says_nothing_of_the_connection_behind_it() -> None:
    """The clock stands still, so that every look at the sockets is a recent one."""
    counted: list[bytes] = []

    def script(peer: socket.socket) -> None:
        counted.append(read_request(peer))
        peer.sendall(answer(b"once"))
        peer.shutdown(socket.SHUT_RDWR)

    with serve(script) as port:
        settings = replace(QUICK, timeout_s=60.0)
        transport = HttpTransport(f"http://127.0.0.1:{port}", ManualClock(0), settings=settings)
        for _ in range(5):
            result = call(transport, POST)[0]
            assert isinstance(result, HttpResponse), result
            threading.Event().wait(0.02)  # the close arrives, and nobody polls
        transport.close()
    assert len([c for c in counted if c]) == 5


def test_unasked_words_of_the_server_close_the_connection() -> None:
    def script(peer: socket.socket) -> None:
        peer.sendall(answer(b"nobody asked"))
        read_request(peer)

    with serve(script) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=QUICK)
        for _ in range(50):
            assert not transport.poll()
            threading.Event().wait(0.001)
        assert transport.last_failure() == "the server spoke unasked"
        transport.close()


def test_two_answers_to_one_call_close_the_connection() -> None:
    def script(peer: socket.socket) -> None:
        while read_request(peer):
            peer.sendall(answer(b"first") + answer(b"second"))

    results = with_server(script, GET, GET)
    assert [r.body for r in results if isinstance(r, HttpResponse)] == [b"first", b"first"]


def test_redirect_is_not_followed() -> None:
    def script(peer: socket.socket) -> None:
        while read_request(peer):
            peer.sendall(answer(b"", "302 Found", b"Location: http://127.0.0.1:1/\r\n"))

    result = with_server(script, POST)[0]
    assert isinstance(result, HttpResponse) and result.status == 302


def test_plain_http_is_for_this_machine_only() -> None:
    with pytest.raises(TransportConfigError, match="on this machine only"):
        HttpTransport("http://192.0.2.1", CLOCK)
    with pytest.raises(TransportConfigError):
        HttpTransport("ftp://127.0.0.1", CLOCK)
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(TransportConfigError, match="does not verify"):
        HttpTransport("https://127.0.0.1", CLOCK, context=blind)


def tls_server(folder: Path, host: str = "127.0.0.1") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server's context, a client's context that trusts it)."""
    cert, key = certificate(folder, host)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


def echo(peer: socket.socket) -> None:
    while request := read_request(peer):
        peer.sendall(answer(request.split(b"\r\n\r\n", 1)[1]))


def test_tls(tmp_path: Path) -> None:
    server, trusting = tls_server(tmp_path)
    big = HttpRequest("POST", "/o", b"x" * 60_000, "text/plain")
    with serve(echo, server) as port:
        transport = HttpTransport(f"https://127.0.0.1:{port}", CLOCK, settings=PATIENT, context=trusting)
        results = call(transport, *[big] * 20)
        transport.close()
    assert all(isinstance(r, HttpResponse) and r.body == big.body for r in results)


def test_self_signed_certificate_is_refused_unsent(tmp_path: Path) -> None:
    server, _ = tls_server(tmp_path)
    with serve(echo, server) as port:
        transport = HttpTransport(f"https://127.0.0.1:{port}", CLOCK, settings=QUICK)
        result = failure(call(transport, POST)[0])
        transport.close()
    assert not result.sent and "certificate refused" in result.reason


def test_certificate_of_another_host_is_refused_unsent(tmp_path: Path) -> None:
    server, trusting = tls_server(tmp_path, "other.example")
    with serve(echo, server) as port:
        transport = HttpTransport(f"https://127.0.0.1:{port}", CLOCK, settings=QUICK, context=trusting)
        result = failure(call(transport, POST)[0])
        transport.close()
    assert not result.sent and "certificate refused" in result.reason


def test_tls_cut_mid_answer_is_an_error(tmp_path: Path) -> None:
    server, trusting = tls_server(tmp_path)

    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nhalf")  # until close, but the close is not announced
        peer.shutdown(socket.SHUT_RDWR)

    with serve(script, server) as port:
        transport = HttpTransport(f"https://127.0.0.1:{port}", CLOCK, settings=PATIENT, context=trusting)
        result = failure(call(transport, POST)[0])
        transport.close()
    assert result.sent


def test_fetch() -> None:
    def script(peer: socket.socket) -> None:
        while request := read_request(peer):
            peer.sendall(answer(request.split(b" ")[1]))

    with serve(script) as port:
        assert fetch(f"http://127.0.0.1:{port}/instruments?x=1") == (200, b"/instruments?x=1")
    with pytest.raises(ConnectionError, match="ECONNREFUSED"):
        fetch(f"http://127.0.0.1:{port}/", timeout_s=0.3)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "the server closed the connection without an answer"),
        (b"HTTP/1.1 20", "the server closed the connection in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "no whole HTTP: peer closed connection"),
        (b"rubbish\r\n\r\n", "no whole HTTP: illegal status line"),
    ],
)
def test_why_there_was_no_answer_is_said_plainly(said: bytes, words: str) -> None:
    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(said)

    result = failure(with_server(script, POST)[0])
    assert result.sent and words in result.reason and "Error" not in result.reason


def test_a_connect_that_hangs_is_given_up_and_nothing_was_sent() -> None:
    quick = HttpSettings(timeout_s=5.0, connect_timeout_s=0.2, queue_s=0.6)
    with nobody_accepts() as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", CLOCK, settings=quick)
        result = failure(call(transport, POST)[0])
        transport.close()
        assert not result.sent and "timed out while connecting" in result.reason
        with pytest.raises(ConnectionError, match="timed out while connecting"):
            fetch(f"http://127.0.0.1:{port}/instruments", timeout_s=0.2)
