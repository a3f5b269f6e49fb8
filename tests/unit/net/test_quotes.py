"""The line for quotes: what can leave by it and what cannot; servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raw_server import answer, certificate, read_request, serve
from torn import Torn

from kite_hft.clock import SystemClock
from kite_hft.net.backoff import Backoff
from kite_hft.net.http import TransportConfigError
from kite_hft.net.quotes import QuoteLine, QuoteLink
from kite_hft.trading.broker import HttpResponse, TransportError

CLOCK = SystemClock()
PATHS = ("/quote", "/quote/ltp")
HEADERS = [("Authorization", "token k:secret")]


def line_to(port: int, timeout_s: float = 5.0, **more: Any) -> QuoteLine:
    made = QuoteLine(more.pop("url", f"http://127.0.0.1:{port}"), PATHS, CLOCK, timeout_s, **more)
    made.use_headers(HEADERS)
    return made


def until(line: QuoteLine, what: Callable[[], Any], wait_s: float = 10.0) -> list[Any]:
    """Poll until it holds; all answers meanwhile."""
    found, pause = [], threading.Event()
    end_ns = CLOCK.mono_ns() + round(wait_s * 1e9)
    while not what() and not found:
        assert CLOCK.mono_ns() < end_ns
        found += line.poll()
        pause.wait(0.002)
    return found


def result_of(line: QuoteLine, query: str = "i=NSE:INFY") -> HttpResponse | TransportError:
    until(line, line.ready)
    line.ask("/quote", query)
    (found,) = until(line, lambda: False)
    return found


def test_a_quote_is_asked_for_by_get_with_the_session_and_without_a_body() -> None:
    heads: list[bytes] = []

    def script(peer: socket.socket) -> None:
        while data := read_request(peer):
            heads.append(data)
            peer.sendall(answer(b"{}"))

    with serve(script) as port:
        line = line_to(port)
        first, second = result_of(line), result_of(line, "i=NSE:NIFTY%2050&i=A")
        line.close()
    assert isinstance(first, HttpResponse) and isinstance(second, HttpResponse)
    assert first.sent_ns <= first.received_ns <= CLOCK.mono_ns()
    assert heads[0].startswith(b"GET /quote?i=NSE:INFY HTTP/1.1\r\n") and heads[0].endswith(b"\r\n\r\n")
    assert b"Authorization: token k:secret\r\n" in heads[0] and len(heads) == 2


@pytest.mark.parametrize(
    "path", ["/orders/regular", "/quote/ohlc", "/quote/../orders", "/", "", "/quote?", "//x"]
)
def test_no_other_path_leaves(path: str) -> None:
    with serve(lambda peer: read_request(peer) and None) as port:
        line = line_to(port)
        with pytest.raises(ValueError, match="only quotes"):
            line.ask(path, "i=A")
        line.close()


@pytest.mark.parametrize(
    "path", ["/orders", "/orders/regular", "/quote/../orders", "/v2/order/place", "/quotes"]
)
def test_a_line_for_anything_else_cannot_be_made(path: str) -> None:
    with pytest.raises(TransportConfigError, match="no path of quotes"):
        QuoteLine("http://127.0.0.1:1", ["/quote", path], CLOCK, 1.0)


@pytest.mark.parametrize(
    "query",
    ["", "i=A HTTP/1.1\r\n\r\nDELETE /orders/regular/1", "i=A\nX: y", "i=A B", "i=\x00", "i=é", "#",
     "i=A/../x", "i=" + "A" * 50_000],
)  # fmt: skip
def test_no_query_ends_the_line_or_leads_elsewhere(query: str) -> None:
    got: list[bytes] = []
    with serve(lambda peer: got.append(read_request(peer))) as port:
        line = line_to(port)
        until(line, line.ready)
        with pytest.raises(ValueError, match="none of quotes"):
            line.ask("/quote", query)
        line.close()
    assert not any(got)


def test_one_call_at_a_time() -> None:
    with serve(lambda peer: read_request(peer) and threading.Event().wait(0.5) and None) as port:
        line = line_to(port)
        until(line, line.ready)
        line.ask("/quote", "i=A")
        with pytest.raises(ValueError, match="under way"):
            line.ask("/quote", "i=A")
        line.close()


def test_silence_ends_the_call_and_the_line_comes_back() -> None:
    turns = iter([False, True])

    def script(peer: socket.socket) -> None:
        good = next(turns)
        while read_request(peer):
            if good:
                peer.sendall(answer(b"{}"))

    with serve(script) as port:
        line = line_to(port, timeout_s=0.3)
        lost = result_of(line)
        again = result_of(line)
        line.close()
    assert isinstance(lost, TransportError) and lost.sent and "timed out" in lost.reason
    assert isinstance(again, HttpResponse)


def test_redirects_are_not_followed() -> None:
    reply = answer(b"", "302 Found", b"Location: /orders\r\n")

    def script(peer: socket.socket) -> None:
        while read_request(peer):
            peer.sendall(reply)

    with serve(script) as port:
        line = line_to(port)
        found = result_of(line)
        line.close()
    assert (isinstance(found, HttpResponse) and found.status == 302) or isinstance(found, TransportError)


def test_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    got: list[bytes] = []
    with serve(lambda peer: got.append(read_request(peer)), context) as port:
        line = line_to(port, url=f"https://127.0.0.1:{port}")
        until(line, line.nowhere)
        assert "certificate" in line.nowhere() and not line.ready()
        line.close()
    assert not any(got)
    lax = ssl.create_default_context()
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(TransportConfigError, match="does not verify"):
        line_to(1, url="https://127.0.0.1:1", context=lax)


def test_plain_http_leaves_this_machine_for_nobody() -> None:
    with pytest.raises(TransportConfigError, match="this machine only"):
        line_to(80, url="http://192.0.2.1")


def test_from_a_feed_of_one_kind_of_host_no_way_leads_to_the_other() -> None:
    with pytest.raises(TransportConfigError, match="different kinds"):
        QuoteLink("https://api.example.com", PATHS, CLOCK, print, [], kind="ws://127.0.0.1:1")


class Asker:
    """Asks as fast as it may."""

    name = "feed-0"

    def __init__(self, link: QuoteLink, calls: int) -> None:
        self.link, self.calls, self.under_way = link, calls, False
        self.answers: list[HttpResponse | TransportError] = []
        self.retuned, self.expires = 0, [0]

    def retune(self) -> None:
        self.retuned += 1

    def renewed(self, expires_ns: int) -> None:
        self.expires.append(expires_ns)

    def next_ns(self, now_ns: int) -> int | None:
        return None if self.under_way else now_ns

    def step(self, now_ns: int) -> int:
        if self.under_way or not self.link.ready():
            return 0
        self.under_way = True
        self.link.ask("/quote", "i=A")
        return 1

    def answered(self, answer: HttpResponse | TransportError, now_ns: int) -> None:
        self.under_way = False
        self.answers.append(answer)
        if len(self.answers) >= self.calls:
            self.link.stop()


def linked(port: int, calls: int, timeout_s: float = 2.0) -> tuple[QuoteLink, Asker]:
    link = QuoteLink(f"http://127.0.0.1:{port}", PATHS, CLOCK, print, HEADERS, timeout_s)
    link.again = Backoff(0.05, 0.1)
    link.questions = asker = Asker(link, calls)
    return link, asker


def test_a_link_asks_until_it_is_stopped_and_uses_another_token() -> None:
    heads: list[bytes] = []

    def script(peer: socket.socket) -> None:
        while data := read_request(peer):
            heads.append(data)
            peer.sendall(answer(b"{}"))

    with serve(script) as port:
        link, asker = linked(port, 10**9)

        async def run() -> None:
            task = asyncio.create_task(link.run())
            while len(asker.answers) < 2:
                await asyncio.sleep(0.01)
            link.renew([("Authorization", "token k:other")], 77)
            link.send([b"ignored"])
            before = len(asker.answers)
            while len(asker.answers) < before + 3:
                await asyncio.sleep(0.01)
            link.stop()
            await asyncio.wait_for(task, 20)

        asyncio.run(run())
    assert {a.status for a in asker.answers if isinstance(a, HttpResponse)} == {200}
    assert b"k:secret" in heads[0] and b"k:other" in heads[-1]
    assert asker.expires == [0, 77] and asker.retuned == 1


def test_a_link_comes_back_when_the_server_hangs_up_and_tells_of_a_host_that_is_gone() -> None:
    def script(peer: socket.socket) -> None:
        if read_request(peer):
            peer.sendall(answer(b"{}"))  # and the connection ends

    with serve(script) as port:
        link, asker = linked(port, 4)
        asyncio.run(asyncio.wait_for(link.run(), 30))
    assert sum(isinstance(a, HttpResponse) for a in asker.answers) >= 2
    link, asker = linked(port, 2)  # nobody listens there any more
    asyncio.run(asyncio.wait_for(link.run(), 30))
    assert all(isinstance(a, TransportError) and not a.sent for a in asker.answers)
    assert any("ECONNREFUSED" in a.reason for a in asker.answers if isinstance(a, TransportError))


def test_a_call_that_cannot_be_written_ends_as_one_that_did_not_leave_and_the_feed_goes_on() -> None:
    """The way is gone between the look at the connection and the write."""

    def script(peer: socket.socket) -> None:
        while read_request(peer):
            peer.sendall(answer(b"{}"))

    class Tearing(Asker):
        def step(self, now_ns: int) -> int:
            line = self.link._line
            if len(self.answers) == 2 and line is not None and self.link.ready():
                line._line._socket = Torn(line._line._socket)  # type: ignore[assignment, arg-type]
            return super().step(now_ns)

    with serve(script) as port:
        link, _ = linked(port, 0)
        link.questions = asker = Tearing(link, 5)
        asyncio.run(asyncio.wait_for(link.run(), 10))
    kinds = [type(found) for found in asker.answers]
    assert kinds == [HttpResponse, HttpResponse, TransportError, HttpResponse, HttpResponse]
    lost = asker.answers[2]
    assert isinstance(lost, TransportError) and not lost.sent and "connection was lost" in lost.reason
