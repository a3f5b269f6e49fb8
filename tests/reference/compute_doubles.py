"""In-memory doubles of the rings, queues and counters around a compute stage, with one record log."""

from __future__ import annotations

from typing import Any

import numpy as np


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

    def named(self, names: Any) -> dict[str, int]:
        return {name: self.values.get(index, 0) for index, name in enumerate(names)}
