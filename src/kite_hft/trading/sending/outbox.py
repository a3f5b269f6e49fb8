"""Layer 2, orders process, hot: tells the world what became of orders.

Events to strategies, counters, rows of orders.csv and trades.csv, journal records, alerts. An
event queue that is full never holds ORDERS up: the event is counted as dropped and the strategy
marked hung; it opens nothing more until it has been told everything anew (telling.py).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

from kite_hft._lanes import OutboxState
from kite_hft.layout import COUNTERS, HISTOGRAMS, OrderStatus, Reason, Severity
from kite_hft.memory.journal import JournalError, Kind
from kite_hft.trading.alerts import Standing, alert, alert_of
from kite_hft.trading.book import Book
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import Change, Order
from kite_hft.trading.pnl import CostBook
from kite_hft.trading.ports import Ports, Records
from kite_hft.trading.records import (
    UNPROVEN,
    accepted,
    encode_json,
    event_kinds,
    order_event,
    order_row,
    refusal_event,
    trade_row,
)
from kite_hft.trading.sending.conduct import ConductBook
from kite_hft.trading.sending.refusals import Refusals, ends
from kite_hft.trading.slices import family_events

C: Final = {name: index for index, name in enumerate(COUNTERS["orders"])}
H: Final = {name: index for index, name in enumerate(HISTOGRAMS["orders"])}
_COUNTED: Final = {
    OrderStatus.SENT: "sent",
    OrderStatus.COMPLETE: "filled",
    OrderStatus.CANCELLED: "cancelled",
    OrderStatus.REJECTED: "rejected",
    OrderStatus.ABSENT: "rejected",
    OrderStatus.REFUSED: "refused",
    OrderStatus.AMBIGUOUS: "ambiguous",
}
_RECORDS: Final = C["journal_records"]
_NAMED: Final = ("code", "key", "text")
OWN_ALERTS: Final = 256
"""So many of our own alerts are known again when the supervisor hands them back."""
_NEVER: Final = 2**62
_LONGEST_NS: Final = 2**63 - 1  # of a histogram: what a strategy writes as a time may be anything
"""Reminders are the supervisor's business."""


def counted(change: Change) -> list[str]:
    """The counters that a change of an order adds one to: a function of the journal alone."""
    order = change.order
    names = []
    if accepted(change):
        names.append("accepted")
    if change.fill_quantity and order.filled < order.quantity:
        names.append("partial_fills")
    if change.terms:
        names.append("modified")
    if change.status_changed:
        if order.status in _COUNTED:
            names.append(_COUNTED[order.status])
        if change.before is OrderStatus.AMBIGUOUS and order.status not in UNPROVEN - {OrderStatus.ABSENT}:
            names.append("resolved")
    return names


