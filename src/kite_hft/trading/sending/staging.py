"""Layer 2, orders process, hot where `fsync_before_send` is set: order calls that wait for the disk.

    throttle -> journal -> (here, until a sync has covered the record) -> egress gate -> transport

Orders and modifications pass here in the order of their records; cancels do not wait. The thread beside
syncs all that waits at once, and this one goes on meanwhile. A cool-down of the broker's that began after a
call was let out holds it here. A call's place in the broker's windows is taken when it comes in and moved
to when it leaves, so that a slow disk bunches nothing. One that is dropped gives its place back. Where the
process itself has stood still for longer than a window such a place is over: the call needs another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kite_hft.trading.sending.budget import Budget
from kite_hft.trading.sending.throttle import Waiting
from kite_hft.trading.sending.work import Work

LOOK_NS: Final = 100_000_000
"""So often at least its places are moved and deadlines looked at while something waits."""
_NOWHERE_NS: Final = -(2**61)

Staged = Waiting[Work]
"""One call that was let out, and has not left."""


@dataclass(slots=True)
class _Held:
    waiting: Staged
    seq: int  # of its record
    counted_ns: int  # where it stands in the windows; _NOWHERE_NS: its place is over


class Staging:
    """One per desk. `synced_seq`: the last record that is on the disk."""

    def __init__(self, synced_seq: Callable[[], int], budget: Budget) -> None:
        self._synced_seq, self._budget = synced_seq, budget
        self._staged: deque[_Held] = deque()

    def __len__(self) -> int:
        return len(self._staged)

    def add(self, waiting: Staged, seq: int, now_ns: int) -> None:
        """A call let out at `now_ns` whose record is number `seq`."""
        self._staged.append(_Held(waiting, seq, now_ns))

    def synced(self, now_ns: int, passes: Callable[[bool, int], bool]) -> list[Staged]:
        """What may leave now, oldest first; it is here no more, and its place stands at `now_ns`.

        passes(urgent, now_ns): False keeps a call here although its record is on the disk, and lets those
        behind it go before it. So does a place that is over, as long as there is no other.
        """
        done: list[Staged] = []
        kept: list[_Held] = []
        on_disk = self._synced_seq()
        while self._staged and self._staged[0].seq <= on_disk:
            staged = self._staged.popleft()
            if self._stands(staged, now_ns) and passes(staged.waiting.urgent, now_ns):
                done.append(staged.waiting)
            else:
                kept.append(staged)
        self._staged.extendleft(reversed(kept))
        for staged in self._staged:
            if now_ns - staged.counted_ns >= LOOK_NS:
                self._stands(staged, now_ns)
        return done

    def take_back(self, is_it: Callable[[Staged], bool]) -> list[Staged]:
        """Calls that shall not leave any more."""
        gone = [staged for staged in self._staged if is_it(staged.waiting)]
        if gone:
            self._staged = deque(staged for staged in self._staged if not is_it(staged.waiting))
        for staged in gone:
            self._budget.moved(staged.counted_ns, None)
        return [staged.waiting for staged in gone]

    def _stands(self, staged: _Held, now_ns: int) -> bool:
        """Move its place to `now_ns`. False: it is over, others may have it by now, and none is free."""
        budget, urgent = self._budget, staged.waiting.urgent
        if now_ns - staged.counted_ns < budget.shortest_ns:
            if now_ns > staged.counted_ns:
                budget.moved(staged.counted_ns, now_ns)
                staged.counted_ns = now_ns
            return True
        budget.moved(staged.counted_ns, None)  # long windows count it still
        staged.counted_ns = _NOWHERE_NS
        if (budget.urgent_free_ns if urgent else budget.entry_free_ns) > now_ns:
            return False
        budget.left(now_ns)
        staged.counted_ns = now_ns
        return True


def past(now_ns: int) -> Callable[[Staged], bool]:
    """Entries whose deadline has passed: the disk is too slow. An exit waits on."""
    return lambda waiting: not waiting.urgent and waiting.deadline_ns <= now_ns
