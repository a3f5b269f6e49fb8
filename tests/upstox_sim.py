"""What the tests of the simulated Upstox share: a simulator process, and the official client beside it."""

from __future__ import annotations

import gzip
import json
import queue
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket
from google.protobuf.json_format import MessageToDict
from raw_server import certificate
from sim_tools import Running, simulator
from upstox_client.feeder.proto import MarketDataFeedV3_pb2

CHILD = Path(__file__).with_name("upstox_child.py")
FAST = ("--latency-us", "2000", "--no-limits")


def frame_dict(data: bytes) -> dict[str, Any]:
    """A frame as the official client gives it to its callbacks; parsed by protobuf."""
    return MessageToDict(MarketDataFeedV3_pb2.FeedResponse.FromString(data))


def reserialised(data: bytes) -> bytes:
    """The same frame, written by protobuf itself: equal where ours is canonical (one map entry)."""
    return MarketDataFeedV3_pb2.FeedResponse.FromString(data).SerializeToString(deterministic=True)


class Upstox:
    """A simulator process that speaks Upstox's protocols. `tls`: its certificate and key."""

    def __init__(self, running: Running, tls: tuple[Path, Path] | None = None) -> None:
        self.running, self.tls = running, tls
        self.api, self.ws = running.api, running.ws
        self.token = running.access_token

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """(status, decoded answer)."""
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, method=method, headers=headers, data=data)
        try:
            with urllib.request.urlopen(request, timeout=20) as got:
                return got.status, json.loads(got.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def data(self, path: str) -> Any:
        """The data of a GET."""
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return answer["data"]

    def master(self) -> list[dict[str, Any]]:
        """The objects of complete.json.gz."""
        url = f"{self.api}/market-quote/instruments/exchange/complete.json.gz"
        with urllib.request.urlopen(url, timeout=20) as got:
            rows: list[dict[str, Any]] = json.loads(gzip.decompress(got.read()))
            return rows

    def keys(self) -> list[str]:
        """All instrument keys, by slot."""
        return [row["instrument_key"] for row in self.master()]

    def feed(self) -> Feed:
        """An authorised market connection."""
        uri = self.data("/v3/feed/market-data-feed/authorize")["authorized_redirect_uri"]
        return Feed(self.connect(uri))

    def portfolio(self, types: str = "order") -> websocket.WebSocket:
        """An authorised connection for order updates."""
        path = f"/v2/feed/portfolio-stream-feed/authorize?update_types={types}"
        return self.connect(self.data(path)["authorized_redirect_uri"])

    def connect(self, uri: str) -> websocket.WebSocket:
        """A handshake on the feeds' host."""
        trusting = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
        return websocket.create_connection(uri, suppress_origin=True, timeout=10, sslopt=trusting)

    def stats(self) -> dict[str, Any]:
        """What the simulator says that it sent."""
        return self.running.stats()

    def inject(self, kind: str, **more: Any) -> None:
        """A fault, now."""
        self.running.post("/_sim/inject", {"kind": kind, **more})


class Feed:
    """A market connection of websocket-client, its frames parsed by protobuf."""

    def __init__(self, ws: websocket.WebSocket) -> None:
        self.ws = ws

    def request(self, method: str, keys: list[str], mode: str | None = None, *, text: bool = False) -> None:
        """A request as the broker's page has it."""
        data: dict[str, Any] = {"instrumentKeys": keys} | ({"mode": mode} if mode else {})
        message = json.dumps({"guid": "test", "method": method, "data": data})
        if text:
            self.ws.send(message)
        else:
            self.ws.send_binary(message.encode())

    def next(self) -> dict[str, Any]:
        """The next frame."""
        data = self.ws.recv()
        if not data:
            raise ConnectionError("the connection has ended")
        assert isinstance(data, bytes)
        return frame_dict(data)

    def until(self, fits: Callable[[dict[str, Any]], bool], seconds: float = 15) -> dict[str, Any]:
        """The next frame that fits."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self.next()
            if fits(frame):
                return frame
            assert time.monotonic() < deadline, frame

    def quiet(self, seconds: float) -> list[dict[str, Any]]:
        """What comes within some time."""
        came = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.ws.settimeout(left)
            try:
                came.append(self.next())
            except websocket.WebSocketTimeoutException:
                break
        self.ws.settimeout(10)
        return came

    def close(self) -> None:
        """Leave without a word."""
        self.ws.shutdown()


@contextmanager
def upstox(*arguments: str, folder: Path | None = None) -> Iterator[Upstox]:
    """A simulator process; it ends with the block. `folder`: with TLS, its certificate lies there."""
    pair = None if folder is None else certificate(folder, "api.upstox.com")
    tls = () if pair is None else ("--tls", *map(str, pair))
    with simulator("--broker", "upstox", *tls, *arguments) as running:
        yield Upstox(running, pair)


class Sdk:
    """The official client in its process (see upstox_child.py). `heard`: every callback so far."""

    def __init__(self, server: Upstox, token: str | None = None, *, sandbox: bool = False) -> None:
        assert server.tls is not None, "the official client's feeds need TLS: give upstox() a folder"
        command = [sys.executable, str(CHILD), server.api, token or server.token, *map(str, server.tls)]
        command.append("sandbox" if sandbox else "")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.heard: list[list[Any]] = []
        self._pending: list[list[Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.until("ready", seconds=60)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def tell(self, *order: Any) -> None:
        """An order to the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def next(self, seconds: float) -> list[Any] | None:
        """The next that was heard and not looked at yet."""
        return self._pending.pop(0) if self._pending else self._from_process(seconds)

    def _from_process(self, seconds: float) -> list[Any] | None:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        self.heard.append(json.loads(line))
        return self.heard[-1]

    def until(self, kind: str, fits: Callable[..., bool] = lambda *_: True, seconds: float = 30) -> list[Any]:
        """The next callback of a kind that fits: its arguments."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            heard = self.next(left)
            if heard is not None and heard[0] == kind and fits(*heard[1:]):
                return heard[1:]
        raise AssertionError(f"no {kind!r} that fits; last heard: {self.heard[-3:]}")

    def call(self, api: str, method: str, *arguments: Any, **named: Any) -> list[Any]:
        """An API call of the client: ["answer", dict], ["refused", status, body] or ["failed", ...].

        Callbacks that come meanwhile are kept for `until`.
        """
        self.tell("call", api, method, arguments, named)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            heard = self._from_process(5)
            if heard is not None and heard[0] in ("answer", "refused", "failed"):
                return heard
            if heard is not None:
                self._pending.append(heard)
        raise AssertionError(f"no answer to {method}")

    def answer(self, api: str, method: str, *arguments: Any, **named: Any) -> Any:
        """As `call`, when all is well: the answer's dict."""
        kind, *rest = self.call(api, method, *arguments, **named)
        assert kind == "answer", rest
        return rest[0]

    def close(self) -> None:
        """End the process, by itself or not."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()

    def __enter__(self) -> Sdk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
