"""The connection of a feed whose address is asked for, redirected, or outlived by its token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import picows
import pytest
import raw_server
from feed_tools import TOKENS, FeedUnderTest, ScriptedServer, ServerListener, serving

from kite_hft.brokers.kite.wire import KITE_WORDS
from kite_hft.brokers.upstox.wire import CLOSES, HANDSHAKES
from kite_hft.net.authorize import AddressRefused
from kite_hft.net.ws import FeedLink
from kite_hft.net.ws_codes import Act
from kite_hft.stages.feed import Feed

WORDS = replace(
    KITE_WORDS, name="upstox", binary=True, heartbeats=False, redirects=3,
    handshake_meaning=HANDSHAKES, close_meaning=CLOSES,
)  # fmt: skip
BINARY = picows.WSMsgType.BINARY


class Recording(ServerListener):
    """Also keeps binary requests."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == BINARY:
            self.server.heard.append(b"binary " + frame.get_payload_as_bytes())
        super().on_ws_frame(transport, frame)


class Desk(ScriptedServer):
    """Keeps the headers of upgrades, too."""

    def __init__(self, statuses: tuple[int, ...] = ()) -> None:
        super().__init__(statuses)
        self.headers: list[dict[str, str]] = []

    def accept(self, request: picows.WSUpgradeRequest) -> object:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        refused = super().accept(request)
        return Recording(self) if isinstance(refused, ServerListener) else refused


def play(
    folder: Path,
    server: Desk,
    prepare: Callable[[FeedUnderTest, str], None],
    until: Callable[[FeedUnderTest], bool],
    **options: float,
) -> FeedUnderTest:
    """Run a feed, with what the test makes of its link, until the test is content."""

    async def scenario() -> FeedUnderTest:
        async with serving(server) as url:
            feed = FeedUnderTest(folder, url, words=WORDS, **options)
            prepare(feed, url)
            await feed.run(lambda: until(feed))
            return feed

    return asyncio.run(scenario())


def test_every_connection_asks_for_an_address_of_its_own(tmp_path: Path) -> None:
    server, given = Desk(), []
    server.on_open = lambda t: t.send_close(picows.WSCloseCode.OK) if server.upgrades < 3 else None

    def prepare(feed: FeedUnderTest, url: str) -> None:
        async def address() -> str:
            given.append(f"{url}&code={len(given)}")
            return given[-1]

        feed.link.url, feed.link.address = "https://api.example/authorize", address

    feed = play(tmp_path, server, prepare, lambda feed: server.upgrades == 3)
    assert [path.decode().rpartition("=")[2] for path in server.paths] == list("012")
    assert len(given) == 3 and "code=" not in " ".join(feed.log)  # it is a secret
    assert any(
        "disconnected: the broker ended the connection" in line for line in feed.log
    )  # no silent death


def test_requests_leave_as_binary_frames(tmp_path: Path) -> None:
    server = Desk()
    play(tmp_path, server, lambda feed, url: None, lambda feed: len(server.heard) >= 2)
    assert all(text.startswith(b"binary ") for text in server.heard)
    assert json.loads(server.heard[0].removeprefix(b"binary "))["v"] == list(TOKENS)


@pytest.mark.parametrize(
    ("status", "counter", "act"),
    [
        (401, "refused_other", Act.TOKEN_DEAD),
        (403, "refused_403", Act.WAIT_LONG),
        (429, "refused_429", Act.WAIT_LONG),
        (503, "refused_other", Act.RETRY),
        (0, "refused_other", Act.RETRY),
    ],
)
def test_a_refused_authorisation_is_a_refused_upgrade(
    tmp_path: Path, status: int, counter: str, act: Act
) -> None:
    """403 waits and comes again; only 401 is the end of a token."""
    server, asked = Desk(), []

    def prepare(feed: FeedUnderTest, url: str) -> None:
        async def address() -> str:
            asked.append(status)
            if len(asked) < 3:
                raise AddressRefused(status, "UDAPI100050: what it said")
            return url

        feed.link.address = address

    if act is Act.TOKEN_DEAD:
        feed = play(tmp_path, server, prepare, lambda feed: bool(feed.dead_tokens))
        assert asked == [401] and "03:30" in feed.dead_tokens[0] and not server.upgrades
    else:
        feed = play(tmp_path, server, prepare, lambda feed: feed.feed.is_connected)
        assert feed.counts()[counter] == 2 and not feed.dead_tokens
        assert sum("next try in" in line for line in feed.log) == 2
    assert "UDAPI100050: what it said" in feed.log[0]


