"""Layer 4, simulator, hot: one connection of Kite's websocket: its subscriptions and frames.

Text messages in, frames out. Kite's rules (its websocket page and the official clients): a bare
subscribe means mode quote, no acknowledgement, the current state right after subscribe and mode,
more than 3,000 tokens answered by an error text frame while the earlier subscriptions stand,
tokens that are no JSON numbers silently ignored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.sim.kite.frames import FULL, LTP, QUOTE, encode_frames
from kite_hft.sim.market.source import Encode, Ticks, Times
from kite_hft.sim.server.stream import SNAPSHOT_PACKETS, Stream
from kite_hft.trading.instruments import INDEX_SEGMENT, InstrumentTable

SUBSCRIPTIONS_MAX: Final = 3000
TOO_MANY: Final = b'{"type":"error","data":"Can\'t subscribe to more than 3000 instruments."}'
_MODES: Final = {"ltp": LTP, "quote": QUOTE, "full": FULL}


class KiteStream(Stream):
    """What one connection has asked for, and the frames that wait to be sent to it."""

    def __init__(
        self,
        instruments: InstrumentTable,
        packets_per_frame: int,
        stamp: bool = False,
        encode: Encode = encode_frames,
    ) -> None:
        """`encode`: a recording has its own."""
        super().__init__(instruments, packets_per_frame, stamp)
        self._encode = encode
        self._slots = {row.token: row.slot for row in instruments}
        self._unknown: set[int] = set()

    @property
    def subscribed(self) -> int:
        """Tokens that this connection holds, known to the exchange or not."""
        return int(np.count_nonzero(self.modes)) + len(self._unknown)

    def on_message(self, data: bytes, *, binary: bool) -> tuple[list[bytes], list[int]]:
        """A message of the client; what is no text frame of JSON with a known action is ignored."""
        try:
            message = json.loads(data)
        except ValueError:
            return [], []
        if binary or not isinstance(message, dict):
            return [], []
        self.settle()  # what was sent so far was sent in the modes so far
        action, value = message.get("a"), message.get("v")
        if action == "subscribe":
            return self._subscribe(_tokens(value))
        if action == "unsubscribe":
            for token in _tokens(value):
                self._unknown.discard(token)
                if token in self._slots:
                    self.modes[self._slots[token]] = 0
            return [], []
        if action == "mode" and isinstance(value, list) and len(value) == 2 and value[0] in _MODES:
            return [], self._set_mode(_MODES[value[0]], _tokens(value[1]))
        return [], []

    def _subscribe(self, tokens: list[int]) -> tuple[list[bytes], list[int]]:
        fresh: list[int] = []
        for token in tokens:
            slot = self._slots.get(token)
            if token in self._unknown or (slot is not None and self.modes[slot]):
                continue
            if self.subscribed >= SUBSCRIPTIONS_MAX:
                return [TOO_MANY], fresh
            if slot is None:
                self._unknown.add(token)
            else:
                self.modes[slot] = QUOTE
                fresh.append(slot)
        return [], fresh

    def _set_mode(self, mode: int, tokens: list[int]) -> list[int]:
        slots = [self._slots[t] for t in tokens if t in self._slots]
        slots = [slot for slot in slots if self.modes[slot]]
        self.modes[slots] = mode
        return slots

    def encoded(self, times: Times, ticks: Ticks, ends: Sequence[int]) -> list[bytes]:
        """Frames of equal size; the last may be shorter."""
        return self._encode(ticks, self._tokens, self.modes, ends[0])

    def snapshot_frames(self, parts: Sequence[Ticks]) -> list[bytes]:
        """Like any other frames."""
        return [
            frame
            for part in parts
            for frame in self._encode(part, self._tokens, self.modes, SNAPSHOT_PACKETS)
        ]

    def bare(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Mode ltp, and indices in every mode."""
        bare: npt.NDArray[np.bool_] = (self.modes[slots] == LTP) | (
            (self._tokens[slots] & 0xFF) == INDEX_SEGMENT
        )
        return bare


def _tokens(value: Any) -> list[int]:
    """The JSON numbers of a token list; anything else is passed over."""
    if not isinstance(value, list):
        return []
    return [token for token in value if isinstance(token, int) and not isinstance(token, bool)]
