"""Layer 5, whoever looks, cold: a running engine as seen from outside, through its shared memory.

Everything is mapped read-only and copied out; the engine does not notice. `Look` attaches what one
run has (counters, slot statistics, latest tables), its methods give plain rows for people and JSON.
A process that is being restarted keeps its counters; a run that ends while we look keeps its memory
for as long as we hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kite_hft import _table
from kite_hft.configuring.modes import MODES
from kite_hft.engine.runs.report import Readings
from kite_hft.engine.runs.runs import RunNote, lives
from kite_hft.engine.runs.sample import connection_rows, state_word
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory.generations import HUNG_AFTER_NS
from kite_hft.memory.segment import Segment, attach


def mode_names(note: RunNote) -> tuple[str, ...]:
    """Streaming modes of a run's (first) data broker, by their numbers in SLOT_STATS."""
    return ("off", *MODES[note.data_brokers[0]])


def segment_files(shm: Path) -> dict[str, Path]:
    """Segment name -> file of its newest generation, of the run whose folder is `shm`."""
    found: dict[str, tuple[int, Path]] = {}
    for path in shm.glob("*.g*.seg"):
        name, _, rest = path.name.partition(".g")
        generation = rest.removesuffix(".seg")
        if generation.isdecimal():
            found[name] = max(found.get(name, (0, path)), (int(generation), path))
    return {name: path for name, (_, path) in found.items()}


def stage_segments(process: dict[str, Any]) -> Iterator[str]:
    """Names of the counter segments that a process of the note writes."""
    numbers = {"feed": process.get("connection"), "compute": process.get("worker")}
    for name in process["stages"]:
        stage = "feed" if name == "updates" else name  # a feed without instruments
        number = numbers.get(stage)
        yield f"counters-{stage}" + ("" if number is None else f"-{number}")


@dataclass(slots=True)
class Look:
    """Read-only view of one run. Close it when done."""

    note: RunNote
    readings: Readings
    latest: dict[int, Segment] = field(default_factory=dict)  # by connection
    _tables: dict[int, _table.TableReader] = field(default_factory=dict)
    _tick: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(1, TICK))

    @classmethod
    def open(cls, note: RunNote) -> Look:
        """Attach what the run has now.

        Raises:
            SegmentError: the memory is of another build, or the run has just ended.
        """
        files = segment_files(Path(note.shm))
        look = cls(note, Readings.open(files))
        try:
            for name, path in files.items():
                word, _, number = name.partition("-")
                if word == "latest":
                    look.latest[int(number)] = attach(path, SegmentKind.LATEST_TABLE, writable=False)
        except BaseException:
            look.close()
            raise
        look._tables = {n: _table.TableReader(segment.view) for n, segment in look.latest.items()}
        return look

    def close(self) -> None:
        self._tables.clear()
        for segment in self.latest.values():
            segment.close()
        self.readings.close()

    # Processes

    def processes(self, now_ns: int) -> list[dict[str, Any]]:
        """One row per planned process; `now_ns` is CLOCK_MONOTONIC. state: starting, alive, hung, dead.

        heartbeat_s: age of the last sign of life. restarts: how often it was started again.
        """
        rows = [
            {
                "name": "supervisor",
                "stages": ["supervisor"],
                "pid": self.note.pid,
                "state": "alive" if self.note.alive() else "dead",
                "restarts": 0,
                "heartbeat_s": None,
            }
        ]
        return rows + [self._process(process, now_ns) for process in self.note.processes]

    def _process(self, process: dict[str, Any], now_ns: int) -> dict[str, Any]:
        names = [name for name in stage_segments(process) if name in self.readings.segments]
        controls = [self.readings.segments[name].control() for name in names]
        pid = max((int(c["writer_pid"]) for c in controls), default=0)
        ticks = max((int(c["writer_start_ticks"]) for c in controls), default=0)
        beat_ns = min((int(c["heartbeat_ns"]) for c in controls), default=now_ns)
        silent_ns = max(0, now_ns - beat_ns)
        if not pid:
            state = "starting"
        elif not lives(pid, ticks):
            state = "dead"
        else:
            state = "hung" if silent_ns > HUNG_AFTER_NS else "alive"
        restarts = max((self.readings.one(name).get("restarts", 0) for name in names), default=0)
        return {
            "name": process["name"],
            "stages": list(process["stages"]),
            "pid": pid,
            "state": state,
            "restarts": restarts,
            "heartbeat_s": round(silent_ns / 1e9, 3),
        }

    # Connections and the engine's state

    def connections(self, now_ns: int) -> list[dict[str, Any]]:
        """One row per websocket connection; ages in seconds, None: nothing has come yet.

        A process that died cannot say that its connection died with it.
        """
        gone = {
            process.get("connection")
            for process in self.note.processes
            if {"feed", "updates"} & set(process["stages"])
            and self._process(process, now_ns)["state"] == "dead"
        }
        rows = connection_rows(self.readings, now_ns)
        return [{**row, "connected": row["connected"] and row["connection"] not in gone} for row in rows]

    def state(self) -> dict[str, Any]:
        """ACTIVE, REDUCING, HALTED, KILLED or NOT_ACTIVE, and what else holds orders back."""
        orders = self.readings.values("orders")
        return {
            "state": state_word(orders),
            "market_halted": bool(orders["market_halted"]),
            "token_dead": bool(orders["token_dead"]),
            "strategies_held": int(orders["strategies_held"]),
            "naked_paise": int(orders["naked_paise"]),
        }

    # Instruments

    def mark(self, slot: int) -> int:
        """Last price of a slot in its unit; 0: no tick yet."""
        found = 0
        newest_ns = 0
        for table in self._tables.values():
            if slot < table.capacity and table.get(slot, self._tick):
                row = self._tick[0]
                if int(row["recv_ns"]) >= newest_ns:
                    found, newest_ns = int(row["last_px"]), int(row["recv_ns"])
        return found

    def slot_stats(self) -> dict[int, npt.NDArray[np.void]]:
        """Copies of the SLOT_STATS rows, by connection: shape (instruments,)."""
        return {number: self.readings.slot_stats(number) for number in self.readings.slots}
