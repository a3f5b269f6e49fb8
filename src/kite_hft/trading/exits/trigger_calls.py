"""Layer 2, orders process, cold: calls about triggers that lie at the broker (GTT), and their answers.

Each is sent once, when its record is on the disk: it bears no tag, and after a power cut nothing else would
tell that it is ours (of a plan: at_broker.py). One whose answer proves nothing is looked for in the broker's
list, never sent again (triggers.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from kite_hft.layout import EventKind, OrderStatus, OrderType, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import (
    Ambiguous,
    Confirmed,
    HttpResponse,
    OrderReport,
    Outcome,
    Refused,
    TriggerRequest,
)
from kite_hft.trading.exits.claims import Claims
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.promises import Promises
from kite_hft.trading.exits.stewards import NEVER_NS
from kite_hft.trading.exits.trigger import FAILED_MAX, Leg, Name, Trigger, request_of
from kite_hft.trading.order import Order
from kite_hft.trading.ports import Ports
from kite_hft.trading.records import position_event
from kite_hft.trading.sending.asides import Answer, Aside, Asides, on_disk
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox

Refusal = tuple[Reason, str]
ORDER: Final = " order"
"""Behind the name of a trigger: the alert is about the order that it may have placed."""


class TriggerCalls(Promises):
    """Places, changes and deletes them. `read_list()` asks for a read of the broker's list."""

    def __init__(
        self,
        ports: Ports,
        book: Book,
        outbox: Outbox,
        desk: Desk,
        asides: Asides,
        next_seq: Callable[[], int],
        read_list: Callable[[], None],
        horizon_ns: int,
        fsync_first: bool,
    ) -> None:
        super().__init__(book)
        self._ports, self._outbox, self._desk = ports, outbox, desk
        self._asides, self._next_seq, self._read_list = asides, next_seq, read_list
        self._horizon_ns = horizon_ns  # what was sent longer ago has arrived, or never will
        self._on_disk = partial(on_disk, ports, outbox, hangs=fsync_first)
        self.claims = Claims(ports, book, outbox, self.standing, horizon_ns)
        self._read_ns = -NEVER_NS  # when the list was last asked for
        self._pause_ns = 0
        self._unknown: tuple[set[Name], set[str]] | None = None  # triggers, orders: for a person to tell
        self.fired: Callable[[Trigger, Order, int], None] = lambda trigger, order, now_ns: None
        self.passed: Callable[[str, int], OrderReport | None] = lambda order_id, now_ns: None
        self.recognised: Callable[[Order, OrderReport, int], None] = lambda order, row, now_ns: None
        self.turned_down: Callable[[Trigger, str, int], None] = lambda trigger, why, now_ns: None
        self.judge_again: Callable[[Trigger, Leg, int], Refusal | None] = lambda trigger, leg, now_ns: None

    # Asking the broker

    def place(self, trigger: Trigger, now_ns: int) -> str:
        """Send a new trigger; returns why it cannot be, "" when it is on its way."""
        if (request := self._request(trigger, trigger.legs)) is None:
            return "no price has been seen: a trigger needs to know from which side it is reached"
        trigger.wanted = trigger.sent = trigger.legs
        urgent = trigger.for_exits or trigger.closing
        if self._asides.full(urgent=urgent):
            return "too many calls wait"
        if not self._journal(trigger, do="place"):
            return self._outbox.halted
        call, answered = self._ports.broker.trigger_place(request), self._answered(trigger, "place")
        there = self._on_disk() if trigger.for_exits else self._on_disk(hangs=True)
        leaves, ready = self._may_leave(trigger, "place"), lambda: trigger.wanted is None or there()
        aside = Aside("GTT", call, answered, leaves, ready, urgent, trigger.waits_as, trigger.tried)
        self._asides.offer(aside, now_ns)
        self.standing[trigger.name] = trigger
        self._promise(trigger, trigger.quantity)
        trigger.busy = True
        return ""

    def _may_leave(self, trigger: Trigger, what: str) -> Callable[[], bool]:
        """Asked just before a placing or a change leaves: it may have waited."""
        asked_ns = self._ports.clock.mono_ns()

        def leaves() -> bool:
            now_ns = self._ports.clock.mono_ns()
            refused = self._too_late(trigger, asked_ns, now_ns)
            if refused is None:
                return True
            if what == "place":
                self._end(trigger, refused[0].name.lower(), *refused, now_ns)
                return False
            trigger.busy = False
            if trigger.wanted is not None:
                trigger.wanted = trigger.legs
            self._answer(trigger, *refused, now_ns)
            self._go_on(trigger, now_ns)
            return False

        return leaves

    def _too_late(self, trigger: Trigger, asked_ns: int, now_ns: int) -> Refusal | None:
        """Why what was judged before does not leave any more. What the engine asks for itself protects."""
        if self._outbox.journal_failed:
            return Reason.JOURNAL_FAILED, self._outbox.journal_failed
        unwanted = trigger.wanted is None and not trigger.trigger_id  # before it has left
        if not unwanted and (trigger.for_exits or (trigger.trigger_id and not trigger.replies)):
            return None
        if self.opens(trigger) and (killed := self._ports.killed()):
            return Reason.KILLED, f"killed: {killed}"
        if unwanted:
            return Reason.NONE, ""
        if trigger.wanted and (asked_ns < now_ns or self._outbox.halted):
            return self.judge_again(trigger, trigger.sent[0], now_ns)
        return None

    def _answer(self, trigger: Trigger, reason: Reason, text: str, now_ns: int) -> None:
        """Changes that its strategy has asked for come to nothing."""
        for intent in trigger.replies:
            self._outbox.refuse(intent, reason, text, now_ns)
        trigger.replies.clear()

    def want(
        self, trigger: Trigger, legs: tuple[Leg, ...] | None, now_ns: int, *, anew: bool = False
    ) -> None:
        """Change a trigger to `legs`, or delete it (None), as soon as no other call of it is under way, and
        the pause after one that came to nothing is over: none for what is asked for `anew`, nor to delete it.
        """
        if anew or (legs is None and trigger.wanted is not None):
            trigger.again_ns = 0
        trigger.wanted = legs
        self._go_on(trigger, now_ns)

    def drop_entries(self, now_ns: int) -> None:
        """Delete what would open something; what closes stays, as far as it does, of several on one position
        what was to close it first, then the oldest. Safe to repeat.
        """
        taken: dict[tuple[Key, int], int] = {}
        for trigger in sorted(self.standing.values(), key=lambda trigger: not trigger.closing):
            if trigger.for_exits or trigger.wanted is None:
                continue
            name = trigger.key, trigger.legs[0].side
            closes = trigger.closes(self._book.standing(*trigger.key), taken.get(name, 0))
            taken[name] = taken.get(name, 0) + closes
            if not closes:
                self.want(trigger, None, now_ns)
            elif closes < trigger.quantity and trigger.wanted == trigger.legs:
                self.want(trigger, (replace(trigger.legs[0], quantity=closes),), now_ns)

    def drop_all(self, now_ns: int, key: Key | None = None) -> None:
        """Delete every trigger (of one position): it is being closed. Safe to repeat."""
        for trigger in list(self.standing.values()):
            if key in (None, trigger.key) and trigger.wanted is not None:
                self.want(trigger, None, now_ns)

    def give_up(self, since_ns: int, now_ns: int, key: Key | None = None) -> None:
        """What could not be deleted holds nothing up any more; a person has to look."""
        for trigger in self.standing.values():
            if key in (None, trigger.key) and not trigger.holds_up(since_ns, now_ns):
                self.closed_beside(trigger)

    def closed_beside(self, trigger: Trigger) -> None:
        """Its position is closed, though it may lie at the broker."""
        self._warn(trigger, trigger.not_deleted(self._ports.instruments[trigger.slot].key))

    def _warn(self, trigger: Trigger, text: str, more: str = "") -> None:
        self._outbox.alert("TRIGGER_UNKNOWN", text, f"{trigger.name}{more}")

    def _go_on(self, trigger: Trigger, now_ns: int) -> None:
        if self.standing.get(trigger.name) is not trigger or trigger.busy or trigger.unsure:
            return
        if trigger.wanted == trigger.legs or not trigger.trigger_id or now_ns < trigger.again_ns:
            if trigger.failures and not trigger.owed:  # what came to nothing is not wanted any more
                trigger.failures = trigger.again_ns = 0
                self._outbox.clear("TRIGGER_UNKNOWN", str(trigger.name))
            return
        broker, what, leaves = self._ports.broker, "delete", lambda: True
        call = broker.trigger_delete(trigger.trigger_id)
        if trigger.wanted is not None:
            if (request := self._request(trigger, trigger.wanted)) is None:
                return
            call, what = broker.trigger_modify(trigger.trigger_id, request), "modify"
            leaves = self._may_leave(trigger, what)
        sent, urgent = trigger.wanted or (), trigger.relieves(trigger.wanted)
        if self._asides.full(urgent=urgent):
            return
        if self._journal(trigger, do=what, sent=[leg.words for leg in sent]) or what == "delete":
            aside = Aside("GTT", call, self._answered(trigger, what), leaves, urgent=urgent)
            aside.on_disk = self._on_disk() if what == "modify" else aside.on_disk  # no deletion waits
            trigger.busy = self._asides.offer(aside, now_ns)
            trigger.sent, trigger.asked = sent, len(trigger.replies)

    def _request(self, trigger: Trigger, legs: tuple[Leg, ...]) -> TriggerRequest | None:
        instrument = self._ports.instruments[trigger.slot]
        last = self._ports.latest.last_px(trigger.slot)
        return request_of(instrument, trigger.product, legs, last) if last > 0 else None

    # Answers

    def _answered(self, trigger: Trigger, what: str) -> Callable[[Answer, int], None]:
        def take(result: Answer, now_ns: int) -> None:
            outcome: Outcome | None = None  # None: no byte of it left
            if isinstance(result, HttpResponse):
                outcome = self._ports.broker.parse_trigger_outcome(result)
            elif result.sent:
                outcome = Ambiguous(f"no answer: {result.reason}")
            trigger.busy, trigger.changed_ns = False, now_ns
            self._take(trigger, what, outcome, now_ns)
            self._go_on(trigger, now_ns)

        return take

    def _take(self, trigger: Trigger, what: str, outcome: Outcome | None, now_ns: int) -> None:
        if isinstance(outcome, Confirmed):
            self._confirmed(trigger, what, outcome.order_id, now_ns)
        elif isinstance(outcome, Ambiguous):
            trigger.unsure = True
            text = f"trigger {trigger.seq} of strategy {trigger.strategy}: its {what}: {outcome.why}"
            self._warn(trigger, text)
            self._outbox.stirred += 1
        elif what == "place":
            reason = Reason.BROKER if outcome else Reason.NOT_CONNECTED
            text = outcome.message if isinstance(outcome, Refused) else "it did not leave"
            self._end(trigger, "refused", reason, text, now_ns)
            if trigger.for_exits:
                self.turned_down(trigger, text, now_ns)
        else:
            if trigger.replies and trigger.wanted is not None:
                trigger.wanted = trigger.legs
            trigger.put_off(now_ns)
            if trigger.owed and trigger.failures >= FAILED_MAX:
                self._warn(trigger, trigger.not_changed(self._ports.instruments[trigger.slot].key, outcome))
            self._answer(trigger, Reason.BROKER, f"trigger not changed: {outcome}", now_ns)
            self._outbox.stirred += 1

    def _confirmed(self, trigger: Trigger, what: str, trigger_id: str, now_ns: int) -> None:
        told = self.claims.told.get(trigger.trigger_id) if what == "delete" else None
        if told is not None and told.placed is not None:  # a push says that it had fired by then
            trigger.unsure = True
            self._outbox.stirred += 1
            return
        if what == "delete":
            self._end(trigger, "deleted", Reason.NONE, "", now_ns)
            return
        if what == "modify":
            trigger.legs = trigger.sent  # what is wanted may be something else again
            self._promise(trigger, trigger.quantity)
        trigger.trigger_id, trigger.failures, trigger.again_ns = trigger_id, 0, 0
        self._outbox.clear("TRIGGER_UNKNOWN", str(trigger.name))
        self._journal(trigger, id=trigger_id, do="", answered=trigger.through())
        kind = EventKind.ACCEPTED if what == "place" else EventKind.UPDATED
        self._tell(trigger, kind, OrderStatus.TRIGGER_PENDING, Reason.NONE, now_ns)

    # What is told

    def _forget(self, trigger: Trigger) -> None:
        if self.standing.get(trigger.name, trigger) is trigger:  # not another one that has its name by now
            self.standing.pop(trigger.name, None)
            for more in ("", ORDER):
                self._outbox.clear("TRIGGER_UNKNOWN", f"{trigger.name}{more}")
        self.claims.over.add(trigger.trigger_id)
        self._promise(trigger, 0)

    def _end(self, trigger: Trigger, why: str, reason: Reason, text: str, now_ns: int) -> None:
        self._forget(trigger)
        self._journal(trigger, ended=why, text=text)
        kind, status = EventKind.CANCELLED, OrderStatus.CANCELLED
        if reason is not Reason.NONE:
            kind, status = EventKind.REJECTED, OrderStatus.REJECTED
            self._outbox.refused[reason.name] += 1
        self._tell(trigger, kind, status, reason, now_ns)
        self._outbox.stirred += 1

    def _journal(self, trigger: Trigger, **more: Any) -> bool:
        name = None if trigger.for_exits else trigger.name
        return self._outbox.journal(Kind.GTT, trigger.payload() | more, name)

    def _tell(
        self, trigger: Trigger, kind: EventKind, status: OrderStatus, reason: Reason, now_ns: int
    ) -> None:
        if trigger.for_exits:
            return  # its plan tells of it
        event = position_event(*trigger.key, self._book.standing(*trigger.key).quantity, now_ns)
        row, leg = event[0], trigger.legs[0]
        row["kind"], row["status"], row["strategy_seq"] = kind, status, trigger.seq
        row["reason"], row["side"], row["px"], row["qty"] = reason, leg.side, leg.px, leg.quantity
        row["order_type"] = OrderType.LIMIT
        self._outbox.push(trigger.strategy, event)
