"""Layer 2, orders process, cold: orders without a name that a trigger of ours may have placed.

Triggers bear no tag. Until the broker's list has been read, an order with the terms of one that stands is
nobody's, a stranger's least of all. A broker may leave out of his list what has fired: that a trigger which
is not shown any more has fired is told by an order at its price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kite_hft.layout import OrderType
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, TriggerLeg, TriggerReport
from kite_hft.trading.exits.stewards import NEVER_NS
from kite_hft.trading.exits.trigger import LAG_NS, Name, Trigger
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery.lookup import could_be_ours
from kite_hft.trading.sending.outbox import Outbox


class Claims:
    """Of the triggers in `standing`, of which `claimed` alone is changed."""

    def __init__(
        self, ports: Ports, book: Book, outbox: Outbox, standing: Mapping[Name, Trigger], horizon_ns: int
    ) -> None:
        self._ports, self._book, self._outbox, self._standing = ports, book, outbox, standing
        self._horizon_ns = horizon_ns
        self.by_terms = not ports.broker.lists_fired
        self.open: dict[str, int] = {}  # orders that one of ours may have placed -> since when
        self._rows: dict[str, OrderReport] = {}  # of those: what was heard last
        self._strangers: set[str] = set()  # of those: it has not
        self.over: set[str] = set()  # ids of triggers of ours that have ended: no answer to a later placing
        self.absent: dict[Name, Trigger] = {}  # thought absent lately: an update may have been late
        self.told: dict[str, TriggerReport] = {}  # by id: what pushes have told, and is still to be taken in

    def claims(self, report: OrderReport) -> bool:
        """The list is to be read before this order is taken for anybody's."""
        if report.order_id in self._strangers:
            return False
        now_ns = self._ports.clock.mono_ns()
        since_ns = self.open.get(report.order_id, now_ns)
        here = any(not t.not_yet(since_ns) and self._like(t, report) for t in self._standing.values())
        late = (t for t in self.absent.values() if self._late(t, since_ns))
        if not here and not any(self._fits(t, report) for t in late):
            return False
        self._rows[report.order_id] = report
        self.open.setdefault(report.order_id, now_ns)
        self._mark()
        self._outbox.stirred += 1
        return True

    def _like(self, trigger: Trigger, report: OrderReport) -> bool:
        same = (self._ports.instruments[trigger.slot].token, trigger.product)
        terms = [(leg.side, leg.quantity) for leg in trigger.terms]
        return (report.token, report.product) == same and (report.side, report.quantity) in terms

    def _fits(self, trigger: Trigger, report: OrderReport) -> bool:
        """It is what the trigger would place: a LIMIT order, at its price."""
        terms = [(leg.side, leg.quantity, leg.px) for leg in trigger.terms]
        exact = (report.side, report.quantity, report.px) in terms
        return exact and report.order_type in (None, OrderType.LIMIT) and self._like(trigger, report)

    def _late(self, trigger: Trigger, since_ns: int) -> bool:
        return since_ns - trigger.ended_ns < self._horizon_ns

    def fitting(self, trigger: Trigger) -> list[str]:
        """Orders that are nobody's, and that are what this trigger would place, where the broker's list does
        not show what has fired; one that has ended without a fill only where there is no other.
        """
        found = [name for name in self.open if self.by_terms and self._could_have(trigger, name)]
        return [name for name in found if self.matter([name])] or found

    def _could_have(self, trigger: Trigger, order_id: str) -> bool:
        row = self._rows.get(order_id)
        if row is None or self._book.by_id(order_id) is not None or self._of_another(trigger, order_id):
            return False
        return self.open[order_id] >= trigger.tried_ns and self._fits(trigger, row)

    def _of_another(self, trigger: Trigger, order_id: str) -> bool:
        """A push names the order as that of another trigger."""
        told = (row for row in self.told.values() if row.trigger_id != trigger.trigger_id)
        return any(leg.order_id == order_id for row in told for leg in row.legs)

    def own(self, trigger: Trigger) -> str:
        """The order that only this trigger can have placed; "": there is none, or that cannot be told."""
        found = self.fitting(trigger)
        rivals = self.rivals(found)
        if trigger not in rivals or self._doubted(found):
            return ""
        fits = [set(self.fitting(rival)) for rival in rivals]
        all_of_them = set[str]().union(*fits)
        only = [order_id for order_id in found if sum(order_id in fit for fit in fits) == 1]
        if len(only) == 1 and len(all_of_them) == len(rivals):
            return only[0]
        equal = all(set(rival.terms) == set(trigger.terms) for rival in rivals)
        alike = equal and all(rival.key == trigger.key for rival in rivals)
        rows = [self._rows[order_id] for order_id in found]
        ended = (
            all(row.status in TERMINAL for row in rows) and len({row.filled_quantity for row in rows}) == 1
        )
        if (equal and len(found) == len(rivals)) or (alike and (len(found) < len(rivals) or ended)):
            return found[0]  # any is as good
        return ""

    def rivals(self, orders: Sequence[str]) -> list[Trigger]:
        """Which triggers may have placed some of these orders, as far as the list has told; one that was
        thought absent only where no other may.
        """
        found = [
            trigger
            for trigger in self._standing.values()
            if any(
                order_id in orders and self._untold(trigger, order_id) for order_id in self.fitting(trigger)
            )
        ]
        return found or [t for t in self.absent.values() if set(self.fitting(t)) & set(orders)]

    def _untold(self, trigger: Trigger, order_id: str) -> bool:
        """The list has not shown for long enough that it still waits: it may lag behind."""
        return bool(trigger.misses) or trigger.waits_ns < self.open[order_id] + LAG_NS

    def matter(self, orders: Sequence[str]) -> bool:
        """One of these is alive, or has fills."""
        rows = [self._rows[order_id] for order_id in orders]
        return any(row.status not in TERMINAL or row.filled_quantity for row in rows)

    def _doubted(self, orders: Sequence[str]) -> bool:
        """An order of ours that was not answered may be one of these."""
        rows = (self._rows[order_id] for order_id in orders)
        return any(could_be_ours(row, self._book, self._ports.instruments) for row in rows)

    def heard(self, order_id: str) -> OrderReport | None:
        """What was heard of an order while it was nobody's."""
        return self._rows.get(order_id)

    def row_of(self, trigger: Trigger, order_id: str) -> TriggerReport:
        """What a list that shows fired triggers would say of this one."""
        row = self._rows[order_id]
        px = next((leg.trigger_px for leg in trigger.terms if leg.px == row.px), row.px)
        leg = TriggerLeg(px, row.side, row.product, row.quantity, row.px, order_id)
        return TriggerReport(trigger.trigger_id, "fired", False, row.token, (leg,))

    def thought_absent(self, trigger: Trigger, now_ns: int) -> None:
        """No list shows it, and no order is there: an update of that may be late. Nobody wants it then. What
        the broker has never named is not remembered: no read up to the horizon has shown that it arrived.
        """
        if self.by_terms and trigger.trigger_id:
            trigger.ended_ns, trigger.wanted = now_ns, None
            self.absent[trigger.name] = trigger

    def keep(self, order_id: str) -> None:
        """One of ours has placed it, and the journal does not take that: it is no stranger's, until a process
        that can write takes it in.
        """
        self.open[order_id] = NEVER_NS

    def listed(self, asked_ns: int, now_ns: int) -> None:
        """A whole read of the list, asked for at `asked_ns`, was taken in."""
        self.absent = {name: t for name, t in self.absent.items() if self._late(t, now_ns)}
        untold = [trigger for trigger in self._standing.values() if trigger.untold(asked_ns)]
        for order_id, since_ns in list(self.open.items()):
            known = self._book.by_id(order_id) is not None
            told = since_ns < asked_ns and all(t.not_yet(since_ns) or t.waited(since_ns) for t in untold)
            if known or (told and not self._waited_for(order_id)):
                del self.open[order_id]
                self._rows.pop(order_id, None)
                if not known:
                    self._strangers.add(order_id)
        self._mark()

    def _waited_for(self, order_id: str) -> bool:
        """What the list has still to tell may make it somebody's."""
        untold = (trigger for trigger in self._standing.values() if self._untold(trigger, order_id))
        return any(order_id in self.fitting(trigger) for trigger in (*untold, *self.absent.values()))

    def _mark(self) -> None:
        for trigger in self._standing.values():
            trigger.claimed = self.matter(self.fitting(trigger))
