"""The connection of a feed against a server that does what a test says, wrong or right."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import picows
import pytest
import raw_server
from feed_tools import TOKENS, FeedUnderTest, ScriptedServer, serving

from kite_hft.brokers.kite.wire import websocket_url

BINARY, TEXT = picows.WSMsgType.BINARY, picows.WSMsgType.TEXT
CONTINUATION = picows.WSMsgType.CONTINUATION
ONE_TICK = b"\0\1\0\x08" + TOKENS[0].to_bytes(4, "big") + (12345).to_bytes(4, "big")


def play(
    folder: Path,
    server: ScriptedServer,
    until: Callable[[FeedUnderTest], bool],
    **options: float,
) -> FeedUnderTest:
    """Run a feed against the server until the test is content."""

    async def scenario() -> FeedUnderTest:
        async with serving(server) as url:
            feed = FeedUnderTest(folder, url, **options)
            await feed.run(lambda: until(feed))
            return feed

    return asyncio.run(scenario())


def test_the_address_quotes_what_needs_quoting() -> None:
    assert websocket_url("wss://h", "k&", "t=") == "wss://h?api_key=k%26&access_token=t%3D"


def test_subscription_goes_out_on_every_connection(tmp_path: Path) -> None:
    server = ScriptedServer()
    server.on_open = lambda t: t.send_close(picows.WSCloseCode.OK) if server.upgrades < 3 else None
    play(tmp_path, server, lambda feed: server.upgrades == 3 and len(server.heard) == 6)
    messages = [json.loads(text) for text in server.heard]
    assert messages == 3 * [
        {"a": "subscribe", "v": list(TOKENS)},
        {"a": "mode", "v": ["full", list(TOKENS)]},
    ]


@pytest.mark.parametrize(
    ("status", "counter", "said"),
    [
        (429, "refused_429", "leaked connection"),
        (400, "refused_other", "malformed"),
        (503, "refused_other", "server fails"),
        (404, "refused_other", "kite.ws_url"),
    ],
)
def test_a_refused_upgrade_is_counted_said_and_tried_again(
    tmp_path: Path, status: int, counter: str, said: str
) -> None:
    server = ScriptedServer([status, status])
    feed = play(tmp_path, server, lambda feed: feed.feed.is_connected)
    assert feed.counts()[counter] == 2 and server.upgrades == 3
    assert sum(said in line for line in feed.log) == 2 and not feed.dead_tokens
    assert sum("next try in" in line for line in feed.log) == 2
    assert feed.counts()["unreachable"] == feed.counts()["closes_abrupt"] == 0


def test_a_dead_token_stops_the_tries_until_another_one_comes(tmp_path: Path) -> None:
    server = ScriptedServer([403])

    async def scenario() -> FeedUnderTest:
        async with serving(server) as url:
            feed = FeedUnderTest(tmp_path, url)
            task = asyncio.create_task(feed.link.run())
            await asyncio.sleep(0.6)  # many pauses of 0.02 s
            assert server.upgrades == 1 and not task.done()
            assert len(feed.dead_tokens) == 1 and "log in again" in feed.dead_tokens[0]
            feed.link.renew(url.replace("secret", "fresh"))
            while not feed.feed.is_connected:
                await asyncio.sleep(0.01)
            feed.link.stop()
            await task
            return feed

    feed = asyncio.run(scenario())
    assert server.upgrades == 2 and b"fresh" in server.paths[1]
    assert feed.counts()["refused_403"] == 1
    assert "secret" not in " ".join([*feed.log, *feed.dead_tokens])


def test_a_feed_that_waits_for_a_token_can_be_stopped(tmp_path: Path) -> None:
    server = ScriptedServer([403])
    feed = play(tmp_path, server, lambda feed: bool(feed.dead_tokens))
    assert feed.counts()["connects"] == 0


def test_nobody_there_is_tried_again_and_said(tmp_path: Path) -> None:
    feed = FeedUnderTest(tmp_path, "ws://127.0.0.1:1/?api_key=k&access_token=secret")
    asyncio.run(feed.run(lambda: feed.counts()["unreachable"] >= 2))
    assert sum("cannot reach ws://127.0.0.1:1: nothing listens" in line for line in feed.log) >= 2
    assert "secret" not in " ".join(feed.log)


def test_a_peer_that_closes_before_it_answers_is_no_connection(tmp_path: Path) -> None:
    with raw_server.serve(lambda peer: raw_server.read_request(peer) and None) as port:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/")
        asyncio.run(feed.run(lambda: feed.counts()["unreachable"] >= 2))
    assert feed.counts()["connects"] == 0 and any("before it answered" in line for line in feed.log)


def test_a_peer_that_never_answers_is_given_up_in_time(tmp_path: Path) -> None:
    with raw_server.serve(lambda peer: print(raw_server.read_request(peer), peer.recv(1))) as port:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/")
        feed.link.connect_s = 0.2
        asyncio.run(feed.run(lambda: feed.counts()["unreachable"] >= 2))
    assert feed.counts()["connects"] == 0 and any("cannot reach" in line for line in feed.log)


def test_a_stop_does_not_wait_for_a_peer_that_never_answers(tmp_path: Path) -> None:
    asked, gone = threading.Event(), threading.Event()

    def script(peer: socket.socket) -> None:
        raw_server.read_request(peer)
        asked.set()
        peer.recv(1)
        gone.set()

    async def scenario(port: int) -> None:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/")
        feed.link.connect_s = 1.0
        task = asyncio.create_task(feed.link.run())
        while not asked.is_set():
            await asyncio.sleep(0.01)
        feed.link.stop()
        await task
        assert not gone.is_set() and feed.counts()["unreachable"] == 0
        while not gone.is_set():  # closed when its time is over
            await asyncio.sleep(0.01)

    with raw_server.serve(script) as port:
        asyncio.run(scenario(port))


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno header at all\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 9999999999 X\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_upgrade_is_tried_again(tmp_path: Path, answer: bytes) -> None:
    with raw_server.serve(lambda peer: peer.sendall(raw_server.read_request(peer) and answer)) as port:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/")
        asyncio.run(feed.run(lambda: feed.counts()["refused_other"] + feed.counts()["unreachable"] >= 2))
    assert feed.counts()["connects"] == 0 and any("next try" in line for line in feed.log)


@pytest.mark.parametrize("answers_pings", [True, False])
def test_silence_ends_a_connection_even_when_pings_are_answered(tmp_path: Path, answers_pings: bool) -> None:
    server = ScriptedServer()
    server.answers_pings = answers_pings
    feed = play(tmp_path, server, lambda feed: feed.counts()["connects"] == 2, silence_s=0.5, ping_s=0.1)
    counts = feed.counts()
    assert counts["watchdog_trips"] == 1 and counts["closes_abrupt"] == counts["closes_by_peer"] == 0
    assert counts["pings"] >= 3 and (counts["pongs"] > 0) is answers_pings
    assert any("taken for dead" in line for line in feed.log)


def test_a_peer_that_reads_nothing_does_not_hang_the_end(tmp_path: Path) -> None:
    """Half open: its TCP takes nothing more, and answers nothing."""
    server = ScriptedServer()
    server.on_open = lambda t: t.underlying_transport.pause_reading()
    feed = play(tmp_path, server, lambda feed: feed.counts()["watchdog_trips"] >= 2, silence_s=0.2)
    assert feed.counts()["connects"] >= 2


def test_heartbeats_keep_a_connection(tmp_path: Path) -> None:
    server = ScriptedServer()
    server.answers_pings = False

    def beat(transport: picows.WSTransport) -> None:
        if not transport.is_disconnected:
            transport.send(BINARY, b"\0")
            asyncio.get_running_loop().call_later(0.1, beat, transport)

    server.on_open = beat
    feed = play(tmp_path, server, lambda feed: feed.counts()["heartbeats"] >= 12, silence_s=0.4, ping_s=0.1)
    counts = feed.counts()
    assert counts["connects"] == 1 and counts["watchdog_trips"] == 0
    assert counts["pings"] >= 5 and counts["pongs"] == 0


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 3001])
def test_a_close_frame_is_counted_and_its_code_said(tmp_path: Path, code: int) -> None:
    server = ScriptedServer()

    def close(transport: picows.WSTransport) -> None:
        if server.upgrades == 1:
            transport.send(BINARY, ONE_TICK)
            # Not by send_close: it knows only the codes of the RFC.
            transport.send(picows.WSMsgType.CLOSE, code.to_bytes(2, "big") + b"the reason")

    server.on_open = close
    feed = play(tmp_path, server, lambda feed: feed.counts()["connects"] == 2)
    counts = feed.counts()
    assert counts["closes_by_peer"] == 1 and counts["closes_abrupt"] == counts["watchdog_trips"] == 0
    assert any(f"code {code} (the reason)" in line for line in feed.log)
    assert server.closes[0] == code  # answered in kind


def test_a_close_without_a_code(tmp_path: Path) -> None:
    server = ScriptedServer()
    server.on_open = lambda t: t.send(picows.WSMsgType.CLOSE, b"") if server.upgrades == 1 else None
    feed = play(tmp_path, server, lambda feed: feed.counts()["connects"] == 2)
    assert feed.counts()["closes_by_peer"] == 1 and server.closes[0] == 1000
    assert any("without a code" in line for line in feed.log)


@pytest.mark.parametrize("graceful", [True, False])
def test_an_end_without_a_close_frame_is_abrupt(tmp_path: Path, graceful: bool) -> None:
    server = ScriptedServer()
    server.on_open = lambda t: t.disconnect(graceful) if server.upgrades == 1 else None
    feed = play(tmp_path, server, lambda feed: feed.counts()["connects"] == 2)
    assert feed.counts()["closes_abrupt"] == 1 and feed.counts()["closes_by_peer"] == 0
    assert feed.counts()["disconnects"] == 2


def test_a_frame_that_breaks_the_protocol_ends_the_connection_and_is_said(tmp_path: Path) -> None:
    server = ScriptedServer()
    server.on_open = lambda t: t.send(CONTINUATION, b"of nothing") if server.upgrades == 1 else None
    feed = play(tmp_path, server, lambda feed: feed.counts()["connects"] == 2)
    assert any("the connection failed: ValueError" in line for line in feed.log)
    assert feed.counts()["closes_abrupt"] == 1


def test_our_own_stop_says_goodbye_and_is_no_loss(tmp_path: Path) -> None:
    server = ScriptedServer()
    feed = play(tmp_path, server, lambda feed: feed.feed.is_connected)
    counts = feed.counts()
    assert server.closes == [1000] and counts["connects"] == counts["disconnects"] == 1
    assert counts["closes_by_peer"] == counts["closes_abrupt"] == counts["watchdog_trips"] == 0
    assert counts["connected"] == 0


@pytest.mark.parametrize(
    ("frame", "stable_s", "is_reset"), [(ONE_TICK, 60.0, False), (ONE_TICK, 0.0, True), (b"", 0.0, False)]
)
def test_pauses_grow_until_a_connection_delivered_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: bytes, stable_s: float, is_reset: bool
) -> None:
    monkeypatch.setattr("kite_hft.net.ws.STABLE_S", stable_s)
    server = ScriptedServer()

    def short_life(transport: picows.WSTransport) -> None:
        if frame:
            transport.send(BINARY, frame)
        transport.disconnect()

    server.on_open = short_life
    feed = play(tmp_path, server, lambda feed: feed.counts()["disconnects"] >= 5)
    assert (feed.link.backoff.next_s() < 0.06) is is_reset


def test_a_ping_at_the_end_of_a_read_holds_no_tick_back(tmp_path: Path) -> None:
    server = ScriptedServer()
    server.answers_pings = False  # nothing else may come that would hand the tick on

    def both(transport: picows.WSTransport) -> None:
        # In one write: a binary frame and a ping without content.
        frames = b"\x82" + bytes([len(ONE_TICK)]) + ONE_TICK + b"\x89\0"
        transport.underlying_transport.write(frames)

    server.on_open = both
    feed = play(tmp_path, server, lambda feed: server.pongs == 1)
    assert feed.counts()["published"] == feed.counts()["decoded"] == 1


def test_a_message_in_several_frames_is_put_together(tmp_path: Path) -> None:
    server = ScriptedServer()

    def pieces(transport: picows.WSTransport) -> None:
        transport.send(BINARY, ONE_TICK[:5], fin=False)
        transport.send_ping(b"")  # control frames may stand between
        transport.send(CONTINUATION, ONE_TICK[5:9], fin=False)
        transport.send(CONTINUATION, ONE_TICK[9:])
        transport.send(TEXT, b'{"type":"error",', fin=False)
        transport.send(CONTINUATION, b'"data":"in parts"}')

    server.on_open = pieces
    feed = play(tmp_path, server, lambda feed: feed.counts()["text_errors"] == 1)
    assert feed.counts()["published"] == 1 and feed.counts()["frames"] == 1
    assert "feed-0: the broker says (error): in parts" in feed.log


def test_run_time_messages_go_out_on_a_living_connection_only(tmp_path: Path) -> None:
    server = ScriptedServer()

    async def scenario() -> None:
        async with serving(server) as url:
            feed = FeedUnderTest(tmp_path, url)
            feed.link.send([b"lost"])
            task = asyncio.create_task(feed.link.run())
            while len(server.heard) < 2:
                await asyncio.sleep(0.01)
            feed.link.send(feed.feed.unsubscribe([TOKENS[1]], 1))
            while len(server.heard) < 3:
                await asyncio.sleep(0.01)
            server.transports[0].disconnect()
            while len(server.heard) < 5:
                await asyncio.sleep(0.01)
            feed.link.stop()
            await task

    asyncio.run(scenario())
    assert json.loads(server.heard[2]) == {"a": "unsubscribe", "v": [TOKENS[1]]}
    assert json.loads(server.heard[3]) == {"a": "subscribe", "v": [TOKENS[0]]}


def test_a_connect_that_hangs_is_given_up_said_and_tried_again(tmp_path: Path) -> None:
    with raw_server.nobody_accepts() as port:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/?access_token=secret")
        feed.link.connect_s = 0.1
        asyncio.run(feed.run(lambda: feed.counts()["unreachable"] >= 2))
    assert feed.counts()["connects"] == 0 and "secret" not in " ".join(feed.log)
    assert any("nothing answers (TimeoutError)" in line for line in feed.log)


def test_a_stop_does_not_wait_for_a_connect_that_hangs(tmp_path: Path) -> None:
    with raw_server.nobody_accepts() as port:
        feed = FeedUnderTest(tmp_path, f"ws://127.0.0.1:{port}/")
        feed.link.connect_s = 600.0
        asyncio.run(feed.run(lambda: feed.link._connecting is not None))
    assert feed.counts()["unreachable"] == feed.counts()["connects"] == 0
