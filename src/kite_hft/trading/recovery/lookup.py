"""Layer 2, orders process, cold: finding an ambiguous order in the broker's book, or proving it absent.

An order whose fate is unknown is never sent again. It is found by its tag, in `tag` or any of
`tags[]`. Brokers drop tags at times: then a row without any tag of a user, with the same
instrument, side, quantity and product, entered since the call, is a candidate; exactly one
candidate for exactly one ambiguous order is it, anything else stays frozen for a person. Absent it
is only when two whole reads in a row, both asked for past the absence horizon, show neither the
tag nor a candidate: Kite has shown an order as late as 83 s after the call.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Final

from kite_hft.layout import OrderStatus
from kite_hft.trading.book import Book, Order
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.units import IST_OFFSET_S, NS_PER_S

HORIZON_S_MIN: Final = 180.0
"""Shorter is accepted only against a server on this machine."""
READS: Final = 2
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
    _misses: dict[int, int] = field(default_factory=dict)

    def read(
        self,
        book: Book,
        instruments: InstrumentTable,
        rows: Iterable[OrderReport],
        asked_ns: int,
        known: Container[str] = (),
    ) -> list[Finding]:
        """Judge the orders still ambiguous after `rows` (a whole read, asked for at `asked_ns`).

        `known`: orders of others, which stood when nothing of ours could have been them.
        """
        orders = [order for order in book.live() if order.status is OrderStatus.AMBIGUOUS]
        self._misses = {o.order_no: self._misses.get(o.order_no, 0) for o in orders}
        if not orders:
            return []
        strays = [
            row
            for row in rows
            if book.by_id(row.order_id) is None and not _tagged(row) and row.order_id not in known
        ]
        matches = {o.order_no: [r for r in strays if _alike(o, r, instruments)] for o in orders}
        claims: dict[str, int] = {}
        for found in matches.values():
            for row in found:
                claims[row.order_id] = claims.get(row.order_id, 0) + 1
        findings = []
        for order in orders:
            found = matches[order.order_no]
            if len(found) == 1 and claims[found[0].order_id] == 1:
                findings.append(Finding(order, found[0]))
            elif found:
                self._misses[order.order_no] = 0
                findings.append(Finding(order, doubt=f"{len(found)} rows of the book could be it"))
            elif asked_ns - order.status_ns >= self.horizon_ns:
                self._misses[order.order_no] += 1
                if self._misses[order.order_no] >= READS:
                    findings.append(Finding(order))
        return findings


def could_be_ours(row: OrderReport, book: Book, instruments: InstrumentTable) -> bool:
    """True while an order of ours is on its way that a row without a tag of a user may be."""
    return not _tagged(row) and any(
        order.status in (OrderStatus.SENT, OrderStatus.AMBIGUOUS) and _alike(order, row, instruments)
        for order in book.live()
    )


def _tagged(row: OrderReport) -> bool:
    return any(not tag.startswith(_BROKER_TAGS) for tag in row.tags)


def _alike(order: Order, row: OrderReport, instruments: InstrumentTable) -> bool:
    if (row.token, row.side, row.quantity) != (
        instruments[order.slot].token,
        order.side,
        order.quantity,
    ) or row.product != order.product:
        return False
    entered_s = epoch_s(row.order_timestamp)
    return entered_s is None or entered_s >= order.sent_real_ns // NS_PER_S - CLOCK_SLACK_S


def epoch_s(text: str) -> int | None:
    """Seconds since the epoch of Kite's `YYYY-MM-DD HH:MM:SS` (IST); None: not such a text."""
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")) - IST_OFFSET_S
    except ValueError:
        return None
