"""Layer 2, orders process, cold: calls beside orders: triggers at the broker, what a group would cost.

They wait in lanes and cross the same border as all calls. Urgent is what takes risk away or protects:
the deletion of a trigger, a change that makes it smaller, the trigger that is the stop of a plan. It is paid
as a cancel is, and stands in one line with cancels and exits: what came first leaves first. The others are
paid out of the reads' part of the broker's windows. Where triggers are order calls to the broker
(Limits.triggers_are_orders) all of theirs are paid as order calls are: by entries' places what is not urgent.
Each is sent at most once; its one answer goes to whoever asked, as what it proves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.ports import Ports
from kite_hft.trading.sending.budget import NEVER_NS, ReadKind
from kite_hft.trading.sending.egress import TRIGGER, Egress
from kite_hft.trading.sending.evidence import ENTRY, READ, URGENT
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.throttle import Throttle
from kite_hft.trading.sending.work import Work
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


class Pay(NamedTuple):
    """How the calls of a lane are paid: as order calls are, or as reads."""

    as_order: bool
    urgent: bool

    @property
    def kind(self) -> ReadKind:
        return ReadKind.RELIEF if self.urgent else ReadKind.OTHER

    @property
    def part(self) -> str:
        """For evidence and journal."""
        if not self.as_order:
            return READ
        return URGENT if self.urgent else ENTRY


class Asides:
    """Bounded queues of calls, oldest first: the urgent ones, and the others, by how they are paid.

    triggers_are_orders: those about triggers are order calls to the broker.
    """

    def __init__(
        self,
        egress: Egress,
        throttle: Throttle[Work],
        submit: Callable[[Aside, HttpRequest], None],
        *,
        triggers_are_orders: bool,
    ) -> None:
        self._egress, self._throttle, self._submit = egress, throttle, submit
        self._triggers_are_orders = triggers_are_orders
        self._lanes: dict[Pay, deque[Aside]] = {
            Pay(as_order, urgent): deque() for urgent in (True, False) for as_order in (True, False)
        }

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def full(self, *, urgent: bool) -> bool:
        """No other call of the kind is taken."""
        return sum(len(lane) for pay, lane in self._lanes.items() if pay.urgent is urgent) >= WAITING_MAX

    def offer(self, aside: Aside, now_ns: int) -> bool:
        """Queue a call; False: too many wait."""
        if self.full(urgent=aside.urgent):
            return False
        aside.offered_ns = now_ns
        self._lanes[self._pay(aside)].append(aside)
        return True

    def _pay(self, aside: Aside) -> Pay:
        return Pay(self._triggers_are_orders and aside.name == TRIGGER, aside.urgent)

    def _free_ns(self, pay: Pay, now_ns: int) -> int:
        """From when on the next of a lane may leave."""
        if pay.as_order:
            return self._throttle.free_at(now_ns, pay.urgent)
        return self._egress.budget.read_free_ns(pay.kind, now_ns)

    def send(self, now_ns: int) -> int:
        """Let out what may leave now; returns how many calls that was."""
        sent = self.send_urgent(now_ns)
        for pay, lane in self._lanes.items():
            while not pay.urgent and lane and (done := self._send_next(pay, now_ns)) is not None:
                sent += done
        return sent

    def send_urgent(self, now_ns: int, before_ns: int = NEVER_NS) -> int:
        """The same of urgent ones that were offered before `before_ns`, when the first cancel or exit that
        waits was.
        """
        sent = 0
        for pay, lane in self._lanes.items():
            while pay.urgent and lane and lane[0].offered_ns < before_ns:
                if (done := self._send_next(pay, now_ns)) is None:
                    break
                sent += done
        return sent

    def _send_next(self, pay: Pay, now_ns: int) -> int | None:
        """1: the next of a lane has left; 0: it is given up; None: none may leave now."""
        lane = self._lanes[pay]
        aside = _next(lane, now_ns) if self._free_ns(pay, now_ns) <= now_ns else None
        if aside is None:
            return None
        lane.remove(aside)
        about = self._egress.aside_leaves(aside.name, pay.part)
        if not aside.leaves():  # asked behind the record: a disk may hold that up
            self._egress.aside_unsent(aside.name, about)
            if aside.waits_as:
                self._egress.waits_no_more(aside.waits_as)
            return 0
        refused = self._egress.order_refused if pay.as_order else self._egress.read_refused
        if refused(now_ns):
            self._egress.aside_unsent(aside.name, about)
            if aside.waits_as:
                self._egress.waits_no_more(aside.waits_as)
            aside.answered(TransportError("the egress count is full", sent=False), now_ns)
            return 0
        if pay.as_order:
            self._throttle.leaves(now_ns)
        else:
            self._egress.budget.read_left(now_ns, pay.kind)
        aside.again_ns = now_ns + AGAIN_NS
        aside.answered = self._answered(aside, about, aside.answered)
        aside.tried(now_ns)
        self._submit(aside, aside.request)
        if pay.as_order:
            self._throttle.last_ns = self._egress.trigger_left(aside.name, about, pay.part)
        else:
            self._egress.read_left(aside.name, about)
        return 1

    def _answered(
        self, aside: Aside, about: str, answered: Callable[[Answer, int], None]
    ) -> Callable[[Answer, int], None]:
        def take(result: Answer, now_ns: int) -> None:
            unsent = isinstance(result, TransportError) and not result.sent
            if unsent:
                self._egress.aside_unsent(aside.name, about)
            elif isinstance(result, HttpResponse) and self._egress.aside_limited(
                aside.name, about, result, now_ns
            ):
                self._throttle.cool_down(now_ns)
            if unsent and aside.waits_as:
                aside.answered = answered
                self._lanes[self._pay(aside)].appendleft(aside)
                self._egress.still_waits(aside.waits_as, aside.offered_ns, now_ns)
                return
            if aside.waits_as:
                self._egress.waits_no_more(aside.waits_as)
            answered(result, now_ns)

        return take

    def next_ns(self, now_ns: int) -> int | None:
        """When the next one may leave; None: none waits."""
        times = []
        for pay, lane in self._lanes.items():
            if lane:
                at_ns = now_ns if _next(lane, now_ns) is not None else now_ns + LOOK_NS
                times.append(max(at_ns, self._free_ns(pay, now_ns)))
        return min(times, default=None)


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
