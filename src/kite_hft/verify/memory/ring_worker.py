"""Layer 6, one process of the ring's verification, hot loops in Python: the writer or the reader.

Started by verify/memory/ring.py with its task as JSON on standard input; answers with one JSON line.

Every 8-byte word of a record is derived from the record's number, and the reader recomputes all of
them from the number it expects: a record that was torn, stale or out of place differs somewhere.
The ring's own validation has no part in that check.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _counters, _ring, _ring_faults
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory import segment

WORDS: Final = TICK.itemsize // 8
FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
OFFSETS: Final = np.arange(WORDS, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
READER_POSITION, WRITER_POSITION = 0, 1
DRAIN_MAX: Final = 1000
LAPS_PER_STALL: Final = 4
PAUSE_EVERY: Final = 16

Words = np.ndarray[Any, np.dtype[np.uint64]]


class Payload:
    """Batches whose every word follows from the record's number."""

    def __init__(self, records_max: int) -> None:
        self.records = np.zeros(records_max, TICK)
        self._words: Words = self.records.view("<u8").reshape(records_max, WORDS)
        self._steps: Words = np.arange(records_max, dtype=np.uint64)
        self._bases: Words = np.empty((records_max, 1), np.uint64)
        self._expected: Words = np.empty((records_max, WORDS), np.uint64)

    def _expect(self, first: int, n: int, into: Words) -> None:
        bases = self._bases[:n]
        np.add(self._steps[:n], np.uint64(first), out=bases[:, 0])
        np.multiply(bases, FACTOR, out=bases)
        np.add(bases, OFFSETS, out=into[:n])

    def fill(self, first: int, n: int) -> np.ndarray[Any, np.dtype[np.void]]:
        """`n` records numbered from `first`."""
        self._expect(first, n, self._words)
        return self.records[:n]

    def wrong(self, first: int, n: int) -> int:
        """How many of the first `n` records are not exactly what number `first` + i makes them."""
        self._expect(first, n, self._expected)
        # The ring stamps the number itself over the first word.
        np.add(self._steps[:n], np.uint64(first), out=self._expected[:n, 0])
        if np.array_equal(self._words[:n], self._expected[:n]):
            return 0
        return int(np.any(self._words[:n] != self._expected[:n], axis=1).sum())


def write(task: dict[str, Any]) -> dict[str, Any]:
    """Publish `messages` records in batches; paced: never further ahead than the reader allows."""
    messages, batch, paced = task["messages"], task["batch"], task["paced"]
    ring = segment.attach(Path(task["ring"]), SegmentKind.TICK_RING, writable=True)
    progress = segment.attach(Path(task["progress"]), SegmentKind.COUNTERS, writable=True, claim=False)
    words = _counters.CounterReader(progress.view)
    told = _counters.CounterWriter(progress.view)
    # Room for a whole batch besides what the reader has not confirmed: nothing can be overwritten.
    ahead_max = int(ring.header["capacity"]) - batch
    writer: Any = _ring.RingWriter(ring.view)
    if task["form"]:
        _ring_faults.pause_every(PAUSE_EVERY)
        writer = _ring_faults.FaultyWriter(ring.view, task["form"])
    payload = Payload(batch)
    prepared = payload.fill(0, batch)
    _wait_for_reader(words)
    started = time.monotonic_ns()
    done = 0
    while done < messages:
        n = min(batch, messages - done)
        if task["check"]:
            prepared = payload.fill(done, n)
        while paced and done + n - words.value(READER_POSITION) > ahead_max:
            os.sched_yield()  # on a single core the reader must get its turn
        writer.publish(prepared[:n] if n < batch else prepared)
        done += n
        told.set(WRITER_POSITION, done)
    elapsed = time.monotonic_ns() - started
    writer.close_clean()
    return {"produced": writer.next_seq, "seconds": elapsed / 1e9}


def _wait_for_reader(words: _counters.CounterReader) -> None:
    """The reader sets its position to -1 + 1 = 0 only once it is attached; until then it is -1."""
    while words.value(READER_POSITION) < 0:
        time.sleep(0.001)


def read(task: dict[str, Any]) -> dict[str, Any]:
    """Drain to the end and check every record; stalled: let the writer lap the ring, then drain."""
    ring = segment.attach(Path(task["ring"]), SegmentKind.TICK_RING, writable=False)
    progress = segment.attach(Path(task["progress"]), SegmentKind.COUNTERS, writable=True)
    told = _counters.CounterWriter(progress.view)
    words = _counters.CounterReader(progress.view)
    reader: Any = _ring.RingReader(ring.view)
    if task["form"]:
        reader = _ring_faults.FaultyReader(ring.view, task["form"])
    stall = 0 if task["paced"] else LAPS_PER_STALL * int(ring.header["capacity"])
    payload = Payload(task["drain"])
    got = torn = looks = 0
    told.set(READER_POSITION, 0)
    while True:
        n = reader.drain(payload.records)
        got += n
        if n and task["check"]:
            torn += payload.wrong(reader.first_seq, n)
        told.set(READER_POSITION, reader.position)
        if n == 0 and reader.finished():
            break
        looks += 1
        if looks % task["drains"]:
            continue
        while stall and reader.lag() < stall and words.value(WRITER_POSITION) < task["messages"]:
            os.sched_yield()
    return {"got": got, "lost": reader.lost, "torn": torn, "position": reader.position}


def run() -> None:
    """Do the task that stands on standard input."""
    task = json.load(sys.stdin)
    if task["cpu"] is not None:
        os.sched_setaffinity(0, {task["cpu"]})
    result = write(task) if task["role"] == "writer" else read(task)
    print(json.dumps(result), flush=True)
