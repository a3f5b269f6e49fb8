"""The source address: of REST calls, of a one-time address, of the websocket itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from feed_tools import FeedUnderTest, ScriptedServer, serving
from raw_server import answer, read_request, serve

from kite_hft.app.keys.broker_calls import ended, exchanged, person_of
from kite_hft.brokers.kite.login import KITE_LOGIN
from kite_hft.brokers.login import LoginError
from kite_hft.clock import SystemClock
from kite_hft.net.authorize import authorized
from kite_hft.net.http import HttpSettings, HttpTransport, fetch
from kite_hft.net.source import family_of, why_not_ours
from kite_hft.net.unreachable import why_unreachable

HERE, NOWHERE = "127.0.0.2", "203.0.113.7"
"""Linux has all of 127/8; of TEST-NET-3 (RFC 5737) no machine has an address."""


def test_an_address_is_this_machines_or_the_answer_says_why_not() -> None:
    assert why_not_ours("") == why_not_ours(HERE) == why_not_ours("0.0.0.0") == ""
    assert why_not_ours(NOWHERE).startswith("no IPv4 address of this machine (")
    assert why_not_ours("2001:db8::1").startswith("no IPv6 address of this machine (")


def test_the_source_address_takes_its_kind_with_it() -> None:
    assert family_of(HERE, socket.AF_INET6) == socket.AF_INET
    assert family_of("::1", socket.AF_INET) == socket.AF_INET6
    assert family_of("", socket.AF_INET) == socket.AF_INET


def test_calls_leave_from_the_source_address() -> None:
    seen: list[str] = []

    def script(peer: socket.socket) -> None:
        seen.append(peer.getpeername()[0])
        while read_request(peer):
            peer.sendall(answer(b'{"url": "ws://127.0.0.1:1"}'))

    with serve(script) as port:
        url = f"http://127.0.0.1:{port}"
        assert fetch(url, bind=HERE)[0] == 200
        assert asyncio.run(authorized(url, (), lambda body: "ws://127.0.0.1:1", bind=HERE))
        assert fetch(url)[0] == 200
    assert seen == [HERE, HERE, "127.0.0.1"]


def test_a_transport_that_cannot_bind_says_which_key_to_look_at() -> None:
    with serve(lambda peer: None) as port:
        url = f"http://127.0.0.1:{port}"
        transport = HttpTransport(url, SystemClock(), settings=HttpSettings(bind_address=NOWHERE))
        why = transport.last_failure()
        transport.close()
    said = why_unreachable(url, "kite.api_url", why)
    assert "no connection can leave from the source address" in said and "check bind_address" in said


def test_a_login_leaves_from_the_source_address() -> None:
    seen: list[str] = []

    def script(peer: socket.socket) -> None:
        seen.append(peer.getpeername()[0])
        while read_request(peer):
            peer.sendall(answer(b"{}"))

    with serve(script) as port:
        at = KITE_LOGIN, f"http://127.0.0.1:{port}", "key"
        for call in (
            lambda: exchanged(*at, "secret", "code", "", HERE),
            lambda: person_of(*at, "token", HERE),
            lambda: ended(*at, "token", HERE),
        ):
            with contextlib.suppress(LoginError):
                call()
    assert seen == [HERE] * 3


def test_a_host_without_an_address_of_that_kind_is_told_so() -> None:
    with pytest.raises(OSError) as caught:
        HttpTransport("https://127.0.0.1:1", SystemClock(), settings=HttpSettings(bind_address="::1"))
    said = why_unreachable("https://127.0.0.1:1", "kite.api_url", caught.value)
    assert "no address of the source address's kind (IPv4, IPv6)" in said and "check bind_address" in said


@pytest.mark.parametrize("source", [HERE, ""])
def test_a_websocket_leaves_from_the_source_address(source: str, tmp_path: Path) -> None:
    server = ScriptedServer()

    async def scenario() -> None:
        async with serving(server) as url:
            feed = FeedUnderTest(tmp_path, url)
            feed.link.bind = source
            await feed.run(lambda: feed.feed.is_connected and bool(server.heard))

    peers: list[str] = []
    server.on_open = lambda t: peers.append(t.underlying_transport.get_extra_info("peername")[0])
    asyncio.run(scenario())
    assert peers == [source or "127.0.0.1"]


def test_a_websocket_that_cannot_bind_is_said_and_tried_again(tmp_path: Path) -> None:
    server = ScriptedServer()

    async def scenario() -> FeedUnderTest:
        async with serving(server) as url:
            feed = FeedUnderTest(tmp_path, url)
            feed.link.bind = NOWHERE
            await feed.run(lambda: feed.counts()["unreachable"] >= 2)
            return feed

    feed = asyncio.run(scenario())
    assert not server.upgrades
    assert any("no connection can leave from the source address" in line for line in feed.log), feed.log
