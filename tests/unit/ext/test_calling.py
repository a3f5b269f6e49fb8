"""A request's bytes on their way out: put together, written, and what is left when the kernel takes less."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kite_hft._calling import LOOKED_NS, NEVER_LOOKED_NS, Caller, Line
from kite_hft.trading.broker import HttpRequest

IDLE, BUSY = "idle", "busy"


class Plain(Line):
    """A connection without TLS; what could not be written shows."""

    def __init__(self, near: socket.socket) -> None:
        self._socket, self.fd, self._now = near, near.fileno(), lambda: 77
        self._out, self.phase, self._busy = bytearray(), IDLE, BUSY
        self.errors: list[OSError] = []
        self.flushed = self.looked = 0
        self.stands = True

    def fresh(self) -> bool:
        self.looked += 1
        return self.stands

    def not_sent(self, error: OSError) -> None:
        self.errors.append(error)

    def _flush(self) -> None:
        self.flushed += 1


class Calls(Caller):
    def __init__(self, *lines: Line) -> None:
        self.now, self.heads, self.waited = 10**9, 0, []  # type: ignore[var-annotated]
        self._mono_ns, self._timeout_ns = lambda: self.now, 1000
        self._heads, self._done, self._idle = {}, [], IDLE
        self._looked_ns = self._silent_ns = NEVER_LOOKED_NS
        self.connections, self.waiting = list(lines), []  # type: ignore[var-annotated]
        self._orders = self._reads = self

    def _head(self, method: str, path: str, content_type: str) -> bytes:
        self.heads += 1
        made = self._heads[method, path, content_type] = f"{method} {path} {content_type}|".encode()
        return made

    def _wait(self, request_id: int, request: HttpRequest, now_ns: int) -> None:
        self.waited.append((request_id, request, self.bytes_of(request), now_ns))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    yield near, far
    near.close()
    far.close()


BODIES = [b"", b"x", b"a=1&b=2", b"y" * 9, b"y" * 10, b"y" * 99, b"y" * 100, b"z" * 12345]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("body", BODIES)
def test_the_bytes_of_a_call(ends: tuple[socket.socket, socket.socket], method: str, body: bytes) -> None:
    near, far = ends
    line = Plain(near)
    calls = Calls(line)
    calls.submit(5, HttpRequest(method, "/p", body, "t"))
    length = b"Content-Length: %d\r\n" % len(body) if body or method in ("POST", "PUT") else b""
    assert far.recv(1 << 16) == f"{method} /p t|".encode() + length + b"\r\n" + body
    call = line._exchange
    assert (call.request_id, call.method, call.deadline_ns, call.sent, call.sent_ns) == (
        5,
        method,
        10**9 + 1000,
        True,
        77,
    )
    assert line.phase == BUSY and calls._due_ns == 0 and not line._out and not line.errors


def test_a_head_is_made_once(ends: tuple[socket.socket, socket.socket]) -> None:
    line = Plain(ends[0])
    calls = Calls(line)
    for number in range(3):
        line.phase = IDLE
        calls.submit(number, HttpRequest("POST", "/p", b"x", "t"))
    assert calls.heads == 1


def test_what_the_kernel_does_not_take_is_kept(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    line, sent = Plain(near), bytes(1 << 22)
    line.start(1, "POST", sent, 5)
    assert line._exchange.sent and 0 < len(line._out) < len(sent) and line.flushed == 1
    got = far.recv(1 << 22)
    assert len(got) <= len(sent) - len(line._out)
    full = Plain(near)
    while True:  # nothing more goes in
        try:
            near.send(bytes(1 << 16))
        except BlockingIOError:
            break
    full.start(2, "POST", b"late", 5)
    assert bytes(full._out) == b"late" and not full._exchange.sent and not full.errors
    full.start(3, "POST", b"+", 5)
    assert bytes(full._out) == b"late+", "behind what waits"


def test_a_socket_that_fails_says_why(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.close()
    line = Plain(near)
    line.start(1, "POST", b"x", 5)
    assert [error.strerror for error in line.errors] == ["Broken pipe"] and not line._exchange.sent
    line._socket = None
    with pytest.raises(RuntimeError, match="not open"):
        line.start(2, "POST", b"x", 5)


def test_encrypted_by_whatever_session_it_has_now(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    line = Plain(near)

    class Session:
        """As ssl.SSLObject without the C part within, and its outgoing memory."""

        def __init__(self, key: bytes) -> None:
            self.key, self.kept = key, b""

        def write(self, data: bytes) -> None:
            self.kept += self.key + data

        def read(self) -> bytes:
            kept, self.kept = self.kept, b""
            return kept

    for key in (b"1:", b"2:"):
        line._tls = line._outbox = Session(key)
        line.start(1, "POST", b"x", 5)
        assert far.recv(100) == key + b"x"


def test_the_first_line_that_stands(ends: tuple[socket.socket, socket.socket]) -> None:
    gone, good = Plain(ends[0]), Plain(ends[0])
    gone.stands = False
    calls = Calls(gone, good)
    calls.submit(1, HttpRequest("POST", "/p", b"x", "t"))
    assert good._exchange.request_id == 1 and gone._exchange is None and gone.looked == good.looked == 1
    good.stands = False
    calls.submit(2, HttpRequest("POST", "/p", b"x", "t"))
    assert calls.waited[0][0] == 2 and b"Content-Length: 1" in calls.waited[0][2]
    calls._looked_ns = calls.now  # somebody has just looked: an idle one counts as standing
    gone.phase = IDLE
    calls.submit(3, HttpRequest("POST", "/p", b"x", "t"))
    assert gone._exchange.request_id == 3 and gone.looked == 2
    calls.waiting.append("another")
    calls.submit(4, HttpRequest("POST", "/p", b"x", "t"))
    assert calls.waited[1][0] == 4, "nobody overtakes"


def test_what_is_no_request(ends: tuple[socket.socket, socket.socket]) -> None:
    calls = Calls(Plain(ends[0]))
    for odd in (("POST", "/p", b"x"), "POST", HttpRequest("POST", "/p", "text", "t")):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            calls.submit(1, odd)


def test_quiet_is_believed_once_and_not_for_long() -> None:
    calls: Any = Calls()
    calls._due_ns = 10**18
    assert not calls.quiet(10**9), "nobody has looked"
    for at_ns, quiet in (
        (10**9, True),
        (10**9 + LOOKED_NS - 1, True),
        (10**9 + LOOKED_NS, False),
        (10**9 - 1, False),
    ):
        calls._silent_ns = 10**9
        assert calls.quiet(at_ns) is quiet
        if quiet:
            assert calls._looked_ns == 10**9 and not calls.quiet(at_ns)
    calls._silent_ns, calls._due_ns = 10**9, 10**9
    assert not calls.quiet(10**9), "there is something to see to"
    calls._due_ns = 10**18
    calls._done.append(1)
    assert not calls.quiet(10**9), "an answer waits"


def test_quiet_looks_itself_where_nobody_has(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    calls: Any = Calls()
    calls._due_ns = 10**18
    with select.epoll() as epoll:
        epoll.register(near, select.EPOLLIN)
        calls._epoll_fd = epoll.fileno()
        assert calls.quiet(10**9) and calls._looked_ns == 10**9, "as good as a look of somebody else's"
        far.send(b"an answer")
        assert not calls.quiet(10**9)
        calls._silent_ns = 10**9
        assert calls.quiet(10**9), "who was told a moment ago does not ask again"
        assert not calls.quiet(10**9)
        near.recv(100)
        calls._due_ns = 10**9
        assert not calls.quiet(10**9), "there is something to see to"
