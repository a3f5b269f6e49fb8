"""The websocket connection of a feed against the simulator: refused, silent, broken, restored."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from kite_hft import _counters, _feed, _kite_decode
from kite_hft.brokers.kite.wire import mode_message, subscribe_message
from kite_hft.clock import SystemClock
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.net.ws import FeedRefused, run_feed, websocket_url
from kite_hft.stages.feed import Feed

RELIANCE = 738561


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


class Connection:
    """A real feed over real segments, run until told to stop."""

    def __init__(self, folder: Path, silence_s: float = 5.0) -> None:
        folder = make_directory(folder, "shm")
        self._segments = []
        sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
        tokens = np.array([RELIANCE], np.uint32)
        self._counters = self._segment(folder, "counters", SegmentKind.COUNTERS, 1, **sizes)
        self.sink = _feed.FeedSink(
            _kite_decode.KiteDecoder(tokens, np.zeros(1, np.uint32)),
            tokens,
            self._segment(folder, "ticks", SegmentKind.TICK_RING, 64),
            self._segment(folder, "latest", SegmentKind.LATEST_TABLE, 1),
            self._counters,
            None,
        )
        messages = [subscribe_message([RELIANCE]), mode_message("full", [RELIANCE])]
        self.feed = Feed(self.sink, messages, lambda now_ns: None, round(silence_s * 1e9))
        self.log: list[str] = []

    def _segment(self, folder: Path, name: str, kind: SegmentKind, capacity: int, **sizes: int) -> memoryview:
        path = create(folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **sizes)
        self._segments.append(attach(path, kind, writable=True))
        return self._segments[-1].view

    def counts(self) -> dict[str, int]:
        return named("feed", _counters.CounterReader(self._counters).values())

    async def run(self, url: str, until) -> None:
        """Until `until()` is true; fails after 20 s."""
        stopping = asyncio.Event()
        task = asyncio.create_task(
            run_feed(self.feed, self.sink, url, SystemClock(), stopping, self.log.append)
        )
        for _ in range(400):
            await asyncio.sleep(0.05)
            if task.done() or until():
                break
        stopping.set()
        await task
        assert until(), self.log


def url_of(told: dict[str, str]) -> str:
    return websocket_url(told["ws"], told["api_key"], told["access_token"])


def test_ticks_arrive_after_the_subscription(tmp_path: Path, server) -> None:
    connection = Connection(tmp_path)
    asyncio.run(connection.run(url_of(server[1]), lambda: connection.counts()["published"] > 10))
    counts = connection.counts()
    assert counts["connects"] == counts["disconnects"] == 1 and counts["unknown_instrument"] == 0


def test_a_dead_token_is_final(tmp_path: Path, server) -> None:
    connection = Connection(tmp_path)
    url = websocket_url(server[1]["ws"], server[1]["api_key"], "wrong")
    with pytest.raises(FeedRefused, match="log in again"):
        asyncio.run(connection.run(url, lambda: False))
    assert "wrong" not in "".join(connection.log)


def test_nobody_there_is_tried_again_and_said(tmp_path: Path) -> None:
    connection = Connection(tmp_path)
    tries = lambda: sum("cannot reach" in line for line in connection.log) >= 2  # noqa: E731
    asyncio.run(connection.run("ws://127.0.0.1:1/?api_key=k&access_token=t", tries))
    assert any("next try in" in line for line in connection.log)


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
    connection = Connection(tmp_path)
    url = url_of(server[1])
    port = urlsplit(url).port
    broken: list[int] = []

    async def scenario() -> None:
        proxy = Proxy(port)

        def until() -> bool:
            counts = connection.counts()
            if counts["published"] > 5 and not broken:
                broken.append(counts["published"])
                proxy.break_off()
            return counts["connects"] == 2 and counts["published"] > broken[0] + 5

        await connection.run(url.replace(str(port), str(await proxy.serve()), 1), until)
        await proxy.close()

    asyncio.run(scenario())
    assert connection.counts()["disconnects"] == 2


def test_silence_is_taken_for_death(tmp_path: Path, server) -> None:
    connection = Connection(tmp_path, silence_s=0.3)
    process, told = server
    stopped: list[bool] = []

    def until() -> bool:
        if connection.counts()["published"] > 5 and not stopped:
            stopped.append(True)
            process.send_signal(19)  # SIGSTOP: the connection stands, nothing comes
        if any("taken for dead" in line for line in connection.log):
            process.send_signal(18)
            return connection.counts()["connects"] >= 2
        return False

    asyncio.run(connection.run(url_of(told), until))
