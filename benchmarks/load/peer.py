"""Generator, cold: the server's end of Kite's websocket, on a plain non-blocking socket.

The upgrade (RFC 6455, 4.2: the query must carry api_key and access_token, as Kite asks), client
frames (masked), and Kite's three messages: subscribe, unsubscribe, mode. Nothing here paces. What is
Upstox's own stands in upstox_peer.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, urlsplit

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
REQUEST_BYTES_MAX: Final = 16384
CONTINUE, TEXT, CLOSE, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA


class PeerGone(Exception):
    """The client closed, or is gone."""


@dataclass(slots=True)
class Peer:
    """One client. modes: token -> mode of all that it has subscribed, in that order."""

    sock: socket.socket
    is_open: bool = False  # upgraded
    modes: dict[int, str] = field(default_factory=dict)
    answer: bytes = b""  # must go out between two frames: upgrade response, pong, close
    _input: bytearray = field(default_factory=bytearray)

    def read(self) -> None:
        """Take in what has come.

        Raises:
            PeerGone: end of the connection, or what is no websocket client of Kite's.
        """
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise PeerGone(str(error)) from None
        if not data:
            raise PeerGone("closed")
        self._input += data
        if not self.is_open:
            self._upgrade()
        while self.is_open and self._frame():
            pass

    def _upgrade(self) -> None:
        head, end, rest = bytes(self._input).partition(b"\r\n\r\n")
        if not end:
            if len(self._input) > REQUEST_BYTES_MAX:
                raise PeerGone("no request of a websocket client")
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        target = first.split(" ")[1] if first.count(" ") == 2 else ""
        if answer := self._refused(target, fields):
            self.sock.send(answer)
            raise PeerGone(f"no upgrade: answered {answer[9:12].decode()}")
        key = fields["sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest())
        self.answer += (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._input = bytearray(rest)
        self.is_open = True

    def _refused(self, target: str, fields: Mapping[str, str]) -> bytes:
        """The HTTP answer to a request that is no upgrade, or one that is not let in; b"": it is."""
        query = parse_qs(urlsplit(target).query)
        if fields.get("sec-websocket-key") and "api_key" in query and "access_token" in query:
            return b""
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def _frame(self) -> bool:
        """Handle one client frame; False: it is not whole yet."""
        data = self._input
        if len(data) < 6:
            return False
        size, at = data[1] & 0x7F, 2
        if size == 126:
            (size,), at = struct.unpack_from(">H", data, 2), 4
        elif size == 127 and len(data) >= 10:
            (size,), at = struct.unpack_from(">Q", data, 2), 10
        if len(data) < at + 4 + size:
            return False
        mask, masked = data[at : at + 4], data[at + 4 : at + 4 + size]
        payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(masked))
        opcode = data[0] & 0x0F
        del data[: at + 4 + size]
        if opcode == PING:
            self.answer += bytes((0x80 | PONG, len(payload))) + payload
        elif opcode == CLOSE:
            raise PeerGone("closed in order")
        else:
            self._heard(opcode, payload)
        return True

    def _heard(self, opcode: int, payload: bytes) -> None:
        """A data frame of the client."""
        if opcode != TEXT:
            return
        message = json.loads(payload)
        action, value = message["a"], message["v"]
        if action == "subscribe":
            self.modes |= dict.fromkeys(value, "quote")
        elif action == "unsubscribe":
            for token in value:
                self.modes.pop(token, None)
        elif action == "mode":
            mode, tokens = value
            self.modes |= {token: mode for token in tokens if token in self.modes}

    def close(self) -> None:
        self.sock.close()
