"""Receives with picows in the project's own environment: the product's way, or picows bare.

    python receive_here.py kite_hft|picows|picows-large URL WARM FRAMES CPU

kite_hft: FeedLink and its FrameListener (kite_hft.net.ws, kite_hft._ws_listener) with a counting
FrameSink, as the engine makes them. picows: a compiled listener that counts, picows' defaults.
picows-large: the same with the read buffer, and without the automatic pong, that the product sets.
All under uvloop. Prints one JSON line: frames and CPU seconds of this thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import picows
from cython_peers import extension

from kite_hft.clock import SystemClock
from kite_hft.net.ws import FRAME_BYTES_MAX, READ_BUFFER_BYTES, FeedLink


class Nobody:
    """A feed that subscribes nothing."""

    name = "bench"
    is_connected = False
    connected_at_ns = 0

    def connected(self, now_ns: int) -> list[bytes]:
        self.is_connected, self.connected_at_ns = True, now_ns
        return []

    def disconnected(self) -> None:
        self.is_connected = False

    def is_silent(self, now_ns: int) -> bool:
        return False

    def has_delivered(self) -> bool:
        return True

    def count(self, name: str, n: int = 1) -> None:
        pass


async def run(how: str, url: str, warm: int, frames: int) -> Any:
    """The meter, full."""
    listener = extension("listener")
    done = asyncio.Event()
    meter = listener.Meter(warm, frames, done.set)
    if how == "kite_hft":
        link = FeedLink(Nobody(), listener.CountingSink(meter), url, SystemClock(), lambda text: None)
        running = asyncio.create_task(link.run())
        await done.wait()
        link.stop()
        await running
        return meter
    options: dict[str, Any] = {"max_frame_size": FRAME_BYTES_MAX}
    if how == "picows-large":
        options |= {"read_buffer_init_size": READ_BUFFER_BYTES, "enable_auto_pong": False}
    transport, _ = await picows.ws_connect(lambda: listener.BareListener(meter), url, **options)
    await done.wait()
    transport.disconnect(graceful=False)
    return meter


def main() -> None:
    how, url, warm, frames, cpu = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    meter = uvloop.run(run(how, url, int(warm), int(frames)))
    counted = {"frames": meter.total - meter.warm, "cpu_s": (meter.end_ns - meter.start_ns) / 1e9}
    print(json.dumps(counted | {"bytes": meter.bytes}))


if __name__ == "__main__":
    main()
