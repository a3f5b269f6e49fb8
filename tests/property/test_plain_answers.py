"""The quick reading of an answer agrees with h11 wherever it dares to read at all."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.net.connection import whole_answer

STATUS = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 400 ", b"HTTP/1.1 429 Too Many Requests",
    b"HTTP/1.1 204 No Content", b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 x", b"HTTP/1.1 304 x",
    b"HTTP/1.0 200 OK", b"HTTP/1.1 2000 x", b"HTTP/1.1  200 OK", b"http/1.1 200 OK", b"HTTP/1.1 503 \xe9",
]  # fmt: skip
LINES = [
    b"Content-Length: 5", b"content-length: 5", b"Content-Length: 6", b"Content-Length:\t5 ",
    b"Content-Length : 5", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length:",
    b"Content-Length: 0x5", b"Transfer-Encoding: chunked", b"Connection: close", b"connection: keep-alive",
    b"Connection: keep-alive, close", b"Keep-Alive: 5", b"Upgrade: h2c", b"X: y", b"X : y", b" folded",
    b"X: \x01", b"X: y\x00", b"X:\xff", b": y", b"", b"Content-Type: application/json",
]  # fmt: skip
BODIES = [b"abcde", b"abcd", b"abcdef", b"", b"a\r\n\r\n", b"ab\r\n\r\ncd"]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nabcde"


def read_by_h11(data: bytes) -> tuple[int, bytes] | None:
    """(status, body) when h11 reads one whole answer and could go on with the connection."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="POST", target="/", headers=[("Host", "-")]))
    parser.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        parser.receive_data(data)
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    whole = parser.their_state is h11.DONE and parser.our_state is h11.DONE and not parser.trailing_data[0]
    return (status, body) if whole else None


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.sampled_from(LINES), max_size=4))
    status = draw(st.sampled_from(STATUS[:2]) | st.sampled_from(STATUS))
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]))
    data = end.join([status, b"Content-Length: 5", *lines]) + end + end + draw(st.sampled_from(BODIES))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    return data


@given(answers())
def test_what_is_read_quickly_is_what_h11_reads(data: bytes) -> None:
    quick = whole_answer(data)
    assert quick is None or quick == read_by_h11(data)


def test_the_plain_answer_is_read_and_a_cut_one_is_not() -> None:
    assert whole_answer(GOOD) == read_by_h11(GOOD) == (200, b"abcde")
    assert not any(whole_answer(GOOD[:end]) for end in range(len(GOOD)))
    assert whole_answer(GOOD + b"x") is None
    kept = GOOD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    assert whole_answer(kept) == (200, b"abcde")


def test_what_ends_another_way_is_left_to_the_parser() -> None:
    for line in (b"Connection: close", b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Upgrade: h2c"):
        assert whole_answer(GOOD.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")) is None
    for status in (b"204 No Content", b"304 Not Modified", b"101 Switching Protocols"):
        assert whole_answer(GOOD.replace(b"200 OK", status)) is None
