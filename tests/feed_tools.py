"""What the feed's tests share: a feed over real segments, and a websocket server that obeys a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import numpy as np
import picows

from kite_hft import _counters, _feed, _kite_decode, _table, layout
from kite_hft.brokers.kite.wire import KITE_WORDS
from kite_hft.clock import SystemClock
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.segment import Segment, attach, create, make_directory
from kite_hft.net.backoff import Backoff
from kite_hft.net.ws import FeedLink
from kite_hft.stages.feed import Feed
from kite_hft.trading.feed_words import FeedWords

TOKENS = (738561, 408065)


class FeedUnderTest:
    """The feed of one connection; short pauses between tries."""

    def __init__(
        self,
        folder: Path,
        url: str,
        silence_s: float = 5.0,
        ping_s: float = 2.5,
        mode: str = "full",
        words: FeedWords = KITE_WORDS,
    ) -> None:
        folder = make_directory(folder, "shm")
        self._segments: list[Segment] = []
        sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
        tokens = np.array(TOKENS, np.uint32)
        self._counters = self._segment(folder, "counters", SegmentKind.COUNTERS, 1, **sizes)
        self._stats = self._segment(folder, "slots", SegmentKind.SLOT_STATS, 2)
        self._latest = self._segment(folder, "latest", SegmentKind.LATEST_TABLE, 2)
        self.sink = _feed.FeedSink(
            _kite_decode.KiteDecoder(tokens, np.arange(2, dtype=np.uint32)),
            tokens,
            self._segment(folder, "ticks", SegmentKind.TICK_RING, 1024),
            self._latest,
            self._counters,
            None,
            stats=self._stats,
        )
        self.log: list[str] = []
        self.dead_tokens: list[str] = []
        slots = {token: slot for slot, token in enumerate(TOKENS)}
        self.feed = Feed(
            self.sink, words, dict.fromkeys(TOKENS, mode), slots, lambda now_ns: None, round(silence_s * 1e9),
            log=self.log.append, name="feed-0",
        )  # fmt: skip
        self.feed.start()
        self.sink.after_text = self.feed.on_text
        self.link = FeedLink(
            self.feed, self.sink, url, SystemClock(), self.log.append, self.dead_tokens.append, ping_s,
            backoff=Backoff(0.02, 0.1, Random(1)), long_backoff=Backoff(0.04, 0.2, Random(1)),
        )  # fmt: skip

    def _segment(self, folder: Path, name: str, kind: SegmentKind, capacity: int, **sizes: int) -> memoryview:
        path = create(folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **sizes)
        self._segments.append(attach(path, kind, writable=True, claim=True))
        return self._segments[-1].view

    def counts(self) -> dict[str, int]:
        return named("feed", _counters.CounterReader(self._counters).values())

    def stats(self, slot: int) -> np.void:
        return np.frombuffer(self._stats[8192:], layout.SLOT_STATS, 2)[slot].copy()

    def latest_kinds(self) -> list[int]:
        """TickKind of the newest tick of each slot that has one."""
        table, out = _table.TableReader(self._latest), np.zeros(1, layout.TICK)
        return [int(out["kind"][0]) for slot in range(2) if table.get(slot, out)]

    async def run(self, until: Callable[[], bool], step_s: float = 0.01) -> None:
        """Until `until()` is true; fails after 20 s."""
        task, done = asyncio.create_task(self.link.run()), False
        for _ in range(round(20 / step_s)):
            await asyncio.sleep(step_s)
            if task.done() or (done := until()):
                break
        self.link.stop()
        await task
        assert done, (self.log, self.counts())


class ServerListener(picows.WSListener):
    """One accepted connection; the test says what it does."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.server.transports.append(transport)
        self.server.on_open(transport)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            self.server.heard.append(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.PING:
            self.server.pings += 1
            if self.server.answers_pings:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.PONG:
            self.server.pongs += 1
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self.server.closes.append(int(frame.get_close_code()))
            transport.send_close(frame.get_close_code())
            transport.disconnect()


class ScriptedServer:
    """A websocket server whose upgrades are answered by `statuses` in turn, then accepted."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.statuses = list(statuses)
        self.upgrades = 0
        self.transports: list[picows.WSTransport] = []
        self.heard: list[bytes] = []
        self.closes: list[int] = []
        self.pings = self.pongs = 0
        self.answers_pings = True
        self.on_open: Callable[[picows.WSTransport], None] = lambda transport: None
        self.paths: list[bytes] = []

    def accept(self, request: picows.WSUpgradeRequest) -> object:
        self.upgrades += 1
        self.paths.append(request.path)
        if self.statuses:
            refusal = picows.WSUpgradeResponse.create_error_response(self.statuses.pop(0), b"no")
            return picows.WSUpgradeResponseWithListener(refusal, None)
        return ServerListener(self)


@asynccontextmanager
async def serving(server: ScriptedServer) -> AsyncIterator[str]:
    """Runs `server`; yields its address."""
    made = await picows.ws_create_server(server.accept, "127.0.0.1", 0, enable_auto_pong=False)
    try:
        yield f"ws://127.0.0.1:{made.sockets[0].getsockname()[1]}/?api_key=k&access_token=secret"
    finally:
        made.close()
        for transport in server.transports:
            transport.disconnect(graceful=False)
        await made.wait_closed()
