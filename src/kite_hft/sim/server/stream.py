"""Layer 4, simulator, hot: one websocket connection's subscriptions and frames, without the socket.

Text messages in, frames with their due times out. Kite's rules (its websocket page and the
official clients): a bare subscribe means mode quote, no acknowledgement, the current state right
after subscribe and mode, more than 3,000 tokens answered by an error text frame while the earlier
subscriptions stand, tokens that are no JSON numbers silently ignored.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Final, NamedTuple

import numpy as np

from kite_hft.layout import TICK
from kite_hft.sim.kite.frames import FULL, LTP, QUOTE, encode_frames
from kite_hft.sim.market.source import LATE_NS, Encode, Sent, Ticks, Times, join_ticks
from kite_hft.trading.instruments import INDEX_SEGMENT, InstrumentTable

SUBSCRIPTIONS_MAX: Final = 3000
SNAPSHOT_PACKETS: Final = 200
SETTLE_TICKS: Final = 4096
LINGER_NS: Final = 100_000_000
"""A frame that does not fill is sent when its first packet is this old."""

TOO_MANY: Final = b'{"type":"error","data":"Can\'t subscribe to more than 3000 instruments."}'
_NO_TIMES: Final = np.empty(0, np.int64)
_MODES: Final = {"ltp": LTP, "quote": QUOTE, "full": FULL}


class Frame(NamedTuple):
    """One binary frame and when it is due (ns after the start of the source).

    `ticks` are those that a reader gets of it; a damaged frame says what else it holds or lost.
    """

    due_ns: int
    data: bytes
    ticks: Ticks
    times: Times
    spoiled: int = 0
    unknown: int = 0


class Stream:
    """What one connection has asked for, and the frames that wait to be sent to it."""

    def __init__(self, instruments: InstrumentTable, packets_per_frame: int, stamp: bool = False) -> None:
        """`stamp`: write the intended send time over the two total quantities (see `load`)."""
        self.modes = np.zeros(len(instruments), np.uint8)
        self.frames: deque[Frame] = deque()
        self.sent = Sent()
        self.encode: Encode = encode_frames  # a recording has its own
        self.intended_from_ns = 0  # CLOCK_MONOTONIC of the source's start, for stamps
        self.speed = 1.0
        self._tokens = instruments.tokens()
        self._slots = {row.token: row.slot for row in instruments}
        self._unknown: set[int] = set()
        self._per_frame = packets_per_frame
        self._stamp = stamp
        self._carry_times: Times = _NO_TIMES
        self._carry = np.empty(0, TICK)
        self._unsettled: list[Ticks] = []
        self._unsettled_ticks = 0

    @property
    def subscribed(self) -> int:
        """Tokens that this connection holds, known to the exchange or not."""
        return int(np.count_nonzero(self.modes)) + len(self._unknown)

    def on_text(self, text: bytes) -> tuple[list[bytes], list[int]]:
        """A message of the client: (text frames to answer with, slots whose state to send).

        What is no valid message is ignored, as the broker does.
        """
        try:
            message = json.loads(text)
        except ValueError:
            return [], []
        if not isinstance(message, dict):
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

    def snapshot(self, state: Ticks) -> list[Frame]:
        """Frames with the current state of the given rows, due at once."""
        frames = self.encode(state, self._tokens, self.modes, SNAPSHOT_PACKETS)
        parts = [state[i : i + SNAPSHOT_PACKETS] for i in range(0, len(state), SNAPSHOT_PACKETS)]
        return [Frame(0, data, part, _NO_TIMES) for data, part in zip(frames, parts, strict=True)]

    def load(self, times: Times, ticks: Ticks, flush: bool = False) -> None:
        """Encode what this connection asked for; a frame is due when its last tick is.

        With stamps, the intended send time of the frame (CLOCK_MONOTONIC, ns) stands in each
        tradable packet: high 32 bits in total_buy_qty, low 32 bits in total_sell_qty.
        """
        wanted = self.modes[ticks["slot"]] > 0
        if not wanted.all():
            times, ticks = times[wanted], ticks[wanted]
        if len(self._carry):
            times = np.concatenate([self._carry_times, times])
            ticks = join_ticks([self._carry, ticks])
        size = self._per_frame
        whole = len(ticks) // size * size
        if whole < len(ticks) and (flush or times[-1] - times[whole] > LINGER_NS):
            whole = len(ticks)
        self._carry_times, self._carry = times[whole:], ticks[whole:]
        if not whole:
            return
        times, ticks = times[:whole], ticks[:whole]
        dues = times[np.minimum(np.arange(size - 1, whole + size - 1, size), whole - 1)]
        if self._stamp:
            ticks = self._stamped(ticks, np.repeat(dues, size)[:whole])
        frames = self.encode(ticks, self._tokens, self.modes, size)
        for i, (due, data) in enumerate(zip(dues.tolist(), frames, strict=True)):
            part = slice(i * size, (i + 1) * size)
            self.frames.append(Frame(due, data, ticks[part], times[part]))

    def _stamped(self, ticks: Ticks, dues: Times) -> Ticks:
        ticks = ticks.copy()
        intended = self.intended_from_ns + (dues / self.speed if self.speed else dues).astype(np.int64)
        tradable = (self._tokens[ticks["slot"]] & 0xFF) != INDEX_SEGMENT
        ticks["total_buy_qty"][tradable] = (intended >> 32)[tradable]
        ticks["total_sell_qty"][tradable] = (intended & 0xFFFFFFFF)[tradable]
        return ticks

    def reload(self, times: Times, ticks: Ticks) -> None:
        """Encode anew all that is not sent, after a change of subscriptions or modes.

        `times`, `ticks`: what is still to come of instruments that were not subscribed before.
        """
        waiting = [(frame.times, frame.ticks) for frame in self.frames]
        waiting += [(self._carry_times, self._carry), (times, ticks)]
        self.frames.clear()
        self._carry_times, self._carry = _NO_TIMES, self._carry[:0]
        all_times = np.concatenate([t for t, _ in waiting])
        order = np.argsort(all_times, kind="stable")
        self.load(all_times[order], join_ticks([part for _, part in waiting])[order])

    def record(self, frame: Frame, delay_ns: int, snapshot: bool = False) -> None:
        """Count a frame that has been handed to the socket."""
        sent = self.sent
        sent.frames += 1
        sent.bytes += len(frame.data)
        sent.packets += len(frame.ticks) + frame.unknown
        sent.spoiled += frame.spoiled
        self._unsettled.append(frame.ticks)
        self._unsettled_ticks += len(frame.ticks)
        if snapshot:
            sent.snapshot_ticks += len(frame.ticks)
        elif delay_ns > sent.max_delay_ns:
            sent.max_delay_ns = delay_ns
        if not snapshot and delay_ns > LATE_NS:
            sent.late_frames += 1
        if self._unsettled_ticks > SETTLE_TICKS:
            self.settle()

    def withhold(self, until_ns: int) -> None:
        """Forget what is due up to `until_ns` after the start of the source: it is never sent."""
        while self.frames and self.frames[0].due_ns <= until_ns:
            self.sent.withheld += len(self.frames.popleft().ticks)

    def clear(self) -> None:
        """Forget all that is not sent."""
        self.withhold(1 << 62)
        self.sent.withheld += len(self._carry)
        self._carry_times, self._carry = _NO_TIMES, self._carry[:0]

    def settle(self) -> None:
        """Bring `sent` up to date: ticks and checksum are added in batches, off the send path."""
        if self._unsettled:
            self.sent.add_ticks(join_ticks(self._unsettled), self._tokens, self.modes)
            self._unsettled.clear()
            self._unsettled_ticks = 0


def _tokens(value: Any) -> list[int]:
    """The JSON numbers of a token list; anything else is passed over."""
    if not isinstance(value, list):
        return []
    return [token for token in value if isinstance(token, int) and not isinstance(token, bool)]
