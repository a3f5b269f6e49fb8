"""The product's feed on Upstox's V3 frames: link, compiled sink, decoder, tick ring, latest table, counters.

    python feed_here.py URL KEYS WARM TOTAL CPU

As a feed process has it (engine/market/feeds.py), with memory of its own. Counted from the read that brings
the WARM-th instrument to the one that brings the TOTAL-th. Prints one JSON line: instruments, CPU seconds of
the one thread, latency (us, from the stamp of a read's last key until its ticks are in ring and table).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from kite_hft import _feed, _table
from kite_hft.brokers.table import words_of
from kite_hft.clock import SystemClock
from kite_hft.engine.market.feeds import make_decoder
from kite_hft.layout import COUNTERS, HISTOGRAMS, TICK, SegmentKind
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.net.ws import FeedLink
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.universe import default_instruments
from kite_hft.stages.feed import Feed

RING_SLOTS = 65_536
SILENCE_NS = 60 * 10**9
SINCE_US_MAX = 1 << 31


def made_feed(folder: Path, keys: int) -> tuple[Any, Any, Any]:
    """(stage, sink, latest table) of one connection with all keys in mode full."""
    table = with_upstox_keys(default_instruments(keys, 1)[0])
    sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}

    def segment(name: str, kind: SegmentKind, capacity: int, **more: int) -> memoryview:
        path = create(folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **more)
        return attach(path, kind, writable=True, claim=True).view

    tokens, latest = table.tokens(), segment("latest", SegmentKind.LATEST_TABLE, keys)
    sink = _feed.FeedSink(
        make_decoder("upstox", table, 0),
        tokens,
        segment("ticks", SegmentKind.TICK_RING, RING_SLOTS),
        latest,
        segment("counters", SegmentKind.COUNTERS, 1, **sizes),
        None,
        stats=segment("slots", SegmentKind.SLOT_STATS, keys),
    )
    slots = {int(token): slot for slot, token in enumerate(tokens)}
    words = words_of("upstox", table)
    stage = Feed(
        sink, words, dict.fromkeys(slots, "full"), slots, lambda now_ns: None, SILENCE_NS, name="feed"
    )
    stage.start()
    return stage, sink, _table.TableReader(latest)


class Meter:
    """Called after each read: CPU between two numbers of instruments, and latencies."""

    def __init__(self, sink: Any, latest: Any, keys: int, warm: int, total: int, done: asyncio.Event) -> None:
        self.sink, self.latest, self.keys, self.done = sink, latest, keys, done
        self.warm, self.total, self.first = warm, total, sink.next_seq
        self.row = np.zeros(1, TICK)
        self.start = self.end = 0.0
        self.before = self.after = 0
        self.latency_us: list[int] = []

    def look(self) -> None:
        now_us = time.monotonic_ns() // 1000
        got = self.sink.next_seq - self.first
        if self.before:
            self.latest.get((got - 1) % self.keys, self.row)
            since = now_us - int(self.row["oi"][0]) & 0xFFFFFFFF
            if since < SINCE_US_MAX:
                self.latency_us.append(since)
        elif got >= self.warm:
            self.start, self.before = time.thread_time(), got
        if got >= self.total and not self.after:
            self.end, self.after = time.thread_time(), got
            self.done.set()


async def run(url: str, keys: int, warm: int, total: int) -> dict[str, Any]:
    """Receive `total` instruments."""
    done = asyncio.Event()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        stage, sink, latest = made_feed(make_directory(Path(base), "shm"), keys)
        meter = Meter(sink, latest, keys, warm, total, done)
        sink.after_read = meter.look
        link = FeedLink(
            stage, sink, url, SystemClock(), lambda text: print(text, file=sys.stderr), ping_s=60.0
        )
        running = asyncio.create_task(link.run())
        await asyncio.wait_for(done.wait(), 300)
        link.stop()
        await running
    return {
        "instruments": meter.after - meter.before, "cpu_s": meter.end - meter.start,
        "latency_us": meter.latency_us,
    }  # fmt: skip


def main() -> None:
    url, keys, warm, total, cpu = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    print(json.dumps(uvloop.run(run(url, int(keys), int(warm), int(total)))), flush=True)


if __name__ == "__main__":
    main()
