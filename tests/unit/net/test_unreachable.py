"""An address that cannot be reached is told with its key, the cause and what to do, by whichever way."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import raw_server
from feed_tools import FeedUnderTest

from kite_hft.net.http import fetch
from kite_hft.net.unreachable import shown, why_unreachable

HTTP, WS = "kite.api_url", "kite.ws_url"


def answers_400(peer: socket.socket) -> None:
    """A server of plain HTTP that is told anything else: some answer so, some hang up."""
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def hangs_up(peer: socket.socket) -> None:
    peer.recv(4096)


@contextmanager
def place(kind: str, folder: Path) -> Iterator[str]:
    """host:port of a place of that kind."""
    if kind == "no such host":
        yield "no-such-host.invalid:443"
    elif kind == "refused":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        yield f"127.0.0.1:{port}"
    elif kind == "silent":
        with raw_server.nobody_accepts() as port:
            yield f"127.0.0.1:{port}"
    elif kind.startswith("plain"):
        with raw_server.serve(hangs_up if "mute" in kind else answers_400) as port:
            yield f"127.0.0.1:{port}"
    else:
        cert, key = raw_server.certificate(folder, "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        with raw_server.serve(lambda peer: raw_server.read_request(peer) and None, context) as port:
            yield f"127.0.0.1:{port}"


CASES = [
    # what is there, encrypted or not, and what is told
    ("no such host", True, "no host has this name", "spelling"),
    ("refused", False, "nothing listens there", "whether the server runs"),
    ("refused", True, "nothing listens there", "whether the server runs"),
    ("silent", False, "nothing answers", "firewall"),
    ("plain", True, "no TLS is spoken there", "write {plain}://"),
    ("plain, mute", True, "no TLS is spoken there|it hangs up", "check the port"),
    ("TLS", False, "it does not answer in plain {plain}", "write {secure}://"),
    ("TLS", True, "its certificate is not trusted", "ca-certificates"),
]


@pytest.mark.parametrize(("kind", "encrypted", "cause", "fix"), CASES)
def test_rest(kind: str, encrypted: bool, cause: str, fix: str, tmp_path: Path) -> None:
    with place(kind, tmp_path) as where:
        url = f"{'https' if encrypted else 'http'}://{where}"
        with pytest.raises(OSError) as caught:
            fetch(f"{url}/instruments?token=secret", timeout_s=0.5)
    check(why_unreachable(url, HTTP, caught.value), url, HTTP, cause, fix, "http")


@pytest.mark.parametrize(("kind", "encrypted", "cause", "fix"), CASES)
def test_websocket(kind: str, encrypted: bool, cause: str, fix: str, tmp_path: Path) -> None:
    with place(kind, tmp_path) as where:
        url = f"{'wss' if encrypted else 'ws'}://{where}"
        feed = FeedUnderTest(tmp_path, f"{url}/?access_token=secret")
        feed.link.key, feed.link.connect_s = WS, 0.5
        asyncio.run(feed.run(lambda: feed.counts()["unreachable"] >= 1))
    told = next(line for line in feed.log if "cannot reach" in line)
    check(told.removeprefix("feed-0: ").removeprefix("feed: "), url, WS, cause, fix, "ws")


def check(told: str, url: str, key: str, cause: str, fix: str, plain: str) -> None:
    words = {"plain": plain, "secure": f"{plain}s"}
    assert f"cannot reach {url} ({key}): " in told, told
    assert any(f": {one} (" in told for one in cause.format(**words).split("|")), told
    assert fix.format(**words) in told, told
    assert "secret" not in told and "_ssl.c" not in told, told


def test_no_path_is_shown() -> None:
    assert shown("wss://u:p@ws.kite.trade:99/a?access_token=s", WS) == "wss://ws.kite.trade:99 (kite.ws_url)"
    assert shown("https://api.kite.trade") == "https://api.kite.trade"


def test_what_is_not_known_is_told_as_it_came() -> None:
    told = why_unreachable("https://h/x?token=secret", "", OSError(5, "Input/output error for /x"))
    told_as = "it cannot be used ([Errno 5] Input/output error for ...); check the address"
    assert told == f"cannot reach https://h: {told_as}"
