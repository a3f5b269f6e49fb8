"""Layer 2, orders process, cold: calls beside orders: triggers at the broker, what a group would cost.

They wait in two lanes and cross the same border as all calls. Urgent is what takes risk away or protects:
the deletion of a trigger, a change that makes it smaller, the trigger that is the stop of a plan. It is paid
as a cancel is, and stands in one line with cancels and exits: what came first leaves first. The others are
paid out of the reads' part of the broker's windows. Each is sent at most once; its one answer goes to whoever
asked, as what it proves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.ports import Ports
from kite_hft.trading.sending.budget import NEVER_NS, ReadKind
from kite_hft.trading.sending.egress import Egress
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

WAITING_MAX: Final = 64
LOOK_NS: Final = 5_000_000
"""So often is looked whether the disk has what calls wait for."""
AGAIN_NS: Final = NS_PER_S
"""Between two tries of an exit that found no connection: each takes a place in the broker's windows."""
HANG_NS: Final = NS_PER_S
"""So long does a call wait for a disk that hangs where orders do not (fsync_before_send)."""

Answer = HttpResponse | TransportError


@dataclass(slots=True, eq=False)
class Aside:
    """One call. `leaves()` is asked just before it is sent: False, and it is given up, unsent. on_disk(): as
    long as its record is not there, those behind it go first. waits_as: of an exit, what it is called: when
    no connection was free for it, it stands in line again, for as long as `leaves`, and a person is told.
    tried(now_ns): it is handed over, once more maybe.
    """

    name: str  # for the evidence of calls
    request: HttpRequest
    answered: Callable[[Answer, int], None]
    leaves: Callable[[], bool] = lambda: True
    on_disk: Callable[[], bool] = lambda: True
    urgent: bool = False
    waits_as: str = ""
    tried: Callable[[int], None] = lambda now_ns: None
    offered_ns: int = 0
    again_ns: int = 0  # not before then


class Asides:
    """Two bounded queues of calls, oldest first: the urgent ones, and the others."""

    def __init__(self, egress: Egress, submit: Callable[[Aside, HttpRequest], None]) -> None:
        self._egress, self._submit = egress, submit
        self._lanes: dict[ReadKind, deque[Aside]] = {ReadKind.RELIEF: deque(), ReadKind.OTHER: deque()}

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def full(self, *, urgent: bool) -> bool:
        """No other call of the kind is taken."""
        return len(self._lanes[_kind(urgent)]) >= WAITING_MAX

    def offer(self, aside: Aside, now_ns: int) -> bool:
        """Queue a call; False: too many wait."""
        if self.full(urgent=aside.urgent):
            return False
        aside.offered_ns = now_ns
        self._lanes[_kind(aside.urgent)].append(aside)
        return True

    def send(self, now_ns: int) -> int:
        """Let out what may leave now; returns how many calls that was."""
        sent = self.send_urgent(now_ns)
        while self._lanes[ReadKind.OTHER] and (done := self._send_next(ReadKind.OTHER, now_ns)) is not None:
            sent += done
        return sent

    def send_urgent(self, now_ns: int, before_ns: int = NEVER_NS) -> int:
        """The same of urgent ones that were offered before `before_ns`, when the first cancel or exit that
        waits was.
        """
        sent, lane = 0, self._lanes[ReadKind.RELIEF]
        while lane and lane[0].offered_ns < before_ns:
            if (done := self._send_next(ReadKind.RELIEF, now_ns)) is None:
                break
            sent += done
        return sent

    def _send_next(self, kind: ReadKind, now_ns: int) -> int | None:
        """1: the next of a lane has left; 0: it is given up; None: none may leave now."""
        budget, lane = self._egress.budget, self._lanes[kind]
        aside = _next(lane, now_ns) if budget.read_free_ns(kind, now_ns) <= now_ns else None
        if aside is None:
            return None
        lane.remove(aside)
        about = self._egress.aside_leaves(aside.name)
        if not aside.leaves():  # asked behind the record: a disk may hold that up
            self._egress.aside_unsent(aside.name, about)
            if aside.waits_as:
                self._egress.waits_no_more(aside.waits_as)
            return 0
        if self._egress.read_refused(now_ns):
            self._egress.aside_unsent(aside.name, about)
            if aside.waits_as:
                self._egress.waits_no_more(aside.waits_as)
            aside.answered(TransportError("the egress count is full", sent=False), now_ns)
            return 0
        budget.read_left(now_ns, kind)
        aside.again_ns = now_ns + AGAIN_NS
        aside.answered = self._answered(aside, about, aside.answered)
        aside.tried(now_ns)
        self._submit(aside, aside.request)
        self._egress.read_left(aside.name, about)
        return 1

    def _answered(
        self, aside: Aside, about: str, answered: Callable[[Answer, int], None]
    ) -> Callable[[Answer, int], None]:
        def take(result: Answer, now_ns: int) -> None:
            unsent = isinstance(result, TransportError) and not result.sent
            if unsent:
                self._egress.aside_unsent(aside.name, about)
            if unsent and aside.waits_as:
                aside.answered = answered
                self._lanes[_kind(aside.urgent)].appendleft(aside)
                self._egress.still_waits(aside.waits_as, aside.offered_ns, now_ns)
                return
            if aside.waits_as:
                self._egress.waits_no_more(aside.waits_as)
            answered(result, now_ns)

        return take

    def next_ns(self, now_ns: int) -> int | None:
        """When the next one may leave; None: none waits."""
        budget, times = self._egress.budget, []
        for kind, lane in self._lanes.items():
            if lane:
                at_ns = now_ns if _next(lane, now_ns) is not None else now_ns + LOOK_NS
                times.append(max(at_ns, budget.read_free_ns(kind, now_ns)))
        return min(times, default=None)


def _kind(urgent: bool) -> ReadKind:
    return ReadKind.RELIEF if urgent else ReadKind.OTHER


def _next(lane: Iterable[Aside], now_ns: int) -> Aside | None:
    return next((aside for aside in lane if now_ns >= aside.again_ns and aside.on_disk()), None)


def on_disk(ports: Ports, outbox: Outbox, *, hangs: bool) -> Callable[[], bool]:
    """Whether the newest record of now has reached the disk: for a call that bears no tag, and that nobody
    would know again without it. True, too, once the journal has failed (`leaves` gives it up), and after
    HANG_NS, unless it `hangs` on for as long as the disk does.
    """
    seq, mono_ns = outbox.journal_seq, ports.clock.mono_ns
    until_ns = mono_ns() + HANG_NS

    def there() -> bool:
        late = not hangs and mono_ns() >= until_ns
        return late or ports.synced_seq() >= seq or bool(outbox.journal_failed)

    return there
