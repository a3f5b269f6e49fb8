"""The official client's MarketDataStreamerV3, as its documentation shows it, counting what it is told.

    python feed_sdk.py KEYS.json WARM FRAMES CPU

The address of its feed is fixed in its source; it gets there through the proxy that the environment names
(https_proxy), as any program of websocket-client's does. Nothing of it is changed. Callbacks come on its
reader thread: the CPU time between frame WARM and frame FRAMES is that thread's. Prints one JSON line:
frames, instruments, CPU seconds, latency (us, from the stamp in each frame's first key to the callback),
version.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import upstox_client

SINCE_US_MAX = 1 << 31


class Meter:
    """Frames, instruments, CPU of the thread that calls, and latencies."""

    def __init__(self, warm: int, total: int) -> None:
        self.warm, self.total, self.done = warm, total, threading.Event()
        self.frames = self.instruments = self.before = 0
        self.start = self.end = 0.0
        self.latency_us: list[int] = []

    def on_message(self, message: dict[str, Any]) -> None:
        """One frame, as a dict."""
        now_us = time.monotonic_ns() // 1000
        feeds = message["feeds"]
        self.frames += 1
        self.instruments += len(feeds)
        stamp = int(next(iter(feeds.values()))["fullFeed"]["marketFF"]["oi"])
        if (since := (now_us - stamp) & 0xFFFFFFFF) < SINCE_US_MAX and self.frames > self.warm:
            self.latency_us.append(since)
        if self.frames == self.warm:
            self.start, self.before = time.thread_time(), self.instruments
        elif self.frames == self.total:
            self.end = time.thread_time()
            self.done.set()


def main() -> None:
    path, warm, frames, cpu = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    configuration = upstox_client.Configuration()
    configuration.access_token = "token"
    keys = json.loads(Path(path).read_text())
    streamer = upstox_client.MarketDataStreamerV3(upstox_client.ApiClient(configuration), keys, "full")
    streamer.auto_reconnect(False)
    meter = Meter(int(warm), int(frames))
    streamer.on("message", meter.on_message)
    streamer.on("error", lambda error: print(error, file=sys.stderr))
    streamer.connect()
    done = meter.done.wait(300)
    found = {
        "frames": meter.frames - meter.warm, "instruments": meter.instruments - meter.before,
        "cpu_s": meter.end - meter.start, "latency_us": meter.latency_us,
        "version": importlib.metadata.version("upstox-python-sdk"),
    }  # fmt: skip
    print(json.dumps(found), flush=True)
    os._exit(0 if done else 1)  # its threads are no daemons


if __name__ == "__main__":
    main()
