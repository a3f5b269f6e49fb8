"""Layer 6, campaigns, cold: receivers on this machine for what alert sinks send, with logs of their own.

A web server that is webhook, Telegram's API and heartbeat monitor by path, and a datagram socket that is
the system's journal. Each entry keeps the CLOCK_REALTIME at which it was received.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

BOT: Final = "424242:campaign-secret"
CHAT: Final = "-1001"
HOOK_PATH: Final = "/services/hook-secret"
BEAT_PATH: Final = "/ping/beat-secret"


@dataclass(slots=True)
class Received:
    """One message: the sink it came by, when (CLOCK_REALTIME ns), and its content."""

    sink: str
    at_ns: int
    fields: dict[str, Any]


@dataclass(slots=True)
class Receivers:
    """All of them. status: what the web server answers, by sink."""

    url: str
    journal: Path
    log: list[Received] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)

    def of(self, sink: str, code: str = "") -> list[Received]:
        """What came by one sink, with this alert's code if told."""
        return [row for row in list(self.log) if row.sink == sink and code in ("", row.fields.get("code"))]

    def settings(self) -> dict[str, Any]:
        """The part of the configuration's `alerts` that sends everything here."""
        return {
            "webhook": f"{self.url}{HOOK_PATH}",
            "telegram_bot_token": BOT,
            "telegram_chat_id": CHAT,
            "telegram_url": self.url,
            "journald": True,
            "journald_socket": str(self.journal),
            "heartbeat_url": f"{self.url}{BEAT_PATH}",
            "heartbeat_s": 0.5,
        }


@contextlib.contextmanager
def receivers(folder: Path) -> Iterator[Receivers]:
    """Receivers that listen while the block runs. The journal's socket lies in `folder`."""
    found = Receivers("", folder / "journal.sock")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at_ns = time.time_ns()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._take(at_ns, json.loads(body or b"{}"))

        def do_GET(self) -> None:
            self._take(time.time_ns(), {})

        def _take(self, at_ns: int, fields: dict[str, Any]) -> None:
            path = self.path.partition("?")[0]
            sink = {HOOK_PATH: "webhook", BEAT_PATH: "heartbeat"}.get(path, "")
            if path == f"/bot{BOT}/sendMessage" and fields.get("chat_id") == CHAT:
                sink, fields = "telegram", telegram_fields(str(fields["text"]))
            status = found.status.get(sink, 200 if sink else 404)
            found.log.append(Received(sink if status == 200 else f"{sink} {status}", at_ns, fields))
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            """Our log is `found.log`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(found.journal))
    ended = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, args=(0.05,)),
        threading.Thread(target=_read_journal, args=(journal, found, ended)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()
        journal.close()
        found.journal.unlink(missing_ok=True)


def telegram_fields(text: str) -> dict[str, Any]:
    """event, code and text of a message of the bot, by its first line."""
    words = text.split("\n")[0]
    event = "raised"
    for head, name in (("still ", "reminder"), ("over: ", "cleared")):
        if words.startswith(head):
            words, event = words.removeprefix(head), name
    parts = words.split(" ")
    return {"event": event, "severity": parts[0], "code": parts[1].rstrip(":"), "text": text}


def journal_fields(data: bytes) -> dict[str, str]:
    """Fields of an entry, decoded from the native protocol by its own description."""
    found: dict[str, str] = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            found[name.decode()], data = value.decode(), rest
            continue
        (length,) = struct.unpack("<Q", rest[:8])
        found[name.decode()], data = rest[8 : 8 + length].decode(), rest[8 + length + 1 :]
    return found


def _read_journal(journal: socket.socket, found: Receivers, ended: threading.Event) -> None:
    while not ended.is_set():
        if not select.select([journal], [], [], 0.05)[0]:
            continue
        data, at_ns = journal.recv(1 << 18), time.time_ns()
        fields = journal_fields(data)
        named = {"code": fields.get("KITE_HFT_CODE", ""), "event": fields.get("KITE_HFT_EVENT", "")}
        found.log.append(Received("journald", at_ns, fields | named))
