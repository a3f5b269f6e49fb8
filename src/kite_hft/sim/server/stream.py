"""Layer 4, simulator, hot: one websocket connection's frames, without the socket and of any broker.

A broker's own stream (sim/kite/stream.py, sim/upstox/stream.py) says what a message of the client
means and how ticks become a frame; what is due when, what waits and what was sent is the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kite_hft.layout import TICK
from kite_hft.sim.market.source import LATE_NS, Sent, Ticks, Times, join_ticks
from kite_hft.trading.instruments import INDEX_SEGMENT, InstrumentTable

SNAPSHOT_PACKETS: Final = 200
SETTLE_TICKS: Final = 4096
LINGER_NS: Final = 100_000_000
"""A frame that does not fill is sent when its first packet is this old."""

NO_TIMES: Final = np.empty(0, np.int64)


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


class Stream(ABC):
    """What one connection has asked for (`modes`, by slot; 0: nothing), and the frames that wait."""

    def __init__(self, instruments: InstrumentTable, packets_per_frame: int, stamp: bool = False) -> None:
        """`stamp`: write the intended send time over the two total quantities (see `load`)."""
        self.modes = np.zeros(len(instruments), np.uint8)
        self.frames: deque[Frame] = deque()
        self.sent = Sent()
        self.intended_from_ns = 0  # CLOCK_MONOTONIC of the source's start, for stamps
        self.speed = 1.0
        self._tokens = instruments.tokens()
        self._per_frame = packets_per_frame
        self._stamp = stamp
        self._carry_times: Times = NO_TIMES
        self._carry = np.empty(0, TICK)
        self._unsettled: list[Ticks] = []
        self._unsettled_ticks = 0

    # -- what is the broker's own

    @property
    @abstractmethod
    def subscribed(self) -> int:
        """Instruments that this connection holds, known to the exchange or not."""

    @abstractmethod
    def on_message(self, data: bytes, *, binary: bool) -> tuple[list[bytes], list[int]]:
        """A message of the client: (text frames to answer with, slots whose state to send).

        What is no valid message is ignored, as the brokers do.
        """

    @abstractmethod
    def encoded(self, times: Times, ticks: Ticks, ends: Sequence[int]) -> list[bytes]:
        """The frames of some ticks; frame i holds them from ends[i - 1] to ends[i]."""

    @abstractmethod
    def snapshot_frames(self, parts: Sequence[Ticks]) -> list[bytes]:
        """The frames that tell the state of some instruments."""

    @abstractmethod
    def bare(self, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """bool[n]: a reader of the wire gets no day volume of these, in their modes as they are."""

    def ends(self, ticks: Ticks) -> list[int]:
        """Where whole frames end."""
        return list(range(self._per_frame, len(ticks) + 1, self._per_frame))

    # -- what is the same for all

    def snapshot(self, state: Ticks) -> list[Frame]:
        """Frames with the current state of the given rows, due at once."""
        parts = [state[i : i + SNAPSHOT_PACKETS] for i in range(0, len(state), SNAPSHOT_PACKETS)]
        frames = self.snapshot_frames(parts)
        return [Frame(0, data, part, NO_TIMES) for data, part in zip(frames, parts, strict=True)]

    def burst(self, state: Ticks, size: int) -> list[Frame]:
        """The given rows as live frames of `size` instruments, due at once."""
        if not len(state):
            return []
        ends = [min(end, len(state)) for end in range(size, len(state) + size, size)]
        frames = self.encoded(np.zeros(len(state), np.int64), state, ends)
        parts = [state[part] for part in slices(ends)]
        return [Frame(0, data, part, NO_TIMES) for data, part in zip(frames, parts, strict=True)]

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
        ends = self.ends(ticks)
        whole = ends[-1] if ends else 0
        if whole < len(ticks) and (flush or times[-1] - times[whole] > LINGER_NS):
            whole = len(ticks)
            ends.append(whole)
        self._carry_times, self._carry = times[whole:], ticks[whole:]
        if not whole:
            return
        times, ticks = times[:whole], ticks[:whole]
        dues = times[np.array(ends) - 1]
        if self._stamp:
            ticks = self._stamped(ticks, np.repeat(dues, np.diff([0, *ends])))
        frames = self.encoded(times, ticks, ends)
        for due, data, part in zip(dues.tolist(), frames, slices(ends), strict=True):
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
        self._carry_times, self._carry = NO_TIMES, self._carry[:0]
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

    def withhold(self, until_ns: int) -> int:
        """Forget what is due up to `until_ns` after the start of the source: it is never sent.

        Returns how many ticks that were.
        """
        before = self.sent.withheld
        while self.frames and self.frames[0].due_ns <= until_ns:
            self.sent.withheld += len(self.frames.popleft().ticks)
        return self.sent.withheld - before

    def clear(self) -> None:
        """Forget all that is not sent."""
        self.withhold(1 << 62)
        self.sent.withheld += len(self._carry)
        self._carry_times, self._carry = NO_TIMES, self._carry[:0]

    def settle(self) -> None:
        """Bring `sent` up to date: ticks and checksum are added in batches, off the send path."""
        if self._unsettled:
            ticks = join_ticks(self._unsettled)
            self.sent.add_ticks(ticks, self._tokens, self.bare(ticks["slot"]))
            self._unsettled.clear()
            self._unsettled_ticks = 0
            self.settled(ticks)

    def settled(self, ticks: Ticks) -> None:  # noqa: B027 - most have nothing to do here
        """Told of all ticks that were sent, in order, in batches."""


def slices(ends: Sequence[int]) -> Iterator[slice]:
    """The parts that end there."""
    start = 0
    for end in ends:
        yield slice(start, end)
        start = end
