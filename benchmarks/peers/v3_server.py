"""Sends Upstox's V3 frames to one client after another: as fast as the socket takes them, or paced.

    python v3_server.py KEYS SIZE CERTIFICATE KEY [--cpu N]

KEYS instruments of the synthetic market in mode full, SIZE to a frame, encoded beforehand. Prints its port,
and serves until its standard input ends. One port for all: `GET` is a plain websocket, a TLS greeting one
with TLS, `CONNECT` a client that thinks us its proxy and begins TLS then. The query of the request says what
is sent: n=FRAMES&gap_us=N (0: no gap). Whatever the client says is left unread until it has all.

Paced frames bear the time at which they were to leave (CLOCK_MONOTONIC, us modulo 2^32) as open interest of
every key.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import os
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from load.frames_v3 import FramesV3
from load.pace import precise_sleeps
from load.peer import GUID

from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.upstox.frames import key_cells

DEFAULT = "n=1000000000&gap_us=0"
"""For a client that asks for an address of its own: until it goes."""


def frames_of(keys: int, size: int) -> FramesV3:
    """The frames of the first `keys` instruments."""
    instruments, base_px = default_instruments(keys, 1)
    table = with_upstox_keys(instruments)
    opening = SyntheticMarket(instruments, base_px, 1.0, 1, 0).opening()
    cells = key_cells([row.upstox_key for row in table])
    made = FramesV3(opening, np.arange(keys), table, cells, "full", size)
    made.set_time(1_795_149_000)
    made.write(0, made.count, 0, None, np.ones(made.count, np.uint32))
    return made


def met(client: socket.socket, context: ssl.SSLContext) -> socket.socket:
    """The connection as it is to be used: with TLS or without."""
    first = client.recv(1, socket.MSG_PEEK)
    if first == b"C":
        request(client)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        first = client.recv(1, socket.MSG_PEEK)
    return client if first == b"G" else context.wrap_socket(client, server_side=True)


def request(client: socket.socket) -> bytes:
    """The head of an HTTP request."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (more := client.recv(1)):
            raise ConnectionError("closed before its request")
        head += more
    return head


def upgrade(client: socket.socket) -> tuple[int, int]:
    """Answer the upgrade; (frames, gap in us) that are asked for."""
    first, *lines = request(client).decode("latin-1").split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + GUID).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    query = parse_qs(urlsplit(first.split()[1]).query or os.environ.get("V3_QUERY", DEFAULT))
    return int(query["n"][0]), int(query["gap_us"][0])


def flood(client: socket.socket, frames: FramesV3, n: int) -> None:
    """n frames, round after round."""
    while n > 0:
        count, _, data, _ = frames.take(0, min(n, frames.count))
        client.sendall(data)
        n -= count


def paced(client: socket.socket, frames: FramesV3, n: int, gap_us: int) -> None:
    """n frames at their times, each with its own."""
    start_ns = time.monotonic_ns() + 50_000_000
    for number in range(n):
        due_ns = start_ns + number * gap_us * 1000
        _, within, data, part = frames.take(number, 1)
        frames.write(number, 1, within, part, np.array([due_ns // 1000 & 0xFFFFFFFF]))
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            if left_ns > 100_000:
                time.sleep((left_ns - 80_000) / 1e9)
        client.sendall(data)


def serve(plain: socket.socket, context: ssl.SSLContext, frames: FramesV3) -> None:
    """One connection, until the client has seen enough."""
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = met(plain, context)
    try:
        n, gap_us = upgrade(client)
        if gap_us:
            paced(client, frames, n, gap_us)
        else:
            flood(client, frames, n)
        while client.recv(65_536):
            pass
    finally:
        client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("certificate")
    parser.add_argument("key")
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    precise_sleeps()
    frames = frames_of(options.keys, options.size)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept_all() -> None:
        while True:
            client, _ = listener.accept()
            with contextlib.suppress(OSError, KeyError, IndexError):  # it went: it had its figure
                serve(client, context, frames)

    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=accept_all, daemon=True).start()
    while os.read(0, 4096):
        pass


if __name__ == "__main__":
    main()
