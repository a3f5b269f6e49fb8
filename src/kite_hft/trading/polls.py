"""Layer 2, orders process, cold: which of the broker's books to read next, and when.

Pure. Reads are one at a time and never closer than `gap_ns`, far below the broker's window for
them. At start: orders, trades, positions, orders again (had anything filled between, positions
again), margins. Afterwards the order book every `period_ns` while anything is live and at once
after an ambiguous answer; trades after fills.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Read(enum.Enum):
    """A book of the broker."""

    ORDERS = "orders"
    TRADES = "trades"
    POSITIONS = "positions"
    MARGINS = "margins"


@dataclass(slots=True)
class Polls:
    """When is the next read due? Times are CLOCK_MONOTONIC ns."""

    period_ns: int
    gap_ns: int
    orders_wanted: bool = False  # at once
    trades_wanted: bool = False
    starting: Read | None = Read.ORDERS
    in_flight: Read | None = None
    _last_ns: int = -(2**62)
    _orders_ns: int = -(2**62)

    def due(self, now_ns: int, live: bool) -> Read | None:
        """The read to send now; the caller sends it and calls `sent`.

        The period runs from when something became live: asking is part of keeping time.
        """
        if not live:
            self._orders_ns = now_ns
        if self.in_flight or now_ns < self._last_ns + self.gap_ns:
            return None
        if self.starting:
            return self.starting
        if self.orders_wanted or (live and now_ns >= self._orders_ns + self.period_ns):
            return Read.ORDERS
        return Read.TRADES if self.trades_wanted else None

    def sent(self, read: Read, now_ns: int) -> None:
        """`read` has left."""
        self.in_flight, self._last_ns = read, now_ns
        if read is Read.ORDERS:
            self._orders_ns, self.orders_wanted = now_ns, False
        elif read is Read.TRADES:
            self.trades_wanted = False

    def done(self, ok: bool) -> None:
        """The read in flight was answered; a failed one is wanted again."""
        read, self.in_flight = self.in_flight, None
        if not ok:
            self.orders_wanted |= read is Read.ORDERS
            self.trades_wanted |= read is Read.TRADES

    def next_ns(self, now_ns: int, live: bool) -> int | None:
        """When `due` will next give a read, were nothing to happen; None: not by itself."""
        if self.in_flight:
            return None
        if self.starting or self.orders_wanted or self.trades_wanted:
            return max(now_ns, self._last_ns + self.gap_ns)
        return max(now_ns, self._last_ns + self.gap_ns, self._orders_ns + self.period_ns) if live else None
