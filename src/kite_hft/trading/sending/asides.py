"""Layer 2, orders process, cold: calls beside orders: triggers at the broker, what a group would cost.

They are paid out of the part of the broker's windows that is for everything but orders, wait their turn
behind one another, and cross the same border. Each is sent at most once; its one answer goes to whoever
asked, as what it proves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.sending.budget import ReadKind
from kite_hft.trading.sending.egress import Egress

WAITING_MAX: Final = 64

Answer = HttpResponse | TransportError


@dataclass(slots=True, eq=False)
class Aside:
    """One call. `leaves()` is asked just before it is sent: False, and it is given up, unsent."""

    name: str  # for the evidence of calls
    request: HttpRequest
    answered: Callable[[Answer, int], None]
    leaves: Callable[[], bool] = lambda: True


class Asides:
    """A bounded queue of calls, oldest first."""

    def __init__(self, egress: Egress, submit: Callable[[Aside, HttpRequest], None]) -> None:
        self._egress, self._submit = egress, submit
        self._waiting: deque[Aside] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """No other call is taken."""
        return len(self._waiting) >= WAITING_MAX

    def offer(self, aside: Aside) -> bool:
        """Queue a call; False: too many wait."""
        if self.full:
            return False
        self._waiting.append(aside)
        return True

    def send(self, now_ns: int) -> int:
        """Let out what may leave now; returns how many calls that was."""
        sent = 0
        while self._waiting and self._egress.budget.read_free_ns(ReadKind.OTHER, now_ns) <= now_ns:
            aside = self._waiting.popleft()
            if not aside.leaves():
                continue
            if self._egress.read_refused(now_ns):
                aside.answered(TransportError("the egress count is full", sent=False), now_ns)
                continue
            self._egress.budget.read_left(now_ns, ReadKind.OTHER)
            self._submit(aside, aside.request)
            self._egress.read_left(aside.name)
            sent += 1
        return sent

    def next_ns(self, now_ns: int) -> int | None:
        """When the next one may leave; None: none waits."""
        if not self._waiting:
            return None
        return max(now_ns, self._egress.budget.read_free_ns(ReadKind.OTHER, now_ns))
