"""Generator, hot: the pre-encoded V3 frames of one Upstox connection.

As frames.py, for Upstox's protobuf: a round is each key of the connection once, in live_feed frames of
`packets` keys. Messages differ in length, so the places of what changes are found once: the last price
of each key (a double), and in mode full its open interest, where the frame's intended send time stands
(CLOCK_MONOTONIC in microseconds modulo 2^32), which the engine reads with performance.send_stamp. Once a
second currentTs moves on. Prices lie on the instrument's grid; indices are sent as tradable keys are.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt
from cython_peers import extension

from kite_hft.kernels.checksum import tick_checksum
from kite_hft.sim.upstox.frames import (
    LIVE_FEED,
    LTPC,
    MINUTE_PART,
    MODES,
    KeyCells,
    encode_entries,
    frame,
)
from kite_hft.sim.upstox.protobuf import varint
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.trading.instruments import InstrumentTable
from load.frames import PRICE_ROUNDS, header, price_table

PING: Final = b"\x89\x00"
"""What an idle connection of Upstox gets: a websocket ping."""
STAMP_FROM_END: Final = 44
"""The last key's stamp begins so many bytes before the end of a frame in mode full."""
_PRICE_TAG, _OI_TAG = b"\x09", b"\x39"
_PRICE_MARK: Final = struct.pack("<d", 1.1897314953572317e300)
_OI_MARK: Final = struct.pack("<d", 7.2057594037927931e299)
_TIME_BYTES: Final = 6  # of an epoch in ms, until the year 2109


class FramesV3:
    """One connection's round of frames; the same face as load.frames.Frames.

    ticks: (n,) TICK, the state that is encoded, one per key; instruments, slots: (n,) whose they are; keys:
    of all slots.

    Raises:
        ValueError: packets_per_frame out of 1..3000, or an unknown mode.
    """

    def __init__(
        self,
        ticks: npt.NDArray[np.void],
        slots: npt.NDArray[np.intp],
        instruments: InstrumentTable,
        keys: KeyCells,
        mode: str,
        packets: int,
    ):
        if not 1 <= packets <= 3000:
            raise ValueError(f"{packets} keys in a frame: between 1 and 3000")
        if mode not in MODES:
            raise ValueError(f"mode {mode!r}: one of {', '.join(MODES)}")
        self.mode = mode
        self.tokens = instruments.tokens()[slots]
        self.packets = min(packets, len(slots))
        self._volume = ticks["volume"] if MODES[mode] != LTPC else np.zeros(len(ticks), np.int64)
        grid = np.array([max(1, instruments[int(slot)].tick_px) for slot in slots], np.int64)
        table = price_table(ticks["last_px"]).astype(np.int64)
        self._table = np.maximum(table // grid * grid, grid).astype(np.int32)
        self._rupees = self._table / instruments.scales()[slots]
        self._put = extension("patch").put_doubles
        self._lay(self._entries(ticks, slots, instruments, keys), mode == "full")

    def _entries(
        self,
        ticks: npt.NDArray[np.void],
        slots: npt.NDArray[np.intp],
        instruments: InstrumentTable,
        keys: KeyCells,
    ) -> list[bytes]:
        """The keys' parts of frames, in order, with marks where something is written later."""
        own = ticks.copy()
        own["slot"] = slots
        rows = FeedRows(instruments).rows(own)
        rows["ltp"], rows["oi"] = struct.unpack("<dd", _PRICE_MARK + _OI_MARK)
        for name in ("iv", "tbq", "tsq"):
            rows[name][rows[name] == 0] = 1.0  # what is 0 is left out: every tail has one length
        rows["minute"], rows["minute_vol"], rows["minute_ts"] = rows["day"], rows["ltq"], rows["day_ts"]
        rows["parts"] |= MINUTE_PART
        rows["index"] = False
        modes = np.full(len(instruments), MODES[self.mode], np.uint8)
        return encode_entries(rows, slots, modes, keys)

    def _lay(self, entries: list[bytes], stamped: bool) -> None:
        """All frames behind one another, with their websocket headers, and where what changes stands."""
        made, starts, prices, stamps, times = bytearray(), [0], [], [], []
        for first in range(0, len(entries), self.packets):
            payload = frame(LIVE_FEED, entries[first : first + self.packets], 1 << 40)
            made += header(len(payload))
            at = len(made) + 2  # behind `type`
            for entry in entries[first : first + self.packets]:
                prices.append(at + entry.index(_PRICE_TAG + _PRICE_MARK) + 1)
                if stamped:
                    stamps.append(at + entry.index(_OI_TAG + _OI_MARK) + 1)
                at += len(entry)
            made += payload
            times.append(len(made) - _TIME_BYTES)
            starts.append(len(made))
        self.data = made
        self.view = memoryview(made)
        self.count = len(starts) - 1
        self._starts = starts
        self._price_at = np.array(prices, np.int64)
        self._stamp_at = np.array(stamps, np.int64)
        self._time_at = times
        self._put(made, self._price_at, self._rupees[0])

    def take(self, number: int, most: int) -> tuple[int, int, memoryview, None]:
        """From frame `number` (of all that were ever sent) on: (how many frames, the first of them in its
        round, their bytes, nothing), at most `most` and all of one round."""
        within = number % self.count
        n = min(most, self.count - within)
        return n, within, self.view[self._starts[within] : self._starts[within + n]], None

    def write(self, number: int, n: int, within: int, part: None, stamps: npt.NDArray[np.uint32]) -> None:
        """Price and intended send times ((n,) µs) of `take`'s frames."""
        keys = slice(within * self.packets, min((within + n) * self.packets, len(self.tokens)))
        row = self._rupees[number // self.count % PRICE_ROUNDS, keys]
        self._put(self.data, self._price_at[keys], row)
        if len(self._stamp_at):
            told = np.repeat(stamps.astype(np.float64), self.packets)[: keys.stop - keys.start]
            self._put(self.data, self._stamp_at[keys], told)

    def set_time(self, exchange_s: int) -> None:
        """currentTs of all frames. Not while some of the round waits to be sent."""
        told = varint(exchange_s * 1000)
        for at in self._time_at:
            self.data[at : at + _TIME_BYTES] = told

    def ticks(self, frames: int) -> int:
        """Keys in the first `frames` frames ever sent."""
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
        return tick_checksum(self.tokens[:n], self._table[row, :n], self._volume[:n])
