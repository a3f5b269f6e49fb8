"""The connection for order updates alone: its text frames reach the queue of ORDERS, and it can be told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import picows
import pytest
import segments as made_segments
from feed_tools import ScriptedServer, serving

from kite_hft import _queue
from kite_hft.clock import SystemClock
from kite_hft.engine.market.updates import make_updates
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import COUNTERS, HISTOGRAMS, TEXT, SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.segment import attach
from kite_hft.settings import Settings
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import write_csv

ORDER = b'{"update_type":"order","order_id":"240221025997024","status":"open"}'


class FakeAnswers:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.alerts: list[dict[str, Any]] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def send(self, **message: Any) -> None:
        self.alerts.append(message["alert"])


class Bench:
    def __init__(self, folder: Path) -> None:
        sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
        plan = [
            ("updates-ring", SegmentKind.TICK_RING, 64, {}),
            ("updates-latest", SegmentKind.LATEST_TABLE, 1, {}),
            ("texts-1", SegmentKind.TEXT_QUEUE, 64, {}),
            ("counters-feed-1", SegmentKind.COUNTERS, 1, sizes),
        ]
        self.paths = {
            name: str(made_segments.make(folder, kind, capacity, name=name, **more))
            for name, kind, capacity, more in plan
        }
        write_csv(default_instruments(2, 1)[0], folder / "instruments.csv")
        self.segments, self.answers = Segments(self.paths), FakeAnswers()
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.config = {
            "settings": Settings(broker="upstox").model_dump(mode="json"),
            "instruments": str(folder / "instruments.csv"),
            "connection": {"number": 1, "slots": [], "broker": "upstox"},
            "wake_fds": {"orders": self.wake_fd},
        }
        self.texts = attach(Path(self.paths["texts-1"]), SegmentKind.TEXT_QUEUE, writable=True)

    def make(self, url: str, broker: str = "upstox") -> Any:
        feed = {"broker": broker, "url": url.split("/?")[0], "api_key": "k", "access_token": "secret"}
        return make_updates(self.config | {"feed": feed}, self.segments, SystemClock(), self.answers)

    def taken(self) -> list[bytes]:
        out = np.zeros(16, TEXT)
        n = _queue.QueueConsumer(self.texts.view).drain(out)
        return [bytes(row["data"][: row["length"]]) for row in out[:n]]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.texts.close()
    made.segments.close()
    os.close(made.wake_fd)


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_updates_reach_the_queue_and_nothing_is_asked_for(bench: Any, broker: str) -> None:
    server = ScriptedServer()
    server.on_open = lambda t: [t.send(picows.WSMsgType.TEXT, ORDER) for _ in range(3)]

    async def scenario() -> None:
        async with serving(server) as url:
            made = bench.make(url, broker)
            task = asyncio.create_task(made.link.run())
            while made.sink.last_frame_at_ns == 0:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            made.link.stop()
            await task
            made.feed.close()

    asyncio.run(scenario())
    assert bench.taken() == [ORDER] * 3 and server.heard == []
    assert (b"/v2/feed/portfolio-stream-feed?update_types=order" in server.paths[0]) is (broker == "upstox")
    assert not [line for line in bench.answers.lines if "secret" in line]


def test_it_waits_for_a_token_and_takes_its_brokers_own(bench: Any) -> None:
    server = ScriptedServer([401])

    async def scenario() -> None:
        async with serving(server) as url:
            made = bench.make(url)
            task = asyncio.create_task(made.link.run())
            while not bench.answers.alerts:
                await asyncio.sleep(0.01)
            feed = {"url": url.split("/?")[0], "api_key": "k", "access_token": "fresh"}
            made.obey([{"do": "token", "feed": feed | {"broker": "kite"}}])
            await asyncio.sleep(0.1)
            assert server.upgrades == 1
            made.obey([{"do": "token", "feed": feed | {"broker": "upstox"}}])
            while not made.feed.is_connected:
                await asyncio.sleep(0.01)
            made.link.stop()
            await task

    asyncio.run(scenario())
    raised, cleared = bench.answers.alerts
    assert raised["code"] == cleared["code"] == "TOKEN_DEAD" and cleared["cleared"]
    assert raised["key"] == "updates"
    view = attach(Path(bench.paths["counters-feed-1"]), SegmentKind.COUNTERS, writable=False)
    from kite_hft import _counters

    assert named("feed", _counters.CounterReader(view.view).values())["connects"] == 1
    view.close()
