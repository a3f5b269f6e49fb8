"""Layer 2, orders process, cold: orders without a name that a trigger of ours may have placed.

Triggers bear no tag. Until the broker's list has been read, an order with the terms of one that stands is
nobody's, a stranger's least of all.
"""

from __future__ import annotations

from collections.abc import Mapping

from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.exits.stewards import NEVER_NS
from kite_hft.trading.exits.trigger import Name, Trigger
from kite_hft.trading.ports import Ports
from kite_hft.trading.sending.outbox import Outbox


class Claims:
    """Of the triggers in `standing`, which is looked at and never changed."""

    def __init__(self, ports: Ports, book: Book, outbox: Outbox, standing: Mapping[Name, Trigger]) -> None:
        self._ports, self._book, self._outbox, self._standing = ports, book, outbox, standing
        self.open: dict[str, int] = {}  # orders that one of ours may have placed -> since when
        self._strangers: set[str] = set()  # of those: it has not
        self.over: set[str] = set()  # ids of triggers of ours that have ended: no answer to a later placing

    def claims(self, report: OrderReport) -> bool:
        """The list is to be read before this order is taken for anybody's."""
        if report.order_id in self._strangers:
            return False
        now_ns = self._ports.clock.mono_ns()
        since_ns = self.open.get(report.order_id, now_ns)
        for trigger in self._standing.values():
            if trigger.not_yet(since_ns):
                continue
            token = self._ports.instruments[trigger.slot].token
            if (
                report.token == token
                and report.product == trigger.product
                and any((leg.side, leg.quantity) == (report.side, report.quantity) for leg in trigger.legs)
            ):
                self.open.setdefault(report.order_id, now_ns)
                self._outbox.stirred += 1
                return True
        return False

    def keep(self, order_id: str) -> None:
        """One of ours has placed it, and the journal does not take that: it is no stranger's, until a process
        that can write takes it in.
        """
        self.open[order_id] = NEVER_NS

    def listed(self, asked_ns: int) -> None:
        """A whole read of the list, asked for at `asked_ns`, was taken in."""
        untold = [trigger for trigger in self._standing.values() if trigger.untold(asked_ns)]
        for order_id, since_ns in list(self.open.items()):
            known = self._book.by_id(order_id) is not None
            if known or (since_ns < asked_ns and all(trigger.not_yet(since_ns) for trigger in untold)):
                del self.open[order_id]
                if not known:
                    self._strangers.add(order_id)
