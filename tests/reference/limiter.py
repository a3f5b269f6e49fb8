"""A limiter that counts the slow way: keeps every call and looks through all of them each time.

stdlib only. Windows are (calls, span, reserved, reads), spans in ns; times in ns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Window = tuple[int, int, int, int]


@dataclass
class SlowLimiter:
    """shared: every call counts; orders: order calls; reads: reads alone."""

    shared: list[Window]
    orders: list[Window]
    reads: list[Window]
    left: list[tuple[int, bool]] = field(default_factory=list)  # (time, was a read)

    def _count(self, now: int, span: int, which: str) -> int:
        return sum(
            1
            for time, read in self.left
            if now - span < time and (which == "all" or read == (which == "read"))
        )

    def order_fits(self, now: int, urgent: bool, *, beside_a_read: bool = False) -> bool:
        """beside_a_read: one more place of the shared windows has to stay free."""
        for windows, which, kept in ((self.shared, "all", beside_a_read), (self.orders, "order", False)):
            for calls, span, reserved, _ in windows:
                most = calls if urgent else calls - reserved
                if kept and most > 1:
                    most -= 1
                if self._count(now, span, which) >= most:
                    return False
        return True

    def read_fits(self, now: int, *, overdue: bool = False) -> bool:
        for calls, span, reserved, reads in self.shared:
            if self._count(now, span, "all") >= (calls if overdue else calls - reserved):
                return False
            if reads and self._count(now, span, "read") >= reads:
                return False
        return all(self._count(now, span, "read") < calls for calls, span, _, _ in self.reads)

    def leave(self, now: int, *, read: bool) -> None:
        self.left.append((now, read))
