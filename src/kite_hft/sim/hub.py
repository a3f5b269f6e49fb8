"""Layer 4, simulator, hot: from a source to the exchange and to every connection, at its time.

Pure: no socket, no clock. The server (or a test) says what time it is and gives each connection a
way to send. Ticks are taken from the source a little ahead and encoded; the exchange sees a tick,
and a frame leaves, when it is due. Nothing is dropped: while a connection is behind, no more is
taken from the source, so memory stays bounded and the delay is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from kite_hft.layout import TICK
from kite_hft.sim.source import Sent, Source, Ticks, Times, join_ticks
from kite_hft.sim.stream import Frame, Stream

AHEAD_NS: Final = 20_000_000
"""How far ahead ticks are encoded (wall time)."""
EXCHANGE_LAG_NS: Final = 1_000_000
"""The exchange is told of ticks when a frame leaves or a request comes, or else after this long."""
CHUNK_TICKS: Final = 8192
BEHIND_FRAMES: Final = 4096
"""A connection with more unsent frames than this holds the source back."""


class Link:
    """One connection: its Stream and how to write to it. `ready` is False while its buffer is full.

    `send_binary` returns the CLOCK_MONOTONIC time at which it had handed the frame on.
    """

    def __init__(
        self, stream: Stream, send_binary: Callable[[bytes], int], send_text: Callable[[bytes], None]
    ) -> None:
        self.stream = stream
        self.send_binary = send_binary
        self.send_text = send_text
        self.ready = True
        self.last_sent_ns = 0


class Hub:
    """Feeds the exchange and the links from one source."""

    def __init__(
        self,
        source: Source,
        deliver: Callable[[Ticks, int], None],
        state: Callable[[list[int]], Ticks],
        packets_per_frame: int = 1,
        speed: float = 1.0,
        stamp: bool = False,
    ) -> None:
        """`deliver(ticks, now_ns)`: the exchange; `state(slots)`: TICK rows known of these slots;
        `speed`: source seconds per second, 0: as fast as the slowest connection drains."""
        self.source = source
        self.links: list[Link] = []
        self.total = Sent()
        self.taken = 0
        self.ended = False
        self.speed = speed
        self.started_ns: int | None = None
        self._deliver = deliver
        self._state = state
        self._per_frame = packets_per_frame
        self._stamp = stamp
        self._times: Times = np.empty(0, np.int64)
        self._ticks: Ticks = np.empty(0, TICK)
        self._horizon = 0  # source time up to which ticks are taken

    def start(self, now_ns: int) -> None:
        """The source's clock begins to run at CLOCK_MONOTONIC `now_ns`."""
        self.started_ns = now_ns
        for link in self.links:
            link.stream.intended_from_ns = now_ns

    def connect(self, send_binary: Callable[[bytes], int], send_text: Callable[[bytes], None]) -> Link:
        """A new connection."""
        stream = Stream(self.source.instruments, self._per_frame, self._stamp)
        stream.speed = self.speed
        stream.intended_from_ns = self.started_ns or 0
        link = Link(stream, send_binary, send_text)
        self.links.append(link)
        return link

    def disconnect(self, link: Link) -> None:
        """The connection is gone; what it was sent stays counted."""
        if link in self.links:
            self.links.remove(link)
            link.stream.settle()
            self.total.add(link.stream.sent)

    def on_text(self, link: Link, text: bytes, now_ns: int) -> None:
        """A client's message: answers, the state of the instruments it names, and what follows."""
        stream = link.stream
        before = stream.modes.copy()
        answers, slots = stream.on_text(text)
        for answer in answers:
            link.send_text(answer)
            stream.sent.texts += 1
        if slots:
            for frame in stream.snapshot(self._state(slots)):
                self._send(link, frame, now_ns, now_ns, snapshot=True)
        if not np.array_equal(before, stream.modes):
            fresh = (before == 0)[self._ticks["slot"]]
            stream.reload(self._times[fresh], self._ticks[fresh])

    def step(self, now_ns: int) -> int:
        """Do all that is due at CLOCK_MONOTONIC `now_ns`; returns frames sent."""
        if self.started_ns is None:
            return 0
        elapsed = int((now_ns - self.started_ns) * self.speed)
        if self.speed:
            self._take(elapsed + int(AHEAD_NS * self.speed))
        else:
            elapsed = 1 << 62
            self._take(elapsed)
        due = int(np.searchsorted(self._times, elapsed, "right"))
        if due:
            self._deliver(self._ticks[:due], now_ns)
            self._times, self._ticks = self._times[due:], self._ticks[due:]
        sent = 0
        for link in self.links:
            sent += self._send_due(link, elapsed, now_ns)
        return sent

    def next_ns(self) -> int | None:
        """CLOCK_MONOTONIC time of the next work; None: nothing until a connection changes."""
        if self.started_ns is None or not self.speed:
            return None
        dues = [link.stream.frames[0].due_ns for link in self.links if link.stream.frames and link.ready]
        if len(self._times):
            dues.append(int(self._times[0]) + int(EXCHANGE_LAG_NS * self.speed))
        if not self.ended and not self.behind:
            # Half of what was taken ahead is used up before more is taken.
            dues.append(self._horizon - int(AHEAD_NS * self.speed) // 2)
        return self.started_ns + int(min(dues) / self.speed) + 1 if dues else None

    @property
    def behind(self) -> bool:
        """Some connection has so much unsent that the source must wait."""
        return any(len(link.stream.frames) > BEHIND_FRAMES for link in self.links)

    @property
    def drained(self) -> bool:
        """The source has ended and all of it has been sent."""
        return self.ended and not any(link.stream.frames for link in self.links)

    def stats(self) -> dict[str, object]:
        """All that was sent, in all and by open connection; `taken`: ticks taken from the source."""
        whole = Sent()
        whole.add(self.total)
        for link in self.links:
            link.stream.settle()
            whole.add(link.stream.sent)
        return whole.as_dict() | {
            "taken": self.taken,
            "ended": self.ended,
            "started": self.started_ns is not None,
            "connections": [
                link.stream.sent.as_dict() | {"subscribed": link.stream.subscribed} for link in self.links
            ],
        }

    def _take(self, until: int) -> None:
        if self.ended or self.behind or (self.speed and until - self._horizon < AHEAD_NS * self.speed // 2):
            return
        if not self.speed and any(link.stream.frames for link in self.links):
            return
        while True:
            times, ticks = self.source.take(until, CHUNK_TICKS)
            self.taken += len(ticks)
            self.ended = self.source.next_ns() is None
            self._times = np.concatenate([self._times, times])
            self._ticks = join_ticks([self._ticks, ticks])
            for link in self.links:
                link.stream.load(times, ticks, flush=self.ended)
            if len(ticks) < CHUNK_TICKS:
                self._horizon = until
            if len(ticks) < CHUNK_TICKS or self.behind or not self.speed:
                return

    def _send_due(self, link: Link, elapsed: int, now_ns: int) -> int:
        frames, sent = link.stream.frames, 0
        while frames and frames[0].due_ns <= elapsed and link.ready:
            frame = frames.popleft()
            intended = (self.started_ns or 0) + int(frame.due_ns / self.speed) if self.speed else now_ns
            self._send(link, frame, now_ns, intended)
            sent += 1
        return sent

    def _send(self, link: Link, frame: Frame, now_ns: int, intended_ns: int, snapshot: bool = False) -> None:
        handed_ns = link.send_binary(frame.data)
        link.last_sent_ns = now_ns
        link.stream.record(frame, handed_ns - intended_ns, snapshot)
