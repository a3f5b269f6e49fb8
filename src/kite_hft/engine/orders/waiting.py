"""Layer 5, orders process, hot: when the order stage steps, and how it waits in between.

Who looks instead of sleeping does it in one compiled call over queues and descriptors
(processes/spinning.py). Whatever has come, the express way is tried at once: the way back to the step, which
tries it first, takes longer than most parts of an order.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Final

from kite_hft import _queue
from kite_hft.clock import Clock
from kite_hft.engine.orders.latch import LatchWatch
from kite_hft.engine.orders.transports import Transport
from kite_hft.engine.orders.warmth import Warmth
from kite_hft.engine.processes.children import Answers
from kite_hft.engine.processes.control import ControlPipe
from kite_hft.engine.processes.segments import Segments
from kite_hft.engine.processes.spinning import Lookout
from kite_hft.stages.orders import Orders

BEAT_NS: Final = 100_000_000


class Waiting:
    """Steps the stage, and sleeps when there is nothing to do."""

    def __init__(
        self,
        stage: Orders,
        transport: Transport,
        queues: Sequence[_queue.QueueConsumer],
        views: Sequence[memoryview],
        wake_fd: int,
        clock: Clock,
        segments: Segments,
        control: ControlPipe | None,
        answers: Answers,
        wait: str,
        latch: LatchWatch,
        wake_journal: Callable[[], None] = lambda: None,
    ) -> None:
        self._latch, self._wake_journal = latch, wake_journal
        self.warmth: Warmth | None = None
        self.at_beat: Callable[[], None] = lambda: None
        self._stage, self._transport, self._queues, self._clock = stage, transport, queues, clock
        self._segments = segments
        self._control, self._answers = control, answers
        self._beat_ns, self._alone, self._dashed = 0, False, False
        self._epoll = select.epoll()
        # At its edge: each write of a producer wakes, and what was written need not be read away.
        self._epoll.register(wake_fd, select.EPOLLIN | select.EPOLLET)
        self._transport_fd = transport.fileno()
        if self._transport_fd >= 0:
            self._epoll.register(self._transport_fd, select.EPOLLIN)
        if control is not None:
            self._epoll.register(control.fileno(), select.EPOLLIN)
        if latch.fileno() >= 0:
            self._epoll.register(latch.fileno(), select.EPOLLIN)
        looked_at = self._epoll.fileno(), lambda: self._serve(0.0), self._pushed
        self._lookout = Lookout(wait, queues, views, *looked_at, clock)

    def hear(self) -> None:
        """What the supervisor has said; a message that cannot be followed is told and left."""
        for message in self._control.read() if self._control else ():
            try:
                self._stage.control(message, self._clock.mono_ns())
            except (KeyError, ValueError, TypeError) as error:
                self._answers.log(f"orders: message {message.get('do')!r} not understood: {error!r}")
        if self.alone and self._control is not None:
            self._epoll.unregister(self._control.fileno())
            self._control, self._alone = None, True

    @property
    def alone(self) -> bool:
        """The supervisor is gone: its end of the control pipe is closed."""
        return self._alone or (self._control is not None and self._control.closed)

    def round(self) -> None:
        """One step; then, when it found nothing, look or sleep until something arrives or is due."""
        now_ns = self._clock.mono_ns()
        if self._stood_still(now_ns):
            self.hear()
        worked = self._stage.step(now_ns)
        self._wake_journal()
        if now_ns >= self._beat_ns:  # behind the step: what has woken us waits for none of this
            self._beat_ns = now_ns + BEAT_NS
            self._segments.heartbeat(now_ns)
            self.hear()
            self.at_beat()
        if worked or self._dashed:
            self._dashed = False
            return
        times = (self._stage.next_deadline_ns(now_ns), self._transport.next_deadline_ns(), self._beat_ns)
        due_ns = min(t for t in times if t is not None)
        came, warmth = self._lookout.came, self.warmth
        if came(due_ns) if warmth is None else warmth.look(came, due_ns):
            return
        parked = [queue for queue in self._queues if queue.park()]
        if len(parked) == len(self._queues):
            self._sleep(due_ns)
        for queue in parked:
            queue.unpark()

    def _sleep(self, due_ns: int) -> None:
        """Until something arrives, or it is `due_ns`; what keeps an order's way warm is done meanwhile."""
        warmth = self.warmth
        while True:
            now_ns = self._clock.mono_ns()
            until_ns = due_ns if warmth is None else warmth.until_ns(now_ns, due_ns)
            if self._serve(max(0, until_ns - now_ns) / 1e9):
                return self._dash()
            if warmth is None or until_ns >= due_ns:
                return None
            warmth.keep(self._clock.mono_ns())

    def _pushed(self, silent_ns: int) -> None:
        self._transport.silent(silent_ns)
        self._dash()

    def _dash(self) -> None:
        """What has come may be a plain placement: it leaves at once, as first thing of the step to come."""
        express, now_ns = self._stage.express, self._clock.mono_ns()
        if express is not None and not self._stood_still(now_ns) and express.send(now_ns):
            self._dashed = True

    def _stood_still(self, now_ns: int) -> bool:
        """A beat is overdue: what the supervisor has said since comes before what it may stop."""
        return 0 < self._beat_ns < now_ns - BEAT_NS

    def _serve(self, wait_s: float) -> bool:
        """Wait for descriptors; whether one was ready. The transport's own are left to the next step."""
        ready = self._epoll.poll(wait_s)
        seen_ns, answers = self._clock.mono_ns(), False
        for fd, _ in ready:
            if fd == self._transport_fd:
                answers = True
            elif fd == self._latch.fileno():
                self._latch.drain()
            elif self._control is not None and fd == self._control.fileno():
                self.hear()
        if not answers:
            self._transport.silent(seen_ns)
        return bool(ready)

    def close(self) -> None:
        self._epoll.close()
