"""Layer 4, simulator, hot: from a source to the exchange and to every connection, at its time.

Pure: no socket, no clock. The server (or a test) says what time it is and gives each connection a
way to send. Ticks are taken from the source a little ahead and encoded; the exchange sees a tick,
and a frame leaves, when it is due. Nothing is dropped: while a connection is behind, no more is
taken from the source, so memory stays bounded and the delay is recorded.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import TICK
from kite_hft.sim.market.source import Sent, Source, Ticks, Times, join_ticks
from kite_hft.sim.server.stream import Frame, Stream

AHEAD_NS: Final = 20_000_000
"""How far ahead ticks are encoded (wall time)."""
EXCHANGE_LAG_NS: Final = 1_000_000
"""The exchange is told of ticks when a request comes or it acts by itself, or else after this long."""
CHUNK_TICKS: Final = 8192
_NEVER: Final = 1 << 62
BEHIND_FRAMES: Final = 4096
"""A connection with more unsent frames than this holds the source back."""


class Hold(enum.Enum):
    """What is kept from a connection."""

    NOTHING = 0
    FOR_GOOD = 1  # what is due is never sent
    FOR_LATER = 2  # what is due waits


class Link:
    """One connection: its Stream and how to write to it. `ready` is False while its buffer is full.

    `send_binary` returns the CLOCK_MONOTONIC time at which it had handed the frame on.
    `number`: the lowest that no other open connection has; `hold`: what a fault keeps from it.
    """

    def __init__(
        self,
        stream: Stream,
        send_binary: Callable[[bytes], int],
        send_text: Callable[[bytes], None],
        number: int = 0,
    ) -> None:
        self.stream = stream
        self.send_binary = send_binary
        self.send_text = send_text
        self.number = number
        self.ready = True
        self.hold = Hold.NOTHING
        self.wants: frozenset[str] = frozenset()  # kinds of updates that it is told
        self.ended = False  # by a fault: its number is free although its socket is still there
        self.last_sent_ns = 0
        self._waiting: list[tuple[bytes, str, bool]] = []

    def say(self, text: bytes, kind: str = "", labelled: bool = False) -> bool:
        """Send a text frame, or keep it back; False when it is never sent.

        `kind`: "orders" or "errors", as Sent counts them; `labelled`: an order with status UPDATE.
        """
        if self.hold is Hold.FOR_GOOD:
            return False
        if self.hold is Hold.FOR_LATER:
            self._waiting.append((text, kind, labelled))
        else:
            self._send_now(text, kind, labelled)
        return True

    def release_texts(self) -> None:
        """Send the text frames that waited."""
        for waiting in self._waiting:
            self._send_now(*waiting)
        self._waiting.clear()

    def _send_now(self, text: bytes, kind: str, labelled: bool) -> None:
        self.send_text(text)
        sent = self.stream.sent
        sent.texts += 1
        sent.orders += kind == "orders"
        sent.errors += kind == "errors"
        sent.labels += labelled


class Hub:
    """Feeds the exchange and the links from one source."""

    def __init__(
        self,
        source: Source,
        deliver: Callable[[Ticks, int], None],
        state: Callable[[list[int]], Ticks],
        make_stream: Callable[[], Stream],
        speed: float = 1.0,
    ) -> None:
        """`deliver(ticks, now_ns)`: the exchange; `state(slots)`: TICK rows known of these slots;
        `make_stream()`: the broker's own Stream of a new connection; `speed`: source seconds per
        second, 0: as fast as the slowest connection drains."""
        self.source = source
        self.links: list[Link] = []
        self.total = Sent()
        self.taken = 0
        self.halted_ticks = 0  # ticks of the source that fell into a halt or into closed hours
        self.ended = False
        self.speed = speed
        self.started_ns: int | None = None
        self.halted = False  # what the source has is due to nobody
        self.closed: npt.NDArray[np.bool_] | None = None  # the same by slot; None: nowhere
        self.alter: Callable[[Ticks], Ticks] | None = None  # what the exchange does to the market
        self.watch: Callable[[Ticks], None] | None = None  # sees the market as it is shown, ahead
        self.spoil: Callable[[Link, Frame], Frame] | None = None  # damages a frame as it leaves
        self._deliver = deliver
        self._state = state
        self._make_stream = make_stream
        self._times: Times = np.empty(0, np.int64)
        self._ticks: Ticks = np.empty(0, TICK)
        self._oldest = _NEVER  # source time of the first of them
        self._lag = int(EXCHANGE_LAG_NS * speed)
        self._horizon = 0  # source time up to which ticks are taken

    def start(self, now_ns: int) -> None:
        """The source's clock begins to run at CLOCK_MONOTONIC `now_ns`."""
        self.started_ns = now_ns
        for link in self.links:
            link.stream.intended_from_ns = now_ns

    def connect(self, send_binary: Callable[[bytes], int], send_text: Callable[[bytes], None]) -> Link:
        """A new connection."""
        stream = self._make_stream()
        stream.speed = self.speed
        stream.intended_from_ns = self.started_ns or 0
        taken = {link.number for link in self.links if not link.ended}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        link = Link(stream, send_binary, send_text, number)
        self.links.append(link)
        return link

    def disconnect(self, link: Link) -> None:
        """The connection is gone; what it was sent stays counted."""
        if link in self.links:
            self.links.remove(link)
            link.stream.settle()
            self.total.add(link.stream.sent)

    def on_message(self, link: Link, data: bytes, now_ns: int, *, binary: bool = False) -> None:
        """A client's message: answers, the state of the instruments it names, and what follows."""
        stream = link.stream
        before = stream.modes.copy()
        answers, slots = stream.on_message(data, binary=binary)
        for answer in answers:
            link.say(answer, "errors")
        if slots and link.hold is Hold.NOTHING:
            self.tell(now_ns)
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
        if self._oldest + self._lag <= elapsed:
            self._tell(elapsed, now_ns)
        sent = 0
        for link in self.links:
            sent += self._send_due(link, elapsed, now_ns)
        return sent

    def tell(self, now_ns: int) -> None:
        """Let the exchange see all ticks that are due, before it is asked or acts."""
        if self.started_ns is not None and self.speed:
            self._tell(int((now_ns - self.started_ns) * self.speed), now_ns)

    def _tell(self, elapsed: int, now_ns: int) -> None:
        due = int(np.searchsorted(self._times, elapsed, "right"))
        if due:
            self._deliver(self._ticks[:due], now_ns)
            self._keep(self._times[due:], self._ticks[due:])

    def _keep(self, times: Times, ticks: Ticks) -> None:
        """What the exchange is still to see."""
        self._times, self._ticks = times, ticks
        self._oldest = int(times[0]) if len(times) else _NEVER

    def halt(self, on: bool) -> None:
        """Market halt: what was taken ahead is dropped too. Connections and heartbeats live on."""
        self.halted = on
        if on:
            self.halted_ticks += len(self._ticks)
            self._keep(self._times[:0], self._ticks[:0])
            for link in self.links:
                link.stream.clear()

    def release(self, link: Link, now_ns: int) -> None:
        """End what a fault kept back: what waited leaves in one burst, whatever the buffers say."""
        late = link.hold is Hold.FOR_LATER
        link.hold = Hold.NOTHING
        if not late or self.started_ns is None:
            return
        link.release_texts()
        ready, link.ready = link.ready, True
        elapsed = int((now_ns - self.started_ns) * self.speed) if self.speed else 1 << 62
        self._send_due(link, elapsed, now_ns)
        link.ready = ready and link.ready

    def burst(self, link: Link, size: int, now_ns: int) -> None:
        """All that a connection has subscribed, as live frames of `size` instruments, at once."""
        self.tell(now_ns)
        for frame in link.stream.burst(self._state(np.flatnonzero(link.stream.modes).tolist()), size):
            self._send(link, frame, now_ns, now_ns, snapshot=True)

    def next_ns(self) -> int | None:
        """CLOCK_MONOTONIC time of the next work; None: nothing until a connection changes."""
        if self.started_ns is None or not self.speed:
            return None
        dues = [link.stream.frames[0].due_ns for link in self.links if link.stream.frames and _open(link)]
        if self._oldest != _NEVER:
            dues.append(self._oldest + self._lag)
        if not self.ended and not self.behind:
            # Half of what was taken ahead is used up before more is taken.
            dues.append(self._horizon - int(AHEAD_NS * self.speed) // 2)
        return self.started_ns + int(min(dues) / self.speed) + 1 if dues else None

    @property
    def behind(self) -> bool:
        """Some connection has so much unsent that the source must wait; one kept back does not count."""
        return any(
            len(link.stream.frames) > BEHIND_FRAMES for link in self.links if link.hold is Hold.NOTHING
        )

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
            "halted_ticks": self.halted_ticks,
            "ended": self.ended,
            "started": self.started_ns is not None,
            "connections": [
                link.stream.sent.as_dict() | {"subscribed": link.stream.subscribed, "number": link.number}
                for link in self.links
            ],
        }

    def _take(self, until: int) -> None:
        if self.speed and until - self._horizon < AHEAD_NS * self.speed // 2:
            return
        if self.ended or self.behind:
            return
        if not self.speed and any(link.stream.frames for link in self.links):
            return
        while True:
            times, ticks = self.source.take(until, CHUNK_TICKS)
            taken = len(ticks)
            self.taken += taken
            self.ended = self.source.next_ns() is None
            times, ticks = self._shown(times, ticks)
            if self.watch is not None:
                self.watch(ticks)
            self._keep(np.concatenate([self._times, times]), join_ticks([self._ticks, ticks]))
            for link in self.links:
                link.stream.load(times, ticks, flush=self.ended)
            if taken < CHUNK_TICKS:
                self._horizon = until
            if taken < CHUNK_TICKS or self.behind or not self.speed:
                return

    def _shown(self, times: Times, ticks: Ticks) -> tuple[Times, Ticks]:
        """What of the source is market data now, as the exchange shows it."""
        if self.halted or self.closed is not None:
            open_now = np.zeros(len(ticks), bool) if self.halted else ~self.closed[ticks["slot"]]  # type: ignore[index]
            self.halted_ticks += len(ticks) - int(np.count_nonzero(open_now))
            times, ticks = times[open_now], ticks[open_now]
        return times, ticks if self.alter is None else self.alter(ticks)

    def _send_due(self, link: Link, elapsed: int, now_ns: int) -> int:
        if link.hold is not Hold.NOTHING:
            if link.hold is Hold.FOR_GOOD:
                link.stream.withhold(elapsed)
            return 0
        frames, sent = link.stream.frames, 0
        while frames and frames[0].due_ns <= elapsed and link.ready:
            frame = frames.popleft()
            intended = (self.started_ns or 0) + int(frame.due_ns / self.speed) if self.speed else now_ns
            self._send(link, frame, now_ns, intended)
            sent += 1
        return sent

    def _send(self, link: Link, frame: Frame, now_ns: int, intended_ns: int, snapshot: bool = False) -> None:
        if self.spoil is not None and not snapshot:
            frame = self.spoil(link, frame)
        handed_ns = link.send_binary(frame.data)
        link.last_sent_ns = now_ns
        link.stream.record(frame, handed_ns - intended_ns, snapshot)


def _open(link: Link) -> bool:
    return link.ready and link.hold is Hold.NOTHING
