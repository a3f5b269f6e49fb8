"""One blocking call: its answer, its time-outs, what it refuses, and that no error shows the address."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kite_hft.net.post import ADDRESSES_MAX, PostError, _chosen, call


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection on this machine; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            link, _ = listener.accept()
            with contextlib.closing(link), contextlib.suppress(OSError):
                serve(link)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/s3cret?k=v"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def request_of(link: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += link.recv(4096)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    while len(body) < length:
        body += link.recv(4096)
    return head + b"\r\n\r\n" + body


def test_a_post_and_its_answer() -> None:
    seen: list[bytes] = []

    def serve(link: socket.socket) -> None:
        seen.append(request_of(link))
        link.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndone, and more")

    with server(serve) as url:
        answer = call("POST", url, b'{"a": 1}', "application/json", timeout_s=5.0)
    assert (answer.status, answer.body) == (201, b"done")
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "POST /s3cret?k=v HTTP/1.1" and lines[-1] == '{"a": 1}'
    assert "Content-Type: application/json" in lines and "Connection: close" in lines


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "hung up"),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
        (b"X" * 70_000, "no HTTP"),
    ],
)
def test_what_is_no_answer_is_an_error(answer: bytes, words: str) -> None:
    def serve(link: socket.socket) -> None:
        request_of(link)
        link.sendall(answer)

    with server(serve) as url, pytest.raises(PostError, match=words) as error:
        call("GET", url, timeout_s=5.0)
    assert "s3cret" not in str(error.value)


def test_a_server_that_says_a_byte_now_and_then_is_left_in_time() -> None:
    def serve(link: socket.socket) -> None:
        request_of(link)
        for byte in b"HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy":
            link.sendall(bytes([byte]))
            time.sleep(0.05)

    with server(serve) as url, pytest.raises(PostError, match=r"no answer within 0\.3 s"):
        call("GET", url, timeout_s=0.3)


def test_the_status_counts_although_the_body_never_ends() -> None:
    def serve(link: socket.socket) -> None:
        request_of(link)
        link.sendall(b"HTTP/1.1 500 No\r\n\r\npart")
        time.sleep(0.5)

    with server(serve) as url:
        assert call("GET", url, timeout_s=0.3).status == 500


def test_an_address_that_swallows_everything_does_not_take_the_time_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def serve(link: socket.socket) -> None:
        request_of(link)
        link.sendall(b"HTTP/1.1 429 No\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n")

    with server(serve) as url, contextlib.ExitStack() as held:
        full = held.enter_context(socket.socket())  # a queue without room: no answer to any packet
        full.bind(("127.0.0.2", 0))
        full.listen(0)
        for _ in range(3):
            link = held.enter_context(socket.socket())
            link.setblocking(False)
            link.connect_ex(full.getsockname())
        row = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        good = (*row, ("127.0.0.1", int(url.rpartition(":")[2].partition("/")[0])))
        lost = (*row, full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: [lost, good])
        answer = call("GET", url, timeout_s=2.0)
        assert (answer.status, answer.retry_after_s) == (429, 17.0)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: [lost, lost])
        with pytest.raises(PostError, match=r"no answer within 0\.2 s"):
            call("GET", url, timeout_s=0.2)


def test_each_family_of_addresses_has_a_turn_and_not_all_addresses() -> None:
    rows = [(family, number) for family in (socket.AF_INET6, socket.AF_INET) for number in range(4)]
    assert [row[0] for row in _chosen(rows)] == [socket.AF_INET6, socket.AF_INET, socket.AF_INET6]
    assert len(_chosen(rows)) == ADDRESSES_MAX and _chosen([]) == []


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    def serve(link: socket.socket) -> None:
        request_of(link)
        link.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    with server(serve) as url:
        assert call("POST", url, b"x", timeout_s=5.0).status == 302


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://127.0.0.1/s3cret", "none of http"),
        ("http:///s3cret", "none of http"),
        ("http://127.0.0.1/s3 cret", "none of http"),
        ("http://127.0.0.1:99999/s3cret", "cannot be read"),
        ("http://127.0.0.1:1/s3cret", "no connection"),
        ("http://192.0.2.1/s3cret", "this machine only"),
    ],
)
def test_addresses_that_are_not_called(url: str, words: str) -> None:
    with pytest.raises(PostError, match=words) as error:
        call("POST", url, b"x", timeout_s=2.0)
    assert "s3cret" not in str(error.value) and "192.0.2.1" not in str(error.value)


def test_a_context_that_does_not_verify_is_refused() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with server(lambda link: None) as url, pytest.raises(PostError, match="does not verify"):
        call("GET", url.replace("http://", "https://"), timeout_s=2.0, context=context)


def test_a_server_without_tls_is_no_https_server() -> None:
    def serve(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with server(serve) as url, pytest.raises(PostError, match="TLS failed"):
        call("GET", url.replace("http://", "https://"), timeout_s=2.0)
