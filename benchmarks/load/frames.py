"""Generator, hot: the pre-encoded frames of one connection.

A round is each instrument of the connection once, in frames of `packets` packets, with their
websocket headers, one after another in one piece of memory. Before a stretch of it is sent two
fields of each packet are written in place: the price (the next row of a small table, so that the
checksum of everything ever sent follows from the number of frames alone) and, in mode full, the
frame's intended send time (CLOCK_MONOTONIC in microseconds modulo 2^32) over the day's highest
open interest, where the engine reads it with performance.send_stamp. Once a second the exchange
time moves on. All instruments get packets of the tradable kind, indices too: frames of one size.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.brokers.kite.wire import MODES
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.sim.kite.frames import encode_frames

HEARTBEAT: Final = b"\x82\x01\x00"
"""What Kite sends once a second on a quiet connection: a binary frame of one byte."""
PRICE_ROUNDS: Final = 32
PACKET_BYTES: Final = {"ltp": 8, "quote": 44, "full": 184}
_EQUITY: Final = 1  # a tradable segment
_PRICE_AT: Final = 2 + 4  # after the packet's length and token
_STAMP_AT: Final = 2 + 52
_TIME_AT: Final = 2 + 60


def header(size: int) -> bytes:
    """The websocket header of a server's binary frame of `size` bytes (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x82, size))
    if size < 1 << 16:
        return struct.pack(">BBH", 0x82, 126, size)
    return struct.pack(">BBQ", 0x82, 127, size)


@dataclass(frozen=True, slots=True)
class Part:
    """Frames of one size: `frames` of `packets` packets each, from frame `first` and byte `at` on."""

    first: int
    frames: int
    packets: int
    at: int
    frame_bytes: int
    px: npt.NDArray[np.uint32]  # (frames, packets) views into the round
    prices: npt.NDArray[np.uint32]  # (PRICE_ROUNDS, frames, packets)
    stamp: npt.NDArray[np.uint32] | None
    time: npt.NDArray[np.uint32] | None


