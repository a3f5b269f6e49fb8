"""Rivals of the order benchmarks, run in the environment `orders`: one JSON object on the last line.

    python orders_rivals.py send   raw|pycurl URL CAFILE N FIFO spin|park [kite|upstox]
    python orders_rivals.py around kiteconnect|aiohttp|pycurl|raw URL CAFILE N

send: from the stamp that comes through the pipe FIFO (8 bytes, CLOCK_MONOTONIC ns, written just before
the pipe) to the return of the write call, of a request in the broker's form (Kite's, where none is named);
spin reads the pipe without waiting, park sleeps in read.
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
    b"variety=regular&exchange=NSE&tradingsymbol=RELIANCE&transaction_type=BUY&product=MIS&order_type=LIMIT"
    b"&validity=DAY&quantity=1&price=1390.00&tag=abc000700000000001xy"
)
HEADERS = [
    "User-Agent: kite_hft",
    "Accept-Encoding: identity",
    "X-Kite-Version: 3",
    "Authorization: token benchkey:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "Content-Type: application/x-www-form-urlencoded",
]
PATH = "/orders/regular"
UPSTOX_BODY = (
    b'{"instrument_token":"NSE_EQ|INE000288501","transaction_type":"BUY","order_type":"LIMIT","product":"I",'
    b'"validity":"DAY","disclosed_quantity":0,"is_amo":false,"slice":false,"quantity":1,"price":1390.00,'
    b'"trigger_price":0,"tag":"abc000700000000001xy"}'
)
UPSTOX_HEADERS = [
    "User-Agent: kite_hft",
    "Accept-Encoding: identity",
    "Authorization: Bearer bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "Accept: application/json",
    "Content-Type: application/json",
]
FORMS = {"kite": (PATH, HEADERS, BODY), "upstox": ("/v3/order/place", UPSTOX_HEADERS, UPSTOX_BODY)}
"""Of each broker: path, headers and body of a placement, as ours sends them."""
WARM = 20
Call = Callable[[], object]


class Raw:
    """One ssl socket and one request, built before."""

    def __init__(self, url: str, cafile: str, broker: str = "kite") -> None:
        parts, (path, headers, body) = urlsplit(url), FORMS[broker]
        plain = socket.create_connection((parts.hostname, parts.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = ssl.create_default_context(cafile=cafile)
        self.peer = context.wrap_socket(plain, server_hostname=parts.hostname)
        lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}", *headers, f"Content-Length: {len(body)}"]
        self.request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
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

    def __init__(self, url: str, cafile: str, broker: str = "kite") -> None:
        import pycurl

        path, headers, body = FORMS[broker]
        self.curl = pycurl
        self.multi, self.easy = pycurl.CurlMulti(), pycurl.Curl()
        self.body = io.BytesIO()
        easy = self.easy
        easy.setopt(pycurl.URL, url + path)
        easy.setopt(pycurl.CAINFO, cafile)
        easy.setopt(pycurl.TCP_NODELAY, 1)
        easy.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
        easy.setopt(pycurl.POSTFIELDS, body)
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
        broker = sys.argv[8] if len(sys.argv) > 8 else "kite"
        rival = Raw(url, cafile, broker) if name == "raw" else Curl(url, cafile, broker)
        took = sends(rival, int(n), sys.argv[6], sys.argv[7] == "spin")
    took.sort()
    at = {"median": 0.5, "p90": 0.9, "p99": 0.99}
    print(json.dumps({key: took[int(share * len(took))] / 1000 for key, share in at.items()}))


if __name__ == "__main__":
    main()
