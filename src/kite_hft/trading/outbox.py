"""Layer 2, orders process, hot: tells the world what became of orders.

Events to strategies, counters, rows of orders.csv and trades.csv, journal records, alerts. An
event queue that is full never holds ORDERS up: the event is counted as dropped and the strategy
marked hung; it opens nothing more.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from kite_hft.layout import COUNTERS, HISTOGRAMS, OrderStatus, Reason
from kite_hft.memory.journal import JournalError, Kind
from kite_hft.trading.book import Book, Change, Order
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL
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


class Outbox:
    """One per order stage."""

    def __init__(self, ports: Ports, book: Book) -> None:
        self._ports, self._book = ports, book
        self.totals: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # by name of the reason
        self.hung: set[int] = set()
        self.halted = ""

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
        self._ports.counters.record(H[name], max(0, ns), 1)

    def journal(self, kind: Kind, payload: dict[str, Any] | bytes) -> bool:
        """Write a record; False (and a halt) when that fails."""
        data = payload if isinstance(payload, bytes) else encode_json(payload)
        try:
            self._ports.journal.append(kind, self._ports.clock.real_ns(), data)
        except JournalError as error:
            self.halt(str(error))
            return False
        self.count("journal_records")
        return True

    def halt(self, reason: str) -> None:
        """Latch: nothing opens any more. The first reason stands."""
        if self.halted:
            return
        self.halted = reason
        self._ports.alert(f"HALTED: {reason}")
        self.journal(Kind.STATE, {"halted": reason})

    def tell(self, change: Change, now_ns: int, reason: Reason = Reason.NONE) -> None:
        """Everything that follows from a change of an order."""
        if not change:
            return
        order = change.order
        self._count_change(change)
        instrument = self._ports.instruments[order.slot]
        position = self._book.position(order).quantity
        for kind in event_kinds(change):
            event = order_event(kind, change, reason, position, instrument, now_ns)
            self._push(order.strategy, event)
        if change.fill_quantity or change.fill_units:
            row = trade_row(change, position, instrument, self._ports.clock.real_ns())
            self._ports.on_trade(row)
        if change.status_changed and order.status in TERMINAL:
            self.write_order(order, reason)
        if order.status is OrderStatus.REFUSED and change.status_changed:
            self.refused[reason.name] += 1

    def _count_change(self, change: Change) -> None:
        order = change.order
        if accepted(change):
            self.count("accepted")
        if change.fill_quantity and order.filled < order.quantity:
            self.count("partial_fills")
        if change.terms:
            self.count("modified")
        if not change.status_changed:
            return
        if order.status in _COUNTED:
            self.count(_COUNTED[order.status])
        if change.before is OrderStatus.AMBIGUOUS and order.status not in UNPROVEN - {OrderStatus.ABSENT}:
            self.count("resolved")

    def write_order(self, order: Order, reason: Reason = Reason.NONE) -> None:
        """One row of orders.csv."""
        name = "" if reason is Reason.NONE else reason.name
        instrument = self._ports.instruments[order.slot]
        self._ports.on_order(order_row(order, name, instrument, self._ports.clock.real_ns()))

    def refuse(self, intent: Intent, reason: Reason, text: str, now_ns: int) -> None:
        """An intent that never became an order (or a modification, or a cancel)."""
        self.count("refused")
        self.refused[reason.name] += 1
        self.journal(
            Kind.REFUSED,
            {
                "strategy": intent.strategy,
                "seq": intent.strategy_seq,
                "kind": intent.kind,
                "reason": reason.name,
                "text": text,
            },
        )
        if reason is Reason.DUPLICATE_INTENT:
            return  # its strategy was told when the intent came first
        position = self._book.standing(intent.strategy, intent.slot, intent.product).quantity
        self._push(intent.strategy, refusal_event(intent, reason, position, now_ns))

    def _push(self, strategy: int, event: Records) -> None:
        sink = self._ports.events.get(strategy)
        if sink is None:
            return  # EXTERNAL, or a strategy of no worker: nobody listens
        if sink.push(event):
            self.count("events")
            return
        self.count("events_dropped")
        if strategy not in self.hung:
            self.hung.add(strategy)
            self._ports.alert(f"strategy {strategy} takes no events: it opens nothing more")
