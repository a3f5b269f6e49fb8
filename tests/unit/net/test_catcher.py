"""The catcher answers each who comes, believes nobody by itself, and listens on this machine alone."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from kite_hft.net import catcher as catcher_module
from kite_hft.net.catcher import BODY_MAX, Catcher, Caught, Page, wait_for


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    with Catcher(0) as made:
        yield made


def sent(catcher: Catcher, data: bytes, judge: Callable[[Caught], Page]) -> tuple[bool, bytes]:
    """(whether it was the one, the whole answer) of one client that sends `data`."""
    answer = bytearray()

    def client() -> None:
        link = socket.create_connection(("127.0.0.1", catcher.port), 10)
        with link, contextlib.suppress(OSError):  # it hangs up on who sends too much
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            while chunk := link.recv(4096):
                answer.extend(chunk)

    thread = threading.Thread(target=client)
    thread.start()
    assert wait_for(catcher, seconds=10) == [catcher]
    done = catcher.serve(judge)
    thread.join(10)
    return done, bytes(answer)


def request(
    catcher: Catcher, target: str = "/", host: str = "", method: str = "GET", body: bytes = b""
) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{catcher.port}'}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_request_is_judged_and_answered_with_a_page_that_nobody_keeps(catcher: Catcher) -> None:
    seen: list[Caught] = []

    def judge(caught: Caught) -> Page:
        seen.append(caught)
        return Page(200, "well <done>", done=True)

    done, answer = sent(catcher, request(catcher, "/back?code=1&x=%20"), judge)
    assert done and seen == [Caught("GET", "/back?code=1&x=%20", b"")]
    assert answer.startswith(b"HTTP/1.1 200") and b"well &lt;done&gt;" in answer and b"<done>" not in answer
    for header in (b"Cache-Control: no-store", b"Referrer-Policy: no-referrer", b"default-src 'none'"):
        assert header in answer
    done, _ = sent(catcher, request(catcher, method="POST", body=b'{"a":1}'), judge)
    assert done and seen[-1].body == b'{"a":1}' and seen[-1].method == "POST"


def test_what_the_judge_refuses_is_answered_and_was_not_the_one(catcher: Catcher) -> None:
    done, answer = sent(catcher, request(catcher), lambda caught: Page(400, "no"))
    assert not done and answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_another_hosts_name_is_refused_unheard(catcher: Catcher, host: str) -> None:
    done, answer = sent(catcher, request(catcher, host=host), lambda caught: pytest.fail("judged"))
    assert not done and answer.startswith(b"HTTP/1.1 421")


def test_its_own_names_are_heard_and_any_name_behind_a_proxy(catcher: Catcher) -> None:
    for host in ("localhost", f"localhost:{catcher.port}", "127.0.0.1"):
        assert sent(catcher, request(catcher, host=host), lambda caught: Page(200, "", done=True))[0]
    with Catcher(0, hosts=None) as behind:
        assert sent(behind, request(behind, host="me.example"), lambda caught: Page(200, "", done=True))[0]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 40_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nshort",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (BODY_MAX + 10),
    ],
)  # fmt: skip
def test_what_is_no_request_changes_nothing(catcher: Catcher, data: bytes) -> None:
    done, _ = sent(catcher, data, lambda caught: pytest.fail("judged"))
    assert not done
    assert sent(catcher, request(catcher), lambda caught: Page(200, "", done=True))[0], "it goes on"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "CONNECT"])
def test_other_methods_are_refused_unheard(catcher: Catcher, method: str) -> None:
    done, answer = sent(catcher, request(catcher, method=method), lambda caught: pytest.fail("judged"))
    assert not done and answer.startswith(b"HTTP/1.1 405")
    assert sent(catcher, request(catcher), lambda caught: Page(200, "", done=True))[0], "it goes on"


def test_who_says_nothing_does_not_hold_it(catcher: Catcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catcher_module, "READ_S", 0.05)
    with socket.create_connection(("127.0.0.1", catcher.port), 10):
        assert wait_for(catcher, seconds=10) == [catcher]
        assert not catcher.serve(lambda caught: pytest.fail("judged"))


def test_it_listens_on_this_machine_alone_and_a_taken_port_is_said(catcher: Catcher) -> None:
    with pytest.raises(OSError, match="in use"):
        Catcher(catcher.port)
    assert catcher._listener.getsockname()[0] == "127.0.0.1"
    assert wait_for(catcher, seconds=0) == []
