"""Layer 2, orders process, cold: which of the broker's books to read next, and when.

Pure. Reads are one at a time and inside the broker's windows for them. At start: orders, trades,
positions, triggers, orders again (had anything filled between, positions again), funds, as fast as
the windows allow. Afterwards the order book every `period_ns` while anything is live and at once after
an ambiguous answer; trades after fills; and every `positions_ns`, or at once when somebody else has
traded, a check: the same round of reads. What only the time asks for keeps to a pace (pace.py). Failed reads
are asked again later and later, up to `RETRY_NS_MAX`; a check whose read fails keeps its own pauses, and
holds up no other read of the order book or of executions: those come between.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from kite_hft.trading.recovery.pace import Pace
from kite_hft.trading.sending.budget import Budget, ReadKind

RETRY_NS_MAX = 2_000_000_000
NEVER_NS = 2**61


class Read(enum.Enum):
    """A book of the broker."""

    ORDERS = "orders"
    TRADES = "trades"
    POSITIONS = "positions"
    TRIGGERS = "triggers"
    MARGINS = "margins"


@dataclass(slots=True)
class Polls:
    """When is the next read due? Times are CLOCK_MONOTONIC ns.

    starting: the next read of the start; checking: of a check of the positions; None: neither.
    paused: no read at all (the broker's session is dead). budget: what all calls to the broker are paid
    out of; a read that finds no place there waits, and not for ever. None: there is no limit. pace: of what
    only the time asks for.
    """

    period_ns: int
    gap_ns: int
    positions_ns: int = NEVER_NS
    budget: Budget | None = None
    pace: Pace = field(default_factory=lambda: Pace(()))
    orders_wanted: bool = False  # at once
    trades_wanted: bool = False
    check_wanted: bool = False
    starting: Read | None = Read.ORDERS
    checking: Read | None = None
    paused: bool = False
    in_flight: Read | None = None
    _last_ns: int = -(2**62)
    _orders_ns: int = -(2**62)
    _checked_ns: int = 0  # from then on it is positions_ns to the next
    _over_ns: int = 0  # when the last check was over
    _retry_ns: int = field(default=-(2**62))
    _failures: int = 0
    _again_ns: int = field(default=-(2**62))  # the check: not before
    _check_failures: int = 0
    _turn: bool = True  # the check goes first: it has not failed, or another read was answered since

    def due(self, now_ns: int, live: bool) -> Read | None:
        """The read to send now; the caller sends it and calls `sent`.

        The period runs from when something became live: asking is part of keeping time.
        """
        if not live:
            self._orders_ns = now_ns
        if self.in_flight:
            return None
        read = None if self.paused else self._wanted(now_ns, live)
        if read is None:
            if self.budget is not None:
                self.budget.no_read_waits()
            return None
        if now_ns < self._rested_ns():
            return None
        if self.budget is not None and now_ns < self._paid_ns(self.budget, now_ns):
            self.budget.read_waits(now_ns, ReadKind.OTHER)
            return None
        if self.starting is None and self.checking is None and self._check_due(now_ns):
            self.checking, self.check_wanted = Read.ORDERS, False
            self._check_failures, self._again_ns, self._turn = 0, -(2**62), True
        return read

    def _wanted(self, now_ns: int, live: bool) -> Read | None:
        """What is to be read next: asked before the windows, for it is mostly nothing."""
        if self.starting:
            return self.starting
        if self.checking is None and self._check_due(now_ns):
            return Read.ORDERS
        other = Read.TRADES if self._beside(Read.TRADES, self.trades_wanted) else None
        if self._beside(Read.ORDERS, self.orders_wanted or (live and now_ns >= self._poll_ns())):
            other = Read.ORDERS
        if self.checking and now_ns >= self._again_ns:
            first = self.checking is Read.ORDERS  # executions that cannot be read keep no one from that
            return self.checking if first or self._turn or other is None else other
        return other

    def _beside(self, read: Read, wanted: bool) -> bool:
        """It is wanted, and not what the check reads next anyway."""
        return wanted and self.checking is not read

    def _check_due(self, now_ns: int) -> bool:
        return self.check_wanted or now_ns >= self._check_ns()

    def _check_ns(self) -> int:
        """When positions are compared because it is time."""
        return max(self._checked_ns + self.positions_ns, self.pace.check_ns(self._over_ns))

    def _poll_ns(self) -> int:
        """When the order book is read because it is time."""
        return max(self._orders_ns + self.period_ns, self.pace.poll_ns(self._orders_ns))

    def sent(self, read: Read, now_ns: int) -> None:
        """`read` has left."""
        self.in_flight, self._last_ns = read, now_ns
        if self.budget is not None:
            self.budget.read_left(now_ns, ReadKind.OTHER)
        self.pace.read_left(now_ns)
        if read is Read.ORDERS:
            self._orders_ns, self.orders_wanted = now_ns, False
        elif read is Read.TRADES:
            self.trades_wanted = False

    @property
    def trades_due(self) -> bool:
        """Executions are still to be read, or their read is unanswered."""
        return self.trades_wanted or self.in_flight is Read.TRADES

    def done(self, ok: bool, now_ns: int = 0, wait_ns: int = 0) -> None:
        """The read in flight was answered; a failed one is wanted again, not before `wait_ns`."""
        read, self.in_flight = self.in_flight, None
        check = self.starting is None and self.checking is read
        if ok:
            self._failures, self._turn = 0, True
            self._check_failures = 0 if check else self._check_failures
            return
        if check:
            self._check_failures, self._turn = self._check_failures + 1, False
            self._again_ns = now_ns + self._back_off_ns(self._check_failures)
            self._retry_ns = max(self._retry_ns, now_ns + wait_ns)
            return
        self._failures += 1
        self._retry_ns = now_ns + max(self._back_off_ns(self._failures), wait_ns)
        if self.starting is None:
            self.orders_wanted |= read is Read.ORDERS
            self.trades_wanted |= read is Read.TRADES

    def _back_off_ns(self, failures: int) -> int:
        return min(RETRY_NS_MAX, self.gap_ns << min(failures - 1, 8))

    def rest_until(self, until_ns: int) -> None:
        """No read before."""
        self._retry_ns = max(self._retry_ns, until_ns)

    def checked(self, now_ns: int, *, again: bool, within_ns: int = NEVER_NS) -> None:
        """A check is over; `again`: it has to be repeated at once. within_ns: so soon, or in its turn."""
        self.checking, self.check_wanted = None, again
        self._checked_ns, self._over_ns = now_ns - max(0, self.positions_ns - within_ns), now_ns

    def next_ns(self, now_ns: int, live: bool) -> int | None:
        """When `due` will next give a read, were nothing to happen; None: not by itself."""
        if self.in_flight or self.paused:
            return None
        free_ns = max(now_ns, self._rested_ns())
        if self.budget is not None:
            alone = self.starting is not None
            free_ns = max(free_ns, self.budget.read_look_ns(ReadKind.OTHER, now_ns, alone=alone))
        orders = self._beside(Read.ORDERS, self.orders_wanted)
        if self.starting or orders or self._beside(Read.TRADES, self.trades_wanted):
            return free_ns
        times = [self._again_ns] if self.checking else []
        if self.checking is None and (self.check_wanted or self.positions_ns < NEVER_NS):
            times.append(now_ns if self.check_wanted else self._check_ns())
        if self._beside(Read.ORDERS, live):
            times.append(self._poll_ns())
        return max(free_ns, min(times)) if times else None

    def _paid_ns(self, budget: Budget, now_ns: int) -> int:
        return budget.read_free_ns(ReadKind.OTHER, now_ns, alone=self.starting is not None)

    def _rested_ns(self) -> int:
        """From when on the next read may leave, for all that we ourselves keep between two."""
        return self._retry_ns if self.starting else max(self._retry_ns, self._last_ns + self.gap_ns)
