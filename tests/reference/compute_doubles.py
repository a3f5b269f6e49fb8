"""In-memory doubles of the rings, queues and counters around a compute stage, with one record log."""

from __future__ import annotations

from typing import Any

import numpy as np

FULL = 5
"""TICK.kind of a full packet."""


class ListReader:
    """A RingReader over an array; `cut` bounds what one drain gives."""

    def __init__(self, records: np.ndarray, cut: int = 1 << 30) -> None:
        self.records, self.cut, self.position, self.lost = records, cut, 0, 0
        self.stop = len(records)

    def drain(self, out: np.ndarray) -> int:
        n = min(len(out), self.cut, self.stop - self.position)
        out[:n] = self.records[self.position : self.position + n]
        self.position += n
        return n


class ListQueue:
    """A QueueProducer and QueueConsumer in one; `room` is what free() answers."""

    def __init__(self, dtype: np.dtype, room: int = 1 << 20) -> None:
        self.dtype, self.room = dtype, room
        self.pending: list[np.ndarray] = []
        self.log: list[np.ndarray] = []

    def free(self) -> int:
        return self.room

    def push(self, records: np.ndarray, n: int = -1) -> int:
        taken = records[: len(records) if n < 0 else n].copy()
        self.pending += [taken[i : i + 1] for i in range(len(taken))]
        self.log.append(taken)
        return len(taken)

    def drain(self, out: np.ndarray) -> int:
        n = min(len(out), len(self.pending))
        for i in range(n):
            out[i] = self.pending[i][0]
        del self.pending[:n]
        return n

    def all(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, self.dtype), *self.log])


class Counts:
    """A CounterWriter."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        self.recorded: dict[int, list[tuple[int, int]]] = {}

    def add(self, index: int, n: int = 1) -> None:
        self.values[index] = self.values.get(index, 0) + n

    def set(self, index: int, value: int) -> None:
        self.values[index] = value

    def record(self, histogram: int, ns: int, n: int = 1) -> None:
        self.recorded.setdefault(histogram, []).append((ns, n))

    def record_reads(self, histogram: int, ticks: np.ndarray, n: int, now_ns: int) -> None:
        for recv_ns in ticks["recv_ns"][:n].tolist():
            self.record(histogram, now_ns - recv_ns)

    def record_stamps(self, histogram: int, ticks: np.ndarray, n: int, now_ns: int) -> None:
        for tick in ticks[:n]:
            since_us = (now_ns // 1000 - int(tick["oi_day_high"])) % 2**32
            if tick["kind"] == FULL and tick["oi_day_high"] and since_us < 2**31:
                self.record(histogram, since_us * 1000)

    def record_intents(
        self, histogram: int, stamp_histogram: int, intents: np.ndarray, where: np.ndarray, n: int,
        ticks: np.ndarray, now_ns: int,
    ) -> None:  # fmt: skip
        for intent, at in zip(intents[:n], where[:n].tolist(), strict=True):
            if intent["tick_recv_ns"]:
                self.record(histogram, now_ns - int(intent["tick_recv_ns"]))
                if stamp_histogram >= 0 and 0 <= at < len(ticks):
                    self.record_stamps(stamp_histogram, ticks[at : at + 1], 1, now_ns)

    def named(self, names: Any) -> dict[str, int]:
        return {name: self.values.get(index, 0) for index, name in enumerate(names)}
