"""Rivals of the order benchmarks, run in the environment `orders`: one JSON object on the last line.

    python orders_rivals.py send   raw|pycurl URL CAFILE N FIFO spin|park
    python orders_rivals.py around kiteconnect|aiohttp|pycurl|raw URL CAFILE N

send: from the stamp that comes through the pipe FIFO (8 bytes, CLOCK_MONOTONIC ns, written just before
the pipe) to the return of the write call; spin reads the pipe without waiting, park sleeps in read.
pycurl: the first `perform` after which libcurl says that the request has left. around: from the call to
the answer in hand, one after the other. The request is the same, byte for byte, each time: it was built
before; only kiteconnect builds its own. The process runs on the first core.
"""

from __future__ import annotations

import io
import json
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

BODY = (
    b"variety=regular&exchange=NSE&tradingsymbol=RELIANCE&transaction_type=BUY&quantity=1&product=MIS"
    b"&order_type=LIMIT&validity=DAY&price=1390.00&tag=abc000700000000001xy"
)
HEADERS = [
    "User-Agent: kite_hft",
    "Accept-Encoding: identity",
    "X-Kite-Version: 3",
    "Authorization: token benchkey:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "Content-Type: application/x-www-form-urlencoded",
]
PATH = "/orders/regular"
WARM = 20
Call = Callable[[], object]


class Raw:
    """One ssl socket and one request, built before."""

    def __init__(self, url: str, cafile: str) -> None:
        parts = urlsplit(url)
        plain = socket.create_connection((parts.hostname, parts.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = ssl.create_default_context(cafile=cafile)
        self.peer = context.wrap_socket(plain, server_hostname=parts.hostname)
        lines = [f"POST {PATH} HTTP/1.1", f"Host: {parts.netloc}", *HEADERS, f"Content-Length: {len(BODY)}"]
        self.request = "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY
        self.send()
        self.receive()

    def send(self) -> None:
        self.peer.send(self.request)

    def receive(self) -> bytes:
        data = self.peer.recv(65536)
        while True:
            head, found, body = data.partition(b"\r\n\r\n")
            if found and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
                return body
            data += self.peer.recv(65536)


class Curl:
    """libcurl: send by its multi interface, whole calls by an easy handle."""

    def __init__(self, url: str, cafile: str) -> None:
        import pycurl

        self.curl = pycurl
        self.multi, self.easy = pycurl.CurlMulti(), pycurl.Curl()
        self.body = io.BytesIO()
        easy = self.easy
        easy.setopt(pycurl.URL, url + PATH)
        easy.setopt(pycurl.CAINFO, cafile)
        easy.setopt(pycurl.TCP_NODELAY, 1)
        easy.setopt(pycurl.HTTPHEADER, [*HEADERS, "Expect:"])
        easy.setopt(pycurl.POSTFIELDS, BODY)
        easy.setopt(pycurl.WRITEDATA, self.body)

    def send(self) -> None:
        self.body.seek(0)
        self.multi.add_handle(self.easy)
        while True:
            self.multi.perform()
            if self.easy.getinfo(self.curl.REQUEST_SIZE):
                return

    def receive(self) -> None:
        while self.multi.perform()[1]:
            self.multi.select(1.0)
        self.multi.remove_handle(self.easy)

    def around(self) -> bytes:
        self.body.seek(0)
        self.easy.perform()
        return self.body.getvalue()


def sends(rival: Raw | Curl, n: int, fifo: str, spin: bool) -> list[int]:
    """Durations in ns."""
    rival.send()
    rival.receive()
    pipe = os.open(fifo, os.O_RDONLY)
    os.set_blocking(pipe, not spin)
    took = []
    for _ in range(n):
        stamp = b""
        while len(stamp) < 8:
            try:
                stamp = os.read(pipe, 8)
            except BlockingIOError:
                continue
        rival.send()
        took.append(time.monotonic_ns() - struct.unpack("<q", stamp)[0])
        rival.receive()
    return took


def times(call: Call, n: int) -> list[int]:
    took = []
    for number in range(-WARM, n):
        start = time.monotonic_ns()
        call()
        if number >= 0:
            took.append(time.monotonic_ns() - start)
    return took


def around_kiteconnect(url: str, cafile: str, n: int) -> list[int]:
    os.environ["REQUESTS_CA_BUNDLE"] = cafile
    from kiteconnect import KiteConnect

    kite = KiteConnect("benchkey", "b" * 32, root=url)
    return times(
        lambda: kite.place_order(
            "regular", "NSE", "RELIANCE", "BUY", 1, "MIS", "LIMIT", price=1390.0, validity="DAY",
            tag="abc000700000000001xy",
        ),
        n,
    )  # fmt: skip


def around_aiohttp(url: str, cafile: str, n: int) -> list[int]:
    import asyncio

    import aiohttp

    headers = dict(line.split(": ", 1) for line in HEADERS)

    async def run() -> list[int]:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=cafile))
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            took = []
            for number in range(-WARM, n):
                start = time.monotonic_ns()
                async with session.post(url + PATH, data=BODY) as answer:
                    await answer.read()
                if number >= 0:
                    took.append(time.monotonic_ns() - start)
            return took

    return asyncio.run(run())


def around(name: str, url: str, cafile: str, n: int) -> list[int]:
    if name == "kiteconnect":
        return around_kiteconnect(url, cafile, n)
    if name == "aiohttp":
        return around_aiohttp(url, cafile, n)
    if name == "pycurl":
        return times(Curl(url, cafile).around, n)
    raw = Raw(url, cafile)

    def call() -> bytes:
        raw.send()
        return raw.receive()

    return times(call, n)


def main() -> None:
    task, name, url, cafile, n = sys.argv[1:6]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if task == "around":
        took = around(name, url, cafile, int(n))
    else:
        rival = Raw(url, cafile) if name == "raw" else Curl(url, cafile)
        took = sends(rival, int(n), sys.argv[6], sys.argv[7] == "spin")
    took.sort()
    at = {"median": 0.5, "p90": 0.9, "p99": 0.99}
    print(json.dumps({key: took[int(share * len(took))] / 1000 for key, share in at.items()}))


if __name__ == "__main__":
    main()
