"""Layer 2, orders process, cold: finding an ambiguous order in the broker's book, or proving it absent.

An order whose fate is unknown is never sent again. It is found by its tag, in `tag` or any of
`tags[]`. Brokers drop tags at times: then a row without any tag of a user, with the same
instrument, side, quantity and product, entered since the call, may be it. It is when it also bears
our type and price and is by our own user, and exactly one such row stands for exactly one
ambiguous order; anything else stays frozen for a person. Where the broker is known to keep the
tags of orders of that type, a row without one is no proof either: ours may be late, and the row
somebody else's; past the horizon that is for a person, too. Absent it is only when two whole
reads in a row, both asked for past the absence horizon, show neither the tag nor a row that may be
it: Kite has shown an order as late as 83 s after the call.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.book import AGREEING_READS, Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import STOPS, Order
from kite_hft.units import IST_OFFSET_S, NS_PER_S

HORIZON_S_MIN: Final = 180.0
"""Shorter is accepted only against a server on this machine."""
READS: Final = AGREEING_READS
CLOCK_SLACK_S: Final = 5
"""How far the broker's clock may lag behind ours when it stamps an order."""
ANSWERED_S: Final = 10
"""Nobody waits longer for the answer that names an order."""
_BROKER_TAGS: Final = ("mktp", "autoslice")
_SHOWN_AS: Final = {
    OrderType.MARKET: (OrderType.MARKET, OrderType.LIMIT),
    OrderType.LIMIT: (OrderType.LIMIT,),
    OrderType.SL: (OrderType.SL, OrderType.LIMIT),
    OrderType.SLM: (OrderType.SLM, OrderType.SL, OrderType.MARKET, OrderType.LIMIT),
}
"""An order at market shows as one with a price, its protection; a triggered stop as what it became."""
_PRICED: Final = (OrderType.LIMIT, OrderType.SL)


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
        # An order without an answer may be the row as well, and a clock may have been stepped.
        unanswered = [o for o in book.live() if o.status is OrderStatus.SENT and not o.order_id]
        claims: dict[str, int] = {}
        for row in strays:
            ours = sum(
                alike(o, row, instruments, timed=False) and as_asked(o, row) for o in (*orders, *unanswered)
            )
            claims[row.order_id] = ours + of_trigger(row)
        findings = []
        for order in orders:
            found = [row for row in strays if alike(order, row, instruments)]
            # A clock that was stepped must not turn a row that came now into an older one's.
            as_large = [row for row in strays if row.quantity == order.quantity]
            near = found or [row for row in as_large if alike(order, row, instruments, timed=False)]
            past = asked_ns - order.status_ns >= self.horizon_ns
            it, doubt = self._judged(order, found, near, claims, user)
            if near:
                self._misses[order.order_no] = 0
            elif past:
                self._misses[order.order_no] += 1
            if it is not None or (doubt and (past or not doubt.waits)):
                findings.append(Finding(order, it, doubt.text if doubt else ""))
            elif self._misses[order.order_no] >= READS:
                findings.append(Finding(order))
        return findings

    def _judged(
        self,
        order: Order,
        found: Sequence[OrderReport],
        near: Sequence[OrderReport],
        claims: Mapping[str, int],
        user: str,
    ) -> tuple[OrderReport | None, _Doubt | None]:
        """The row that is the order, or why none of those that may be it is taken for it."""
        if not near:
            return None, None
        if not found:
            return None, _Doubt(f"{near[0].order_id} could be it, and is stamped before it was sent")
        if order.order_type in self.kept:
            return None, _Doubt(f"{_names(found)} could be it, without its tag", waits=True)
        same = [row for row in found if as_asked(order, row)]
        if not same:
            return None, _Doubt(f"{_names(found)} could be it, at other terms", waits=True)
        if len(same) > 1 or claims[same[0].order_id] > 1:
            return None, _Doubt(f"any of {_names(same)} could be it")
        if _of_unknown(same[0], user):
            return None, _Doubt(f"{_names(same)} could be it, placed by {same[0].placed_by}", waits=True)
        return same[0], None


class _Doubt(NamedTuple):
    """What is told of an order that stays ambiguous; `waits`: not before the horizon, for it may come yet."""

    text: str
    waits: bool = False


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


def _of_unknown(row: OrderReport, user: str) -> bool:
    """Nothing tells yet who places our orders, and this one is not by the account's own holder."""
    return bool(row.placed_by) and not user and row.placed_by != row.account


def as_asked(order: Order, row: OrderReport) -> bool:
    """The row bears the type and the prices that `order` was sent with, as far as it would show them; and the
    quantity, which one that a change may have met need not have.
    """
    if row.quantity != order.quantity:
        return False
    if row.order_type is None:
        return True
    if row.order_type not in _SHOWN_AS[OrderType(order.order_type)]:
        return False
    if order.order_type in _PRICED and row.px != order.px:
        return False
    if order.order_type == OrderType.SLM and row.order_type in _PRICED:
        better = order.trigger_px - row.px if order.side == Side.BUY else row.px - order.trigger_px
        if better > 0:  # its protection lies behind the trigger
            return False
    return row.order_type not in STOPS or row.trigger_px in (0, order.trigger_px)


def by_terms_alone(order: Order, row: OrderReport) -> bool:
    """Nothing but its terms speaks for the row: the order has no name yet, and the row not its tag."""
    return not order.order_id and order.tag not in row.tags


def alike(order: Order, row: OrderReport, instruments: InstrumentTable, *, timed: bool = True) -> bool:
    """The row may be `order`: same instrument, side, quantity, product, and entered since (`timed`). Where
    the end of a journal may be lost (`Order.inherited`) the quantity may have been changed, too: by its
    engine, to which the broker had answered before. So it was entered when the order was sent.
    """
    here = (row.token, row.side, row.product) == (instruments[order.slot].token, order.side, order.product)
    other = row.quantity != order.quantity
    if not here or (other and not order.inherited):
        return False
    if not (timed or other):
        return True
    entered_s = epoch_s(row.order_timestamp)
    if entered_s is None:
        return True
    later_s = entered_s - order.sent_real_ns // NS_PER_S
    return later_s >= -CLOCK_SLACK_S and (not other or later_s <= ANSWERED_S + CLOCK_SLACK_S)


def epoch_s(text: str) -> int | None:
    """Seconds since the epoch of Kite's `YYYY-MM-DD HH:MM:SS` (IST); None: not such a text."""
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")) - IST_OFFSET_S
    except ValueError:
        return None