def test_an_authorisation_without_an_answer_is_tried_again(tmp_path: Path) -> None:
    server, asked = Desk(), []

    def prepare(feed: FeedUnderTest, url: str) -> None:
        async def address() -> str:
            asked.append(1)
            if len(asked) < 3:
                raise ConnectionError("https://api.example: timed out")
            return url

        feed.link.address = address

    feed = play(tmp_path, server, prepare, lambda feed: feed.feed.is_connected)
    assert feed.counts()["unreachable"] == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_credentials_stay_with_their_host(tmp_path: Path, status: int) -> None:
    server, first = Desk(), []

    def prepare(feed: FeedUnderTest, url: str) -> None:
        def script(peer: socket.socket) -> None:
            first.append(raw_server.read_request(peer))
            target = url if len(first) > 1 else f"ws://127.0.0.1:{port}/again"
            peer.sendall(raw_server.answer(b"", f"{status} X", b"Location: %s\r\n" % target.encode()))

        port = held.enter_context(raw_server.serve(script))
        feed.link.url = f"ws://127.0.0.1:{port}/v3/feed"
        feed.link.headers = (("Authorization", "Bearer secret"),)

    with contextlib.ExitStack() as held:
        play(tmp_path, server, prepare, lambda feed: feed.feed.is_connected)
    assert all(b"Authorization: Bearer secret" in request for request in first) and len(first) == 2
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("location", "counter"),
    [
        (b"Location: ws://127.0.0.1:%d/loop\r\n", "refused_other"),
        (b"Location: ws://feed.example/\r\n", "refused_other"),  # plain, and elsewhere
        (b"Location: wss://feed.example/\r\n", "refused_other"),  # a run on this machine stays here
        (b"", "refused_other"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_refused_and_tried_again(
    tmp_path: Path, location: bytes, counter: str
) -> None:
    asked = []

    def script(peer: socket.socket) -> None:
        asked.append(raw_server.read_request(peer))
        line = location % port if b"%d" in location else location
        peer.sendall(raw_server.answer(b"", "302 Found", line))

    with raw_server.serve(script) as port:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/", words=WORDS)
        asyncio.run(feed.run(lambda: feed.counts()[counter] >= 2))
    loops = b"loop" in location
    assert len(asked) >= (8 if loops else 2) and len(asked) <= (12 if loops else 3)  # 3 hops, then a pause
    assert feed.counts()["connects"] == 0


def test_kite_follows_no_redirect(tmp_path: Path) -> None:
    asked = []

    def script(peer: socket.socket) -> None:
        asked.append(raw_server.read_request(peer))
        peer.sendall(raw_server.answer(b"", "302 Found", b"Location: ws://127.0.0.1:%d/b\r\n" % port))

    with raw_server.serve(script) as port:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/a")
        asyncio.run(feed.run(lambda: feed.counts()["refused_other"] >= 2))
    assert not any(b" /b " in request for request in asked)
    assert any("not followed: check kite.ws_url" in line for line in feed.log)


@pytest.mark.parametrize("answers_pings", [True, False])
def test_pongs_are_the_sign_of_life_of_a_broker_without_heartbeats(
    tmp_path: Path, answers_pings: bool
) -> None:
    server = Desk()
    server.answers_pings = answers_pings
    enough = (
        (lambda feed: feed.counts()["pongs"] >= 12) if answers_pings else (lambda f: server.upgrades == 2)
    )
    feed = play(tmp_path, server, lambda feed, url: None, enough, silence_s=0.5, ping_s=0.1)
    assert feed.counts()["watchdog_trips"] == (0 if answers_pings else 1)
    assert (feed.counts()["last_frame_ns"] > 0) is answers_pings  # what tells others that it lives


def test_a_connection_that_answers_pings_and_brings_nothing_is_made_again(tmp_path: Path) -> None:
    server = Desk()

    def prepare(feed: FeedUnderTest, url: str) -> None:
        feed.feed.quiet_ns = 400_000_000

    feed = play(tmp_path, server, prepare, lambda feed: server.upgrades == 2, silence_s=5, ping_s=0.05)
    assert feed.counts()["watchdog_trips"] == 1 and feed.counts()["pongs"] > 2


def test_connections_that_die_at_once_are_not_hammered(tmp_path: Path) -> None:
    """The official client makes 72 of them a second, for ever: each success sets its counter back."""
    server = Desk()

    def dies(transport: picows.WSTransport) -> None:
        transport.send(BINARY, b"\0\0")
        transport.disconnect()

    server.on_open = dies

    def prepare(feed: FeedUnderTest, url: str) -> None:
        feed.link.backoff = replace(feed.link.backoff, first_s=0.02, most_s=30.0)

    feed = play(tmp_path, server, prepare, lambda feed: server.upgrades >= 6)
    assert feed.link.backoff.next_s() > 0.02 * 2**5 * 0.8


def test_a_token_that_ends_by_the_clock_is_told_once_and_another_is_waited_for(tmp_path: Path) -> None:
    server = Desk()

    async def scenario() -> FeedUnderTest:
        async with serving(server) as url:
            feed = FeedUnderTest(tmp_path, url, words=WORDS)
            feed.link.expires_ns = feed.link.clock.real_ns() + 300_000_000
            task = asyncio.create_task(feed.link.run())
            while not feed.dead_tokens:
                await asyncio.sleep(0.01)
            assert feed.feed.is_connected and server.upgrades == 1  # prices may still come
            server.transports[0].disconnect()
            await asyncio.sleep(0.4)  # many pauses: a dead token is not tried
            assert server.upgrades == 1 and len(feed.dead_tokens) == 1
            feed.link.renew(url.replace("secret", "fresh"), expires_ns=feed.link.clock.real_ns() + 10**12)
            while not feed.feed.is_connected:
                await asyncio.sleep(0.01)
            feed.link.stop()
            await task
            return feed

    feed = asyncio.run(scenario())
    assert b"fresh" in server.paths[1] and "expired" in feed.dead_tokens[0]


def test_a_new_token_replaces_a_connection_whose_token_has_ended(tmp_path: Path) -> None:
    server = Desk()

    async def scenario() -> None:
        async with serving(server) as url:
            feed = FeedUnderTest(tmp_path, url, words=WORDS)
            feed.link.expires_ns = feed.link.clock.real_ns() + 200_000_000
            task = asyncio.create_task(feed.link.run())
            while not feed.dead_tokens:
                await asyncio.sleep(0.01)
            feed.link.renew(url.replace("secret", "fresh"))
            while server.upgrades < 2:
                await asyncio.sleep(0.01)
            feed.link.stop()
            await task

    asyncio.run(scenario())
    assert b"fresh" in server.paths[1]


Scenario = Callable[[FeedUnderTest, str], Awaitable[None]]


def renewed(server: Desk, folder: Path, scenario: Scenario) -> FeedUnderTest:
    """A feed that is handed tokens; one that goes round and round fails, and does not hang."""

    async def play_it() -> FeedUnderTest:
        async with serving(server) as url:
            feed = FeedUnderTest(folder, url, words=WORDS)

            def log(line: str) -> None:
                feed.log.append(line)
                assert len(feed.log) < 50

            feed.link.log = log
            task = asyncio.create_task(feed.link.run())
            await asyncio.wait_for(scenario(feed, url), 10)
            feed.link.stop()
            await task
            return feed

    return asyncio.run(play_it())


async def until(over: Callable[[], bool]) -> None:
    while not over():
        await asyncio.sleep(0.01)


def test_a_token_renewed_in_time_that_ends_later_drops_nothing_and_is_waited_for(tmp_path: Path) -> None:
    server = Desk()

    async def scenario(feed: FeedUnderTest, url: str) -> None:
        await until(lambda: feed.feed.is_connected)
        feed.link.renew(url, expires_ns=feed.link.clock.real_ns() + 200_000_000)
        await until(lambda: bool(feed.dead_tokens))
        await asyncio.sleep(0.4)
        assert feed.feed.is_connected and server.upgrades == 1
        server.transports[0].disconnect()
        await asyncio.sleep(0.3)
        assert server.upgrades == 1 and len(feed.dead_tokens) == 1
        feed.link.renew(url.replace("secret", "fresh"))
        await until(lambda: feed.feed.is_connected)

    feed = renewed(server, tmp_path, scenario)
    assert b"fresh" in server.paths[1] and sum("waits for a new" in line for line in feed.log) == 1


def test_a_token_that_has_ended_already_is_told_and_changes_nothing(tmp_path: Path) -> None:
    """Whether the connection stands, or a token is waited for."""
    server = Desk()

    async def scenario(feed: FeedUnderTest, url: str) -> None:
        await until(lambda: feed.feed.is_connected)
        feed.link.renew(url, expires_ns=1)
        await asyncio.sleep(0.4)
        assert feed.feed.is_connected and server.upgrades == len(feed.dead_tokens) == 1
        server.transports[0].disconnect()
        await until(lambda: not feed.feed.is_connected)
        feed.link.renew(url, expires_ns=2)
        await asyncio.sleep(0.3)
        assert server.upgrades == 1 and len(feed.dead_tokens) == 2
        feed.link.renew(url.replace("secret", "fresh"))
        await until(lambda: feed.feed.is_connected)

    renewed(server, tmp_path, scenario)
    assert b"fresh" in server.paths[1]


def test_pings_of_the_server_are_signs_of_life(tmp_path: Path) -> None:
    server = Desk()
    server.answers_pings = False

    async def scenario(feed: FeedUnderTest, _url: str) -> None:
        await until(lambda: feed.feed.is_connected)
        for _ in range(12):
            server.transports[0].send_ping()
            await asyncio.sleep(0.1)
        assert server.upgrades == 1 and feed.counts()["watchdog_trips"] == 0
        await until(lambda: server.upgrades == 2)

    async def quick(feed: FeedUnderTest, url: str) -> None:
        feed.feed.silence_ns = 500_000_000
        await scenario(feed, url)

    assert renewed(server, tmp_path, quick).counts()["pongs"] == 0


def test_what_is_asked_for_while_the_connection_is_made_reaches_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its subscription is sent then, and what comes right behind that is no part of it."""
    server, links, made = Desk(), list[FeedLink](), Feed.connected

    def connected(feed: Feed, now_ns: int) -> list[bytes]:
        asyncio.get_running_loop().call_soon(links[0].send, [b"meanwhile"])
        return list(made(feed, now_ns))

    async def scenario() -> None:
        async with serving(server) as url:
            feed = FeedUnderTest(tmp_path, url, words=WORDS)
            links.append(feed.link)
            await feed.run(lambda: b"binary meanwhile" in server.heard)

    monkeypatch.setattr(Feed, "connected", connected)
    asyncio.run(scenario())
