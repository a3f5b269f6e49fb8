"""A bare receiver: one picows connection into peers/stamp_listener.pyx, in a process of its own.

    python -m load.bare FILE.json

FILE: {"url", "messages": that subscribe, "binary": how they leave, "stamp_from_end": see the listener}.
Event loop (uvloop), read buffer and subscription are the engine's; nothing happens to a frame but
its stamp being counted. `reset` on standard input starts the counts afresh; the end of standard
input prints {"buckets", "frames", "bytes", "cpu_s", "grown_bytes"}. grown_bytes: private memory
that came with the connection and its traffic.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import picows
import psutil
import uvloop
from cython_peers import extension

from kite_hft.net.ws import FRAME_BYTES_MAX, READ_BUFFER_BYTES


async def receive(told: dict[str, Any]) -> dict[str, Any]:
    """Connect, subscribe, count until standard input ends."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    made = extension("stamp_listener").StampListener
    me = psutil.Process()
    before = me.memory_full_info().uss

    def connected(transport: picows.WSTransport) -> None:
        kind = picows.WSMsgType.BINARY if told["binary"] else picows.WSMsgType.TEXT
        for message in told["messages"]:
            transport.send(kind, message.encode())

    transport, listener = await picows.ws_connect(
        lambda: made(connected, ended.set, told["stamp_from_end"]), told["url"],
        max_frame_size=FRAME_BYTES_MAX, read_buffer_init_size=READ_BUFFER_BYTES,
    )  # fmt: skip

    def on_input() -> None:
        if b"reset" in (data := os.read(0, 4096)):
            listener.reset()
        if not data:
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, on_input)
    await ended.wait()
    times = me.cpu_times()
    found = {
        "buckets": listener.buckets(), "frames": listener.frames, "bytes": listener.size,
        "cpu_s": times.user + times.system, "grown_bytes": me.memory_full_info().uss - before,
    }  # fmt: skip
    transport.disconnect()
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(receive(json.loads(Path(sys.argv[1]).read_text())))), flush=True)
