"""Receives with a package as its documentation shows it, and counts.

    python receive_packages.py KiteTicker|websocket-client|websockets|aiohttp URL WARM FRAMES CPU

KiteTicker runs on its own reactor in the main thread with on_message set (and no on_ticks, so that
it does not parse). websockets and aiohttp run under uvloop, without compression and size limits.
Prints one JSON line: frames, CPU seconds of the receiving thread, bytes, version.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable


class Meter:
    """Frames, and the CPU time between frame `warm` and frame `total`."""

    def __init__(self, warm: int, total: int, finished: Callable[[], None] = lambda: None) -> None:
        self.warm, self.total, self.finished = warm, total, finished
        self.frames = self.bytes = 0
        self.start = self.end = 0.0

    def add(self, payload: bytes) -> bool:
        """Count one; whether it was the last."""
        self.frames += 1
        self.bytes += len(payload)
        if self.frames == self.warm:
            self.start = time.thread_time()
        elif self.frames == self.total:
            self.end = time.thread_time()
            self.finished()
            return True
        return False


def kite_ticker(url: str, meter: Meter) -> None:
    from kiteconnect import KiteTicker

    ticker = KiteTicker("key", "token", root=url)

    def finished() -> None:
        ticker.stop_retry()
        ticker.stop()

    meter.finished = finished
    add = meter.add
    ticker.on_message = lambda ws, payload, is_binary: add(payload)
    ticker.connect()


def websocket_client(url: str, meter: Meter) -> None:
    import websocket

    connection = websocket.create_connection(url)
    receive, add = connection.recv, meter.add
    while not add(receive()):
        pass
    connection.shutdown()


def websockets(url: str, meter: Meter) -> None:
    import uvloop
    from websockets.asyncio.client import connect

    async def run() -> None:
        connection = await connect(url, compression=None, max_size=None, ping_interval=None, close_timeout=0)
        async for message in connection:
            if meter.add(message):
                break
        connection.transport.abort()

    uvloop.run(run())


def aiohttp(url: str, meter: Meter) -> None:
    import uvloop
    from aiohttp import ClientSession

    async def run() -> None:
        async with ClientSession() as session:
            connection = await session.ws_connect(url, compress=0, max_msg_size=0, autoclose=False)
            while True:
                if meter.add((await connection.receive()).data):
                    break
            os.write(1, answer(meter, "aiohttp").encode())
            os._exit(0)  # its orderly close waits for a server that is still sending

    uvloop.run(run())


def answer(meter: Meter, package: str) -> str:
    found = {"frames": meter.total - meter.warm, "cpu_s": meter.end - meter.start, "bytes": meter.bytes}
    return json.dumps(found | {"version": importlib.metadata.version(package)}) + "\n"


CLIENTS = {
    "KiteTicker": (kite_ticker, "kiteconnect"),
    "websocket-client": (websocket_client, "websocket-client"),
    "websockets": (websockets, "websockets"),
    "aiohttp": (aiohttp, "aiohttp"),
}


def main() -> None:
    name, url, warm, frames, cpu = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    meter = Meter(int(warm), int(frames))
    run, package = CLIENTS[name]
    run(url, meter)
    print(answer(meter, package), end="")


if __name__ == "__main__":
    main()
