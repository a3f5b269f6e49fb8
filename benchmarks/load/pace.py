"""Generator, hot: sending on schedule.

A schedule gives each connection a group of frames every `interval_ns`: one frame at a time, evenly
spaced, the connections taking turns; or the whole round at once (bursts). The intended time of a
frame follows from its number alone and is never moved: a sender or a receiver that falls behind
shows in every later figure (no coordinated omission). What is due goes out in few large writes on
non-blocking sockets; a connection whose peer does not read waits and holds up no other.

Between two due times the loop sleeps to 80 µs before the next one and spins from there.
"""

from __future__ import annotations

import ctypes
import mmap
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from load import lag
from load.frames import Frames
from load.frames_v3 import FramesV3
from load.peer import Peer, PeerGone

CHUNK_BYTES: Final = 256 << 10
SPIN_NS: Final = 80_000
LOOK_NS: Final = 50_000_000
PR_SET_TIMERSLACK: Final = 29
BOARD_WORDS: Final = 8
SENT_TICKS, SENT_FRAMES, STEP, STEP_START_NS = range(4)
"""Words of the board: a small file that whoever runs the generator maps to see it work."""


def precise_sleeps() -> None:
    """Timers of this process fire within 1 µs instead of 50 µs (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each connection sends what. until_ns: no frame is intended later; grace_ns: how long after
    that overdue frames may still leave. interval_ns 0: as fast as the receiver takes it."""

    start_ns: int
    until_ns: int
    interval_ns: Sequence[float]  # by connection
    group: Sequence[int]  # frames that share one intended time, by connection
    grace_ns: int


