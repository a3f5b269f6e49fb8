"""Layer 3, whoever logs in, cold: takes what a browser or a broker sends to an address of this machine.

For the one request in which a login comes back. Listens on 127.0.0.1 alone; each connection is answered and
closed, one after the other, with little time and little room. Who may be believed is not known here: `judge`
decides, and what it refuses changes nothing. Requests that name another host are refused before that: a page
on the internet whose name was made to lead here gets no further (DNS rebinding).
"""

from __future__ import annotations

import contextlib
import html
import select
import socket
import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

import h11

LOOPBACK: Final = "127.0.0.1"
READ_S: Final = 2.0
BODY_MAX: Final = 1 << 16
CHUNK: Final = 1 << 14
WAITING_MAX: Final = 8
_HEADERS: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Connection", "close"),
)


class Caught(NamedTuple):
    """A request: target is path and query as they came."""

    method: str
    target: str
    body: bytes


class Page(NamedTuple):
    """What its sender sees. done: this was the one that was waited for."""

    status: int
    text: str
    done: bool = False


NOT_HERE: Final = Page(404, "There is nothing here.")
WRONG_HOST: Final = Page(421, "This address answers to this machine's own name only.")
WRONG_METHOD: Final = Page(405, "GET and POST are answered.")
UNREADABLE: Final = Page(400, "That is no request.")


class Catcher:
    """Listens until it is closed. hosts: names under which it may be called; None: any (behind a proxy)."""

    def __init__(self, port: int, hosts: Collection[str] | None = (LOOPBACK, "localhost")) -> None:
        """port 0: any free one.

        Raises:
            OSError: the port is taken, or may not be had.
        """
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((LOOPBACK, port))
            self._listener.listen(WAITING_MAX)
            self._listener.setblocking(False)
        except OSError:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        named = () if hosts is None else [(name, f"{name}:{self.port}") for name in hosts]
        self._hosts = {name for pair in named for name in pair}

    def fileno(self) -> int:
        """Becomes readable when somebody has come."""
        return self._listener.fileno()

    def serve(self, judge: Callable[[Caught], Page]) -> bool:
        """Answer who has come, one; whether it was the one that is waited for. Takes `READ_S` at most."""
        try:
            link, _ = self._listener.accept()
        except OSError:  # it has gone again
            return False
        with contextlib.closing(link):
            try:
                return self._answer(link, judge)
            except OSError:
                return False

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Catcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, link: socket.socket, judge: Callable[[Caught], Page]) -> bool:
        speech = h11.Connection(h11.SERVER, max_incomplete_event_size=CHUNK)
        try:
            page = self._judged(_read(link, speech), judge)
        except (h11.RemoteProtocolError, ValueError):
            page = UNREADABLE
        body = _page(page).encode()
        headers = [*_HEADERS, ("Content-Length", str(len(body)))]
        if speech.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            data = speech.send(h11.Response(status_code=page.status, headers=headers)) or b""
            with contextlib.suppress(h11.LocalProtocolError):  # an answer to HEAD has no body
                data += speech.send(h11.Data(data=body)) or b""
            with contextlib.suppress(OSError):  # it does not want to know: that is no failure of the login
                link.sendall(data)
        return page.done

    def _judged(self, got: tuple[h11.Request, bytes], judge: Callable[[Caught], Page]) -> Page:
        request, body = got
        hosts = [value.decode("latin-1").lower() for name, value in request.headers if name == b"host"]
        if self._hosts and not set(hosts) <= self._hosts:
            return WRONG_HOST
        if request.method not in (b"GET", b"POST"):
            return WRONG_METHOD
        return judge(Caught(request.method.decode("ascii"), request.target.decode("latin-1"), body))


def _read(link: socket.socket, speech: h11.Connection) -> tuple[h11.Request, bytes]:
    """A whole request.

    Raises:
        ValueError: more than there is room for, or its end did not come. OSError: nothing came in time.
    """
    end_s = time.monotonic() + READ_S
    request: h11.Request | None = None
    body = b""
    while True:
        event = speech.next_event()
        if event is h11.NEED_DATA:
            link.settimeout(max(0.001, end_s - time.monotonic()))
            speech.receive_data(link.recv(CHUNK))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > BODY_MAX:
                raise ValueError("too long")
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, body
        else:
            raise ValueError("no whole request")


def _page(page: Page) -> str:
    words = html.escape(page.text)
    return f'<!doctype html><meta charset="utf-8"><title>kite_hft</title><h1>kite_hft</h1><p>{words}</p>\n'


def wait_for(*readable: Catcher | int, seconds: float) -> list[Catcher | int]:
    """Those that have something to say, within so many seconds."""
    found, _, _ = select.select(readable, [], [], max(0.0, seconds))
    return list(found)
