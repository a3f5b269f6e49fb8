"""Layer 4, campaigns and tests, cold: the shared memory around the order stage, without shared memory.

Intent queue, event queue, latest prices, counters: the faces of trading/ports.py over plain arrays.
They outlive the process that uses them, as the segments do, and are gone with the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import INTENT, ORDER_EVENT

Records = npt.NDArray[np.void]
CAPACITY: Final = 256
KEPT: Final = 4096
_NOTHING: Final[Records] = np.frombuffer(b"", ORDER_EVENT)
_EVENT_BYTES: Final = ORDER_EVENT.itemsize
_FIELDS: Final = tuple((name, INTENT[name]) for name in INTENT.names or () if INTENT[name].shape == ())
_NAMES: Final = tuple(name for name, _ in _FIELDS)
_SCALARS: Final = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i4": "i", "i8": "q", "f8": "d"}
_intent: Final = struct.Struct(
    "<" + "".join(_SCALARS[kind.str[1:]] for _, kind in _FIELDS)
    + f"{INTENT.itemsize - sum(kind.itemsize for _, kind in _FIELDS)}x"
)  # fmt: skip
_number: Final = struct.Struct("<Q")  # `seq` is the first field of an ORDER_EVENT


class IntentQueue:
    """Both ends of one INTENT queue. `tick()` is called where the consumer may die."""

    def __init__(self) -> None:
        self._rows: Records = np.zeros(CAPACITY, INTENT)
        self._count = 0
        self.tick: Callable[[], None] = lambda: None

    def push(self, row: Records) -> bool:
        """One record; False: there is no room."""
        if self._count == CAPACITY:
            return False
        self._rows[self._count] = row
        self._count += 1
        return True

    def peek(self, out: Records) -> int:
        n = min(len(out), self._count)
        if n:
            out[:n] = self._rows[:n]
        return n

    def commit(self, n: int) -> int:
        self.tick()
        self._rows[: self._count - n] = self._rows[n : self._count]
        self._count -= n
        self.tick()
        return n

    def waiting(self) -> int:
        return self._count


class EventQueue:
    """The producer's end of one ORDER_EVENT queue, and `take` for the strategies."""

    def __init__(self) -> None:
        self.blocked = False
        self.tick: Callable[[], None] = lambda: None
        self._waiting: list[bytes] = []
        self._pushed: list[bytes] = []
        self._number = 0

    def push(self, records: Records) -> int:
        if self.blocked or len(self._waiting) >= CAPACITY:
            return 0
        self.tick()
        raw = records.tobytes()
        for at in range(0, len(raw), _EVENT_BYTES):
            data = _number.pack(self._number) + raw[at + _number.size : at + _EVENT_BYTES]
            self._number += 1
            self._waiting.append(data)
            self._pushed.append(data)
        if len(self._pushed) > KEPT:
            del self._pushed[:-KEPT]
        self.tick()
        return len(records)

    def recall(self, out: Records) -> int:
        newest = b"".join(self._pushed[-len(out) :])
        rows = np.frombuffer(newest, ORDER_EVENT)
        out[: len(rows)] = rows
        return len(rows)

    def take(self) -> Records:
        """All that waits."""
        if not self._waiting:
            return _NOTHING
        data, self._waiting = b"".join(self._waiting), []
        return np.frombuffer(data, ORDER_EVENT)


@dataclass(slots=True)
class Prices:
    """The table of latest ticks: slot -> (last price, tick number, CLOCK_MONOTONIC of its receipt)."""

    rows: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def put(self, slot: int, px: int, number: int, mono_ns: int) -> None:
        """A tick has come."""
        self.rows[slot] = px, number, mono_ns

    def last_px(self, slot: int) -> int:
        found = self.rows.get(slot)
        return found[0] if found else 0

    def look(self, slot: int) -> tuple[int, int, int] | None:
        return self.rows.get(slot)


@dataclass(slots=True)
class Counted:
    """Counters by index; histograms are of no interest here."""

    values: dict[int, int] = field(default_factory=dict)

    def add(self, index: int, n: int = 1) -> None:
        self.values[index] = self.values.get(index, 0) + n

    def set(self, index: int, value: int) -> None:
        self.values[index] = value

    def record(self, histogram: int, ns: int, n: int = 1) -> None: ...


def row_of(template: dict[str, Any]) -> Records:
    """An INTENT[1] with these fields, the others 0."""
    values = [template.get(name, 0) for name in _NAMES]
    return np.frombuffer(bytearray(_intent.pack(*values)), INTENT)
