"""Layer 3, orders process, cold: the transport of a sandbox that has no books.

Calls that exist there go out; the others are answered on this machine, by what the sandbox has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from kite_hft.net.http import Follower, HttpTransport
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError

Answer = tuple[int, HttpResponse | TransportError]


class Book(Protocol):
    """What the sandbox has confirmed, in the broker's words (brokers/upstox/sandbox.py)."""

    def answer(self, request: HttpRequest) -> HttpResponse | TransportError | None: ...

    def took(self, request: HttpRequest, response: HttpResponse, time_text: str) -> None: ...


class SandboxTransport:
    """Calls to a sandbox. now: CLOCK_MONOTONIC ns. time_text: the wall clock in the broker's form. Used as an
    HttpTransport is.
    """

    def __init__(
        self, http: HttpTransport, book: Book, now: Callable[[], int], time_text: Callable[[], str]
    ) -> None:
        self._http, self._book, self._now, self._time_text = http, book, now, time_text
        self._under_way: dict[int, HttpRequest] = {}
        self._here: list[Answer] = []

    def submit(self, request_id: int, request: HttpRequest) -> None:
        """Send a call that the sandbox knows; answer any other with the next `poll`."""
        answer = self._book.answer(request)
        if answer is not None:
            at_ns = self._now()
            if isinstance(answer, HttpResponse):
                answer = replace(answer, sent_ns=at_ns, received_ns=at_ns)
            self._here.append((request_id, answer))
            return
        self._under_way[request_id] = request
        self._http.submit(request_id, request)

    def poll(self) -> list[Answer]:
        """The answers since the last call."""
        found, self._here = self._here, []
        for request_id, result in self._http.poll():
            request = self._under_way.pop(request_id, None)
            if request is not None and isinstance(result, HttpResponse):
                self._book.took(request, result, self._time_text())
            found.append((request_id, result))
        return found

    def next_deadline_ns(self) -> int | None:
        return 0 if self._here else self._http.next_deadline_ns()

    def silent(self, now_ns: int) -> None:
        self._http.silent(now_ns)

    def fileno(self) -> int:
        return self._http.fileno()

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        self._http.use_headers(headers)

    @property
    def dated(self) -> Callable[[bytes, int, int], None] | None:
        """Told of the Date headers of reads: here there are none."""
        return self._http.dated

    @dated.setter
    def dated(self, told: Callable[[bytes, int, int], None] | None) -> None:
        self._http.dated = told

    @property
    def follower(self) -> Follower | None:
        """Told of calls that wait for a connection."""
        return self._http.follower

    @follower.setter
    def follower(self, told: Follower | None) -> None:
        self._http.follower = told

    def last_failure(self) -> str:
        return self._http.last_failure()

    def close(self) -> None:
        self._http.close()
