"""Layer 2, orders process, cold: closing what the engine holds: at a stop, by a kill, when asked to.

All working orders are cancelled, exits too, or they could fill beside ours; then positions are closed
(closing.py). Over only when the broker's positions, read while nothing fills, show nothing of ours. What
the account held beyond our orders is not ours to close.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from kite_hft.trading.book import EXTERNAL, Book
from kite_hft.trading.exits.closing import Closer, shorts_first
from kite_hft.trading.ports import Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.sending.outbox import Outbox

PERIOD_NS: Final = 100_000_000


class Suspended(Protocol):
    """Somebody who must place nothing while everything is closed."""

    suspended: bool


class Flatten:
    """A steward that closes all positions, once it was told to `begin`."""

    def __init__(self, ports: Ports, book: Book, outbox: Outbox, reader: BookReader, closer: Closer) -> None:
        self._ports, self._book, self._outbox, self._reader = ports, book, outbox, reader
        self._closer = closer
        self.alive = False
        self.others: Sequence[Suspended] = ()  # they keep still meanwhile
        self._checks = -1  # comparisons of the positions when the last of ours was closed

    def begin(self) -> None:
        """Close everything, from the next step on."""
        self.alive = True
        for other in self.others:
            other.suspended = True
        self._outbox.stirred += 1

    def next_ns(self, now_ns: int) -> int:
        """Time alone makes an order due to be replaced."""
        return now_ns + PERIOD_NS

    def act(self, now_ns: int) -> int:
        """The next steps of closing everything; returns how many orders and cancels that were."""
        cancels = self._closer.cancels(self._book.live(), now_ns)
        for order in cancels:
            self._closer.hands.cancel(order, now_ns)
        due = self._closer.due(self.open_positions(), now_ns)
        for position in due:
            self._closer.close(position, now_ns)
        if self.done(now_ns):
            self.alive = bool(self.report())
            for other in self.others:
                other.suspended = self.alive
        return len(cancels) + len(due)

    def open_positions(self) -> list[Position]:
        """Ours, shorts first."""
        return shorts_first(p for p in self._book.positions.values() if p.quantity and p.strategy != EXTERNAL)

    def done(self, now_ns: int) -> bool:
        """Nothing of ours is open, and the broker's positions, read since, agree."""
        held = self.open_positions()
        if any(not self._closer.stays(p, held) for p in held) or self._book.live_count():
            self._checks = -1
            return False
        if self._checks < 0:
            self._checks = self._reader.checks
            self._reader.polls.check_wanted = True
        return self._reader.checks > self._checks and not self._reader.polls.check_wanted

    def report(self) -> list[str]:
        """What could not be closed, in words."""
        return [
            f"{self._ports.instruments[p.slot].key} {p.quantity} of strategy {p.strategy}"
            for p in self.open_positions()
        ]
