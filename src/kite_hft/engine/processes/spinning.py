"""Layer 5, market and orders processes, hot: looking for work before sleeping in the kernel.

Compute alone waits in C (ext/wait.pyx). A feed waits in its event loop and ORDERS in its epoll set:
here is what makes those two look without sleeping ("spin"), look and offer the core in between
("yield"), or look for a while after work and then sleep ("adaptive"). "park" needs nothing from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from kite_hft import _queue, _wait
from kite_hft.clock import Clock

LOOP_SPIN_NS: Final = 50_000
"""Adaptive: a feed's loop looks so long after a read. Twice what waking from epoll costs."""
QUEUE_SPIN_NS: Final = 50_000
"""Adaptive: ORDERS looks so long before it sleeps."""
DESCRIPTORS_EVERY_NS: Final = 3_000
"""Queues are looked at all the time (30 ns), descriptors this often: it takes a system call (300 ns)."""
_HEAD_MOVED: Final = _wait.HEAD_MOVED


class Loop(Protocol):
    """The part of an event loop that is needed here."""

    def call_soon(self, callback: Callable[[], None], /) -> Any: ...


class LoopSpinner:
    """Re-arms an event loop, so that it asks for events with a time-out of zero.

    A callback that waits in the loop's queue keeps the loop from sleeping; this one puts itself there
    again whenever it is called. `start` once; `touch` after each read ("adaptive" only).
    """

    def __init__(self, loop: Loop, wait: str, clock: Clock, spin_ns: int = LOOP_SPIN_NS) -> None:
        self._loop, self._wait, self._now_ns, self._spin_ns = loop, wait, clock.mono_ns, spin_ns
        self._until_ns = 0
        self._armed = False

    def start(self) -> None:
        """Spin or yield from now on; the other strategies wait for `touch`."""
        if self._wait == "spin":
            self._spin()
        elif self._wait == "yield":
            self._yield()

    def touch(self) -> None:
        """There was work: look for more for a while."""
        self._until_ns = self._now_ns() + self._spin_ns
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._look)

    def _spin(self) -> None:
        self._loop.call_soon(self._spin)

    def _yield(self) -> None:
        os.sched_yield()
        self._loop.call_soon(self._yield)

    def _look(self) -> None:
        if self._now_ns() < self._until_ns:
            self._loop.call_soon(self._look)
        else:
            self._armed = False


class Lookout:
    """What ORDERS does before it sleeps: looks at the heads of its queues and at its descriptors.

    views: the segments of `queues`, in their order. epoll_fd: the set of the descriptors. serve(): handles
    what is ready there. pushed(silent_ns): something has just come into a queue; no descriptor was ready at
    that time (below 0: that was not seen).
    """

    def __init__(
        self,
        wait: str,
        queues: Sequence[_queue.QueueConsumer],
        views: Sequence[memoryview],
        epoll_fd: int,
        serve: Callable[[], object],
        pushed: Callable[[int], None],
        clock: Clock,
        spin_ns: int = QUEUE_SPIN_NS,
    ) -> None:
        self._queues, self._now_ns = queues, clock.mono_ns
        self._epoll_fd, self._serve, self._pushed = epoll_fd, serve, pushed
        looks = wait != "park" and bool(views)
        self._waiter = _wait.Waiter(list(views), "yield" if wait == "yield" else "spin") if looks else None
        self._for_ns = spin_ns if wait == "adaptive" else None

    def came(self, due_ns: int) -> bool:
        """Look until something is there or it is `due_ns`; False: now it is time to sleep."""
        waiter = self._waiter
        if waiter is None:
            return False
        now_ns = self._now_ns()
        until_ns = due_ns if self._for_ns is None else min(due_ns, now_ns + self._for_ns)
        seen = [queue.next_seq for queue in self._queues]
        while now_ns < until_ns:
            found = waiter.look(seen, self._epoll_fd, until_ns - now_ns, DESCRIPTORS_EVERY_NS)
            if found == _HEAD_MOVED:
                self._pushed(waiter.silent_ns)
                return True
            if found:
                self._serve()
                return True
            now_ns = self._now_ns()
        return now_ns >= due_ns
