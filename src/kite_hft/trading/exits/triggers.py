"""Layer 2, orders process, cold: triggers that lie at the broker (GTT), asked for by strategies and plans.

A trigger is sent once. One whose answer proves nothing is looked for in the broker's list, never sent
again. It carries no tag: the order that it places is known by the list alone, which names it. Until the
list has been read an order that one of ours may have placed is nobody's, a stranger's least of all. What
has become of each stands in the journal; the list is read at start, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.layout import (
    EventKind,
    IntentKind,
    OrderStatus,
    OrderType,
    Product,
    Reason,
    Side,
    Validity,
)
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book, Order
from kite_hft.trading.broker import (
    Ambiguous,
    Confirmed,
    HttpResponse,
    OrderReport,
    OrderRequest,
    Outcome,
    Refused,
    TriggerReport,
    TriggerRequest,
)
from kite_hft.trading.exits.stewards import NEVER_NS
from kite_hft.trading.intents import Intent
from kite_hft.trading.ports import Ports
from kite_hft.trading.records import position_event
from kite_hft.trading.recovery.adopting import child_of
from kite_hft.trading.sending.asides import Answer, Aside, Asides
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

READ_NS: Final = 2 * NS_PER_S
MISSES: Final = 2
"""Reads of the whole list in a row without a trigger, until it counts as gone."""
Name = tuple[int, int]
"""(strategy, strategy_seq) of the intent that asked for it."""


@dataclass(frozen=True, slots=True)
class Leg:
    """What is placed, and at which price of the instrument."""

    side: int
    quantity: int
    px: int
    trigger_px: int


@dataclass(slots=True)
class Trigger:
    """One trigger. `unsure`: a call about it was not answered with proof.

    for_exits: it is the stop and the target of a plan. wanted: the terms that it is to have next; None:
    it is to be deleted; the same as legs: nothing is to be done. busy: a call of it is under way.
    """

    strategy: int
    seq: int
    slot: int
    product: int
    legs: tuple[Leg, ...]
    for_exits: bool = False
    trigger_id: str = ""
    unsure: bool = False
    busy: bool = False
    wanted: tuple[Leg, ...] | None = ()
    changed_ns: int = 0
    misses: int = 0
    replies: list[Intent] = field(default_factory=list)  # cancels and changes to be answered

    @property
    def name(self) -> Name:
        return self.strategy, self.seq


class Triggers:
    """The steward of triggers. `read_list()` asks for a read of the broker's list."""

    def __init__(
        self,
        ports: Ports,
        book: Book,
        outbox: Outbox,
        desk: Desk,
        asides: Asides,
        next_seq: Callable[[], int],
        read_list: Callable[[], None],
    ) -> None:
        self._ports, self._book, self._outbox, self._desk = ports, book, outbox, desk
        self._asides, self._next_seq, self._read_list = asides, next_seq, read_list
        self.standing: dict[Name, Trigger] = {}
        self._read_ns = -NEVER_NS  # when the list may be asked for again
        self.fired: Callable[[Trigger, Order, int], None] = lambda trigger, order, now_ns: None
        self._claimed: dict[str, int] = {}  # orders that one of ours may have placed -> since when
        self._strangers: set[str] = set()  # of those: it has not

    def restore(self, records: Sequence[dict[str, Any]]) -> None:
        """Triggers of an earlier process, from their GTT records; the list says how they stand."""
        for data in records:
            legs = tuple(Leg(*leg) for leg in data["legs"])
            trigger = Trigger(
                data["strategy"], data["seq"], data["slot"], data["product"], legs, data["for_exits"],
                trigger_id=data.get("id", ""), unsure=not data.get("id"), wanted=legs,
            )  # fmt: skip
            self.standing[trigger.name] = trigger

    @property
    def alive(self) -> bool:
        """Something is to be learned from the broker's list."""
        return bool(self._claimed) or any(t.unsure or t.misses for t in self.standing.values())

    def act(self, now_ns: int) -> int:
        """Ask for the list, again and again while it is needed."""
        if now_ns >= self._read_ns:
            self._read_ns = now_ns + READ_NS
            self._read_list()
        return 0

    def next_ns(self, now_ns: int) -> int:
        return self._read_ns

    # Asking the broker

    def place(self, trigger: Trigger, now_ns: int) -> str:
        """Send a new trigger; returns why it cannot be, "" when it is on its way."""
        request = self._request(trigger, trigger.legs)
        if request is None:
            return "no price has been seen: a trigger needs to know from which side it is reached"
        trigger.wanted = trigger.legs
        aside = Aside("GTT", self._ports.broker.trigger_place(request), self._answered(trigger, "place"),
                      self._may_leave(trigger))  # fmt: skip
        if not self._asides.offer(aside):
            return "too many calls wait"
        if not self._journal(trigger, do="place"):
            return self._outbox.halted
        self.standing[trigger.name] = trigger
        trigger.busy = True
        return ""

    def _may_leave(self, trigger: Trigger) -> Callable[[], bool]:
        """An entry does not leave once the account is killed; what protects does."""

        def leaves() -> bool:
            if trigger.for_exits or not (killed := self._ports.killed()):
                return True
            self._end(trigger, "killed", Reason.KILLED, f"killed: {killed}", self._ports.clock.mono_ns())
            return False

        return leaves

    def want(self, trigger: Trigger, legs: tuple[Leg, ...] | None, now_ns: int) -> None:
        """Change a trigger to `legs`, or delete it (None), as soon as no other call of it is under way."""
        trigger.wanted = legs
        self._go_on(trigger, now_ns)

    def drop_entries(self, now_ns: int) -> None:
        """Delete every trigger that would open something; what protects stays. Safe to repeat."""
        for trigger in list(self.standing.values()):
            if not trigger.for_exits and trigger.wanted is not None:
                self.want(trigger, None, now_ns)

    def _go_on(self, trigger: Trigger, now_ns: int) -> None:
        if trigger.busy or trigger.unsure or trigger.wanted == trigger.legs or not trigger.trigger_id:
            return
        if self.standing.get(trigger.name) is not trigger:
            return  # it has ended
        broker, what = self._ports.broker, "delete"
        call = broker.trigger_delete(trigger.trigger_id)
        if trigger.wanted is not None:
            request = self._request(trigger, trigger.wanted)
            if request is None:
                return
            call, what = broker.trigger_modify(trigger.trigger_id, request), "modify"
        if self._asides.offer(Aside("GTT", call, self._answered(trigger, what))):
            trigger.busy = True
            self._journal(trigger, do=what)

    def _request(self, trigger: Trigger, legs: tuple[Leg, ...]) -> TriggerRequest | None:
        instrument = self._ports.instruments[trigger.slot]
        last = self._ports.latest.last_px(trigger.slot)
        if last <= 0:
            return None
        orders = tuple(
            OrderRequest(instrument, Side(leg.side), OrderType.LIMIT, Product(trigger.product), Validity.DAY,
                         leg.quantity, leg.px)
            for leg in legs
        )  # fmt: skip
        return TriggerRequest(instrument, tuple(leg.trigger_px for leg in legs), last, orders)

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
            self._outbox.alert("TRIGGER_UNKNOWN", text, str(trigger.name))
            self._outbox.stirred += 1
        elif what == "place":
            reason = Reason.BROKER if outcome else Reason.NOT_CONNECTED
            text = outcome.message if isinstance(outcome, Refused) else "it did not leave"
            self._end(trigger, "refused", reason, text, now_ns)
        else:  # it may have fired meanwhile: the list tells
            trigger.wanted = trigger.legs
            for intent in trigger.replies:
                self._outbox.refuse(intent, Reason.BROKER, f"trigger not changed: {outcome}", now_ns)
            trigger.replies.clear()
            self._read_list()

    def _confirmed(self, trigger: Trigger, what: str, trigger_id: str, now_ns: int) -> None:
        if what == "delete":
            self._end(trigger, "deleted", Reason.NONE, "", now_ns)
            return
        if what == "modify" and trigger.wanted:
            trigger.legs = trigger.wanted
        trigger.trigger_id = trigger_id
        trigger.replies.clear()
        self._journal(trigger, id=trigger_id)
        kind = EventKind.ACCEPTED if what == "place" else EventKind.UPDATED
        self._tell(trigger, kind, OrderStatus.TRIGGER_PENDING, Reason.NONE, now_ns)

    # The broker's list

    def fold(self, rows: Sequence[TriggerReport], asked_ns: int, now_ns: int) -> None:
        """One whole read of the list, asked for at `asked_ns`."""
        by_id = {row.trigger_id: row for row in rows}
        known = {trigger.trigger_id for trigger in self.standing.values()}
        for trigger in list(self.standing.values()):
            if trigger.busy or asked_ns < trigger.changed_ns:
                continue
            row = by_id.get(trigger.trigger_id) if trigger.trigger_id else self._like(trigger, rows, known)
            if row is None:
                self._missed(trigger, now_ns)
                continue
            trigger.misses = 0
            if trigger.unsure or not trigger.trigger_id:
                self._found(trigger, row, now_ns)
            if not row.active:
                self._over(trigger, row, now_ns)
        for order_id, since_ns in list(self._claimed.items()):
            if since_ns < asked_ns:
                del self._claimed[order_id]
                if self._book.by_id(order_id) is None:
                    self._strangers.add(order_id)

    def _like(self, trigger: Trigger, rows: Sequence[TriggerReport], known: set[str]) -> TriggerReport | None:
        """The one row that an unanswered placement may have made; several: a person has to look."""
        token = self._ports.instruments[trigger.slot].token
        found = [
            row
            for row in rows
            if row.trigger_id not in known and row.token == token and _terms(row) == _wished(trigger)
        ]
        return found[0] if len(found) == 1 else None

    def _found(self, trigger: Trigger, row: TriggerReport, now_ns: int) -> None:
        trigger.unsure, trigger.trigger_id = False, row.trigger_id
        terms = tuple(Leg(int(leg.side), leg.quantity, leg.px, leg.trigger_px) for leg in row.legs)
        trigger.legs = terms
        self._outbox.clear("TRIGGER_UNKNOWN", str(trigger.name))
        self._journal(trigger, id=row.trigger_id)
        if row.active:
            self._tell(trigger, EventKind.ACCEPTED, OrderStatus.TRIGGER_PENDING, Reason.NONE, now_ns)
            self._go_on(trigger, now_ns)

    def _missed(self, trigger: Trigger, now_ns: int) -> None:
        trigger.misses += 1
        if trigger.misses >= MISSES:
            self._outbox.clear("TRIGGER_UNKNOWN", str(trigger.name))
            self._end(trigger, "absent", Reason.ABSENT, "it is not in the broker's list", now_ns)
        self._outbox.stirred += 1

    def _over(self, trigger: Trigger, row: TriggerReport, now_ns: int) -> None:
        """It waits no more: it has placed its order, failed to, or was ended."""
        placed = next((leg for leg in row.legs if leg.order_id and not leg.failed), None)
        failed = next((leg for leg in row.legs if leg.failed), None)
        if placed is None:
            text = failed.failed if failed else row.status
            reason = Reason.BROKER if failed or trigger.for_exits else Reason.NONE
            if reason is Reason.BROKER:
                key = self._ports.instruments[trigger.slot].key
                self._outbox.alert("TRIGGER_FAILED", f"trigger {row.trigger_id} in {key}: {text}", key)
            self._end(trigger, row.status, reason, text, now_ns)
            return
        if self._book.by_id(placed.order_id) is None:
            data = self._payload(trigger) | {
                "child": placed.order_id,
                "no": self._desk.take_no(),
                "order_seq": self._next_seq() if trigger.for_exits else trigger.seq,
                "side": int(placed.side),
                "qty": placed.quantity,
                "px": placed.px,
                "reducing": self._reduces(trigger, int(placed.side), placed.quantity),
                "ended": row.status,
            }
            self._outbox.journal(Kind.GTT, data)
            order = child_of(data)
            self._book.add(order)
            self._book.name(order, placed.order_id)
            order.status_ns = now_ns
            self.standing.pop(trigger.name, None)
            self._outbox.stirred += 1
            self._tell(trigger, EventKind.UPDATED, OrderStatus.OPEN, Reason.NONE, now_ns)
            self.fired(trigger, order, now_ns)
        self.standing.pop(trigger.name, None)

    def _reduces(self, trigger: Trigger, side: int, quantity: int) -> bool:
        position = self._book.standing(trigger.strategy, trigger.slot, trigger.product)
        return position.reduces(side, quantity)

    def claims(self, report: OrderReport) -> bool:
        """An order without a name that a trigger of ours may have placed: the list is to be read first."""
        if report.order_id in self._strangers:
            return False
        for trigger in self.standing.values():
            token = self._ports.instruments[trigger.slot].token
            if (
                report.token == token
                and report.product == trigger.product
                and any((leg.side, leg.quantity) == (report.side, report.quantity) for leg in trigger.legs)
            ):
                self._claimed.setdefault(report.order_id, self._ports.clock.mono_ns())
                self._outbox.stirred += 1
                return True
        return False

    # What strategies ask for, of a trigger that stands

    def change(self, intent: Intent, now_ns: int) -> bool:
        """A CANCEL or MODIFY of a trigger; False: it names none."""
        trigger = self.standing.get((intent.strategy, intent.target_seq))
        if trigger is None or trigger.for_exits:
            return False
        if intent.kind == IntentKind.CANCEL:
            self.want(trigger, None, now_ns)
            return True
        (leg,) = trigger.legs
        changed = Leg(leg.side, intent.qty or leg.quantity, intent.px or leg.px,
                      intent.trigger_px or leg.trigger_px)  # fmt: skip
        if changed.quantity > leg.quantity:
            text = "a trigger is not enlarged: cancel it, and place another"
            self._outbox.refuse(intent, Reason.BAD_INTENT, text, now_ns)
            return True
        trigger.replies.append(intent)
        self.want(trigger, (changed,), now_ns)
        return True

    # What is told

    def _end(self, trigger: Trigger, why: str, reason: Reason, text: str, now_ns: int) -> None:
        self.standing.pop(trigger.name, None)
        self._journal(trigger, ended=why, text=text)
        kind, status = EventKind.CANCELLED, OrderStatus.CANCELLED
        if reason is not Reason.NONE:
            kind, status = EventKind.REJECTED, OrderStatus.REJECTED
            self._outbox.refused[reason.name] += 1
        self._tell(trigger, kind, status, reason, now_ns)
        self._outbox.stirred += 1

    def _payload(self, trigger: Trigger) -> dict[str, Any]:
        legs = [(leg.side, leg.quantity, leg.px, leg.trigger_px) for leg in trigger.legs]
        words = {"strategy": trigger.strategy, "seq": trigger.seq, "slot": trigger.slot}
        return words | {"product": trigger.product, "for_exits": trigger.for_exits, "legs": legs}

    def _journal(self, trigger: Trigger, **more: Any) -> bool:
        name = None if trigger.for_exits else trigger.name
        return self._outbox.journal(Kind.GTT, self._payload(trigger) | more, name)

    def _tell(
        self, trigger: Trigger, kind: EventKind, status: OrderStatus, reason: Reason, now_ns: int
    ) -> None:
        if trigger.for_exits:
            return  # its plan tells of it
        position = self._book.standing(trigger.strategy, trigger.slot, trigger.product).quantity
        event = position_event(trigger.strategy, trigger.slot, trigger.product, position, now_ns)
        row, leg = event[0], trigger.legs[0]
        row["kind"], row["status"], row["strategy_seq"] = kind, status, trigger.seq
        row["reason"], row["side"], row["px"], row["qty"] = reason, leg.side, leg.px, leg.quantity
        row["order_type"] = OrderType.LIMIT
        self._outbox.push(trigger.strategy, event)


def _terms(row: TriggerReport) -> list[tuple[int, int, int, int]]:
    return [(int(leg.side), leg.quantity, leg.px, leg.trigger_px) for leg in row.legs]


def _wished(trigger: Trigger) -> list[tuple[int, int, int, int]]:
    return [(leg.side, leg.quantity, leg.px, leg.trigger_px) for leg in trigger.legs]
