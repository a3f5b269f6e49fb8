"""Layer 2, orders process, cold: what has become of the triggers at the broker (GTT).

Its list tells, and where the broker has them its pushes; he may leave out of the list what has fired. Until
the list was read an order that one of ours may have placed is nobody's (claims.py). One that the list does
not show any more has fired where such an order has its terms, and is absent where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kite_hft.layout import EventKind, OrderStatus, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import TriggerReport
from kite_hft.trading.exits.trigger import MISSES, Name, Trigger, legs_of, row_like, trigger_of
from kite_hft.trading.exits.trigger_calls import ORDER, TriggerCalls
from kite_hft.trading.recovery.adopting import child_of
from kite_hft.units import NS_PER_S

READ_NS: Final = 2 * NS_PER_S
READ_MAX_NS: Final = 32 * NS_PER_S
"""While a person has to tell, and nothing changes: other reads share the broker's windows."""


class Triggers(TriggerCalls):
    """The steward of triggers."""

    def restore(self, records: Sequence[dict[str, Any]]) -> None:
        """Triggers of an earlier process, from their GTT records; the list says how they stand."""
        for data in records:
            trigger = trigger_of(data)
            trigger.changed_ns = self._ports.clock.mono_ns()  # its call may still be on its way
            self.standing[trigger.name] = trigger
            self._promise(trigger, trigger.quantity)

    def restore_absent(self, records: Sequence[dict[str, Any]]) -> None:
        """Those that it has thought absent: an update of the order that one has placed may still come."""
        ahead_ns = self._ports.clock.real_ns() - self._ports.clock.mono_ns()
        for data in records:
            trigger = trigger_of(data)
            trigger.misses = MISSES
            self.claims.thought_absent(trigger, data["time_ns"] - ahead_ns)

    @property
    def alive(self) -> bool:
        """Something is to be learned from the broker's list."""
        told = bool(self.claims.open or self.claims.told)
        return told or any(trigger.wants_list for trigger in self.standing.values())

    def act(self, now_ns: int) -> int:
        """Ask for the list, again and again while it is needed."""
        if now_ns >= self.next_ns(now_ns):
            self._read_ns = now_ns
            self._read_list()
        return 0

    def next_ns(self, now_ns: int) -> int:
        doubted = {trigger.name for trigger in self.standing.values() if trigger.wants_list}
        calm = self._unknown and self._unknown == (doubted, set(self.claims.open))
        return self._read_ns + (self._pause_ns if calm else READ_NS)

    # The broker's list, and his pushes

    def told(self, row: TriggerReport, now_ns: int) -> None:
        """A push tells of a trigger: of one that has ended, for good. What waits the list tells, for a push
        does not say of when it is. While a call of it is under way, or its name is not known, it is kept.
        """
        late = next((t for t in self.claims.absent.values() if t.trigger_id == row.trigger_id), None)
        if late is not None and (leg := row.placed) is not None:
            return self._was_late(late, row, leg.order_id, now_ns)
        if row.active or not self._meant(row.trigger_id):
            return
        trigger = next((t for t in self.standing.values() if t.trigger_id == row.trigger_id), None)
        if trigger is None or trigger.busy:
            self.claims.told[row.trigger_id] = row
            return
        self._shown(trigger, row, now_ns, now_ns)
        self._desk.look_up()  # what its order has done meanwhile

    def _meant(self, trigger_id: str) -> bool:
        """One that stands has this name, or none yet."""
        return any(trigger.trigger_id in ("", trigger_id) for trigger in self.standing.values())

    def fold(self, listed: Sequence[TriggerReport], asked_ns: int, now_ns: int) -> None:
        """One whole read of the list, asked for at `asked_ns`."""
        self.claims.told = {name: row for name, row in self.claims.told.items() if self._meant(name)}
        by_id = {row.trigger_id: row for row in listed} | self.claims.told
        rows = list(by_id.values())
        known = self.claims.over | {trigger.trigger_id for trigger in self.standing.values()}
        for trigger in reversed(list(self.standing.values())):  # of equal ones the older should be long there
            if trigger.busy or asked_ns < trigger.changed_ns:
                self._waits_still(trigger, by_id.get(trigger.trigger_id), asked_ns)
                continue
            token, named = self._ports.instruments[trigger.slot].token, trigger.trigger_id != ""
            equals = sum(trigger.equals(t) and asked_ns >= t.changed_ns for t in self.standing.values())
            row = by_id.get(trigger.trigger_id) if named else row_like(trigger, token, rows, known, equals)
            if row is None:
                could = [] if named else trigger.alike(token, rows, known)
                self._missed(trigger, could, asked_ns)
                continue
            known.add(row.trigger_id)
            self._shown(trigger, row, asked_ns, now_ns)
        self._settle(asked_ns, now_ns)
        self.claims.listed(asked_ns, now_ns)

    def _waits_still(self, trigger: Trigger, row: TriggerReport | None, asked_ns: int) -> None:
        """A read from before a call of it has come to anything. The call may wait for minutes until the
        broker's windows let it leave, and only the list tells whose the orders are that come meanwhile.
        """
        if row is not None and row.active and trigger.trigger_id:
            trigger.shown()
            trigger.waits_ns = asked_ns

    def _shown(self, trigger: Trigger, row: TriggerReport, asked_ns: int, now_ns: int) -> None:
        trigger.shown()
        if trigger.unsure or not trigger.trigger_id:
            self._found(trigger, row, now_ns)
        elif trigger.altered(row, asked_ns, self._horizon_ns):
            if trigger.wanted == trigger.legs and not trigger.for_exits:  # else it gets its terms back
                trigger.wanted = legs_of(row)
            self._found(trigger, row, now_ns, EventKind.UPDATED)
        if row.active:
            trigger.seen_ns = trigger.waits_ns = asked_ns
            self._go_on(trigger, now_ns)
        else:
            self._over(trigger, row, now_ns)

    def _found(
        self, trigger: Trigger, row: TriggerReport, now_ns: int, kind: EventKind = EventKind.ACCEPTED
    ) -> None:
        trigger.unsure, trigger.trigger_id = False, row.trigger_id
        trigger.legs = legs_of(row)
        self._promise(trigger, trigger.quantity)
        if not trigger.owed or not row.active:
            self._outbox.clear("TRIGGER_UNKNOWN", str(trigger.name))
        done = trigger.through() if trigger.wanted == trigger.legs else []
        self._journal(trigger, id=row.trigger_id, answered=done)
        if row.active:
            self._tell(trigger, kind, OrderStatus.TRIGGER_PENDING, Reason.NONE, now_ns)

    def _missed(self, trigger: Trigger, found: Sequence[str], asked_ns: int) -> None:
        trigger.missed(asked_ns, self._horizon_ns)
        if found:
            trigger.shown()
            trigger.waits_ns = asked_ns
            self._warn(trigger, trigger.could_be(found))
        self._outbox.stirred += 1

    def _settle(self, asked_ns: int, now_ns: int) -> None:
        """What is said of triggers that the list, asked for at `asked_ns`, does not show: those with an order
        that has their terms have fired, the others are absent.
        """
        unknown = set[Name]()
        for trigger in [*self.standing.values(), *self.claims.absent.values()]:
            stands = self.standing.get(trigger.name) is trigger
            if trigger.misses < MISSES or (stands and (trigger.busy or asked_ns < trigger.changed_ns)):
                continue
            found = self.claims.fitting(trigger)
            if order_id := self.claims.own(trigger):
                self._fired_unseen(trigger, order_id, now_ns)
            elif not stands:
                continue
            elif self.claims.matter(found):
                if all(rival.misses >= MISSES for rival in self.claims.rivals(found)):
                    trigger.unsure = True
                    self._warn(trigger, trigger.placed_one_of(found), ORDER)
                    unknown.add(trigger.name)
            elif trigger.gone(by_terms=self.claims.by_terms):
                self._end(trigger, "absent", Reason.ABSENT, "it is not in the broker's list", now_ns)
                self.claims.thought_absent(trigger, now_ns)
        known = (unknown, set(self.claims.open)) if unknown else None
        self._pause_ns = min(2 * self._pause_ns, READ_MAX_NS) if known == self._unknown else READ_NS
        self._unknown = known

    def _fired_unseen(self, trigger: Trigger, order_id: str, now_ns: int) -> None:
        """No list tells so, but an order is there that only this one can have placed."""
        row = self.claims.row_of(trigger, order_id)
        if trigger.ended_ns:
            self._was_late(trigger, row, order_id, now_ns)
        else:
            self._over(trigger, row, now_ns)

    def _was_late(self, trigger: Trigger, row: TriggerReport, order_id: str, now_ns: int) -> None:
        """What was thought absent had fired."""
        key = self._ports.instruments[trigger.slot].key
        text = f"order {order_id} in {key} is taken for that of trigger {trigger.seq}, thought absent"
        self._outbox.alert("TRIGGER_ADOPTED", text, order_id)
        self._over(trigger, row, now_ns)
        if self._book.by_id(order_id) is not None and self.claims.absent.get(trigger.name) is trigger:
            del self.claims.absent[trigger.name]

    def _over(self, trigger: Trigger, row: TriggerReport, now_ns: int) -> None:
        """It waits no more: it has placed its order, failed to, or was ended."""
        placed = row.placed
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
            self._promise(trigger, 0)
            heard = self.passed(placed.order_id, now_ns) or self.claims.heard(placed.order_id)
            data = trigger.fired(placed, self._book.standing(*trigger.key)) | {
                "no": self._desk.take_no(),
                "order_seq": self._next_seq() if trigger.for_exits else trigger.seq,
                "ended": row.status,
            }
            if trigger.ended_ns:
                data["late"] = True
            if not self._outbox.journal(Kind.GTT, data):
                trigger.unsure = True  # it is told again
                if row.trigger_id:
                    self.claims.told[row.trigger_id] = row
                self.claims.keep(placed.order_id)
                return
            order = child_of(data, self._ports.clock.real_ns())
            self._book.add(order)
            self._book.name(order, placed.order_id)
            order.status_ns = now_ns
            self._forget(trigger)
            self._outbox.stirred += 1
            self._tell(trigger, EventKind.UPDATED, OrderStatus.OPEN, Reason.NONE, now_ns)
            self.fired(trigger, order, now_ns)
            if heard is not None:
                self.recognised(order, heard, now_ns)
            too_much = trigger.closing and self._room(trigger) < order.open_quantity
            if order.open_quantity and not trigger.for_exits and (trigger.wanted is None or too_much):
                self._desk.cancel(order, None, now_ns)  # it is not wanted any more, or would open something
        self._forget(trigger)
