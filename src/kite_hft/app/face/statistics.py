"""Layer 6, a user's program, cold: `get_statistics()`: what the engine's counters and this program's reader
say."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from kite_hft.app.face.following import Follower, Told
from kite_hft.app.face.history import Rings
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.sample import take_sample

WINDOW_S: Final = 1.0


class Statistics:
    """Figures of a run. A rate is over at least a second: the first call waits for the first one."""

    def __init__(self, look: Look, rings: Rings, follower: Follower, told: Told) -> None:
        self._look, self._rings, self._follower, self._told = look, rings, follower, told
        self._lock = threading.Lock()
        self._since = (time.monotonic(), self._published())
        self._rate = 0.0

    def _published(self) -> int:
        return self._look.readings.values("feed")["published"]

    def now(self) -> dict[str, Any]:
        """ticks_per_second of all connections; active_connections, and how many there are; buffer_usage:
        how full the rings are of ticks that the engine's workers or this program have still to read, 0 to
        1, whichever is more, and each of the two; ticks_received, ticks_lost and frames malformed by the
        engine; ticks_delivered to callbacks and ticks_missed by this program, callback_errors;
        reconnects."""
        with self._lock:
            if not self._rate and (early := self._since[0] + WINDOW_S - time.monotonic()) > 0:
                time.sleep(early)
            sample = take_sample(self._look.readings, time.monotonic_ns())
            at, published = time.monotonic(), sample.feed["published"]
            begun, before = self._since
            if at - begun >= WINDOW_S:
                self._rate, self._since = (published - before) / (at - begun), (at, published)
        engine = min(1.0, sample.lag / max(1, self._rings.capacity()))
        reader = self._follower.backlog()
        rows = self._look.connections(time.monotonic_ns())
        return {
            "ticks_per_second": round(self._rate, 1),
            "active_connections": sum(bool(row["connected"]) for row in rows),
            "connections": len(rows),
            "buffer_usage": max(engine, reader),
            "engine_buffer_usage": engine,
            "reader_buffer_usage": reader,
            "instruments": sum(int(row["instruments"]) for row in rows),
            "ticks_received": sample.feed["received"],
            "ticks_lost": sample.compute["lost"],
            "ticks_malformed": sum(int(row["malformed"]) for row in rows),
            "reconnects": max(0, sample.feed["connects"] - len(rows)),
            **self.nothing(self._told, own=True),
        }

    @staticmethod
    def nothing(told: Told, *, own: bool = False) -> dict[str, Any]:
        """The figures while nothing runs; own: those of this program alone."""
        mine = {
            "ticks_delivered": told.delivered,
            "ticks_missed": told.lost,
            "callback_errors": told.errors,
        }
        names = (
            "ticks_per_second", "active_connections", "connections", "buffer_usage", "engine_buffer_usage",
            "reader_buffer_usage", "instruments", "ticks_received", "ticks_lost", "ticks_malformed",
            "reconnects",
        )  # fmt: skip
        return mine if own else dict.fromkeys(names, 0) | mine
