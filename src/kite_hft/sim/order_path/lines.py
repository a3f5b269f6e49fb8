"""Layer 4, campaigns and tests, cold: the transport's few connections for order calls, in virtual time.

As net/http.py has them: a connection carries one call until its answer, or until nobody waits for that any
more. A call that finds none free waits, and who keeps the broker's windows is told; when one is free the
urgent ones go first, the others as they came, and each is asked for once more before it leaves. What waits
too long is given up, unsent, but for what may not be (Egress.waits_on): that waits on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.sending.egress import Egress
from kite_hft.units import NS_PER_S

QUEUE_NS: Final = NS_PER_S
"""So long does a call wait for a connection."""
WAIT_ON_NS: Final = NS_PER_S // 10
NO_CONNECTION: Final = "no connection was free: all busy"


class Waiting(NamedTuple):
    """A call without a connection."""

    request_id: int
    request: HttpRequest
    give_up_ns: int


@dataclass(slots=True)
class Lines:
    """`most` connections. leave(request_id, request): hands a call to the network; give_up(request_id,
    request, why): it never leaves. now(): virtual ns; mono_ns(): the engine's clock. wake(at_ns): has `serve`
    called then.
    """

    most: int
    now: Callable[[], int]
    leave: Callable[[int, HttpRequest], None]
    give_up: Callable[[int, HttpRequest, str], None]
    mono_ns: Callable[[], int] = lambda: 0
    wake: Callable[[int], None] = lambda at_ns: None
    follower: Egress | None = None
    busy: int = 0
    waiting: list[Waiting] = field(default_factory=list)

    def submit(self, request_id: int, request: HttpRequest) -> bool:
        """Let a call leave now, or (False) wait."""
        if not self.waiting and self.busy < self.most:
            self._start(request_id, request)
            return True
        self.waiting.append(Waiting(request_id, request, self.now() + QUEUE_NS))
        if self.follower is not None:
            self.follower.waits(request_id)
        return False

    def _start(self, request_id: int, request: HttpRequest) -> None:
        self.busy += 1
        self.leave(request_id, request)

    def answered(self) -> None:
        """A connection is free again."""
        self.busy -= 1

    def serve(self) -> None:
        """Hand free connections to those that wait; give up what has waited too long."""
        follower, now_ns = self.follower, self.now()
        for call in [waits for waits in self.waiting if waits.give_up_ns <= now_ns]:
            if follower is not None and follower.waits_on(call.request_id):
                self.waiting[self.waiting.index(call)] = call._replace(give_up_ns=now_ns + WAIT_ON_NS)
                self.wake(now_ns + WAIT_ON_NS)
            else:
                self._drop(call, NO_CONNECTION)
        while self.waiting and self.busy < self.most:
            call = self.waiting[0]
            if follower is not None:
                line = sorted(self.waiting, key=lambda w: not follower.urgent(w.request_id))
                placed = next((w for w in line if follower.placed(w.request_id)), None)
                if placed is None:
                    self.wake(now_ns + WAIT_ON_NS)
                    return
                call = placed
            if follower is not None and (why := follower.stops(call.request_id)):
                self._drop(call, why)
                continue
            self.waiting.remove(call)
            self._start(call.request_id, call.request)
            if follower is not None:
                follower.wrote(call.request_id, self.mono_ns())

    def _drop(self, call: Waiting, why: str) -> None:
        self.waiting.remove(call)
        self.give_up(call.request_id, call.request, why)
        if self.follower is not None:
            self.follower.wrote(call.request_id, None)

    def cut(self) -> None:
        """The process is gone, and its connections with it."""
        self.busy, self.follower = 0, None
        self.waiting.clear()
