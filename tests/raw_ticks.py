"""A reader of Kite's binary frames in plain struct, and a websocket client that is not the official one.

Written from the broker's description alone, so that an error of the simulator's encoder is not
repeated here.
"""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import websocket

GAMMA, MASK = 0x9E3779B97F4A7C15, 2**64 - 1
TRADABLE = (
    "token",
    "last",
    "last_quantity",
    "average",
    "volume",
    "buy",
    "sell",
    "open",
    "high",
    "low",
    "close",
)
INDEX = ("token", "last", "high", "low", "open", "close", "change")


class Malformed(Exception):
    """A frame or packet that is not as described; args: class, ticks read before it."""


def packet(body: bytes) -> dict[str, Any] | None:
    """One packet; None: a length that is in no table."""
    if len(body) == 8:
        return dict(zip(("token", "last"), struct.unpack(">2I", body), strict=True)) | {"mode": "ltp"}
    if len(body) in (28, 32):
        tick: dict[str, Any] = dict(zip(INDEX, struct.unpack(">7I", body[:28]), strict=True))
        if len(body) == 32:
            tick["time"] = struct.unpack(">I", body[28:])[0]
        return tick | {"mode": "full" if len(body) == 32 else "quote"}
    if len(body) not in (44, 184):
        return None
    tick = dict(zip(TRADABLE, struct.unpack(">11I", body[:44]), strict=True)) | {"mode": "quote"}
    if len(body) == 184:
        tick["mode"] = "full"
        names = ("trade_time", "oi", "oi_high", "oi_low", "time")
        tick |= dict(zip(names, struct.unpack(">5I", body[44:64]), strict=True))
        levels = [struct.unpack(">IIH2x", body[at : at + 12]) for at in range(64, 184, 12)]
        tick["bids"], tick["asks"] = levels[:5], levels[5:]
    return tick


def parse(frame: bytes) -> tuple[list[dict[str, Any]], int]:
    """(ticks, packets of an unknown length) of a frame.

    Raises:
        Malformed: wrong_count, cut_packet or trailing_bytes, and what was read until there.
    """
    (left,) = struct.unpack_from(">H", frame)
    at, ticks, unknown = 2, [], 0
    while left:
        if at == len(frame):
            raise Malformed("wrong_count", ticks)
        if at + 2 > len(frame):
            raise Malformed("cut_packet", ticks)
        (length,) = struct.unpack_from(">H", frame, at)
        if at + 2 + length > len(frame):
            raise Malformed("cut_packet", ticks)
        read = packet(frame[at + 2 : at + 2 + length])
        unknown += read is None
        ticks += [read] if read is not None else []
        at, left = at + 2 + length, left - 1
    if at != len(frame):
        raise Malformed("trailing_bytes", ticks)
    return ticks, unknown


def checksum(ticks: list[dict[str, Any]]) -> int:
    """splitmix64's finaliser over (token, last price, volume), summed."""
    total = 0
    for tick in ticks:
        z = ((tick["token"] << 32 | tick["last"]) + GAMMA & MASK) ^ (tick.get("volume", 0) * GAMMA & MASK)
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        total += z ^ z >> 31
    return total & MASK


class Client:
    """websocket-client on one connection; everything it got, in order, with arrival times."""

    def __init__(self, url: str) -> None:
        self.ws = websocket.WebSocket()
        self.ws.settimeout(20)
        self.ws.connect(url, suppress_origin=True)
        self.ws.settimeout(0.05)
        self.ticks: list[dict[str, Any]] = []
        self.frames: list[tuple[float, int]] = []  # (time, bytes) of binary frames
        self.texts: list[tuple[float, dict[str, Any]]] = []
        self.malformed: list[str] = []
        self.unknown = 0
        self.heartbeats = 0
        self.pongs: list[bytes] = []
        self.ended: str | None = None  # "close CODE", "eof" or "reset"

    def say(self, action: str, value: Any) -> None:
        self.ws.send(json.dumps({"a": action, "v": value}))

    def subscribe(self, tokens: list[int], mode: str = "full") -> None:
        self.say("subscribe", tokens)
        self.say("mode", [mode, tokens])

    def read(self, seconds: float = 20.0, until: Any = None) -> Any:
        """Take in what comes, for so long or until `until()` is true; returns that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.ended is None:
            if until is not None and (met := until()):
                return met
            self._once()
        return until() if until is not None else None

    def _once(self) -> None:
        try:
            code, data = self.ws.recv_data(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return
        except ConnectionResetError:
            self.ended = "reset"
            return
        except websocket.WebSocketConnectionClosedException:
            self.ended = "eof"
            return
        now = time.monotonic()
        if code == websocket.ABNF.OPCODE_BINARY:
            self.frames.append((now, len(data)))
            self._binary(data)
        elif code == websocket.ABNF.OPCODE_TEXT:
            self.texts.append((now, json.loads(data)))
        elif code == websocket.ABNF.OPCODE_PONG:
            self.pongs.append(data)
        elif code == websocket.ABNF.OPCODE_CLOSE:
            self.ended = f"close {struct.unpack('>H', data[:2])[0]}"

    def _binary(self, data: bytes) -> None:
        if len(data) == 1:
            self.heartbeats += 1
            return
        try:
            ticks, unknown = parse(data)
        except Malformed as error:
            self.malformed.append(error.args[0])
            self.ticks += error.args[1]
        else:
            self.ticks += ticks
            self.unknown += unknown

    def updates(self) -> list[dict[str, Any]]:
        """Data of the order updates, in order."""
        return [text["data"] for _, text in self.texts if text["type"] == "order"]

    def close(self) -> None:
        self.ws.settimeout(5)
        self.ws.close()