class Frames:
    """One connection's round of frames.

    ticks: (n,) TICK, one per instrument, the state that is encoded; tokens: (n,) uint32.

    Raises:
        ValueError: packets_per_frame out of 1..3000, or an unknown mode.
    """

    def __init__(self, ticks: npt.NDArray[np.void], tokens: npt.NDArray[np.uint32], mode: str, packets: int):
        if not 1 <= packets <= 3000:
            raise ValueError(f"{packets} packets in a frame: between 1 and 3000")
        self.mode = mode
        self.tokens = tokens
        self.packets = min(packets, len(tokens))
        self._volume = ticks["volume"] if mode != "ltp" else np.zeros(len(ticks), np.int64)
        self._table = price_table(ticks["last_px"])
        encoded = self._encode(ticks)
        whole = b"".join(header(len(payload)) + payload for payload in encoded)
        self.data = bytearray(whole)
        self.view = memoryview(self.data)
        self.count = len(encoded)
        full = len(tokens) // self.packets
        self._parts = [self._part(0, full, self.packets, 0, len(encoded[0]))]
        if full < self.count:
            at = self._parts[0].frame_bytes * full
            rest = len(tokens) - full * self.packets
            self._parts.append(self._part(full, 1, rest, at, len(encoded[-1])))

    def _encode(self, ticks: npt.NDArray[np.void]) -> list[bytes]:
        """Payloads with packets of one size; the tokens of indices are put in afterwards."""
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r}: one of {', '.join(MODES)}")
        own = ticks.copy()
        own["slot"] = np.arange(len(own))
        tradable = self.tokens & np.uint32(0xFFFFFF00) | np.uint32(_EQUITY)
        modes = np.full(len(own), MODES[self.mode], np.uint8)
        step = 2 + PACKET_BYTES[self.mode]
        made = []
        for number, payload in enumerate(encode_frames(own, tradable, modes, self.packets)):
            frame = bytearray(payload)
            mine = self.tokens[number * self.packets : (number + 1) * self.packets]
            np.ndarray(len(mine), ">u4", frame, 2 + 2, (step,))[:] = mine
            made.append(bytes(frame))
        return made

    def _part(self, first: int, frames: int, packets: int, at: int, payload_bytes: int) -> Part:
        head = len(header(payload_bytes))
        step = 2 + PACKET_BYTES[self.mode]
        frame_bytes = head + payload_bytes

        def field(offset: int) -> npt.NDArray[np.uint32]:
            start = at + head + 2 + offset
            return np.ndarray((frames, packets), ">u4", self.data, start, (frame_bytes, step))

        low = first * self.packets
        prices = self._table[:, low : low + frames * packets].reshape(PRICE_ROUNDS, frames, packets)
        stamped = self.mode == "full"
        return Part(
            first, frames, packets, at, frame_bytes, field(_PRICE_AT), prices,
            field(_STAMP_AT) if stamped else None, field(_TIME_AT) if stamped else None,
        )  # fmt: skip

    def take(self, number: int, most: int) -> tuple[int, int, memoryview, Part]:
        """From frame `number` (of all that were ever sent) on: (how many frames, first of them in its
        part, their bytes, their part), at most `most` and all within one part of one round."""
        index = number % self.count
        part = self._parts[-1] if index >= self._parts[-1].first else self._parts[0]
        within = index - part.first
        n = min(most, part.frames - within)
        start = part.at + within * part.frame_bytes
        return n, within, self.view[start : start + n * part.frame_bytes], part

    def write(self, number: int, n: int, within: int, part: Part, stamps: npt.NDArray[np.uint32]) -> None:
        """Price and intended send times ((n,) µs, big-endian) of `take`'s frames."""
        rows = slice(within, within + n)
        part.px[rows] = part.prices[number // self.count % PRICE_ROUNDS, rows]
        if part.stamp is not None:
            part.stamp[rows] = stamps[:, None]

    def set_time(self, exchange_s: int) -> None:
        """Exchange time of all packets. Not while some of the round waits to be sent."""
        for part in self._parts:
            if part.time is not None:
                part.time[:] = exchange_s

    def ticks(self, frames: int) -> int:
        """Packets in the first `frames` frames ever sent."""
        rounds, rest = divmod(frames, self.count)
        return rounds * len(self.tokens) + min(rest * self.packets, len(self.tokens))

    def checksum(self, frames: int) -> int:
        """What the engine's stages sum up over the first `frames` frames ever sent."""
        rounds, rest = divmod(frames, self.count)
        total = 0
        for row in range(PRICE_ROUNDS):
            times = rounds // PRICE_ROUNDS + (row < rounds % PRICE_ROUNDS)
            total += times * self._sum(row, len(self.tokens)) if times else 0
        if rest:
            total += self._sum(rounds % PRICE_ROUNDS, min(rest * self.packets, len(self.tokens)))
        return total % 2**64

    def _sum(self, row: int, n: int) -> int:
        px = self._table[row, :n].astype(np.int32)
        return tick_checksum(self.tokens[:n], px, self._volume[:n])


def price_table(base_px: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    """(PRICE_ROUNDS, n) big-endian prices: a closed walk of at most 0.1 % around each base price."""
    turn = np.arange(PRICE_ROUNDS) * (2 * np.pi / PRICE_ROUNDS)
    shape = (np.sin(turn) + np.sin(3 * turn) / 2)[:, None]
    phase = np.arange(len(base_px)) % PRICE_ROUNDS
    walk = np.take_along_axis(
        np.broadcast_to(shape, (PRICE_ROUNDS, len(base_px))),
        (np.arange(PRICE_ROUNDS)[:, None] + phase) % PRICE_ROUNDS,
        axis=0,
    )
    moved = base_px + np.rint(walk * base_px * 7e-4).astype(np.int64)
    return np.maximum(1, moved).astype(">u4")
