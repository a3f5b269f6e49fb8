"""Layer 5, orders process and watchdog, cold: the broker's raw books, put where the watchdog finds them.

Only ORDERS talks to the broker. The newest body of each book that the watchdog needs, and its own word of
the exits that it tends, lies in the run's shared memory as one file, replaced whole: a head (magic,
CLOCK_MONOTONIC ns when it was asked for, CLOCK_REALTIME ns when it was put there), then the bytes as they
came. Imports nothing big.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

SHELVED: Final = frozenset({"orders", "trades", "positions", "triggers", "exits"})
"""Values of recovery.polls.Read whose bodies are kept; exits: what ORDERS says of
its own (trading/exits/tended.py)."""
_MAGIC: Final = b"KHFTBOOK"
_HEAD: Final = struct.Struct("<8sqq")


class RawBook(NamedTuple):
    """One book as the broker sent it. asked_ns: CLOCK_MONOTONIC; put_real_ns: CLOCK_REALTIME."""

    read: str
    asked_ns: int
    put_real_ns: int
    body: bytes


def shelf(
    folder: Path, real_ns: Callable[[], int], *, wanted: bool = True
) -> Callable[[str, bytes, int], None]:
    """The port `on_book` of ORDERS: keeps the newest body of each book in `folder`, when a watchdog
    wants them.

    Shared memory that is full, or gone with the run, is no reason to stop trading: the watchdog sees
    that the book grows old, and says so.
    """

    def put(read: str, body: bytes, asked_ns: int) -> None:
        if read not in SHELVED or not wanted:
            return
        path = _path(folder, read)
        fresh = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.writev(fd, [_HEAD.pack(_MAGIC, asked_ns, real_ns()), body])
            finally:
                os.close(fd)
            fresh.replace(path)

    return put


def take_book(folder: Path, read: str, known_ns: int) -> RawBook | None:
    """The newest body of a book; None: there is none that was asked for after `known_ns`."""
    try:
        with _path(folder, read).open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return None
            magic, asked_ns, put_real_ns = _HEAD.unpack(head)
            if magic != _MAGIC or asked_ns <= known_ns:
                return None
            return RawBook(read, asked_ns, put_real_ns, file.read())
    except OSError:
        return None


def take_books(folder: Path, known_ns: Mapping[str, int]) -> list[RawBook]:
    """The newest body of each book, as they were asked for: positions show the trades of the books before
    them. known_ns: book -> as for take_book."""
    found = [take_book(folder, read, known_ns.get(read, -1)) for read in SHELVED]
    return sorted((book for book in found if book is not None), key=lambda book: book.asked_ns)


def _path(folder: Path, read: str) -> Path:
    return folder / f"{read}.book"
