"""Layer 6, by hand and CI, cold: the crash points of `verify crash`, and the file that arms one of them.

A point is a store or a system call of the order path, by number. Those below 100 are compiled in
(ext/crash.h, in a build that the campaign alone makes and loads); the others lie in wrappers around
the ports of the engine (hook.py). Which one is deadly next stands in a small file that all
processes of the campaign map: point, passages that it survives, and how the process's name begins. Who
dies disarms it first, so that its successor lives. Standard library only: it is loaded into the engine.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AREA: Final = "KHFT_CRASH_AREA"
"""Environment: the file that arms."""
MODULES: Final = "KHFT_CRASH_MODULES"
"""Environment: the folder of the compiled modules that have points."""
BUILT: Final = ("counters", "feed", "inputs", "queue", "step", "table")
"""Modules of ext/ that are built with points."""
_AREA: Final = struct.Struct("<qqqq16sq")

COMPILED: Final = {
    "push_start": 1,
    "push_copy": 2,
    "push_record": 3,
    "push_number": 4,
    "push_intent": 5,
    "push_head": 6,
    "push_wake": 7,
    "peek_copy": 8,
    "peek_record": 9,
    "commit_start": 10,
    "commit_tail": 11,
    "park": 12,
    "look_mark": 13,
    "look_record": 14,
    "put_mark": 15,
    "put_record": 16,
    "put_done": 17,
    "counter_add": 18,
    "counter_set": 19,
    "histogram": 20,
    "ring_start": 21,
    "ring_intent": 22,
    "ring_word": 23,
    "ring_stamp": 24,
    "ring_head": 25,
    "ring_wake": 26,
}
"""As in ext/crash.h."""
WRAPPED: Final = {
    "journal_write_before": 101,
    "journal_write_torn_head": 102,
    "journal_write_torn_payload": 103,
    "journal_write_after": 104,
    "journal_sync_before": 105,
    "journal_sync_after": 106,
    "order_send_before": 111,
    "order_send_part": 112,
    "order_send_after": 113,
    "order_answer_before": 114,
    "order_answer_after": 115,
    "book_send_before": 116,
    "book_send_after": 117,
    "book_answer_before": 118,
    "book_answer_after": 119,
    "connect_before": 120,
    "connect_after": 121,
    "csv_before": 131,
    "csv_part": 132,
    "csv_after": 133,
    "control_read_before": 141,
    "control_read_after": 142,
    "control_write_before": 143,
    "control_write_after": 144,
    "shelf_before": 145,
    "shelf_after": 146,
    "latch_write_before": 151,
    "latch_write_after": 152,
    "latch_replace_after": 153,
    "latch_sync_after": 154,
    "reopen_before": 161,
    "reopen_rewrite_after": 162,
    "reopen_sync_after": 163,
    "tail_cut_before": 164,
    "tail_cut_after": 165,
    "snapshot_before": 171,
    "snapshot_after": 172,
}


@dataclass(frozen=True, slots=True)
class Point:
    """A point of one process. role: how the name of the process begins. passages: before it dies, at
    most. trigger: what makes it pass it, when trading does not: "kill" (the latch), "restart", "tear" (a
    restart behind a record that was cut short)."""

    role: str
    name: str
    passages: int = 0
    trigger: str = ""

    @property
    def number(self) -> int:
        return COMPILED.get(self.name) or WRAPPED[self.name]

    @property
    def title(self) -> str:
        return f"{self.role}:{self.name}"


_TRIGGERS: Final = {
    "latch": "kill",
    "reopen": "restart",
    "connect": "restart",
    "control": "restart",
    "tail": "tear",
}
_SLOW: Final = ("book", "shelf", "snapshot")
_OF_MARKET: Final = ("put", "ring", "snapshot")
_OF_ORDERS: Final = ("look", "park")
SUPERVISOR: Final = "supervisor"
UPDATES: Final = "updates"
"""Keeps the websocket of order updates, where the broker has one of its own."""


def _points() -> Iterator[Point]:
    for name in (*COMPILED, *WRAPPED):
        kind = name.partition("_")[0]
        trigger = _TRIGGERS.get(kind, "")
        passages = 0 if trigger else 1 if kind in _SLOW else 25
        if kind not in _OF_MARKET:
            yield Point("orders", name, passages, trigger)
        if (name in COMPILED and kind not in _OF_ORDERS) or kind == "snapshot":
            yield Point("market", name, passages)
    yield Point("recorder", "counter_add", 5)
    yield Point(SUPERVISOR, "control_write_before", trigger="restart")
    yield Point(SUPERVISOR, "control_write_after", trigger="restart")


POINTS: Final = tuple(_points())
"""Every point, in every process that passes it."""
OF_UPDATES: Final = tuple(
    Point(UPDATES, name, 5)
    for name in COMPILED
    if name.startswith(("push_", "counter_")) and name != "push_intent"
)
"""Those of the process that hands order updates on."""


def points_of(broker: str) -> tuple[Point, ...]:
    """Every point of an engine with this order broker."""
    return POINTS if broker == "kite" else (*POINTS, *OF_UPDATES)


class Area:
    """The file that arms, mapped.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, *, make: bool = False) -> None:
        if make:
            path.write_bytes(bytes(_AREA.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _AREA.size)
        self._words = memoryview(self._map).cast("q")
        self.path = path

    def arm(self, number: int, left: int, role: str, then: int = 0) -> None:
        """The process whose name begins with `role` (or "#" and its pid) dies at its passage `left` + 1.

        then: of a wrapped point; who dies there arms that one for its successor, and only that second death
        counts. Armed from outside it would come too late on a busy machine: a successor is quick.
        """
        self._words[0] = 0
        self._map[32:48] = role.encode().ljust(16, b"\0")
        self._words[1], self._words[2], self._words[3], self._words[6] = left, 0, 0, then
        self._words[0] = number

    def disarm(self) -> None:
        self._words[0] = 0

    def fired(self) -> int:
        """The process that died of it; 0: none has yet."""
        return int(self._words[3]) if self._words[2] else 0

    def due(self, number: int) -> bool:
        """In the engine: whether this passage of a wrapped point is the deadly one."""
        if self._words[0] != number:
            return False
        role = bytes(self._map[32:48]).rstrip(b"\0")
        if role.startswith(b"#"):
            if int(role[1:]) != os.getpid():
                return False
        else:
            with open("/proc/thread-self/comm", "rb") as file:
                if not file.read().startswith(role):
                    return False
        left = self._words[1]
        self._words[1] = left - 1
        return bool(left == 0)

    def die(self, number: int) -> None:
        """In the engine: SIGKILL to this process, said before."""
        self._words[0] = 0
        if then := self._words[6]:
            self._words[6] = self._words[1] = 0
            self._words[0] = then
        else:
            self._words[3] = os.getpid()
            self._words[2] = number
        os.kill(os.getpid(), signal.SIGKILL)

    def at(self, number: int) -> None:
        """In the engine: a passage."""
        if self.due(number):
            self.die(number)
