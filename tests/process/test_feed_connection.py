"""The websocket connection of a feed against the simulator: refused, silent, broken, restored."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from feed_tools import TOKENS, FeedUnderTest

from kite_hft.brokers.kite.wire import websocket_url
from kite_hft.layout import TickKind


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    command = [sys.executable, "-m", "kite_hft.sim", "--port", "0", "--instruments", "4", "--rate", "20"]
    process = subprocess.Popen(
        [*command, "--die-with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, dict(word.split("=", 1) for word in process.stdout.readline().split()[1:])
    process.terminate()
    process.communicate(timeout=20)


def url_of(told: dict[str, str]) -> str:
    return websocket_url(told["ws"], told["api_key"], told["access_token"])


def test_ticks_arrive_after_the_subscription(tmp_path: Path, server) -> None:
    feed = FeedUnderTest(tmp_path, url_of(server[1]))
    asyncio.run(feed.run(lambda: feed.counts()["published"] > 10))
    counts = feed.counts()
    assert counts["connects"] == counts["disconnects"] == 1 and counts["unknown_instrument"] == 0
    assert feed.stats(0)["ticks"] > 0 and feed.stats(0)["mode"] == 3


def test_a_token_of_another_session_is_refused_and_a_new_one_taken(tmp_path: Path, server) -> None:
    feed = FeedUnderTest(tmp_path, websocket_url(server[1]["ws"], server[1]["api_key"], "wrong"))

    def until() -> bool:
        if feed.dead_tokens:
            feed.link.renew(url_of(server[1]))
        return feed.counts()["published"] > 0

    asyncio.run(feed.run(until))
    assert feed.counts()["refused_403"] == 1 and "wrong" not in "".join([*feed.log, *feed.dead_tokens])


def test_modes_change_at_run_time(tmp_path: Path, server) -> None:
    """unsubscribe and subscribe again in another mode: the packets that come say so."""
    feed = FeedUnderTest(tmp_path, url_of(server[1]))
    kinds: list[int] = []

    async def scenario() -> None:
        task = asyncio.create_task(feed.link.run())
        while feed.counts()["published"] < 5:
            await asyncio.sleep(0.01)
        feed.link.send(feed.feed.unsubscribe(TOKENS, 1))
        await asyncio.sleep(0.5)
        silent = feed.counts()["published"]
        await asyncio.sleep(0.5)
        assert feed.counts()["published"] == silent
        feed.link.send(feed.feed.subscribe(TOKENS[:1], "ltp", 2))
        while feed.counts()["published"] < silent + 10:
            await asyncio.sleep(0.01)
        kinds.extend(feed.latest_kinds())
        feed.link.stop()
        await task

    asyncio.run(scenario())
    assert kinds[0] == TickKind.LTP and feed.stats(0)["gaps"] == 0


class Proxy:
    """Passes bytes both ways between one client at a time and the server, until told to break off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self) -> int:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers = [writer, forth]
        await asyncio.gather(self._pass(reader, forth), self._pass(back, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def close(self) -> None:
        self.break_off()
        self._server.close()
        await self._server.wait_closed()

    def break_off(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


def test_a_broken_connection_is_restored_and_subscribed_again(tmp_path: Path, server) -> None:
    url = url_of(server[1])
    port = urlsplit(url).port
    broken: list[int] = []

    async def scenario() -> FeedUnderTest:
        proxy = Proxy(port)
        feed = FeedUnderTest(tmp_path, url.replace(str(port), str(await proxy.serve()), 1))

        def until() -> bool:
            counts = feed.counts()
            if counts["published"] > 5 and not broken:
                broken.append(counts["published"])
                proxy.break_off()
            return counts["connects"] == 2 and counts["published"] > broken[0] + 5

        await feed.run(until)
        await proxy.close()
        return feed

    feed = asyncio.run(scenario())
    counts, row = feed.counts(), feed.stats(0)
    assert counts["disconnects"] == 2 and counts["closes_abrupt"] == 1
    assert row["gaps"] == 1 and row["gap_ns"] > 0 and row["ticks"] > 5


def test_silence_is_taken_for_death(tmp_path: Path, server) -> None:
    process, told = server
    feed = FeedUnderTest(tmp_path, url_of(told), silence_s=0.3)
    stopped: list[bool] = []

    def until() -> bool:
        if feed.counts()["published"] > 5 and not stopped:
            stopped.append(True)
            process.send_signal(19)  # SIGSTOP: the connection stands, nothing comes
        if feed.counts()["watchdog_trips"]:
            process.send_signal(18)
            return feed.counts()["connects"] >= 2
        return False

    asyncio.run(feed.run(until))
    assert feed.counts()["closes_abrupt"] == 0