@dataclass(slots=True)
class Stream:
    """One connection: its peer, its frames and how far it is."""

    peer: Peer
    frames: Frames | FramesV3
    number: int = 0  # frames ever sent
    done: int = 0  # of this schedule
    total: int = 0  # wanted by this schedule
    start_ns: float = 0.0
    interval_ns: float = 0.0
    group: int = 1
    pending: memoryview | None = None
    taken: int = 0  # frames in `pending`
    control: bytes = b""
    exchange_s: int = 0

    def begin(self, schedule: Schedule, index: int, of: int) -> None:
        """Get ready for a schedule; connections start one after another within the first interval."""
        self.done, self.group, self.interval_ns = 0, schedule.group[index], schedule.interval_ns[index]
        shift = self.interval_ns * index / of if self.group == 1 else 0.0
        self.start_ns = schedule.start_ns + shift
        if self.interval_ns:
            groups = int((schedule.until_ns - self.start_ns) / self.interval_ns) + 1
            self.total = groups * self.group
        else:
            self.total = 1 << 62

    def due_ns(self, number: int) -> float:
        """Intended time of frame `number` of the schedule."""
        return self.start_ns + number // self.group * self.interval_ns

    def due(self, now_ns: int) -> int:
        """How many frames should have left and have not."""
        if not self.interval_ns:
            return 1 << 20
        groups = int((now_ns - self.start_ns) // self.interval_ns) + 1
        return min(max(0, groups) * self.group, self.total) - self.done

    def stage(self, now_ns: int, due: int, exchange_s: int) -> None:
        """Write the next due frames' fields and stage their bytes."""
        if exchange_s != self.exchange_s:
            self.exchange_s = exchange_s
            self.frames.set_time(exchange_s)
        frame_bytes = len(self.frames.data) // self.frames.count
        n, within, data, part = self.frames.take(self.number, min(due, max(1, CHUNK_BYTES // frame_bytes)))
        if not self.interval_ns:
            stamps = np.full(n, now_ns // 1000 & 0xFFFFFFFF)
        else:
            groups = np.arange(self.done, self.done + n) // self.group
            stamps = ((self.start_ns + groups * self.interval_ns) // 1000).astype(np.int64) & 0xFFFFFFFF
        self.frames.write(self.number, n, within, part, stamps.astype(">u4"))
        self.pending, self.taken = data, n

    def push(self) -> int:
        """Write what is staged; returns the bytes that went.

        Raises:
            PeerGone: the connection has ended.
        """
        try:
            if self.control and self.pending is None:  # never inside a frame
                went = self.peer.sock.send(self.control)
                self.control = self.control[went:]
                return went
            assert self.pending is not None
            went = self.peer.sock.send(self.pending)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGone(str(error)) from None
        self.pending = self.pending[went:] if went < len(self.pending) else None
        return went


@dataclass(slots=True)
class Outcome:
    """Of one schedule. lag: a frame handed to the kernel, after its intended time."""

    lag: lag.Buckets = field(default_factory=lag.empty)
    missed: int = 0  # frames that were due and never left
    stopped: bool = False
    ended_ns: int = 0


def send(
    streams: Sequence[Stream],
    schedule: Schedule,
    board: memoryview,
    exchange_start_s: int,
    stop: Callable[[], bool],
) -> Outcome:
    """Send one schedule to its end; `stop` is asked every 50 ms.

    Raises:
        PeerGone: a connection ended meanwhile.
    """
    found = Outcome()
    for index, stream in enumerate(streams):
        stream.begin(schedule, index, len(streams))
    now_ns = time.monotonic_ns()
    look_ns = now_ns + LOOK_NS
    last_ns = schedule.until_ns + schedule.grace_ns
    while now_ns <= last_ns:
        exchange_s = exchange_start_s + now_ns // 1_000_000_000
        moved, blocked = False, []
        for stream in streams:
            went = _turn(stream, now_ns, exchange_s, found, board)
            if went < 0:
                blocked.append(stream)
            moved = moved or went > 0
        now_ns = time.monotonic_ns()
        if now_ns >= look_ns:
            look_ns = now_ns + LOOK_NS
            _listen(streams)
            if stop():
                found.stopped = True
                break
        if not moved:
            if all(stream.done >= stream.total for stream in streams) or (
                now_ns > schedule.until_ns and not blocked and not any(s.due(now_ns) for s in streams)
            ):
                break
            _rest(streams, blocked, now_ns, min(look_ns, last_ns))
            now_ns = time.monotonic_ns()
    found.ended_ns = now_ns
    finish(streams, found, board)
    found.missed = sum(max(0, s.total - s.done) for s in streams if s.interval_ns)
    return found


def _turn(stream: Stream, now_ns: int, exchange_s: int, found: Outcome, board: memoryview) -> int:
    """One stream's turn: bytes that went, 0: nothing is due, -1: its socket is full."""
    if stream.pending is None and not stream.control:
        due = stream.due(now_ns)
        if due <= 0:
            return 0
        stream.stage(now_ns, due, exchange_s)
    went = stream.push()
    if stream.pending is None and stream.taken:
        _count(stream, found, board)
    return went or -1


def _count(stream: Stream, found: Outcome, board: memoryview) -> None:
    n, stream.taken = stream.taken, 0
    before = stream.frames.ticks(stream.number)
    if stream.interval_ns:
        late_ns = time.monotonic_ns() - stream.due_ns(stream.done)
        lag.record(found.lag, round(late_ns), stream.interval_ns if stream.group == 1 else 0.0, n)
    stream.number += n
    stream.done += n
    board[SENT_TICKS] += stream.frames.ticks(stream.number) - before
    board[SENT_FRAMES] += n


def _listen(streams: Sequence[Stream]) -> None:
    """Answer pings; pongs go out between two frames."""
    for stream in streams:
        stream.peer.read()
        stream.control += stream.peer.answer
        stream.peer.answer = b""
        if stream.control and stream.pending is None:
            stream.push()


def _rest(streams: Sequence[Stream], blocked: Sequence[Stream], now_ns: int, until_ns: int) -> None:
    """Wait for the next due time, or for room in a socket."""
    waiting = [s for s in streams if s not in blocked and s.done < s.total]
    next_ns = min([until_ns, *(s.due_ns(s.done) for s in waiting)])
    if blocked:
        poll = select.poll()
        for stream in blocked:
            poll.register(stream.peer.sock, select.POLLOUT)
        poll.poll(max(0.0, min(next_ns - now_ns, 1e6)) / 1e6)
    elif next_ns - now_ns > SPIN_NS:
        time.sleep((next_ns - now_ns - SPIN_NS) / 1e9)


def finish(streams: Sequence[Stream], found: Outcome, board: memoryview, most_s: float = 10.0) -> None:
    """See every staged frame off whole: half a frame would break the connection.

    Raises:
        PeerGone: a peer has not read for most_s.
    """
    deadline_ns = time.monotonic_ns() + round(most_s * 1e9)
    for stream in streams:
        while stream.pending is not None or stream.control:
            if not stream.push():
                select.select([], [stream.peer.sock], [], 0.05)
            if time.monotonic_ns() > deadline_ns:
                raise PeerGone(f"a client has not read for {most_s:g} s")
        if stream.taken:
            _count(stream, found, board)


def heartbeat(streams: Sequence[Stream], beat: bytes) -> None:
    """One heartbeat to every client, and answers to what they said."""
    for stream in streams:
        stream.control += beat
    _listen(streams)


def open_board(path: str) -> memoryview:
    """The board's words, int64, writable."""
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), BOARD_WORDS * 8)).cast("q")
