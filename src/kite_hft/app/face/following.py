"""Layer 6, a user's program, cold: the thread that follows the engine's rings and calls the callbacks.

It reads the shared memory read-only and looks every few milliseconds, so that no writer ever waits for it
or wakes it. A callback that is too slow makes this reader fall behind, nobody else: when the ring has gone
round, the reader knows which ticks it has lost, and says so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kite_hft.app.face.history import Bars
from kite_hft.app.face.texts import LOG
from kite_hft.app.face.ticks import Tick
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory.follow import FollowingReader
from kite_hft.memory.header import SegmentError
from kite_hft.trading.instruments import InstrumentTable

BATCH: Final = 2048
PAUSE_S: Final = 0.002
TELL_EVERY_S: Final = 5.0

TickCallback = Callable[[Tick], Any]


class Loss(NamedTuple):
    """Ticks that this program did not see: so many `ticks`, before number `next_seq` of a connection."""

    connection: int
    ticks: int
    next_seq: int


@dataclass(slots=True)
class Told:
    """Callbacks, and what happened to them. Lists are replaced, never changed: any thread may read them."""

    ticks: list[TickCallback] = field(default_factory=list)
    losses: list[Callable[[Loss], Any]] = field(default_factory=list)
    delivered: int = 0
    lost: int = 0
    errors: int = 0


class Follower:
    """Follows every ring of one run until it is stopped or the engine is gone.

    wanted: bool by slot: whose ticks the callbacks get; it may be changed at any time.
    """

    def __init__(
        self,
        shm: Path,
        connections: int,
        instruments: InstrumentTable,
        wanted: npt.NDArray[np.bool_],
        told: Told,
    ) -> None:
        """Attach the rings, at their newest tick.

        Raises:
            SegmentError: the engine is gone, or of another build.
        """
        self._instruments, self.wanted, self._told = instruments, wanted, told
        self.bars = Bars(instruments, BATCH)
        self._out = np.zeros(BATCH, TICK)
        self._stop = threading.Event()
        self.ended = threading.Event()
        self._say_at, self._unsaid = 0.0, 0
        self._failures, self._failed_at, self._unsaid_failures = set[tuple[int, type]](), 0.0, 0
        self._readers = list[FollowingReader]()
        try:
            for number in range(connections):
                kind = SegmentKind.TICK_RING
                self._readers.append(FollowingReader(shm, f"ticks-{number}", kind, start="newest"))
        except BaseException:
            self._close()
            raise
        self._thread = threading.Thread(target=self._run, name="kite_hft-ticks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; from a callback it ends behind that."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def backlog(self) -> float:
        """How full the fullest ring is of ticks that this program has not seen, 0 to 1."""
        found = 0.0
        for reader in self._readers:
            with contextlib.suppress(AttributeError, ValueError):  # it is being closed
                found = max(found, min(1.0, reader.lag() / reader.capacity))
        return found

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if not sum(self._drain(number) for number in range(len(self._readers))):
                    self._stop.wait(PAUSE_S)
        except SegmentError as error:
            if not self._stop.is_set():
                LOG.warning("the engine is gone, no more ticks come: %s", error)
        except Exception:
            LOG.exception("the ticks of this program have ended by an error")
        finally:
            self.ended.set()
            self._close()

    def _close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _drain(self, number: int) -> int:
        """Take what has come on one ring; returns how many."""
        reader = self._readers[number]
        n = reader.drain(self._out)
        if reader.lost_last:
            self._tell_loss(Loss(number, reader.lost_last, reader.first_seq if n else reader.position))
        if n:
            self.bars.add(self._out, n)
            if callbacks := self._told.ticks:
                self._deliver(self._out[:n], callbacks)
        return n

    def _deliver(self, ticks: npt.NDArray[np.void], callbacks: Sequence[TickCallback]) -> None:
        for at in np.flatnonzero(self.wanted[ticks["slot"]]).tolist():
            if self._stop.is_set():
                return
            record = ticks[at].copy()
            tick = Tick(record, self._instruments[int(record["slot"])])
            self._told.delivered += 1
            for callback in callbacks:
                self._call(callback, tick)

    def _call(self, callback: Callable[[Any], Any], value: Any) -> None:
        """What a callback raises is told and counted; the next ones go on."""
        try:
            callback(value)
        except Exception as error:
            self._tell_failure(callback, value, error)

    def _tell_failure(self, callback: Callable[[Any], Any], value: Any, error: Exception) -> None:
        """All of it once for a callback and kind of error; then how often, every few seconds: thousands of
        ticks a second would fill the disk with one mistake."""
        self._told.errors += 1
        now, kind = time.monotonic(), (id(callback), type(error))
        if kind not in self._failures:
            self._failures.add(kind)
            self._failed_at = now + TELL_EVERY_S
            LOG.exception("a callback failed for %r", value)
            return
        self._unsaid_failures += 1
        if now >= self._failed_at:
            self._failed_at = now + TELL_EVERY_S
            LOG.error(
                "callbacks failed %d times more, the last one for %r: %r", self._unsaid_failures, value, error
            )
            self._unsaid_failures = 0

    def _tell_loss(self, loss: Loss) -> None:
        self._told.lost += loss.ticks
        self._unsaid += loss.ticks
        now = time.monotonic()
        if now >= self._say_at:
            self._say_at = now + TELL_EVERY_S
            LOG.warning(
                "%d ticks were passed over before number %d of connection %d: callbacks take longer than "
                "ticks come; the engine itself has lost nothing",
                self._unsaid, loss.next_seq, loss.connection,
            )  # fmt: skip
            self._unsaid = 0
        for callback in self._told.losses:
            self._call(callback, loss)
