"""Layer 6, a user's program, cold: what was: the newest ticks of an instrument, and its closed bars.

Ticks are read backwards out of the engine's rings, copied and then checked against the writer: what it
overwrote meanwhile is left out, nothing torn is returned. Bars are made in this program, by the engine's own
kernel, of the ticks since its start.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft._kernels import Kernels
from kite_hft._ring import RingReader
from kite_hft.layout import BAR, KERNEL_ROW, TICK, SegmentKind
from kite_hft.memory.generations import current
from kite_hft.memory.segment import Segment, attach
from kite_hft.trading.instruments import Instrument, InstrumentTable

CHUNK: Final = 16_384
BARS_KEPT: Final = 1 << 18
"""Of each period, over all instruments."""
PERIODS_S: Final = (1, 60, 300, 900)

Records = npt.NDArray[np.void]

BARS: Final = np.dtype(
    [
        ("start_ns", "<i8"),  # exchange time since the epoch
        ("instrument_token", "<u4"),
        ("period_s", "<u4"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<i8"),
        ("ticks", "<u4"),
    ]
)
"""One row of `get_ohlc_bars`. Prices in rupees (an index: points)."""


class Rings:
    """The tick rings of a run, mapped read-only; its calls may come from any thread."""

    def __init__(self, shm: Path, connections: int) -> None:
        self._shm, self._n = shm, connections
        self._held: dict[int, Segment] = {}
        self._lock = threading.Lock()

    def newest(self, slot: int, count: int) -> Records:
        """The newest TICKs of a slot that the rings still hold, oldest first, at most `count`.

        Raises:
            SegmentError: the engine is gone, or of another build.
        """
        with self._lock:
            parts = [self._of(number, slot, count) for number in range(self._n)]
        found = np.concatenate([np.zeros(0, TICK), *parts])
        if len(parts) > 1:  # two brokers' feeds of one instrument
            found = found[np.argsort(found["recv_ns"], kind="stable")]
        return found[max(0, len(found) - count) :]

    def capacity(self) -> int:
        """Ticks that all rings together hold."""
        with self._lock:
            return sum(int(self._segment(number).header["capacity"]) for number in range(self._n))

    def close(self) -> None:
        with self._lock:
            for segment in self._held.values():
                segment.close()
            self._held.clear()

    def _segment(self, number: int) -> Segment:
        """The ring's newest generation."""
        path, held = current(self._shm, f"ticks-{number}"), self._held.get(number)
        if held is None or held.path != path:
            if held is not None:
                held.close()
            self._held[number] = attach(path, SegmentKind.TICK_RING, writable=False, claim=False)
        return self._held[number]

    def _of(self, number: int, slot: int, count: int) -> Records:
        """Backwards in chunks, until there are enough or the ring's oldest is reached."""
        segment = self._segment(number)
        first, capacity = int(segment.header["first_seq"]), int(segment.header["capacity"])
        high = RingReader(segment.view, "newest").position
        lowest = max(first, high - capacity)
        parts, have = list[Records](), 0
        while high > lowest and have < count:
            low = max(lowest, high - CHUNK)
            out = np.zeros(high - low, TICK)
            reader = RingReader(segment.view, low)
            n = reader.drain(out)
            part = out[:n][(out["slot"][:n] == slot) & (out["seq"][:n] < high)]
            parts.append(part)
            have += len(part)
            high = 0 if reader.lost else low  # lapped: there is nothing older
        return np.concatenate([np.zeros(0, TICK), *reversed(parts)])


class Bars:
    """Closed bars of every instrument, of 1 s, 1, 5 and 15 minutes. One thread adds, any may look."""

    def __init__(self, instruments: InstrumentTable, batch: int) -> None:
        self._rows = np.zeros(batch, KERNEL_ROW)
        self._closed = np.zeros(batch * len(PERIODS_S), BAR)
        self._kept = {period: np.zeros(BARS_KEPT, BAR) for period in PERIODS_S}
        self._count = dict.fromkeys(PERIODS_S, 0)
        self._lock = threading.Lock()
        self._kernels = Kernels(
            len(instruments),
            scale=instruments.scales(),
            token=instruments.tokens(),
            has_volume=np.array([not row.is_index for row in instruments]),
            periods_s=PERIODS_S[1:],
            epoch_offset_ns=time.time_ns() - time.monotonic_ns(),
            filters=False,
        )

    def add(self, ticks: Records, n: int) -> None:
        """Take in ticks[:n], in the order of their ring."""
        closed = self._closed[: self._kernels.run(ticks, n, self._rows, self._closed)]
        if not len(closed):
            return
        with self._lock:
            for period in PERIODS_S:
                fresh = closed[closed["period_s"] == period]
                at = (self._count[period] + np.arange(len(fresh))) % BARS_KEPT
                self._kept[period][at] = fresh
                self._count[period] += len(fresh)

    def newest(self, row: Instrument, count: int, period_s: int) -> Records:
        """The newest closed bars of an instrument, oldest first, at most `count`, as BARS."""
        with self._lock:
            kept, total = self._kept[period_s], self._count[period_s]
            order = np.arange(max(0, total - BARS_KEPT), total) % BARS_KEPT
            found = kept[order[kept["slot"][order] == row.slot]]
        found = found[max(0, len(found) - count) :]
        made = np.zeros(len(found), BARS)
        made["instrument_token"] = row.token
        for name in ("start_ns", "period_s", "volume", "ticks"):
            made[name] = found[name]
        for name in ("open", "high", "low", "close"):
            made[name] = found[f"{name}_px"] / row.scale
        return made
