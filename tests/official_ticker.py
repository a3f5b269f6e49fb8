"""The official KiteTicker, unchanged, in a process of its own: Twisted's reactor cannot be restarted.

Only `root=` and the callbacks are set. It is told what to do by lines of JSON and tells every
callback as one.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sim_tools import Running

SCRIPT = """
import json, sys, threading, time
from kiteconnect import KiteTicker

ticker = KiteTicker(sys.argv[2], sys.argv[3], root=sys.argv[1])
out = threading.Lock()

def tell(kind, *data):
    with out:
        print(json.dumps([kind, *data], default=str), flush=True)

ticker.on_connect = lambda ws, response: tell("connect")
ticker.on_ticks = lambda ws, ticks: tell("ticks", ticks)
ticker.on_order_update = lambda ws, data: tell("order", data)
ticker.on_message = lambda ws, payload, binary: tell("message", len(payload) if binary else payload.decode())
ticker.on_error = lambda ws, code, reason: tell("error", code, str(reason))
ticker.on_close = lambda ws, code, reason: tell("close", code, str(reason))
ticker.on_reconnect = lambda ws, attempts: tell("reconnect", attempts)
ticker.on_noreconnect = lambda ws: tell("noreconnect")
ticker.connect(threaded=True)
from twisted.internet import reactor
for line in sys.stdin:
    call, *arguments = json.loads(line)
    reactor.callFromThread(getattr(ticker, call), *arguments)
"""


class Ticker:
    """A running KiteTicker. `heard`: every callback so far, [name, *arguments]."""

    def __init__(self, running: Running, token: str | None = None) -> None:
        command = [sys.executable, "-c", SCRIPT, running.ws, running.api_key, token or running.access_token]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.heard: list[list[Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def do(self, call: str, *arguments: Any) -> None:
        """Call a method of the ticker on its own thread."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([call, *arguments]) + "\n")
        self.process.stdin.flush()

    def until(
        self, kind: str, enough: Callable[..., Any] = lambda *_: True, seconds: float = 30.0
    ) -> list[Any]:
        """The arguments of the next callback of that name that is `enough`."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind} within {seconds} s; heard {self.heard[-5:]}"
            try:
                heard = json.loads(self._lines.get(timeout=left))
            except queue.Empty:
                continue
            self.heard.append(heard)
            if heard[0] == kind and enough(*heard[1:]):
                return list(heard[1:])

    def modes(self, wanted: dict[int, str]) -> dict[int, dict[str, Any]]:
        """Wait until each of these instruments ticks in its mode; the last tick of each."""
        last: dict[int, dict[str, Any]] = {}

        def enough(ticks: list[dict[str, Any]]) -> bool:
            last.update({tick["instrument_token"]: tick for tick in ticks})
            return {token: tick["mode"] for token, tick in last.items()} == wanted

        self.until("ticks", enough)
        return last

    def quiet(self, seconds: float) -> list[list[Any]]:
        """Everything heard within so long, except heartbeats."""
        first, end = len(self.heard), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.heard.append(json.loads(self._lines.get(timeout=left)))
            except queue.Empty:
                break
        return [heard for heard in self.heard[first:] if heard[:2] != ["message", 1]]

    def __enter__(self) -> Ticker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdin.close()
        self.process.stdout.close()
