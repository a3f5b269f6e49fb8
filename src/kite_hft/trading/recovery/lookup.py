"""Layer 2, orders process, cold: finding an ambiguous order in the broker's book, or proving it absent.

An order whose fate is unknown is never sent again. It is found by its tag, in `tag` or any of
`tags[]`. Brokers drop tags at times: then a row without any tag of a user, with the same
instrument, side, quantity and product, entered since the call, is a candidate; exactly one
candidate for exactly one ambiguous order is it, anything else stays frozen for a person. Where the
broker is known to keep the tags of orders of that type, a row without one is no proof either: ours
may be late, and the row somebody else's; past the horizon that is for a person, too. Absent it
is only when two whole reads in a row, both asked for past the absence horizon, show neither the
tag nor a candidate: Kite has shown an order as late as 83 s after the call.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Final

from kite_hft.layout import OrderStatus
from kite_hft.trading.book import AGREEING_READS, Book, Order
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.units import IST_OFFSET_S, NS_PER_S

HORIZON_S_MIN: Final = 180.0
"""Shorter is accepted only against a server on this machine."""
READS: Final = AGREEING_READS
CLOCK_SLACK_S: Final = 5
"""How far the broker's clock may lag behind ours when it stamps an order."""
_BROKER_TAGS: Final = ("mktp", "autoslice")


@dataclass(frozen=True, slots=True)
class Finding:
    """One order's look-up in one read: `row` is it; without a row it is absent, or `doubt` says more."""

    order: Order
    row: OrderReport | None = None
    doubt: str = ""


@dataclass(slots=True)
class Lookup:
    """What successive book reads say of the ambiguous orders."""

    horizon_ns: int
    kept: set[int] = field(default_factory=set)  # order types whose tags came back
    _misses: dict[int, int] = field(default_factory=dict)

    def read(
        self,
        book: Book,
        instruments: InstrumentTable,
        rows: Iterable[OrderReport],
        asked_ns: int,
        known: Container[str] = (),
        user: str = "",
        of_trigger: Callable[[OrderReport], bool] = lambda row: False,
    ) -> list[Finding]:
        """Judge the orders still ambiguous after `rows` (a whole read, asked for at `asked_ns`).

        `known`: orders of others, which stood when nothing of ours could have been them. `user`: who
        places our orders, in the broker's words, "" while that is not known: rows of anybody else (the
        broker's risk desk) are none of ours. `of_trigger`: a trigger of ours may have placed the row.
        """
        orders = [order for order in book.live() if order.status is OrderStatus.AMBIGUOUS]
        self._misses = {o.order_no: self._misses.get(o.order_no, 0) for o in orders}
        if not orders:
            return []
        strays = [
            row
            for row in rows
            if book.by_id(row.order_id) is None and not tagged(row) and row.order_id not in known
            if not _of_another(row, user)
        ]
        matches = {o.order_no: [r for r in strays if alike(o, r, instruments)] for o in orders}
        claims: dict[str, int] = {}
        # An order without an answer may be the row as well, and a clock may have been stepped.
        unanswered = [o for o in book.live() if o.status is OrderStatus.SENT and not o.order_id]
        for order in (*orders, *unanswered):
            for row in strays:
                if alike(order, row, instruments, timed=False):
                    claims[row.order_id] = claims.get(row.order_id, 0) + 1 + of_trigger(row)
        findings = []
        for order in orders:
            found, past = matches[order.order_no], asked_ns - order.status_ns >= self.horizon_ns
            if found and order.order_type in self.kept:
                self._misses[order.order_no] = 0
                if past:
                    findings.append(Finding(order, doubt=f"{_names(found)} could be it, without its tag"))
            elif len(found) == 1 and claims[found[0].order_id] == 1:
                findings.append(Finding(order, found[0]))
            elif found:
                self._misses[order.order_no] = 0
                findings.append(Finding(order, doubt=f"any of {_names(found)} could be it"))
            elif untimed := [r for r in strays if alike(order, r, instruments, timed=False)]:
                # A clock that was stepped must not turn a row that came now into an older one's.
                self._misses[order.order_no] = 0
                text = f"{untimed[0].order_id} could be it, and is stamped before it was sent"
                findings.append(Finding(order, doubt=text))
            elif past:
                self._misses[order.order_no] += 1
                if self._misses[order.order_no] >= READS:
                    findings.append(Finding(order))
        return findings


def _names(rows: Iterable[OrderReport]) -> str:
    return ", ".join(row.order_id for row in rows)


def could_be_ours(row: OrderReport, book: Book, instruments: InstrumentTable, user: str = "") -> bool:
    """True while an order of ours is on its way that a row without a tag of a user may be."""
    return not (tagged(row) or _of_another(row, user)) and any(
        order.status in (OrderStatus.SENT, OrderStatus.AMBIGUOUS)
        and alike(order, row, instruments, timed=False)
        for order in book.live()
    )


def tagged(row: OrderReport) -> bool:
    """It bears a tag that a user gave it."""
    return any(not tag.startswith(_BROKER_TAGS) for tag in row.tags)


def _of_another(row: OrderReport, user: str) -> bool:
    """Somebody else than we has placed it."""
    return bool(user and row.placed_by) and row.placed_by != user


def alike(order: Order, row: OrderReport, instruments: InstrumentTable, *, timed: bool = True) -> bool:
    """The row may be `order`: same instrument, side, quantity, product, and entered since (`timed`)."""
    if (row.token, row.side, row.quantity) != (
        instruments[order.slot].token,
        order.side,
        order.quantity,
    ) or row.product != order.product:
        return False
    if not timed:
        return True
    entered_s = epoch_s(row.order_timestamp)
    return entered_s is None or entered_s >= order.sent_real_ns // NS_PER_S - CLOCK_SLACK_S


def epoch_s(text: str) -> int | None:
    """Seconds since the epoch of Kite's `YYYY-MM-DD HH:MM:SS` (IST); None: not such a text."""
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")) - IST_OFFSET_S
    except ValueError:
        return None
