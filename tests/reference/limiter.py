"""A limiter that counts the slow way: keeps every call and looks through all of them each time.

stdlib only. Windows are (calls, span, reserved, reads), spans in ns; times in ns. A call is an "order", a
"read" or "relief": an urgent call that the broker counts among the reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Window = tuple[int, int, int, int]


@dataclass
class SlowLimiter:
    """shared: every call counts; orders: order calls; reads: reads and relief."""

    shared: list[Window]
    orders: list[Window]
    reads: list[Window]
    left: list[tuple[int, str]] = field(default_factory=list)  # (time, what)

    def _count(self, now: int, span: int, *which: str) -> int:
        return sum(1 for time, what in self.left if now - span < time and (not which or what in which))

    def order_fits(self, now: int, urgent: bool, *, beside_a_read: bool = False) -> bool:
        """beside_a_read: one more place of the shared windows has to stay free."""
        for windows, which, kept in ((self.shared, (), beside_a_read), (self.orders, ("order",), False)):
            for calls, span, reserved, _ in windows:
                most = calls if urgent else calls - reserved
                if kept and most > 1:
                    most -= 1
                if self._count(now, span, *which) >= most:
                    return False
        return True

    def relief_fits(self, now: int, *, beside_a_read: bool = False) -> bool:
        """As an urgent order call in the shared windows; in its own the reads' reserve is its."""
        for calls, span, _, _ in self.shared:
            most = calls - 1 if beside_a_read and calls > 1 else calls
            if self._count(now, span) >= most:
                return False
        return all(
            self._count(now, span, "read", "relief") < (calls - 1 if beside_a_read and calls > 1 else calls)
            for calls, span, _, _ in self.reads
        )

    def read_fits(self, now: int, *, overdue: bool = False) -> bool:
        for calls, span, reserved, reads in self.shared:
            if self._count(now, span) >= (calls if overdue else calls - reserved):
                return False
            if reads and self._count(now, span, "read") >= reads:
                return False
        return all(
            self._count(now, span, "read", "relief") < calls - kept for calls, span, kept, _ in self.reads
        )

    def leave(self, now: int, what: str) -> None:
        self.left.append((now, what))