class Outbox(OutboxState):
    """One per order stage."""

    def __init__(self, ports: Ports, book: Book, costs: CostBook) -> None:
        self._ports, self._book, self._costs = ports, book, costs
        self._real_ns, self._counters = ports.clock.real_ns, ports.counters
        self.totals: Counter[str] = Counter(ports.counted)
        self.refused: Counter[str] = Counter()  # by name of the reason
        self.refused_for: dict[str, str] = {}  # and what was said the first time
        self.hung: set[int] = set()
        self.halted = ""
        self.journal_failed = ""  # why; nothing but cancels leaves any more
        self.journal_seq = 0  # of the last record
        self.disk_low = ""  # as it was told last
        self.why = ""  # why an intent was refused last
        self.stirred = 0  # grows with everything that may concern those who act for strategies
        self.conduct = ConductBook()
        self.refusals = Refusals(self.journal, book)
        # Intents (strategy, strategy_seq) that, since this was last cleared, got a record, or an end.
        self.journalled: set[tuple[int, int]] = set()
        self._owed: dict[tuple[object, ...], tuple[Kind, dict[str, Any], tuple[int, int] | None]] = {}
        self._standing = Standing(_NEVER)
        self._own: deque[tuple[str, ...]] = deque(maxlen=OWN_ALERTS)

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter of layout.COUNTERS["orders"]."""
        self.totals[name] += n
        self._ports.counters.add(C[name], n)

    def gauge(self, name: str, value: int) -> None:
        """Set such a counter."""
        self.totals[name] = value
        self._ports.counters.set(C[name], value)

    def record(self, name: str, ns: int) -> None:
        """Add to a histogram of layout.HISTOGRAMS["orders"]."""
        self._ports.counters.record(H[name], min(max(0, ns), _LONGEST_NS), 1)

    def journal(
        self, kind: Kind, payload: dict[str, Any] | bytes, intent: tuple[int, int] | None = None
    ) -> bool:
        """Write a record, of `intent` (strategy, strategy_seq) if told; False (and a halt): it failed."""
        data = payload if isinstance(payload, bytes) else encode_json(payload)
        try:
            seq = self._ports.journal.append(kind, self._real_ns(), data)
        except JournalError as error:
            self._journal_failed(str(error))
            return False
        self.recorded(seq, intent)
        return True

    def recorded(self, seq: int, intent: tuple[int, int] | None) -> None:
        """Record `seq` stands in the journal."""
        self.journal_seq = seq
        self.totals["journal_records"] += 1
        self._counters.add(_RECORDS, 1)
        if intent is not None:
            self.journalled.add(intent)

    def journal_end(self, kind: Kind, payload: dict[str, Any], intent: tuple[int, int]) -> None:
        """Write how an intent ended. Written or not, it waits no more, and no record may say so."""
        self.journal(kind, payload, intent)
        self.journalled.add(intent)

    def journal_last(
        self,
        about: tuple[object, ...],
        kind: Kind,
        payload: dict[str, Any],
        intent: tuple[int, int] | None = None,
        *,
        owed: bool = True,
    ) -> bool:
        """Write how something that lasts stands now; False: the journal does not take it. It stays owed then,
        for a later process would go by what was said before; not `owed`: it does not come to be.
        """
        written = self.journal(kind, payload, intent)
        if written:
            self._owed.pop(about, None)
        elif owed:
            self._owed[about] = kind, payload, intent
        return written

    def pay(self) -> None:
        """Write what is owed, if the journal takes it again."""
        for about, words in list(self._owed.items()):
            if not self.journal(*words):
                return
            del self._owed[about]

    def heed_journal(self, failed: str, low: str) -> bool:
        """What the journal says of itself in each step (Ports.journal_state); True: halted by that now.

        A person who ends the halt while the reason stands is halted anew.
        """
        was, self.disk_low = self.disk_low, low
        if was and not low:
            self.clear("DISK_LOW", "journal")
        if failed and not (self.journal_failed and self.halted):
            self._journal_failed(failed)
            return True
        if low and not (was and self.halted):
            self.alert("DISK_LOW", low, "journal", Severity.CRITICAL)
            self.halt(low)
            return True
        return False

    def _journal_failed(self, text: str) -> None:
        self.journal_failed = self.journal_failed or text
        if not self.halted:
            self.halted = text
            self.alert("HALTED", text, journal=False)
        self.alert("JOURNAL_FAILED", text, journal=False)

    def halt(self, reason: str) -> None:
        """Latch: nothing opens any more. The first reason stands."""
        if self.halted:
            return
        self.halted = reason
        self.alert("HALTED", reason)
        self.journal(Kind.STATE, {"halted": reason})

    def go_on(self) -> None:
        """A person ends the halt; the caller journals it."""
        if self.halted:
            self.halted = ""
            self.clear("HALTED")
            self.clear("JOURNAL_FAILED")

    def keep_holds(self, holds: Mapping[int, Hold]) -> None:
        """Strategies that are held, for the next run."""
        self._ports.keep_holds(dict(holds))

    # Alerts

    def alert(
        self, code: str, text: str, key: str = "", severity: Severity | None = None, *, journal: bool = True
    ) -> None:
        """Tell a person, once for as long as a condition stands, and journal that."""
        raised = alert(code, text, key, severity)
        told = self._standing.raise_(raised, self._ports.clock.mono_ns())
        if told is None:
            return
        self.count("alerts")
        self._own.append(_name_of(raised.code, raised.key, raised.text))
        if journal:
            self.journal(Kind.ALERT, raised.fields())
        self._ports.alert(raised.fields())

    def forwarded(self, fields: dict[str, Any]) -> None:
        """Journal an alert of another process; one that we raised ourselves is journalled already. One that
        stands since the process before this one only is ours to end from now on (`standing`)."""
        if fields.get("standing"):
            self._standing.raise_(alert_of(fields), self._ports.clock.mono_ns())
            return
        if _name_of(*(str(fields.get(name, "")) for name in _NAMED)) not in self._own:
            self.journal(Kind.ALERT, {name: value for name, value in fields.items() if name != "do"})

    def clear(self, code: str, key: str = "") -> None:
        """The condition is over; harmless when it did not stand."""
        over = self._standing.clear(code, key)
        if over is not None:
            self.journal(Kind.ALERT, over.fields() | {"cleared": True})
            self._ports.alert(over.fields() | {"cleared": True})

    # Orders

    def tell(self, change: Change, now_ns: int, reason: Reason = Reason.NONE, *, row: bool = True) -> None:
        """Everything that follows from a change of an order. row: with a row of orders.csv when it ends."""
        self.stirred += 1
        if not change:
            return
        order = change.order
        for name in counted(change):
            self.count(name)
        instrument = self._ports.instruments[order.slot]
        position = self._book.position(order).quantity
        members = self._book.family(order) if self._book.families else ()
        if len(members) > 1:
            for event in family_events(change, members, reason, position, instrument, now_ns):
                self.push(order.strategy, event)
        else:
            for kind in event_kinds(change):
                event = order_event(kind, change, reason, position, instrument, now_ns)
                self.push(order.strategy, event)
        if change.fill_quantity or change.fill_units:
            self.write_trade(change)
        if change.fill_quantity > 0:
            self.conduct.traded(order.slot, order.strategy)
        if row and change.status_changed and order.status in TERMINAL:
            self.write_order(order, reason)
        if change.status_changed:
            self._look_at_status(change, reason)

    def _look_at_status(self, change: Change, reason: Reason) -> None:
        order = change.order
        if order.status is OrderStatus.REFUSED:
            self._count_refused(reason, order.message)
        elif order.status is OrderStatus.AMBIGUOUS:
            self.alert_ambiguous(order)
        elif order.status is OrderStatus.ABSENT:
            self.alert("ORDER_ABSENT", f"order {order.order_no} is in no book", str(order.order_no))
        if change.before is OrderStatus.AMBIGUOUS or order.status in TERMINAL:  # with what was in doubt of it
            self.clear("AMBIGUOUS_ORDER", str(order.order_no))
            self.clear("AMBIGUOUS_ORDER", f"{order.order_no} doubt")  # which rows could be it (reconcile.py)

    def alert_ambiguous(self, order: Order, why: str = "") -> None:
        """An ambiguous exit is critical: a position may be open longer than its strategy believes."""
        instrument = self._ports.instruments[order.slot]
        severity = Severity.WARNING if order.opening else Severity.CRITICAL
        text = (
            f"order {order.order_no} ({instrument.key}) is ambiguous: {why or order.message or 'no answer'}"
        )
        self.alert("AMBIGUOUS_ORDER", text, str(order.order_no), severity)

    def write_trade(self, change: Change) -> None:
        """One row of trades.csv."""
        self.stirred += 1
        order = change.order
        position = self._book.position(order).quantity
        instrument = self._ports.instruments[order.slot]
        real_ns, charges = self._ports.clock.real_ns(), self._costs.of_fill(order.order_no)
        self._ports.on_trade(trade_row(change, position, instrument, real_ns, charges))

    def write_order(self, order: Order, reason: Reason = Reason.NONE) -> None:
        """One row of orders.csv."""
        name = "" if reason is Reason.NONE else reason.name
        instrument = self._ports.instruments[order.slot]
        real_ns, charges = self._ports.clock.real_ns(), self._costs.of_order(order.order_no)
        self._ports.on_order(order_row(order, name, instrument, real_ns, charges))

    def refuse(self, intent: Intent, reason: Reason, text: str, now_ns: int) -> None:
        """An intent that never became an order (or a modification, or a cancel)."""
        self.stirred += 1
        self.why = text
        self.count("refused")
        self._count_refused(reason, text)
        self.refused_record(intent, reason, text, now_ns)
        if reason is Reason.DUPLICATE_INTENT:
            return  # its strategy was told when the intent came first
        self.tell_refusal(intent, reason, now_ns)

    def _count_refused(self, reason: Reason, text: str) -> None:
        self.refused[reason.name] += 1
        self.refused_for.setdefault(reason.name, text)

    def refused_record(self, intent: Intent, reason: Reason, text: str, now_ns: int) -> bool:
        """Journal a refusal, or count it for the next record of a flood (False). Whatever becomes of the
        record, its strategy is told: it waits no more.
        """
        recorded = self.refusals.record(intent, reason, text, now_ns)
        if ends(reason):
            self.journalled.add((intent.strategy, intent.strategy_seq))
        return recorded

    def tell_refusal(self, intent: Intent, reason: Reason, now_ns: int) -> None:
        """Tell the strategy alone."""
        position = self._book.standing(intent.strategy, intent.slot, intent.product).quantity
        self.push(intent.strategy, refusal_event(intent, reason, position, now_ns))

    def push(self, strategy: int, event: Records) -> bool:
        """Hand an event to its strategy; False: its queue is full, and it is hung."""
        sink = self._ports.events.get(strategy)
        if sink is None:
            return True  # EXTERNAL, or a strategy of no worker: nobody listens
        if sink.push(event):
            self.count("events")
            return True
        self.count("events_dropped")
        if strategy not in self.hung:
            self.hung.add(strategy)
            self.alert(
                "STRATEGY_HUNG",
                f"strategy {strategy} takes no events: it opens nothing more",
                f"strategy {strategy}",
            )
        return False


def _name_of(code: str, key: str, text: str) -> tuple[str, ...]:
    """What is left of an alert's words on its way to people and back: cut, and without odd characters."""
    return code, key, "".join(c for c in text[:400] if c.isalnum())
